//! Users, as an OpenID provider or OAuth authorization server vouches for them.

// In this order: a module uses only those above it.
pub mod issuer;
pub mod keys;
pub mod access_token;
