//! Both ends of connections, over in-memory streams.
#![cfg(feature = "tokio")]

mod algorithms;
mod attacks;
mod builders;
mod continuous;
mod events;
#[path = "../common/gullible.rs"]
mod gullible;
mod support;
