//! Helpers for the tests that cross crates.

pub mod conformance;
pub mod peers;
pub mod nginx;
pub mod issuer;
pub mod oidc_provider;
pub mod chromium;
pub mod compact;
pub mod page;
#[cfg(unix)]
pub mod reader;

/// The Rust of the pages in docs/, which is compiled and run with the tests of documentation.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/spire.md")]
    struct Spire;
    #[doc = include_str!("../../docs/kubernetes.md")]
    struct Kubernetes;
    #[doc = include_str!("../../docs/oidc-issuers.md")]
    struct OidcIssuers;
    #[doc = include_str!("../../docs/migrating.md")]
    struct Migrating;
    #[doc = include_str!("../../docs/production.md")]
    struct Production;
}
