#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
pub mod provider;
pub mod admission;
mod verifier;
pub mod events;
#[cfg(feature = "tokio")]
mod jitter;
pub mod web;
mod resolver;
pub mod health;
pub mod connection;
#[cfg(feature = "serve")]
pub mod listen;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "federation")]
pub mod federation;

pub use connection::{Acceptor, Connector};
