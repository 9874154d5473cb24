//! The allow-list of signature algorithms, and the one door to cryptography.
//!
//! A signature counts when, in this order:
//!
//! 1. its algorithm's name is on the list, letter for letter; `none` and `HS*` are not (RFC 8725
//!    §3.1, T-04);
//! 2. the key is sound: RSA with 2048 to 8192 bits, an odd exponent 3 ≤ e < 2³³ and no sign of
//!    ROCA, a point on P-256 or P-384, 32 bytes for Ed25519 (T-08);
//! 3. the key is of the type that the algorithm signs with (RFC 8725 §3.1, T-04);
//! 4. it verifies; an ECDSA signature is r and s at their fixed length, 1 ≤ r, s < n (RFC 7518
//!    §3.4).
//!
//! Everything here is [`ring`], with one exception: it has no P-521, so ES512 is refused by name, or,
//! with the feature `aws-lc-rs`, verified by AWS-LC. The feature changes nothing about the other
//! algorithms: what a signature is worth does not depend on what else was built in.

use std::fmt;

use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{agreement, digest, hmac, rand};

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey};
use zt_core::fault::Fault;

use crate::excerpt::excerpt;

/// A signature algorithm of JWS that is accepted (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    #[cfg(feature = "aws-lc-rs")]
    Es512,
    /// Ed25519, under both of its names: `EdDSA` (RFC 8037) and `Ed25519` (RFC 9864).
    EdDsa,
}

#[cfg(feature = "aws-lc-rs")]
static P521: &EcdsaVerificationAlgorithm = &ECDSA_P521_SHA512_FIXED;

/// How the signatures of an algorithm are checked.
enum Scheme {
    Rsa(&'static RsaParameters),
    Point(&'static dyn VerificationAlgorithm),
    #[cfg(feature = "aws-lc-rs")]
    P521,
}

impl Algorithm {
    /// Every algorithm of the list.
    pub const ALL: &'static [Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        #[cfg(feature = "aws-lc-rs")]
        Self::Es512,
        Self::EdDsa,
    ];

    /// The algorithm that `alg` names.
    ///
    /// # Errors
    ///
    /// [`AlgorithmError`] for every name that is not on the list: `none`, `HS256`, another case,
    /// and `ES512` without the feature `aws-lc-rs`.
    pub fn from_name(alg: &str) -> Result<Self, AlgorithmError> {
        match alg {
            "RS256" => Ok(Self::Rs256),
            "RS384" => Ok(Self::Rs384),
            "RS512" => Ok(Self::Rs512),
            "PS256" => Ok(Self::Ps256),
            "PS384" => Ok(Self::Ps384),
            "PS512" => Ok(Self::Ps512),
            "ES256" => Ok(Self::Es256),
            "ES384" => Ok(Self::Es384),
            #[cfg(feature = "aws-lc-rs")]
            "ES512" => Ok(Self::Es512),
            "EdDSA" | "Ed25519" => Ok(Self::EdDsa),
            other => Err(AlgorithmError { name: excerpt(other) }),
        }
    }

    /// Its name in a JWS header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            #[cfg(feature = "aws-lc-rs")]
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// All of its names in a JWS header, each of which is accepted; the first is [`Algorithm::name`].
    /// Only `EdDSA` has two: RFC 9864 gives it another, `Ed25519`.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Rs256 => &["RS256"],
            Self::Rs384 => &["RS384"],
            Self::Rs512 => &["RS512"],
            Self::Ps256 => &["PS256"],
            Self::Ps384 => &["PS384"],
            Self::Ps512 => &["PS512"],
            Self::Es256 => &["ES256"],
            Self::Es384 => &["ES384"],
            #[cfg(feature = "aws-lc-rs")]
            Self::Es512 => &["ES512"],
            Self::EdDsa => &["EdDSA", "Ed25519"],
        }
    }

    /// The type of key that it signs with.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => KeyType::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyType::Rsa,
            Self::Es256 => KeyType::P256,
            Self::Es384 => KeyType::P384,
            #[cfg(feature = "aws-lc-rs")]
            Self::Es512 => KeyType::P521,
            Self::EdDsa => KeyType::Ed25519,
        }
    }

    /// The digest of `data` by the hash function of this algorithm; for Ed25519 that is SHA-512.
    pub(crate) fn digest(self, data: &[u8]) -> digest::Digest {
        let hash = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &digest::SHA384,
            Self::Rs512 | Self::Ps512 | Self::EdDsa => &digest::SHA512,
            #[cfg(feature = "aws-lc-rs")]
            Self::Es512 => &digest::SHA512,
        };
        digest::digest(hash, data)
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Scheme::Point(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Scheme::Point(&signature::ECDSA_P384_SHA384_FIXED),
            #[cfg(feature = "aws-lc-rs")]
            Self::Es512 => Scheme::P521,
            Self::EdDsa => Scheme::Point(&signature::ED25519),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not on the list of algorithms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature algorithm {name:?} is not allowed")]
#[non_exhaustive]
pub struct AlgorithmError {
    /// The name, cut.
    pub name: String,
}

impl AlgorithmError {
    /// Whose fault it is: that of whoever named the algorithm.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

/// What a public key is of: `kty`, and `crv` where there are curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// The elliptic curve P-256.
    P256,
    /// The elliptic curve P-384.
    P384,
    /// The elliptic curve P-521.
    #[cfg(feature = "aws-lc-rs")]
    P521,
    /// The Edwards curve Ed25519.
    Ed25519,
}

impl KeyType {
    const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            #[cfg(feature = "aws-lc-rs")]
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key that is sound, by rule 2 above.
#[derive(Clone)]
pub struct PublicKey(Key);

#[derive(Clone)]
enum Key {
    // INVARIANT: both integers passed `check_modulus` and `check_exponent`.
    Rsa(RsaPublicKeyComponents<Box<[u8]>>),
    // INVARIANT: P-256, P-384, P-521: 0x04, x, y of a point on the curve, unless it is for one
    // signature only; Ed25519: 32 bytes.
    Point { key_type: KeyType, bytes: Box<[u8]> },
}

impl PublicKey {
    /// An RSA key: modulus and public exponent, big-endian, without a leading zero.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when one of them is out of range.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        check_modulus(n)?;
        check_exponent(e)?;
        check_primes(n)?;
        Ok(Self(Key::Rsa(RsaPublicKeyComponents { n: n.into(), e: e.into() })))
    }

    /// A point on P-256 with these coordinates of 32 bytes each.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a coordinate has another length or the point is not on the curve.
    pub fn p256(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let on_curve = |point: &[u8]| is_on_curve(&agreement::ECDH_P256, point);
        Self::point(KeyType::P256, 32, x, y, on_curve)
    }

    /// A point on P-384 with these coordinates of 48 bytes each.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a coordinate has another length or the point is not on the curve.
    pub fn p384(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let on_curve = |point: &[u8]| is_on_curve(&agreement::ECDH_P384, point);
        Self::point(KeyType::P384, 48, x, y, on_curve)
    }

    /// A point on P-521 with these coordinates of 66 bytes each.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when a coordinate has another length or the point is not on the curve.
    #[cfg(feature = "aws-lc-rs")]
    pub fn p521(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let on_curve = |point: &[u8]| ParsedPublicKey::new(P521, point).is_ok();
        Self::point(KeyType::P521, 66, x, y, on_curve)
    }

    fn point(
        key_type: KeyType,
        len: usize,
        x: &[u8],
        y: &[u8],
        on_curve: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, KeyError> {
        let bytes = uncompressed(key_type, len, x, y)?;
        if on_curve(&bytes) {
            Ok(Self(Key::Point { key_type, bytes }))
        } else {
            Err(KeyError::NotOnCurve { key_type })
        }
    }

    /// A point on P-256 to verify one signature with. Whether it lies on the curve is looked at
    /// there and not here, which costs as much as a signature: nothing verifies with a point that
    /// does not.
    pub(crate) fn p256_for_one_signature(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let key_type = KeyType::P256;
        Ok(Self(Key::Point { key_type, bytes: uncompressed(key_type, 32, x, y)? }))
    }

    /// A point on P-384, as [`PublicKey::p256_for_one_signature`].
    pub(crate) fn p384_for_one_signature(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let key_type = KeyType::P384;
        Ok(Self(Key::Point { key_type, bytes: uncompressed(key_type, 48, x, y)? }))
    }

    /// An Ed25519 key of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`] when it has another length.
    pub fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let key_type = KeyType::Ed25519;
        if x.len() != 32 {
            return Err(KeyError::Length { key_type, len: x.len(), expected: 32 });
        }
        Ok(Self(Key::Point { key_type, bytes: x.into() }))
    }

    /// What it is a key of.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match &self.0 {
            Key::Rsa(_) => KeyType::Rsa,
            Key::Point { key_type, .. } => *key_type,
        }
    }

    /// Whether the owner of this key signed `message`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the key is of another type than the algorithm, or when the
    /// signature does not verify; why it does not is nobody's business.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let key_type = self.key_type();
        if algorithm.key_type() != key_type {
            return Err(SignatureError::WrongKeyType { algorithm, key_type });
        }
        let verified = match (&self.0, algorithm.scheme()) {
            (Key::Rsa(key), Scheme::Rsa(parameters)) => key.verify(parameters, message, signature),
            (Key::Point { bytes, .. }, Scheme::Point(scheme)) => {
                UnparsedPublicKey::new(scheme, bytes).verify(message, signature)
            }
            #[cfg(feature = "aws-lc-rs")]
            (Key::Point { bytes, .. }, Scheme::P521) => {
                let verified = aws_lc_rs::signature::UnparsedPublicKey::new(P521, bytes)
                    .verify(message, signature);
                verified.map_err(|aws_lc_rs::error::Unspecified| ring::error::Unspecified)
            }
            #[cfg(feature = "aws-lc-rs")]
            (Key::Rsa(_), Scheme::P521) => Err(ring::error::Unspecified),
            (Key::Rsa(_), Scheme::Point(_)) | (Key::Point { .. }, Scheme::Rsa(_)) => {
                Err(ring::error::Unspecified)
            }
        };
        verified.map_err(|ring::error::Unspecified| SignatureError::Invalid)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.key_type()).finish()
    }
}

/// SEC 1 §2.3.3.
fn uncompressed(key_type: KeyType, len: usize, x: &[u8], y: &[u8]) -> Result<Box<[u8]>, KeyError> {
    for coordinate in [x, y] {
        if coordinate.len() != len {
            return Err(KeyError::Length { key_type, len: coordinate.len(), expected: len });
        }
    }
    Ok([&[0x04], x, y].concat().into())
}

/// 2048 to 8192 bits, odd, and spelled without a leading zero (RFC 7518 §3.3, §6.3.1.1; T-08).
fn check_modulus(n: &[u8]) -> Result<(), KeyError> {
    let first = n.first().copied().unwrap_or(0);
    let bits = n.len().saturating_mul(8).saturating_sub(leading_zeros(first));
    if first == 0 || n.last().is_none_or(|last| last & 1 == 0) {
        return Err(KeyError::Modulus);
    }
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::ModulusSize { bits });
    }
    Ok(())
}

/// The primes by which a modulus of ROCA is known (CVE-2017-15361). Modulo each of them it is a
/// power of 65537, as its two factors are; of sound moduli one in 2²⁷ is.
const ROCA_PRIMES: [u32; 17] =
    [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// Whoever has such a public key can compute the private one, and sign as its owner.
fn check_primes(n: &[u8]) -> Result<(), KeyError> {
    let remainder = |value: u32, prime| value.checked_rem(prime).unwrap_or_default();
    let is_power = |prime: &u32| {
        let modulus = n.iter().fold(0u32, |modulus, byte| {
            remainder(modulus.wrapping_shl(8) | u32::from(*byte), *prime)
        });
        let next = |power: &u32| Some(remainder(power.wrapping_mul(65_537), *prime));
        let mut powers = std::iter::successors(Some(1), next).take(157);
        powers.any(|power| power == modulus)
    };
    if ROCA_PRIMES.iter().all(is_power) { Err(KeyError::Roca) } else { Ok(()) }
}

fn leading_zeros(byte: u8) -> usize {
    usize::try_from(byte.leading_zeros()).unwrap_or(8)
}

/// Odd and 3 ≤ e < 2³³: as far as `ring` computes, which is farther than anyone signs (T-08).
fn check_exponent(e: &[u8]) -> Result<(), KeyError> {
    let sized = (1..=5).contains(&e.len()) && e.first().is_some_and(|first| *first != 0);
    let value = e.iter().fold(0u64, |value, byte| value.wrapping_shl(8) | u64::from(*byte));
    if sized && value & 1 == 1 && (3..1 << 33).contains(&value) {
        Ok(())
    } else {
        Err(KeyError::Exponent)
    }
}

/// `ring` tells whether a point lies on its curve only when it computes with it. An agreement with
/// a key of ours does nothing else that could fail, and its result is thrown away.
fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let ours = agreement::EphemeralPrivateKey::generate(curve, &rand::SystemRandom::new());
    let theirs = agreement::UnparsedPublicKey::new(curve, point);
    ours.is_ok_and(|ours| agreement::agree_ephemeral(ours, &theirs, |_| ()).is_ok())
}

/// Why a public key is not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The modulus is even or begins with a zero.
    #[error("the modulus is even or begins with a zero")]
    Modulus,
    /// The modulus is too small to be safe or too large to be verified in time.
    #[error("the modulus has {bits} bits, and 2048 to 8192 are accepted")]
    ModulusSize {
        /// Its size in bits.
        bits: usize,
    },
    /// The public exponent is even, too small or too large.
    #[error("the public exponent is not odd and between 3 and 2^33")]
    Exponent,
    /// The modulus has the fingerprint of ROCA (CVE-2017-15361): its factors can be computed.
    #[error("the modulus has the fingerprint of ROCA: its private key can be computed")]
    Roca,
    /// A coordinate or key has another length than its curve demands.
    #[error("{len} bytes, where {key_type} has {expected}")]
    Length {
        /// The curve.
        key_type: KeyType,
        /// The length found, in bytes.
        len: usize,
        /// The length demanded, in bytes.
        expected: usize,
    },
    /// The point is not on its curve.
    #[error("the point is not on {key_type}")]
    NotOnCurve {
        /// The curve.
        key_type: KeyType,
    },
}

impl KeyError {
    /// Whose fault it is: that of the authority that published the key.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The algorithm needs a key of another type.
    #[error("{algorithm} cannot be verified with a key of {key_type}")]
    WrongKeyType {
        /// The algorithm of the signature.
        algorithm: Algorithm,
        /// The type of the key.
        key_type: KeyType,
    },
    /// The key is published for another algorithm only.
    #[error("the key is for {pinned} and the signature is {algorithm}")]
    WrongAlgorithm {
        /// The algorithm of the signature.
        algorithm: Algorithm,
        /// The algorithm that the key is for.
        pinned: Algorithm,
    },
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Invalid,
}

impl SignatureError {
    /// Whose fault it is: that of whoever sent the signature.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

/// The SHA-256 digest of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    digest
}

/// The SHA-256 digest of several parts, none of which runs into the next.
pub(crate) fn sha256_of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A key of HMAC-SHA256, for names that nobody else can compute.
#[derive(Clone)]
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// One that this process makes up.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map(Self)
            .map_err(|ring::error::Unspecified| NoRandomness)
    }

    pub(crate) fn mac(&self, data: &[u8]) -> [u8; 32] {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.0, data).as_ref());
        mac
    }
}

/// 256 bits that nobody can guess, as base64url.
#[cfg(feature = "http")]
pub(crate) fn random_text() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut bytes)
        .map_err(|ring::error::Unspecified| NoRandomness)?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes))
}

/// A number that nobody can foretell, or 0 where the operating system gives out no randomness.
#[cfg(any(feature = "http", feature = "workload-api"))]
pub(crate) fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    let random = rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut bytes);
    random.map_or(0, |()| u16::from_le_bytes(bytes))
}

/// The operating system gives out no randomness, so there can be no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives out no randomness")]
#[non_exhaustive]
pub struct NoRandomness;

impl NoRandomness {
    /// Whose fault it is: that of where the program runs, found at start-up.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

    use super::*;

    /// n of P-256, big-endian.
    const P256_ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];

    fn p256() -> (PublicKey, Vec<u8>, [u8; 64]) {
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let key = PublicKey::p256(&point[1..33], &point[33..]).unwrap();
        let signature = pair.sign(&random, b"message").unwrap();
        (key, point.to_vec(), signature.as_ref().try_into().unwrap())
    }

    fn modulus(bytes: usize, first: u8, last: u8) -> Vec<u8> {
        let mut n = vec![0x55; bytes];
        n[0] = first;
        n[bytes.saturating_sub(1)] = last;
        n
    }

    #[test]
    fn every_algorithm_is_found_by_its_name_and_no_other_is() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Ok(*algorithm));
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.names().first(), Some(&algorithm.name()));
            for name in algorithm.names() {
                assert_eq!(Algorithm::from_name(name), Ok(*algorithm));
            }
        }
        assert_eq!(Algorithm::EdDsa.names(), ["EdDSA", "Ed25519"]);
        for name in [
            "none", "None", "", "HS256", "HS384", "HS512", "ES521", "ES256K", "rs256", "Ed448",
            "RS256 ",
        ] {
            assert_eq!(Algorithm::from_name(name), Err(AlgorithmError { name: name.into() }));
        }
    }

    #[test]
    fn es512_is_an_algorithm_where_aws_lc_verifies_it_and_only_there() {
        assert_eq!(Algorithm::from_name("ES512").is_ok(), cfg!(feature = "aws-lc-rs"));
    }

    #[cfg(feature = "aws-lc-rs")]
    mod p521 {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

        use super::*;

        /// n of P-521, big-endian.
        fn order() -> Vec<u8> {
            let mut order = vec![0x01];
            order.extend([0xff; 32]);
            order.extend([
                0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b, 0x7f, 0xcc, 0x01, 0x48, 0xf7,
                0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c, 0x47, 0xae, 0xbb, 0x6f, 0xb7,
                0x1e, 0x91, 0x38, 0x64, 0x09,
            ]);
            order
        }

        fn p521() -> (PublicKey, Vec<u8>, Vec<u8>) {
            let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
            let point = pair.public_key().as_ref().to_vec();
            let key = PublicKey::p521(&point[1..67], &point[67..]).unwrap();
            let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
            (key, point, signature.as_ref().to_vec())
        }

        #[test]
        fn es512_verifies_what_its_key_signed_and_nothing_else() {
            let (key, _, signature) = p521();
            assert_eq!(key.key_type(), KeyType::P521);
            assert_eq!(key.verify(Algorithm::Es512, b"message", &signature), Ok(()));
            assert!(key.verify(Algorithm::Es512, b"massage", &signature).is_err());
            assert!(p521().0.verify(Algorithm::Es512, b"message", &signature).is_err());
            for other in Algorithm::ALL.iter().filter(|other| **other != Algorithm::Es512) {
                let refused = key.verify(*other, b"message", &signature);
                assert!(matches!(refused, Err(SignatureError::WrongKeyType { .. })));
            }
        }

        #[test]
        fn r_and_s_on_p521_have_their_length_and_lie_between_0_and_n() {
            let (key, _, signature) = p521();
            let (r, s) = signature.split_at(66);
            let order = order();
            assert_eq!(order.len(), 66);
            for bad in [
                [&[0; 66], s].concat(),
                [r, &[0; 66]].concat(),
                [&*order, s].concat(),
                [r, &order].concat(),
                [&[0xff; 66], s].concat(),
                vec![0; 132],
                Vec::new(),
                signature[..131].to_vec(),
                [&signature[..], &[0]].concat(),
                [&[0], r, &[0], s].concat(),
            ] {
                let refused = key.verify(Algorithm::Es512, b"message", &bad);
                assert_eq!(refused, Err(SignatureError::Invalid), "{bad:?}");
            }
        }

        #[test]
        fn a_point_lies_on_p521_and_has_its_length() {
            let (_, point, _) = p521();
            let (x, mut y) = (point[1..67].to_vec(), point[67..].to_vec());
            y[65] ^= 1;
            let key_type = KeyType::P521;
            let off = Err(KeyError::NotOnCurve { key_type });
            assert_eq!(PublicKey::p521(&x, &y).map(|_| ()), off);
            assert_eq!(PublicKey::p521(&[0; 66], &[0; 66]).map(|_| ()), off);
            let short = Err(KeyError::Length { key_type, len: 65, expected: 66 });
            assert_eq!(PublicKey::p521(&x[1..], &y).map(|_| ()), short);
        }
    }

    #[test]
    fn an_rsa_modulus_has_2048_to_8192_bits_and_is_odd() {
        let rsa = |n: &[u8]| PublicKey::rsa(n, &[1, 0, 1]).map(|_| ());
        assert_eq!(rsa(&modulus(256, 0x80, 1)), Ok(()));
        assert_eq!(rsa(&modulus(1024, 0xff, 1)), Ok(()));
        assert_eq!(rsa(&modulus(256, 0x7f, 1)), Err(KeyError::ModulusSize { bits: 2047 }));
        assert_eq!(rsa(&modulus(1025, 0x01, 1)), Err(KeyError::ModulusSize { bits: 8193 }));
        assert_eq!(rsa(&modulus(256, 0x80, 2)), Err(KeyError::Modulus));
        assert_eq!(rsa(&modulus(257, 0x00, 1)), Err(KeyError::Modulus));
        assert_eq!(rsa(&[]), Err(KeyError::Modulus));
    }

    #[test]
    fn an_rsa_exponent_is_odd_and_from_3_up_to_2_to_the_33() {
        let rsa = |e: &[u8]| PublicKey::rsa(&modulus(256, 0x80, 1), e).map(|_| ());
        for good in [&[3][..], &[1, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(rsa(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[4],
            &[0, 3],
            &[2, 0, 0, 0, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 3],
        ] {
            assert_eq!(rsa(bad), Err(KeyError::Exponent), "{bad:?}");
        }
    }

    /// A modulus that is 1, a power of 65537, modulo every prime that ROCA is known by: each is a
    /// factor of what is added to 1, unless it is `but`.
    fn roca_modulus(but: u32) -> Vec<u8> {
        let primes = ROCA_PRIMES.iter().filter(|prime| **prime != but);
        let product: u128 = primes.map(|prime| u128::from(*prime)).product();
        let product = product << product.leading_zeros();
        [&product.to_be_bytes()[..], &[0; 239], &[1]].concat()
    }

    #[test]
    fn a_modulus_whose_factors_can_be_computed_is_refused() {
        let rsa = |n: &[u8]| PublicKey::rsa(n, &[1, 0, 1]).map(|_| ());
        assert_eq!(rsa(&roca_modulus(0)), Err(KeyError::Roca));
        // One prime that says otherwise is enough.
        assert!(ROCA_PRIMES.iter().any(|but| rsa(&roca_modulus(*but)).is_ok()));
        assert_eq!(rsa(&modulus(256, 0x80, 1)), Ok(()));
    }

    #[test]
    fn a_coordinate_has_the_length_of_its_curve() {
        let (_, point, _) = p256();
        let (x, y) = (&point[1..33], &point[33..]);
        let length = |key_type, len, expected| Err(KeyError::Length { key_type, len, expected });
        let padded = [&[0], x].concat();
        assert_eq!(PublicKey::p256(&padded, y).map(|_| ()), length(KeyType::P256, 33, 32));
        assert_eq!(PublicKey::p256(x, &y[1..]).map(|_| ()), length(KeyType::P256, 31, 32));
        assert_eq!(PublicKey::p384(x, y).map(|_| ()), length(KeyType::P384, 32, 48));
        assert_eq!(PublicKey::ed25519(&[7; 31]).map(|_| ()), length(KeyType::Ed25519, 31, 32));
    }

    #[test]
    fn a_point_lies_on_its_curve() {
        let (_, point, _) = p256();
        let (x, mut y) = (point[1..33].to_vec(), point[33..].to_vec());
        y[31] ^= 1;
        let error = KeyError::NotOnCurve { key_type: KeyType::P256 };
        assert_eq!(PublicKey::p256(&x, &y).unwrap_err(), error);
        assert_eq!(PublicKey::p256(&[0; 32], &[0; 32]).unwrap_err(), error);
        let error = KeyError::NotOnCurve { key_type: KeyType::P384 };
        assert_eq!(PublicKey::p384(&[1; 48], &[1; 48]).unwrap_err(), error);
    }

    #[test]
    fn r_and_s_of_ecdsa_have_their_length_and_lie_between_0_and_n() {
        let (key, _, signature) = p256();
        let verify = |signature: &[u8]| key.verify(Algorithm::Es256, b"message", signature);
        assert_eq!(verify(&signature), Ok(()));
        let (r, s) = signature.split_at(32);
        for bad in [
            [&[0; 32], s].concat(),
            [r, &[0; 32]].concat(),
            [&P256_ORDER, s].concat(),
            [r, &P256_ORDER].concat(),
            [&[0xff; 32], s].concat(),
            vec![0; 64],
            Vec::new(),
            signature[..63].to_vec(),
            [&signature[..], &[0]].concat(),
            [&[0], r, &[0], s].concat(),
        ] {
            assert_eq!(verify(&bad), Err(SignatureError::Invalid), "{bad:?}");
        }
        assert_eq!(
            key.verify(Algorithm::Es256, b"massage", &signature),
            Err(SignatureError::Invalid)
        );
    }

    #[test]
    fn an_algorithm_needs_a_key_of_its_type() {
        let (key, _, signature) = p256();
        for algorithm in Algorithm::ALL.iter().filter(|other| **other != Algorithm::Es256) {
            assert_eq!(
                key.verify(*algorithm, b"message", &signature),
                Err(SignatureError::WrongKeyType {
                    algorithm: *algorithm,
                    key_type: KeyType::P256
                })
            );
        }
    }

    #[test]
    fn a_point_that_is_not_on_its_curve_verifies_nothing() {
        let (_, point, signature) = p256();
        let (x, mut y) = (point[1..33].to_vec(), point[33..].to_vec());
        let good = PublicKey::p256_for_one_signature(&x, &y).unwrap();
        assert_eq!(good.verify(Algorithm::Es256, b"message", &signature), Ok(()));
        y[31] ^= 1;
        for (x, y) in [(&x[..], &y[..]), (&[0; 32], &[0; 32]), (&[0xff; 32], &[0xff; 32])] {
            let bad = PublicKey::p256_for_one_signature(x, y).unwrap();
            let verified = bad.verify(Algorithm::Es256, b"message", &signature);
            assert_eq!(verified, Err(SignatureError::Invalid));
        }
        let bad = PublicKey::p384_for_one_signature(&[1; 48], &[1; 48]).unwrap();
        let verified = bad.verify(Algorithm::Es384, b"message", &[1; 96]);
        assert_eq!(verified, Err(SignatureError::Invalid));
    }

    #[test]
    fn ed25519_verifies_what_its_key_signed() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
        let signature = pair.sign(b"message");
        assert_eq!(key.verify(Algorithm::EdDsa, b"message", signature.as_ref()), Ok(()));
        assert!(key.verify(Algorithm::EdDsa, b"massage", signature.as_ref()).is_err());
    }
}
