//! The cryptography behind TLS, as an argument.
//!
//! A library that installs a process-global provider surprises its user, and one that relies on it
//! panics where nobody did (M-08). Here a provider is an `Arc` that a builder takes.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The provider on `ring`: the default of every builder in this crate.
#[must_use]
pub fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
