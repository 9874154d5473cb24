//! What `proto/shop/v1/orders.proto` says, in Rust. It was generated once and is kept, so that
//! nobody needs protoc; the README says how.

include!("generated/shop.v1.rs");
