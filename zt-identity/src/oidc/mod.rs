//! Users, as an OpenID provider or OAuth authorization server vouches for them.

// In this order: a module uses only those above it.
pub mod issuer;
pub mod discovery;
#[cfg(feature = "http")]
pub mod fetch;
#[cfg(feature = "http")]
pub mod transport;
#[cfg(feature = "http")]
pub(crate) mod form;
#[cfg(feature = "http")]
pub mod client_authentication;
mod published;
#[cfg(feature = "http")]
pub mod refresh;
pub mod keys;
pub mod key_file;
pub mod signed;
pub mod claim_path;
mod person;
pub mod step_up;
pub mod own_claims;
pub mod claim_mapping;
pub mod access_token;
pub mod issuers;
pub mod verdict_cache;
#[cfg(feature = "http")]
pub(crate) mod flight;
#[cfg(feature = "http")]
pub mod introspection;
#[cfg(feature = "config")]
pub mod configuration;
pub mod id_token;
pub mod event_token;
pub mod logout_token;
pub mod security_event_token;
#[cfg(feature = "login")]
pub mod login;
