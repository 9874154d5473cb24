//! Workload and user identity for zero-trust services: X.509-SVIDs and OIDC access tokens, verified strictly and offline.
//!
//! # Features
//!
//! - `http`: keys fetched from their issuer and refreshed in the background
//!   (`oidc::keys::IssuerKeys::discover`); brings hyper, rustls and tokio. Without it there is no
//!   network and no runtime.

// In this order: a module uses only those above it.
#[cfg(test)]
mod minted;
pub mod der;
pub mod certificate;
pub mod profile;
pub mod pem;
pub mod bundle;
pub mod path;
pub mod x509_svid;
pub mod x509_identity;
pub mod matcher;
mod excerpt;
mod base64url;
pub mod algorithm;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod claims;
pub mod oidc;
pub mod possession;
pub mod source;
#[cfg(feature = "authority")]
pub mod authority;
