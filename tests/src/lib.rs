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
