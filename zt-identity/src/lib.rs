//! Workload and user identity for zero-trust services: X.509-SVIDs and OIDC access tokens, verified strictly and offline.

// In this order: a module uses only those above it.
#[cfg(test)]
mod minted;
mod excerpt;
mod base64url;
pub mod algorithm;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod claims;
pub mod oidc;
pub mod possession;
