#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
#[cfg(test)]
mod minted;
pub mod der;
pub mod certificate;
pub mod profile;
pub mod signature;
pub mod pem;
mod excerpt;
mod file;
#[cfg(any(feature = "http", feature = "workload-api"))]
mod backoff;
mod base64url;
pub mod algorithm;
pub mod json;
pub mod jwk;
pub mod revocation;
pub mod bundle;
pub mod path;
pub mod x509_svid;
pub mod x509_identity;
pub mod matcher;
pub mod jws;
#[cfg(any(feature = "http", feature = "authority"))]
pub mod signing_key;
pub mod claims;
pub mod confirmation;
pub mod unadmitted;
pub mod verdicts;
pub mod jwt_bundle;
pub mod jwt_svid;
#[cfg(feature = "unstable-wit")]
pub mod wit_svid;
pub mod oidc;
pub mod service_account;
pub mod possession;
pub mod token_verifier;
#[cfg(feature = "http")]
pub mod outgoing;
pub mod source;
#[cfg(feature = "workload-api")]
pub mod workload_api;
#[cfg(feature = "authority")]
pub mod authority;

pub use matcher::Authorizer;
pub use oidc::access_token::AccessTokenVerifier;
pub use source::X509Source;
