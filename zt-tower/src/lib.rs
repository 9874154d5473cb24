#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
pub mod telemetry;
pub mod denial;
pub mod caller;
pub mod credential;
pub mod forwarded;
pub mod limits;
pub mod path;
pub mod workload_tokens;
pub mod demand;
pub mod dpop;
pub mod access_tokens;
pub mod events;
pub mod record;
pub mod authenticate;
pub mod authorize;
pub mod zero_trust;
pub mod bundle_endpoint;
#[cfg(feature = "http")]
pub mod outgoing;
#[cfg(feature = "axum")]
pub mod extract;

pub use access_tokens::AccessTokens;
#[cfg(feature = "axum")]
pub use authorize::RouteTargets;
pub use zero_trust::ZeroTrust;
