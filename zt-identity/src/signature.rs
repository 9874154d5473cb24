//! Signatures on certificates: which algorithms count, and how many checks one chain is worth.
//!
//! Those of one list, without SHA-1 and without RSA below 2,048 bits; each pair of key and signature
//! algorithm is in it once, so that a signature is checked once. `ring` computes them unless another
//! library is handed over, as [`SignatureAlgorithms::among`].
//!
//! What is checked once, when it is loaded or first seen, is checked on `ring` whatever was handed
//! over: that a root has signed itself, and whose a revocation list is.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm as Algorithm, alg_id,
};
use webpki::ring;

use crate::certificate::{Certificate, PublicKey};
use crate::der::{self, Budget, DerError, Reader, tag};

const COUNT: usize = 14;

/// All that count.
const ALLOWED: [&dyn Algorithm; COUNT] = [
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

/// How long an RSA modulus may be, in bytes: 2,048 to 8,192 bits.
const MODULUS_LEN: std::ops::RangeInclusive<usize> = 256..=1024;

/// The algorithms by which the signatures of a chain are checked, and what computes them: `ring` by
/// default.
#[derive(Clone, Copy, Debug)]
pub struct SignatureAlgorithms {
    // INVARIANT: each is for a pair of key and signature algorithm of `ALLOWED`, which no other of
    // them is for; the first `len` count.
    algorithms: [&'static dyn Algorithm; COUNT],
    len: usize,
}

impl SignatureAlgorithms {
    /// All that are accepted, on `ring`.
    #[must_use]
    pub const fn ring() -> Self {
        Self { algorithms: ALLOWED, len: COUNT }
    }

    /// Those of `provided` that are accepted here, such as the `signature_verification_algorithms.all`
    /// of a `CryptoProvider` of rustls.
    ///
    /// ECDSA on P-256 or P-384 with SHA-256 or SHA-384, Ed25519, and RSA of 2,048 to 8,192 bits with
    /// SHA-256 or longer are accepted. What else is provided changes nothing, and what is not provided
    /// is refused, whatever `ring` could do. Of several for one pair of key and signature algorithm
    /// the first counts.
    #[must_use]
    pub fn among(provided: &[&'static dyn Algorithm]) -> Self {
        let mut among = Self { len: 0, ..Self::ring() };
        for known in ALLOWED {
            let found = provided.iter().find(|other| {
                known.public_key_alg_id() == other.public_key_alg_id()
                    && known.signature_alg_id() == other.signature_alg_id()
            });
            if let (Some(found), Some(place)) = (found, among.algorithms.get_mut(among.len)) {
                *place = *found;
                among.len = among.len.saturating_add(1);
            }
        }
        among
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none, so that no chain is believed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for SignatureAlgorithms {
    /// [`SignatureAlgorithms::ring`].
    fn default() -> Self {
        Self::ring()
    }
}

/// Whether signatures can be checked with the certificate's key.
pub(crate) fn key_is_supported(certificate: &Certificate<'_>) -> bool {
    let key = certificate.public_key().algorithm;
    ALLOWED.iter().any(|known| known.public_key_alg_id().as_ref() == key)
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
        ALLOWED
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

    /// The algorithms, which spend this budget; the first [`SignatureAlgorithms::len`] count.
    pub(crate) fn counting(&self, algorithms: &SignatureAlgorithms) -> [Counted<'_>; COUNT] {
        algorithms.algorithms.map(|algorithm| Counted { algorithm, budget: self })
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

/// An algorithm that spends a budget, and that computes with no key which `ring` would refuse.
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
        if self.algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION {
            check_rsa(public_key).map_err(|_| InvalidSignature)?;
        }
        self.algorithm.verify_signature(public_key, message, signature)
    }
}

/// RFC 8017 §A.1.1: `SEQUENCE { INTEGER modulus, INTEGER exponent }`, the exponent odd and more than
/// 1. Other libraries than `ring` may compute with less.
fn check_rsa(key: &[u8]) -> Result<(), DerError> {
    let budget = Budget::new(3);
    let mut outer = Reader::new(key, &budget);
    let mut integers = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let modulus = magnitude(integers.expect(tag::INTEGER)?.contents)?;
    let exponent = magnitude(integers.expect(tag::INTEGER)?.contents)?;
    integers.finish()?;
    let odd = exponent.last().is_some_and(|last| last % 2 == 1);
    if MODULUS_LEN.contains(&modulus.len()) && odd && exponent != [1] {
        Ok(())
    } else {
        Err(DerError::BadValue)
    }
}

/// The bytes of an integer that is positive.
fn magnitude(contents: &[u8]) -> Result<&[u8], DerError> {
    match der::integer(contents)? {
        [0x80..=0xff, ..] | [0x00] => Err(DerError::BadValue),
        [0x00, magnitude @ ..] | magnitude => Ok(magnitude),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes every signature for a good one.
    #[derive(Debug)]
    struct Believes(AlgorithmIdentifier, AlgorithmIdentifier);

    impl Algorithm for Believes {
        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            self.0
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            self.1
        }

        fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
            Ok(())
        }
    }

    static P256: Believes = Believes(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256);
    static P256_SHA512: Believes = Believes(alg_id::ECDSA_P256, alg_id::ECDSA_SHA512);
    static P521: Believes = Believes(alg_id::ECDSA_P521, alg_id::ECDSA_SHA256);
    static RSA_SHA1: Believes = Believes(
        alg_id::RSA_ENCRYPTION,
        // sha1WithRSAEncryption, and NULL.
        AlgorithmIdentifier::from_slice(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00"),
    );
    static RSA: Believes = Believes(alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256);

    fn first_believes(algorithms: &SignatureAlgorithms, key: &[u8]) -> bool {
        let budget = SignatureBudget::new(1);
        budget.counting(algorithms)[0].verify_signature(key, b"", b"").is_ok()
    }

    #[test]
    fn what_is_provided_and_not_accepted_is_not_among_the_algorithms() {
        assert!(SignatureAlgorithms::among(&[&P256_SHA512, &P521, &RSA_SHA1]).is_empty());
        assert!(SignatureAlgorithms::among(&[]).is_empty());
        assert_eq!(SignatureAlgorithms::among(&[&P521, &P256, ring::ED25519]).len(), 2);
        assert_eq!(SignatureAlgorithms::among(webpki::ALL_VERIFICATION_ALGS).len(), COUNT);
    }

    #[test]
    fn of_several_for_one_pair_the_first_counts_and_a_signature_is_checked_once() {
        let algorithms = SignatureAlgorithms::among(&[&P256, ring::ECDSA_P256_SHA256]);
        assert!(algorithms.len() == 1 && first_believes(&algorithms, b"no key"));
        let algorithms = SignatureAlgorithms::among(&[ring::ECDSA_P256_SHA256, &P256]);
        assert!(algorithms.len() == 1 && !first_believes(&algorithms, b"no key"));
    }

    /// An RSA key with a modulus of so many bytes.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let tlv = |tag: u8, contents: &[u8]| {
            let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
            let len = match (high, low) {
                (0, 0..=0x7f) => vec![low],
                (0, _) => vec![0x81, low],
                (_, _) => vec![0x82, high, low],
            };
            [&[tag], &len[..], contents].concat()
        };
        let integers = [tlv(tag::INTEGER, modulus), tlv(tag::INTEGER, exponent)].concat();
        tlv(tag::SEQUENCE, &integers)
    }

    #[test]
    fn rsa_keys_that_ring_would_refuse_are_refused_whatever_computes() {
        let modulus = |len: usize| [&[0x00, 0x80][..], &vec![0xff; len - 1]].concat();
        let believed = |key: &[u8]| first_believes(&SignatureAlgorithms::among(&[&RSA]), key);
        let f4 = &[1, 0, 1];
        assert!(believed(&rsa(&modulus(256), f4)) && believed(&rsa(&modulus(1024), &[3])));
        for len in [128, 255, 1025] {
            assert!(!believed(&rsa(&modulus(len), f4)), "{len} bytes");
        }
        for exponent in [&[1][..], &[2], &[0], &[0x83], &[0, 1], &[]] {
            assert!(!believed(&rsa(&modulus(256), exponent)), "{exponent:?}");
        }
        assert!(!believed(&rsa(&vec![0x80; 256], f4)), "it is negative");
        assert!(!believed(b"") && !believed(&[&rsa(&modulus(256), f4)[..], b"x"].concat()));
    }
}
