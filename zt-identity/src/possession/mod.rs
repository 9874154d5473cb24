//! Whether a token belongs to whoever sent it, whether it was sent before, and whether it still
//! counts.

// In this order: a module uses only those above it.
pub mod eventual;
pub mod target;
pub mod nonce;
pub mod dpop;
pub mod binding;
pub mod replay;
pub mod revocations;
#[cfg(feature = "redis")]
pub mod redis;
