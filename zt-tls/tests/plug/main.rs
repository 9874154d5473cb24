//! Servers and clients that others wrote, on connections of ours, over real sockets.
#![cfg(all(feature = "axum", feature = "tonic", feature = "client"))]

mod attacks;
mod clients;
#[path = "../common/gullible.rs"]
mod gullible;
mod servers;
mod streams;
mod support;
