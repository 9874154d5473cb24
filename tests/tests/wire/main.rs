//! What clients write on the wire that no client library would, over mutual TLS: HTTP/1.1 and HTTP/2
//! byte by byte, under `zt_tls::serve` and under `axum::serve`. What is served is held against what
//! was recorded.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod bodies;
mod credentials;
mod floods;
mod frames;
mod identities;
mod methods;
mod stacks;
mod targets;
mod tunnels;
mod world;
