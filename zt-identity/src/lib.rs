//! Workload and user identity for zero-trust services: X.509-SVIDs and OIDC access tokens, verified strictly and offline.
//!
//! # X.509-SVIDs
//!
//! A workload shows who it is by a certificate that names a SPIFFE ID. What is believed about it
//! follows from the bundle of its own trust domain and from the time, and from nothing else:
//!
//! ```
//! # #[cfg(feature = "authority")] {
//! use zt_core::spiffe::TrustDomain;
//! use zt_core::time::Timestamp;
//! use zt_identity::authority::Authority;
//! use zt_identity::matcher::Authorizer;
//! use zt_identity::x509_svid::X509SvidVerifier;
//!
//! let now = Timestamp::from_civil(2026, 11, 21, 12, 0, 0).unwrap();
//! let shop = TrustDomain::from_name("example.org")?;
//!
//! // In production: X509Source::from_pem_files, with the files that SPIRE or cert-manager writes.
//! let authority = Authority::new(shop.clone(), now)?;
//! let source = authority.source("/ns/shop/sa/cart")?;
//! let peer = authority.svid("/ns/shop/sa/orders")?;
//!
//! let svid = X509SvidVerifier::new().verify(peer.chain(), source.load().bundles(), now)?;
//! assert!(Authorizer::member_of(shop).authorizes(svid.id()));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`x509_svid`] lists the rules that a chain has to meet, [`profile`] those of each certificate,
//! [`bundle`] those of roots.
//!
//! What it does not do: there is no revocation yet, bundles are read from PEM and DER and not yet
//! from SPIFFE's JSON, nothing watches the files of a [`source`], and constraints on URI names are
//! refused. Signatures are checked by ring: ECDSA on P-256 and P-384, Ed25519, and RSA of 2,048 to
//! 8,192 bits; P-521 is not among them.
//!
//! # Features
//!
//! - `authority`: the development and test [authority](https://docs.rs/zt-identity/latest/zt_identity/authority/),
//!   which brings in rcgen. Not for production.
//! - `http`: keys fetched from their issuer and refreshed in the background
//!   (`oidc::keys::IssuerKeys::discover`); brings hyper, rustls and tokio. Without it there is no
//!   network and no runtime.

// In this order: a module uses only those above it.
#[cfg(test)]
mod minted;
pub mod der;
pub mod certificate;
pub mod profile;
mod signature;
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

pub use matcher::Authorizer;
pub use oidc::access_token::AccessTokenVerifier;
pub use source::X509Source;
