//! A trust domain's bundle as it is published: a JWK set with two members more.
//!
//! [`SpiffeBundle::from_json`] accepts bytes when (SPIFFE Trust Domain and Bundle §4):
//!
//! 1. there are at most [`MAX_BUNDLE_LEN`], and they are one JSON object, read strictly
//!    ([`json`](crate::json));
//! 2. `spiffe_sequence`, where present, is an integer from 0 to 2⁶⁴-1 (§4.1.1);
//! 3. `spiffe_refresh_hint`, where present, is a number of whole seconds that is not negative
//!    (§4.1.2), which is moved between [`MIN_REFRESH_HINT`] and [`MAX_REFRESH_HINT`];
//! 4. `keys` is an array (§4.1.3).
//!
//! Of the keys an entry is taken when, in this order:
//!
//! 1. it is an object with no private member: whoever reads it could sign with it;
//! 2. its `kty` is known (§4.2.1);
//! 3. its `use` is `x509-svid`, `jwt-svid` or `wit-svid`, letter for letter (§4.2.2);
//! 4. an `x509-svid` has a first value in `x5c` that is base64; all others are ignored (X509-SVID
//!    §6.2);
//! 5. a `jwt-svid` or `wit-svid` has a `kid` (JWT-SVID §6.1).
//!
//! An entry that breaks a rule is ignored and listed in [`SpiffeBundle::ignored`]; other members are
//! tolerated (§4.1). A document without a usable key is a bundle: every SVID of its trust domain is
//! refused (§4.1.3).
//!
//! The document does not say whose it is, and neither does this. To compare sequences is for whoever
//! has fetched it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;

use super::{BundleError, X509Bundle};
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};
use crate::jwk;

/// The longest document that is read, in bytes: some 500 roots.
pub const MAX_BUNDLE_LEN: usize = 1024 * 1024;
/// How long to wait before the next look at a bundle that does not say: 5 minutes (§4.1.2).
pub const DEFAULT_REFRESH_HINT: Duration = Duration::from_secs(300);
/// The shortest time that a bundle can ask for: a document is not fetched without pause.
pub const MIN_REFRESH_HINT: Duration = Duration::from_secs(1);
/// The longest time that a bundle can ask for: what was withdrawn is noticed within a day.
pub const MAX_REFRESH_HINT: Duration = Duration::from_secs(24 * 3600);
/// What a document is served as.
pub const MEDIA_TYPE: &str = "application/json";

const X509_SVID: &str = "x509-svid";
const JWT_SVID: &str = "jwt-svid";
const WIT_SVID: &str = "wit-svid";

/// The bundle of some trust domain, with keys for each kind of SVID.
///
/// ```
/// use zt_identity::bundle::SpiffeBundle;
///
/// let bundle = SpiffeBundle::from_json(br#"{
///     "spiffe_sequence": 7,
///     "keys": [{"use": "jwt-svid", "kty": "EC", "crv": "P-256", "kid": "k1", "x": "", "y": ""},
///              {"use": "tls", "kty": "EC"}]}"#)?;
/// assert_eq!(bundle.sequence(), Some(7));
/// assert_eq!(bundle.refresh_hint().as_secs(), 300);
/// assert_eq!(bundle.jwt_keys().len(), 1);
/// assert_eq!(bundle.ignored().len(), 1);
/// # Ok::<(), zt_identity::bundle::SpiffeBundleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpiffeBundle {
    pub(super) sequence: Option<u64>,
    // INVARIANT: from MIN_REFRESH_HINT to MAX_REFRESH_HINT.
    pub(super) refresh_hint: Option<Duration>,
    pub(super) x509: Vec<CertificateDer<'static>>,
    // INVARIANT: each is a JSON object.
    pub(super) jwt: Vec<String>,
    pub(super) wit: Vec<String>,
    pub(super) ignored: Vec<IgnoredKey>,
}

impl SpiffeBundle {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`SpiffeBundleError`] names the first rule that is broken.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SpiffeBundleError> {
        if bytes.len() > MAX_BUNDLE_LEN {
            return Err(SpiffeBundleError::TooLong { len: bytes.len() });
        }
        Self::from_object(&Object::parse(bytes)?)
    }

    pub(super) fn from_object(document: &Object<'_>) -> Result<Self, SpiffeBundleError> {
        let sequence = sequence(document)?;
        let refresh_hint = refresh_hint(document)?;
        let mut bundle = Self { sequence, refresh_hint, ..Self::default() };
        let keys = document.get("keys").and_then(Value::as_array);
        for (index, key) in keys.ok_or(SpiffeBundleError::NoKeys)?.iter().enumerate() {
            if let Err(reason) = bundle.add(key) {
                bundle.ignored.push(IgnoredKey { index, reason });
            }
        }
        Ok(bundle)
    }

    fn add(&mut self, key: &Value<'_>) -> Result<(), IgnoredKeyReason> {
        let key = key.as_object().ok_or(IgnoredKeyReason::NotAnObject)?;
        jwk::check_public(key).map_err(|_| IgnoredKeyReason::Private)?;
        has_known_type(key)?;
        match text(key, "use").ok_or(IgnoredKeyReason::NoUse)? {
            X509_SVID => self.x509.push(certificate(key)?),
            JWT_SVID => self.jwt.push(named(key)?),
            WIT_SVID => self.wit.push(named(key)?),
            other => return Err(IgnoredKeyReason::Use { found: excerpt(other) }),
        }
        Ok(())
    }

    /// How often the bundle has changed, as far as it says: a later one has more.
    #[must_use]
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How long to wait before looking again.
    #[must_use]
    pub fn refresh_hint(&self) -> Duration {
        self.refresh_hint.unwrap_or(DEFAULT_REFRESH_HINT)
    }

    /// The certificates for X.509-SVIDs, in their order. That they can be roots is not said:
    /// [`SpiffeBundle::x509_bundle`] asks.
    #[must_use]
    pub fn x509_certificates(&self) -> &[CertificateDer<'static>] {
        &self.x509
    }

    /// The keys for JWT-SVIDs, each the JSON of one JWK with a `kid`. Nothing else of them was
    /// looked at but that they are public.
    #[must_use]
    pub fn jwt_keys(&self) -> &[String] {
        &self.jwt
    }

    /// The keys for WIT-SVIDs, as [`SpiffeBundle::jwt_keys`].
    #[must_use]
    pub fn wit_keys(&self) -> &[String] {
        &self.wit
    }

    /// The keys for JWT-SVIDs as one JWK set, as
    /// [`JwtBundle::from_spiffe_bundle`](crate::jwt_bundle::JwtBundle::from_spiffe_bundle) reads it.
    #[must_use]
    pub fn jwt_key_set(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwt.join(","))
    }

    /// The entries that were ignored, and why.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredKey] {
        &self.ignored
    }

    /// The bundle that vouches for the X.509-SVIDs of `trust_domain`, and what was left out of it:
    /// the places in [`SpiffeBundle::x509_certificates`] of those that cannot be roots, or have
    /// expired. When nothing remains it vouches for nobody.
    #[must_use]
    pub fn x509_bundle(
        &self,
        trust_domain: TrustDomain,
        now: Timestamp,
    ) -> (X509Bundle, Vec<(usize, BundleError)>) {
        X509Bundle::from_usable_certs(trust_domain, self.x509.iter().cloned(), now)
    }
}

fn text<'o>(object: &'o Object<'_>, member: &str) -> Option<&'o str> {
    object.get(member)?.as_str()
}

/// B-04: never wrapped, never rounded.
fn sequence(document: &Object<'_>) -> Result<Option<u64>, SpiffeBundleError> {
    let Some(value) = document.get("spiffe_sequence") else { return Ok(None) };
    let number = value.as_number().ok_or(SpiffeBundleError::Sequence)?;
    number.parse().map(Some).map_err(|_| SpiffeBundleError::Sequence)
}

/// B-05: one that is beyond what can be counted is as good as the longest.
fn refresh_hint(document: &Object<'_>) -> Result<Option<Duration>, SpiffeBundleError> {
    let Some(value) = document.get("spiffe_refresh_hint") else { return Ok(None) };
    let number = value.as_number().ok_or(SpiffeBundleError::RefreshHint)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SpiffeBundleError::RefreshHint);
    }
    let hint = Duration::from_secs(number.parse().unwrap_or(u64::MAX));
    Ok(Some(hint.clamp(MIN_REFRESH_HINT, MAX_REFRESH_HINT)))
}

/// B-02: `oct` is known and private.
fn has_known_type(key: &Object<'_>) -> Result<(), IgnoredKeyReason> {
    match text(key, "kty").ok_or(IgnoredKeyReason::NoKeyType)? {
        "EC" | "RSA" | "OKP" => Ok(()),
        other => Err(IgnoredKeyReason::KeyType { found: excerpt(other) }),
    }
}

/// X-14: the first value; base64, and not base64url (RFC 7517 §4.7).
fn certificate(key: &Object<'_>) -> Result<CertificateDer<'static>, IgnoredKeyReason> {
    let values = key.get("x5c").and_then(Value::as_array).ok_or(IgnoredKeyReason::NoX5c)?;
    let first = values.first().ok_or(IgnoredKeyReason::NoX5c)?;
    let first = first.as_str().ok_or(IgnoredKeyReason::X5c)?;
    STANDARD.decode(first).map(CertificateDer::from).map_err(|_| IgnoredKeyReason::X5c)
}

/// J-11, W-04.
fn named(key: &Object<'_>) -> Result<String, IgnoredKeyReason> {
    match text(key, "kid") {
        Some(kid) if !kid.is_empty() => Ok(key.to_string()),
        Some(_) | None => Err(IgnoredKeyReason::NoKid),
    }
}

/// An entry of a bundle that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredKey {
    /// Its place in `keys`, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: IgnoredKeyReason,
}

/// Why an entry of a bundle is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoredKeyReason {
    /// It is something else than an object.
    #[error("not an object")]
    NotAnObject,
    /// It has a member of a private or secret key.
    #[error("the key is private")]
    Private,
    /// B-02: it does not say of which type it is.
    #[error("the key has no type")]
    NoKeyType,
    /// B-02: its type is unknown.
    #[error("the key type {found:?} is not known")]
    KeyType {
        /// Its type, cut.
        found: String,
    },
    /// B-03: it does not say what it is for.
    #[error("the key has no use")]
    NoUse,
    /// B-03: what it is for is unknown.
    #[error("the key is for the use {found:?}")]
    Use {
        /// Its use, cut.
        found: String,
    },
    /// X-14: it is for X.509-SVIDs and has no certificate.
    #[error("the key has no certificate")]
    NoX5c,
    /// X-13: its certificate is not base64.
    #[error("the certificate of the key is not base64")]
    X5c,
    /// J-11: it is for tokens and has no name.
    #[error("the key has no kid")]
    NoKid,
}

/// Why a document is not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeBundleError {
    /// Longer than [`MAX_BUNDLE_LEN`].
    #[error("a bundle of {len} bytes, and at most {MAX_BUNDLE_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not JSON that is accepted.
    #[error("the bundle is not JSON that is accepted")]
    Json(#[from] JsonError),
    /// B-04: `spiffe_sequence` is not an integer of 64 bits.
    #[error("\"spiffe_sequence\" is not an integer of 64 bits")]
    Sequence,
    /// B-05: `spiffe_refresh_hint` is not a number of seconds.
    #[error("\"spiffe_refresh_hint\" is not a number of whole seconds")]
    RefreshHint,
    /// B-01: there is no array `keys`.
    #[error("the bundle has no array \"keys\"")]
    NoKeys,
}

impl SpiffeBundleError {
    /// Whose fault it is: that of whoever publishes the bundle.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}
