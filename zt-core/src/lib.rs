#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
pub mod fault;
pub mod time;
pub mod secret;
pub mod snapshot;
pub mod spiffe;
pub mod attribute;
pub mod principal;
pub mod verified;
pub mod peer;
pub mod request;
pub mod decision;
pub mod danger;
pub mod record;
pub mod watch;
pub mod lease;
