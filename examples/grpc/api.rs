//! What `proto/shop/v1/orders.proto` says, in Rust. It is generated, and kept so that
//! nobody needs protoc; the README says how.

include!("generated/shop.v1.rs");
