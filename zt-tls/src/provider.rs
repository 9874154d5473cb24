//! The cryptography behind TLS, as an argument.
//!
//! A library that installs a process-global provider surprises its user, and one that relies on it
//! panics where nobody did (M-08). Here a provider is an `Arc` that a builder takes. The features
//! `ring` and `aws-lc-rs` add one each and take nothing away.
//!
//! A provider does what TLS does: the key exchange, the ciphers, and the signatures of the handshake
//! and of the peer's chain, in which `zt-identity` says what is accepted
//! ([`SignatureAlgorithms`](zt_identity::signature::SignatureAlgorithms)): a provider that can do more
//! is asked for no more, and what it cannot do is refused.
//!
//! `zt-identity` checks by itself, on `ring`, what is loaded: that a root has signed itself, that a
//! private key is its leaf's, and, once for each key, who has signed a revocation list.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

/// M-07: stated, as another crate may have compiled TLS 1.2 in.
pub(crate) const TLS13_ALONE: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
#[cfg(feature = "tls12")]
pub(crate) const BOTH: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The provider on `ring`: the default of every builder in this crate.
#[cfg(feature = "ring")]
#[must_use]
pub fn ring() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The provider on AWS-LC. It offers the hybrid key exchange X25519MLKEM768 first, so that what is
/// recorded today stays closed to the quantum computers of tomorrow.
#[cfg(feature = "aws-lc-rs")]
#[must_use]
pub fn aws_lc_rs() -> Arc<CryptoProvider> {
    use rustls::crypto::aws_lc_rs::{default_provider, kx_group::X25519MLKEM768};

    let mut provider = default_provider();
    provider.kx_groups.retain(|group| group.name() != X25519MLKEM768.name());
    provider.kx_groups.insert(0, X25519MLKEM768);
    Arc::new(provider)
}

/// What a builder uses that was told nothing: `ring`, or AWS-LC where that is all there is.
pub(crate) fn preferred() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "ring")]
    let preferred = Some(ring());
    #[cfg(all(not(feature = "ring"), feature = "aws-lc-rs"))]
    let preferred = Some(aws_lc_rs());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    let preferred = None;
    preferred
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use rustls::NamedGroup;

    #[test]
    fn aws_lc_offers_the_hybrid_key_exchange_first() {
        let groups: Vec<_> = super::aws_lc_rs().kx_groups.iter().map(|kx| kx.name()).collect();
        assert_eq!(groups.first(), Some(&NamedGroup::X25519MLKEM768));
        assert_eq!(groups.iter().filter(|kx| **kx == NamedGroup::X25519MLKEM768).count(), 1);
    }
}
