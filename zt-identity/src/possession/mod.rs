//! Whether a token belongs to whoever sent it.

// In this order: a module uses only those above it.
pub mod binding;
