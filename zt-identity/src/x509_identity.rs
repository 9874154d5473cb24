//! A workload's own X.509-SVID: its chain and the private key of its leaf.
//!
//! [`X509Identity::new`] accepts a chain, leaf first, and a key when, in this order:
//!
//! 1. the chain is within the limits that peers hold it to
//!    ([`X509SvidVerifier`](crate::x509_svid::X509SvidVerifier));
//! 2. the leaf has the form of a workload's ([`Leaf`]) and every other certificate that of an
//!    authority's ([`Issuer`]), with nothing behind them;
//! 3. the key is the leaf's (X509-SVID §6.1): ECDSA on P-256 or P-384, Ed25519, or RSA of 2,048 to
//!    4,096 bits, in PKCS#8, SEC 1 or PKCS#1, not encrypted.
//!
//! Whether anyone believes it is for the peers to say, and whether it counts now is a matter of
//! [`X509Identity::validity`].

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, alg_id};
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Validity;

use crate::certificate::{self, CertificateError, PublicKey};
use crate::der::{self, Budget, Reader, tag};
use crate::pem::{self, PemError};
use crate::profile::{Issuer, IssuerError, KeyUsageCriticality, Leaf, LeafError};
use crate::x509_svid::{X509SvidError, within_limits};

/// A workload's own chain and key. A clone shares them; the key is wiped with the last one.
///
/// The key that TLS works with is a copy of it, in the memory of the TLS library, which is not
/// wiped.
#[derive(Clone)]
pub struct X509Identity(Arc<Parts>);

struct Parts {
    id: SpiffeId,
    validity: Validity,
    chain: Vec<CertificateDer<'static>>,
    key: Secret<PrivateKeyDer<'static>>,
}

impl X509Identity {
    /// Takes a chain, leaf first, and the private key of its leaf.
    ///
    /// The key usage of the leaf may be uncritical: that is for peers to judge.
    ///
    /// # Errors
    ///
    /// [`X509IdentityError`] names the first rule that is broken.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, X509IdentityError> {
        Self::of(chain, Secret::new(key))
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: Secret<PrivateKeyDer<'static>>,
    ) -> Result<Self, X509IdentityError> {
        let (first, others) = within_limits(&chain)?;
        let leaf = Leaf::read(first, KeyUsageCriticality::Tolerate)?;
        for (certificate, position) in others.iter().zip(1..) {
            Issuer::read(certificate, leaf.id().trust_domain())
                .map_err(|source| X509IdentityError::Intermediate { position, source })?;
        }
        key_is_of(&key, leaf.certificate().public_key())?;
        let (id, validity) = (leaf.id().to_owned(), leaf.validity());
        Ok(Self(Arc::new(Parts { id, validity, chain, key })))
    }

    /// Reads a chain, leaf first, and its key from PEM. Both may be in one file, which is then
    /// passed twice.
    ///
    /// # Errors
    ///
    /// [`X509IdentityError`], as [`X509Identity::new`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, X509IdentityError> {
        Self::of(pem::chain(chain)?, pem::private_key(key)?)
    }

    /// Reads a chain of DER certificates, one behind the other and leaf first, and its key, as the
    /// Workload API delivers them (SPIFFE Workload API §5.2.1).
    ///
    /// # Errors
    ///
    /// [`X509IdentityError`], as [`X509Identity::new`].
    pub fn from_der(chain: &[u8], key: &[u8]) -> Result<Self, X509IdentityError> {
        let chain = certificate::separate(chain)?;
        let key = PrivateKeyDer::try_from(key).map_err(|_| X509IdentityError::Key)?.clone_key();
        Self::new(chain.into_iter().map(CertificateDer::into_owned).collect(), key)
    }

    /// The SPIFFE ID.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// When the leaf counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// The private key of the leaf.
    #[must_use]
    pub fn key(&self) -> &Secret<PrivateKeyDer<'static>> {
        &self.0.key
    }
}

impl PartialEq for X509Identity {
    /// By the chain: the key follows from its leaf.
    fn eq(&self, other: &Self) -> bool {
        self.0.chain == other.0.chain
    }
}

impl Eq for X509Identity {}

impl fmt::Debug for X509Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Identity")
            .field("id", &self.0.id)
            .field("validity", &self.0.validity)
            .field("certificates", &self.0.chain.len())
            .field("key", &self.0.key)
            .finish()
    }
}

/// the key's public half is the leaf's.
fn key_is_of(
    key: &Secret<PrivateKeyDer<'static>>,
    leaf: PublicKey<'_>,
) -> Result<(), X509IdentityError> {
    let key = key.expose();
    let is = |known: AlgorithmIdentifier| leaf.algorithm == known.as_ref();
    let matches = if is(alg_id::ECDSA_P256) {
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, key, leaf.key)?
    } else if is(alg_id::ECDSA_P384) {
        ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, key, leaf.key)?
    } else if is(alg_id::ED25519) {
        ed25519(key)?.public_key().as_ref() == leaf.key
    } else if is(alg_id::RSA_ENCRYPTION) {
        rsa(key)?.public_key().as_ref() == leaf.key
    } else {
        return Err(X509IdentityError::UnsupportedKey);
    };
    if matches { Ok(()) } else { Err(X509IdentityError::KeyMismatch) }
}

fn ecdsa(
    algorithm: &'static EcdsaSigningAlgorithm,
    key: &PrivateKeyDer<'_>,
    public_key: &[u8],
) -> Result<bool, X509IdentityError> {
    match key {
        PrivateKeyDer::Pkcs8(pkcs8) => {
            let pair =
                EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.secret_pkcs8_der(), &SystemRandom::new());
            pair.map(|pair| pair.public_key().as_ref() == public_key)
                .map_err(|_| X509IdentityError::Key)
        }
        PrivateKeyDer::Sec1(sec1) => {
            let private = sec1_private_key(sec1.secret_sec1_der())?;
            let pair = EcdsaKeyPair::from_private_key_and_public_key(
                algorithm,
                private,
                public_key,
                &SystemRandom::new(),
            );
            Ok(pair.is_ok())
        }
        // A form that a key of this algorithm does not have.
        PrivateKeyDer::Pkcs1(_) | _ => Err(X509IdentityError::Key),
    }
}

/// RFC 5915 §3: `SEQUENCE { INTEGER 1, OCTET STRING, [0] curve, [1] public key }`.
fn sec1_private_key(der: &[u8]) -> Result<&[u8], X509IdentityError> {
    let budget = Budget::new(16);
    let read = || {
        let mut outer = Reader::new(der, &budget);
        let mut parts = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let version = der::integer(parts.expect(tag::INTEGER)?.contents)?;
        let private = parts.expect(tag::OCTET_STRING)?.contents;
        parts.optional(tag::context_constructed(0))?;
        parts.optional(tag::context_constructed(1))?;
        parts.finish()?;
        if version == [1] { Ok(private) } else { Err(der::DerError::BadValue) }
    };
    read().map_err(|_| X509IdentityError::Key)
}

fn ed25519(key: &PrivateKeyDer<'_>) -> Result<Ed25519KeyPair, X509IdentityError> {
    let PrivateKeyDer::Pkcs8(pkcs8) = key else { return Err(X509IdentityError::Key) };
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.secret_pkcs8_der())
        .map_err(|_| X509IdentityError::Key)
}

fn rsa(key: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, X509IdentityError> {
    let pair = match key {
        PrivateKeyDer::Pkcs8(pkcs8) => RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(pkcs1) => RsaKeyPair::from_der(pkcs1.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(_) | _ => return Err(X509IdentityError::Key),
    };
    pair.map_err(|_| X509IdentityError::Key)
}

/// Why a chain and a key are no identity. Nothing of the key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509IdentityError {
    /// The text is not PEM of certificates and a key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The bytes are not certificates one behind the other.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The chain is outside of the limits that peers hold it to.
    #[error(transparent)]
    Chain(#[from] X509SvidError),
    /// The first certificate is not a workload's.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// Another certificate of the chain is not an authority's of the leaf's trust domain.
    #[error("certificate {position} of the chain cannot be an issuer")]
    Intermediate {
        /// Where it stands; the leaf has 0.
        position: usize,
        /// Why it cannot.
        source: IssuerError,
    },
    /// The private key cannot be read, or not as a key of the leaf's algorithm.
    #[error("the private key cannot be read as one of the leaf's algorithm")]
    Key,
    /// the private key is another's.
    #[error("the private key is not the one of the leaf certificate")]
    KeyMismatch,
    /// The leaf's key is of an algorithm that is not supported.
    #[error("the key of the leaf certificate is of an algorithm that is not supported")]
    UnsupportedKey,
}

impl X509IdentityError {
    /// Whose fault it is: that of whoever provides this program with its identity.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}
