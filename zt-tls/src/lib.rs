#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
pub mod provider;
mod verifier;
mod resolver;
pub mod connection;
#[cfg(feature = "serve")]
pub mod serve;

pub use connection::{Acceptor, Connector};
