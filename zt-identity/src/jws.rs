//! Signed tokens in compact form (RFC 7515).
//!
//! [`Jws::parse`] accepts the header of a token when, in this order:
//!
//! 1. the token has at most [`MAX_LEN`] bytes and exactly three parts (RFC 7515 §7.1, T-01);
//! 2. the header is canonical base64url of strict JSON (T-02, T-03);
//! 3. it has no `crit`, `b64` or `zip`: an extension that must be understood is refused, a payload
//!    that is encoded differently too (RFC 7515 §4.1.11, RFC 7797, T-05);
//! 4. `alg` is one that the profile allows (RFC 8725 §3.1, T-04);
//! 5. `typ` is what the profile expects, letter for letter (RFC 8725 §3.11, T-07);
//! 6. `kid`, where present, is a text of at most [`MAX_KID_LEN`] bytes (T-06).
//!
//! [`Jws::verify`] then yields the payload, when the signature verifies under the given key.
//! Keys that a header brings along (`jwk`, `jku`, `x5u`, `x5c`) are ignored and never fetched.

use zt_core::fault::Fault;

use crate::algorithm::{Algorithm, AlgorithmError, SignatureError};
use crate::base64url;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object};
use crate::jwk::{Jwk, MAX_KID_LEN};

/// The longest token that is read, in bytes; header lines of HTTP servers end there or before.
pub const MAX_LEN: usize = 16 * 1024;

const REFUSED_HEADERS: [&str; 3] = ["crit", "b64", "zip"];

/// What a kind of token demands of its header.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'p> {
    algorithms: &'p [Algorithm],
    types: &'p [&'p str],
    untyped: bool,
}

impl<'p> Profile<'p> {
    /// One of these algorithms and one of these types.
    #[must_use]
    pub const fn new(algorithms: &'p [Algorithm], types: &'p [&'p str]) -> Self {
        Self { algorithms, types, untyped: false }
    }

    /// Also a header without `typ`.
    #[must_use]
    pub const fn or_untyped(self) -> Self {
        Self { untyped: true, ..self }
    }
}

/// A token whose header was accepted and whose signature was not looked at.
#[derive(Clone, Debug)]
pub struct Jws<'t> {
    algorithm: Algorithm,
    kid: Option<String>,
    signing_input: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Splits a token and checks its header.
    ///
    /// # Errors
    ///
    /// [`JwsError`] names the first rule that is broken.
    pub fn parse(token: &'t str, profile: &Profile<'_>) -> Result<Self, JwsError> {
        if token.len() > MAX_LEN {
            return Err(JwsError::TooLong { len: token.len() });
        }
        let (signing_input, header, payload, signature) = split(token).ok_or(JwsError::Parts)?;
        let header = base64url::decode(header).map_err(|_| JwsError::Header)?;
        let header = Object::parse(&header).map_err(JwsError::HeaderJson)?;
        check_extensions(&header)?;
        let algorithm = algorithm(&header, profile)?;
        check_type(&header, profile)?;
        let kid = kid(&header)?.map(str::to_owned);
        Ok(Self { algorithm, kid, signing_input, payload, signature })
    }

    /// The algorithm that the token claims to be signed with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key that the token claims to be signed with: good to look a key up by, and
    /// for nothing else.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The payload, once the signature is verified.
    ///
    /// # Errors
    ///
    /// [`JwsError`] when the key is not for the token's algorithm, when the signature does not
    /// verify, and when signature or payload are not canonical base64url.
    pub fn verify(&self, key: &Jwk) -> Result<Vec<u8>, JwsError> {
        let signature = base64url::decode(self.signature).map_err(|_| JwsError::Signature)?;
        key.verify(self.algorithm, self.signing_input.as_bytes(), &signature)?;
        base64url::decode(self.payload).map_err(|_| JwsError::Payload)
    }
}

/// The signing input and the three parts; `None` for any other number of parts.
fn split(token: &str) -> Option<(&str, &str, &str, &str)> {
    let (signing_input, signature) = token.rsplit_once('.')?;
    let (header, payload) = signing_input.split_once('.')?;
    (!payload.contains('.')).then_some((signing_input, header, payload, signature))
}

fn check_extensions(header: &Object<'_>) -> Result<(), JwsError> {
    match REFUSED_HEADERS.iter().find(|name| header.get(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(JwsError::Extension { name }),
    }
}

fn text<'h>(header: &'h Object<'_>, name: &'static str) -> Result<Option<&'h str>, JwsError> {
    match header.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(JwsError::NotText { name }),
    }
}

fn algorithm(header: &Object<'_>, profile: &Profile<'_>) -> Result<Algorithm, JwsError> {
    let name = text(header, "alg")?.ok_or(JwsError::NotText { name: "alg" })?;
    let algorithm = Algorithm::from_name(name)?;
    if profile.algorithms.contains(&algorithm) {
        Ok(algorithm)
    } else {
        Err(AlgorithmError { name: excerpt(name) }.into())
    }
}

fn check_type(header: &Object<'_>, profile: &Profile<'_>) -> Result<(), JwsError> {
    match text(header, "typ")? {
        None if profile.untyped => Ok(()),
        Some(typ) if profile.types.contains(&typ) => Ok(()),
        found => Err(JwsError::Type { found: found.map(excerpt) }),
    }
}

fn kid<'h>(header: &'h Object<'_>) -> Result<Option<&'h str>, JwsError> {
    match text(header, "kid")? {
        Some(kid) if kid.len() > MAX_KID_LEN => Err(JwsError::KidTooLong { len: kid.len() }),
        kid => Ok(kid),
    }
}

/// Why a signed token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// The token is longer than [`MAX_LEN`].
    #[error("a token of {len} bytes, and at most {MAX_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The token does not have exactly three parts.
    #[error("a signed token has three parts, separated by periods")]
    Parts,
    /// The header is not canonical base64url.
    #[error("the header is not base64url in its one spelling")]
    Header,
    /// The header is not JSON that is accepted.
    #[error("the header is not JSON that is accepted")]
    HeaderJson(#[source] JsonError),
    /// The header uses an extension that is refused.
    #[error("the header parameter {name:?} is refused")]
    Extension {
        /// The header parameter.
        name: &'static str,
    },
    /// A header parameter is missing or not text.
    #[error("the header parameter {name:?} is missing or not text")]
    NotText {
        /// The header parameter.
        name: &'static str,
    },
    /// The algorithm is not one that this kind of token may be signed with.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// The token is of another kind.
    #[error("the token is of the type {found:?}, which is not expected here")]
    Type {
        /// Its `typ`, cut.
        found: Option<String>,
    },
    /// The name of the key is longer than [`MAX_KID_LEN`].
    #[error("a \"kid\" of {len} bytes, and at most {MAX_KID_LEN} are read")]
    KidTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The signature is not canonical base64url.
    #[error("the signature is not base64url in its one spelling")]
    Signature,
    /// The signature does not count.
    #[error(transparent)]
    NotSigned(#[from] SignatureError),
    /// The payload is signed and not canonical base64url.
    #[error("the payload is not base64url in its one spelling")]
    Payload,
}

impl JwsError {
    /// Whose fault it is: that of whoever sent the token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Algorithm(_) => "token_algorithm",
            Self::Type { .. } => "token_of_another_kind",
            Self::NotSigned(_) => "token_bad_signature",
            Self::TooLong { .. }
            | Self::Parts
            | Self::Header
            | Self::HeaderJson(_)
            | Self::Extension { .. }
            | Self::NotText { .. }
            | Self::KidTooLong { .. }
            | Self::Signature
            | Self::Payload => "token_malformed",
        }
    }
}
