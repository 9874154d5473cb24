//! DPoP proofs: that the sender of a token has the key that it is bound to (RFC 9449).
//!
//! [`DpopVerifier::verify`] accepts the proof that came with a request when, in this order (§4.3,
//! T-31):
//!
//! 1. the token of the request is bound to a key: its `cnf` has a `jkt` (§7.1);
//! 2. there is exactly one `DPoP` header: [`the_one_proof`] is for that;
//! 3. the proof has at most [`MAX_LEN`] bytes, and is compact JWS of the type `dpop+jwt` with an
//!    allowed, asymmetric `alg`;
//! 4. its header has a `jwk`, a public key of that algorithm without any private member;
//! 5. that key is the one that the token is bound to, by its RFC 7638 thumbprint (§6.1);
//! 6. that key has signed the proof;
//! 7. the claims are one strict JSON object, with every claim of its type;
//! 8. `htm` is the method of the request, letter for letter, and `htu` its URL ([`target`]);
//! 9. where nonces are demanded, `nonce` is a good one (§9);
//! 10. `iat` is no further from now than the window allows (§11.1);
//! 11. `ath` is the digest of the token (§7);
//! 12. `jti` is there, with 1 to [`MAX_JTI_LEN`] bytes; whether it was sent before is for whoever
//!     admits the proof.
//!
//! What costs little and what a thief cannot fake comes first: nobody but the holder of a token's
//! key makes this verify a signature or has its `jti` remembered.
//!
//! [`target`]: crate::possession::target

use std::time::Duration;

use zt_core::time::Timestamp;

use crate::algorithm::{Algorithm, sha256};
use crate::base64url;
use crate::claims::{self, ClaimsError};
use crate::confirmation::Confirmation;
use crate::json::Object;
use crate::jwk::{self, Jwk};
use crate::jws::{Jws, JwsError, Profile};
use crate::possession::nonce::{DpopNonces, NonceAge};
use crate::possession::target::PublicBase;
use crate::unadmitted::{ReplayId, Unadmitted};

mod error;

pub use error::DpopError;

/// The longest proof that is read, in bytes: the key and the signature of RSA with 8,192 bits take
/// 3.5 KiB of it.
pub const MAX_LEN: usize = 8 * 1024;
/// The longest `jti`, in bytes; 16 random ones are advised (§4.2).
pub const MAX_JTI_LEN: usize = 256;
/// How far `iat` may be from now unless stated otherwise: 1 minute, before or after.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// How far `iat` may be from now at most: 5 minutes, as for every token's times (T-11).
pub const MAX_WINDOW: Duration = Duration::from_secs(300);

const TYPE: &str = "dpop+jwt";

/// That the sender of a request has a key, and sent this token with it. A clone is the same proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpopProof {
    key: [u8; 32],
    token: [u8; 32],
    nonce: Option<NonceAge>,
}

impl DpopProof {
    /// The RFC 7638 thumbprint of the key.
    #[must_use]
    pub const fn key_thumbprint(&self) -> &[u8; 32] {
        &self.key
    }

    /// The SHA-256 digest of the token that it was sent with: `ath`.
    #[must_use]
    pub const fn token_sha256(&self) -> &[u8; 32] {
        &self.token
    }

    #[cfg(test)]
    pub(crate) const fn new(key: [u8; 32], token: [u8; 32]) -> Self {
        Self { key, token, nonce: None }
    }

    /// How old its nonce is, where nonces are demanded.
    #[must_use]
    pub const fn nonce_age(&self) -> Option<NonceAge> {
        self.nonce
    }
}

/// The request that a proof has to be for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProvenRequest<'r> {
    /// Its method.
    pub method: &'r str,
    /// Where clients find the service.
    pub base: &'r PublicBase,
    /// The path of its request target, as the service got it.
    pub path: &'r str,
    /// The access token that it came with, as it was sent.
    pub access_token: &'r str,
    /// What that token is bound to.
    pub confirmation: Option<&'r Confirmation>,
}

impl<'r> ProvenRequest<'r> {
    /// A request for this method and path of this base.
    #[must_use]
    pub const fn new(method: &'r str, base: &'r PublicBase, path: &'r str) -> Self {
        Self { method, base, path, access_token: "", confirmation: None }
    }

    /// With this access token and what it is bound to.
    #[must_use]
    pub const fn with_token(self, token: &'r str, confirmation: Option<&'r Confirmation>) -> Self {
        Self { access_token: token, confirmation, ..self }
    }
}

/// The one proof among the `DPoP` headers of a request.
///
/// # Errors
///
/// [`DpopError`] when there is none, or more than one, or one that is not text.
pub fn the_one_proof<'h>(
    headers: impl IntoIterator<Item = &'h [u8]>,
) -> Result<&'h str, DpopError> {
    let mut headers = headers.into_iter();
    match (headers.next(), headers.next()) {
        (None, _) => Err(DpopError::Missing),
        (Some(_), Some(_)) => Err(DpopError::Several),
        (Some(one), None) => str::from_utf8(one).map_err(|_| DpopError::NotText),
    }
}

/// Verifies DPoP proofs. A clone shares the key of the nonces.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::confirmation::Confirmation;
/// use zt_identity::possession::dpop::{DpopProof, DpopVerifier, ProvenRequest};
/// use zt_identity::possession::replay::Replay;
/// use zt_identity::possession::target::PublicBase;
/// use zt_core::verified::Verified;
///
/// async fn prove(
///     proof: &str,
///     token: &str,
///     confirmation: Option<&Confirmation>,
///     replay: &Replay,
///     now: Timestamp,
/// ) -> Result<Verified<DpopProof>, Box<dyn std::error::Error>> {
///     let base = PublicBase::parse("https://api.example.com")?;
///     let request = ProvenRequest::new("GET", &base, "/orders").with_token(token, confirmation);
///     let unadmitted = DpopVerifier::default().verify(proof, &request, now)?;
///     Ok(replay.admit(unadmitted, now).await?)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct DpopVerifier {
    algorithms: Vec<Algorithm>,
    // INVARIANT: at most MAX_WINDOW.
    window: Duration,
    nonces: Option<DpopNonces>,
}

impl Default for DpopVerifier {
    /// Every algorithm of the list, [`DEFAULT_WINDOW`], no nonces.
    fn default() -> Self {
        Self { algorithms: Algorithm::ALL.to_vec(), window: DEFAULT_WINDOW, nonces: None }
    }
}

impl DpopVerifier {
    /// The same verifier, for these algorithms only.
    #[must_use]
    pub fn with_algorithms(self, algorithms: &[Algorithm]) -> Self {
        Self { algorithms: algorithms.to_vec(), ..self }
    }

    /// The same verifier, where `iat` may be this far from now; at most [`MAX_WINDOW`].
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window: window.min(MAX_WINDOW), ..self }
    }

    /// The same verifier, which demands nonces of these.
    #[must_use]
    pub fn with_nonces(self, nonces: DpopNonces) -> Self {
        Self { nonces: Some(nonces), ..self }
    }

    /// The algorithms that it accepts.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// The nonces that it demands.
    #[must_use]
    pub const fn nonces(&self) -> Option<&DpopNonces> {
        self.nonces.as_ref()
    }

    /// Verifies the proof of a request at `now`.
    ///
    /// # Errors
    ///
    /// [`DpopError`] names the first rule that is broken.
    pub fn verify(
        &self,
        proof: &str,
        request: &ProvenRequest<'_>,
        now: Timestamp,
    ) -> Result<Unadmitted<DpopProof>, DpopError> {
        let bound = request.confirmation.and_then(Confirmation::key_thumbprint);
        let bound = bound.ok_or(DpopError::TokenUnbound)?;
        if proof.len() > MAX_LEN {
            return Err(DpopError::TooLong { len: proof.len() });
        }
        let profile = Profile::new(&self.algorithms, &[TYPE]);
        let (jws, embedded) = Jws::parse_and_read(proof, &profile, embedded_key)?;
        let (key, thumbprint) = embedded?;
        if thumbprint != *bound {
            return Err(DpopError::OtherKey);
        }
        let payload = jws.verify(&key)?;
        let claims = Object::parse_token(&payload)?;
        check_method(&claims, request.method)?;
        check_url(&claims, request)?;
        let nonce = self.check_nonce(&claims, now)?;
        let issued_at = self.check_time(&claims, now)?;
        let token = check_token(&claims, request.access_token)?;
        let jti = jti(&claims)?;
        let id = ReplayId::of_parts(&[TYPE.as_bytes(), &thumbprint, jti.as_bytes()]);
        let id = id.made_by(thumbprint);
        let until = issued_at.saturating_add(self.window);
        Ok(Unadmitted::new(DpopProof { key: thumbprint, token, nonce }, id, until))
    }

    /// Rule 9.
    fn check_nonce(
        &self,
        claims: &Object<'_>,
        now: Timestamp,
    ) -> Result<Option<NonceAge>, DpopError> {
        let nonce = claims::text(claims, "nonce")?;
        let Some(nonces) = &self.nonces else { return Ok(None) };
        let nonce = nonce.ok_or(DpopError::NoNonce)?;
        nonces.judge(nonce, now).map(Some).ok_or(DpopError::StaleNonce)
    }

    /// Rule 10.
    fn check_time(&self, claims: &Object<'_>, now: Timestamp) -> Result<Timestamp, DpopError> {
        let issued_at = claims::date(claims, "iat")?;
        let issued_at = issued_at.ok_or(ClaimsError::Missing { claim: "iat" })?;
        if now.since(issued_at) > self.window {
            return Err(DpopError::TooOld { now, issued_at });
        }
        if issued_at.since(now) > self.window {
            return Err(DpopError::TooNew { now, issued_at });
        }
        Ok(issued_at)
    }
}

/// Rule 4.
fn embedded_key(header: &Object<'_>) -> Result<(Jwk, [u8; 32]), DpopError> {
    let jwk = header.get("jwk").and_then(|jwk| jwk.as_object()).ok_or(DpopError::NoKey)?;
    let key = Jwk::for_one_signature(jwk)?;
    Ok((key, jwk::thumbprint_of_sound(jwk)?))
}

fn required<'c>(claims: &'c Object<'_>, claim: &'static str) -> Result<&'c str, ClaimsError> {
    claims::text(claims, claim)?.ok_or(ClaimsError::Missing { claim })
}

/// Rule 8. Methods are case-sensitive (RFC 9110 §9.1).
fn check_method(claims: &Object<'_>, method: &str) -> Result<(), DpopError> {
    if required(claims, "htm")? == method { Ok(()) } else { Err(DpopError::OtherMethod) }
}

/// Rule 8.
fn check_url(claims: &Object<'_>, request: &ProvenRequest<'_>) -> Result<(), DpopError> {
    let url = required(claims, "htu")?;
    if request.base.is_target(url, request.path) { Ok(()) } else { Err(DpopError::OtherUrl) }
}

/// Rule 11. Returns the digest.
fn check_token(claims: &Object<'_>, token: &str) -> Result<[u8; 32], DpopError> {
    let claimed = base64url::decode(required(claims, "ath")?);
    let claimed = claimed.map_err(|_| ClaimsError::Malformed { claim: "ath" })?;
    let digest = sha256(token.as_bytes());
    if claimed == digest { Ok(digest) } else { Err(DpopError::OtherToken) }
}

/// Rule 12.
fn jti<'c>(claims: &'c Object<'_>) -> Result<&'c str, DpopError> {
    match required(claims, "jti")? {
        "" => Err(ClaimsError::Malformed { claim: "jti" }.into()),
        jti if jti.len() > MAX_JTI_LEN => Err(DpopError::JtiTooLong { len: jti.len() }),
        jti => Ok(jti),
    }
}

impl From<JwsError> for DpopError {
    fn from(error: JwsError) -> Self {
        Self::Jws(error)
    }
}

#[cfg(test)]
mod tests;
