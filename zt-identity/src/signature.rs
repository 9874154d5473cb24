//! Signatures on certificates: which algorithms count, and how many checks one chain is worth.
//!
//! ring's, without SHA-1 and without RSA below 2,048 bits; each pair of key and signature algorithm
//! is listed once, so that a signature is checked once.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm as Algorithm,
};
use webpki::ring;

use crate::certificate::{Certificate, PublicKey};

const COUNT: usize = 14;

static ALGORITHMS: [&dyn Algorithm; COUNT] = [
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Whether signatures can be checked with the certificate's key.
pub(crate) fn key_is_supported(certificate: &Certificate<'_>) -> bool {
    let key = certificate.public_key().algorithm;
    ALGORITHMS.iter().any(|known| known.public_key_alg_id().as_ref() == key)
}

/// Whether the certificate's own key has signed it.
pub(crate) fn is_self_signed(certificate: &Certificate<'_>) -> bool {
    let signed = Signed {
        algorithm: certificate.signature_algorithm(),
        bytes: certificate.signed(),
        signature: certificate.signature(),
    };
    signed.is_by(certificate.public_key())
}

/// A document and its signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// What is in the `AlgorithmIdentifier` of the signature.
    pub(crate) algorithm: &'a [u8],
    pub(crate) bytes: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl Signed<'_> {
    /// Whether this key has signed it.
    pub(crate) fn is_by(&self, key: PublicKey<'_>) -> bool {
        ALGORITHMS
            .iter()
            .filter(|known| {
                known.public_key_alg_id().as_ref() == key.algorithm
                    && known.signature_alg_id().as_ref() == self.algorithm
            })
            .any(|known| known.verify_signature(key.key, self.bytes, self.signature).is_ok())
    }
}

/// How many signatures may be checked. Every one beyond is bad, and costs nothing.
#[derive(Debug)]
pub(crate) struct SignatureBudget {
    checks: usize,
    asked: AtomicUsize,
}

impl SignatureBudget {
    pub(crate) const fn new(checks: usize) -> Self {
        Self { checks, asked: AtomicUsize::new(0) }
    }

    /// The algorithms, which spend this budget.
    pub(crate) fn algorithms(&self) -> [Counted<'_>; COUNT] {
        ALGORITHMS.map(|algorithm| Counted { algorithm, budget: self })
    }

    /// Whether more checks were asked for than there are.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > self.checks
    }

    fn spend(&self) -> Result<(), InvalidSignature> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_overdrawn() { Err(InvalidSignature) } else { Ok(()) }
    }
}

/// An algorithm that spends a budget.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    algorithm: &'static dyn Algorithm,
    budget: &'a SignatureBudget,
}

impl<'a> Counted<'a> {
    pub(crate) fn as_algorithm(&self) -> &(dyn Algorithm + 'a) {
        self
    }
}

impl Algorithm for Counted<'_> {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.budget.spend()?;
        self.algorithm.verify_signature(public_key, message, signature)
    }
}
