//! WIT-SVIDs: a workload's name and its key in a signed token. *Unstable*: the standard is
//! incubating (WIT-SVID.md at spiffe/spiffe 665a28f3), and this module changes with it.
//!
//! [`WitSvidVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it is compact JWS, signed by an algorithm of [`ALGORITHMS`], and its `typ` is `wit+jwt`, so
//!    that no JWT-SVID is one, and none of these a JWT-SVID (W-01, W-05); headers that are not
//!    known are ignored, unless `crit` says that they must not be;
//! 2. its `kid` is there (W-01);
//! 3. the payload is one strict JSON object, in which `sub` is a SPIFFE ID (W-02);
//! 4. the key of this `kid` in the bundle of the trust domain of that ID verifies the signature;
//!    no other key in the whole bundle has this `kid`, whatever its use (W-04);
//! 5. there is no `aud` (W-02);
//! 6. `exp` is in the future and `nbf`, where present, in the past; `iat` limits nothing, and `jti`
//!    protects from nothing (W-02);
//! 7. `cnf.jwk` is a public key for one of the same algorithms, which it names (W-02).
//!
//! # A token is not a caller
//!
//! It is no bearer token: whoever sends it has yet to prove that it holds the key in it (W-03).
//! Nothing here checks such a proof, so nothing makes a principal of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, SpiffeIdError, TrustDomain, TrustDomainRef};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::bundle::{SpiffeBundle, SpiffeBundleError};
use crate::claims::{self, ClaimsError, LeewayTooLong, Lifetime, TimeRules};
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};
use crate::jwk::{Jwk, JwkError, JwkSet, JwkSetError, MAX_SET_LEN};
use crate::jws::{Jws, JwsError, Profile};
pub use crate::jwt_svid::ALGORITHMS;

const PROFILE: Profile<'_> = Profile::new(ALGORITHMS, &["wit+jwt"]);
const IN_SPIFFE_BUNDLE: &[Option<&str>] = &[Some("wit-svid")];
const IN_KEY_SET: &[Option<&str>] = &[None, Some("sig"), Some("wit-svid")];

/// What a verified WIT-SVID says. A clone shares it.
///
/// It becomes no principal, by no binding:
///
/// ```compile_fail,E0308
/// # use zt_core::verified::Verified;
/// # use zt_identity::wit_svid::WitSvid;
/// use zt_identity::possession::binding::Binding;
///
/// fn principal(svid: &Verified<WitSvid>) {
///     let _ = Binding::bearer().workload(svid);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WitSvid(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    id: SpiffeId,
    key: Jwk,
    lifetime: Lifetime,
}

impl WitSvid {
    /// The SPIFFE ID of the workload: `sub`.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// The key that its workload has to prove possession of: `cnf.jwk`. It names its algorithm.
    #[must_use]
    pub fn cnf(&self) -> &Jwk {
        &self.0.key
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }
}

/// The keys that sign the WIT-SVIDs of one trust domain, and nothing else. A clone shares them.
#[derive(Clone, Debug)]
pub struct WitBundle {
    trust_domain: TrustDomain,
    keys: Arc<JwkSet>,
}

impl WitBundle {
    /// Reads a plain key set, as `FetchWITBundles` of the Workload API hands it out.
    ///
    /// # Errors
    ///
    /// [`JwkSetError`] when the document is no key set.
    pub fn from_jwks(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Self, JwkSetError> {
        if bytes.len() > MAX_SET_LEN {
            return Err(JwkSetError::TooLong { len: bytes.len() });
        }
        Self::read(trust_domain, bytes, IN_KEY_SET)
    }

    /// Reads the keys for WIT-SVIDs out of a SPIFFE bundle. One that shares its `kid` with any
    /// other key of the bundle is left out (W-04).
    ///
    /// # Errors
    ///
    /// [`SpiffeBundleError`] when the document is no bundle.
    pub fn from_spiffe_bundle(
        trust_domain: TrustDomain,
        bytes: &[u8],
    ) -> Result<Self, SpiffeBundleError> {
        SpiffeBundle::from_json(bytes)?;
        Self::read(trust_domain, bytes, IN_SPIFFE_BUNDLE).map_err(|_| SpiffeBundleError::NoKeys)
    }

    fn read(
        trust_domain: TrustDomain,
        bytes: &[u8],
        uses: &[Option<&str>],
    ) -> Result<Self, JwkSetError> {
        let document = Object::parse(bytes)?;
        let mut keys = JwkSet::from_document(&document, uses)?;
        for kid in shared_names(&document) {
            keys.remove(kid);
        }
        Ok(Self { trust_domain, keys: keys.into() })
    }

    /// The trust domain that it vouches for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&Jwk> {
        self.keys.key(kid)
    }
}

/// The names that several entries have, usable or not.
fn shared_names<'d>(document: &'d Object<'_>) -> impl Iterator<Item = &'d str> {
    let entries = document.get("keys").and_then(Value::as_array).unwrap_or_default();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for kid in entries.iter().filter_map(|key| key.as_object()?.get("kid")?.as_str()) {
        let count = counts.entry(kid).or_default();
        *count = count.saturating_add(1);
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(kid, _)| kid)
}

/// The bundles of several trust domains, each for itself.
#[derive(Clone, Debug, Default)]
pub struct WitBundleSet(BTreeMap<TrustDomain, WitBundle>);

impl WitBundleSet {
    /// No bundles: nobody is believed.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// These bundles and one more, which takes the place of an earlier one of its trust domain.
    #[must_use]
    pub fn with(mut self, bundle: WitBundle) -> Self {
        self.0.insert(bundle.trust_domain.clone(), bundle);
        self
    }

    /// The bundle of this trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: TrustDomainRef<'_>) -> Option<&WitBundle> {
        self.0.get(trust_domain.as_str())
    }
}

/// Verifies WIT-SVIDs.
#[derive(Clone, Copy, Debug)]
pub struct WitSvidVerifier {
    times: TimeRules,
}

impl Default for WitSvidVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl WitSvidVerifier {
    /// A verifier with a leeway of [`DEFAULT_LEEWAY`](claims::DEFAULT_LEEWAY) for clocks that are
    /// apart.
    #[must_use]
    pub fn new() -> Self {
        Self { times: TimeRules::default().with_informative_iat() }
    }

    /// The same verifier with another leeway.
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`](claims::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { times: self.times.with_leeway(leeway)? })
    }

    /// Verifies a token with the bundle of its own trust domain. Its sender has proven nothing.
    ///
    /// # Errors
    ///
    /// [`WitSvidError`] names the first rule that is broken.
    pub fn verify(
        &self,
        token: &str,
        bundles: &WitBundleSet,
        now: Timestamp,
    ) -> Result<Verified<WitSvid>, WitSvidError> {
        let jws = Jws::parse(token, &PROFILE)?;
        let kid = jws.kid().ok_or(WitSvidError::NoKid)?;
        let payload = jws.unverified_payload()?;
        let claims = Object::parse_token(&payload)?;
        let id = SpiffeId::parse(claims::subject(&claims)?)?;
        check_signature(&jws, kid, &id, bundles)?;
        if claims.get("aud").is_some() {
            return Err(WitSvidError::ForAnAudience);
        }
        let lifetime = self.times.check(&claims, now)?;
        let key = confirmed_key(&claims)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the workload's own trust domain signed it, and rules 1 to 7 hold"
        )]
        let verified = danger::verified(WitSvid(Arc::new(Facts { id, key, lifetime })));
        Ok(verified)
    }
}

/// Rule 4.
fn check_signature(
    jws: &Jws<'_>,
    kid: &str,
    id: &SpiffeId,
    bundles: &WitBundleSet,
) -> Result<(), WitSvidError> {
    let trust_domain = id.trust_domain();
    let bundle = bundles
        .get(trust_domain)
        .ok_or_else(|| WitSvidError::NoBundle { trust_domain: trust_domain.to_owned() })?;
    let key = bundle.key(kid).ok_or_else(|| WitSvidError::UnknownKey { kid: excerpt(kid) })?;
    Ok(jws.check_signature(key)?)
}

/// Rule 7.
fn confirmed_key(claims: &Object<'_>) -> Result<Jwk, WitSvidError> {
    let malformed = ClaimsError::Malformed { claim: "cnf" };
    let confirmation = claims.get("cnf").ok_or(ClaimsError::Missing { claim: "cnf" })?;
    let jwk = confirmation.as_object().and_then(|methods| methods.get("jwk")?.as_object());
    let key = Jwk::from_object(jwk.ok_or(malformed)?)?;
    match key.algorithm() {
        Some(algorithm) if ALGORITHMS.contains(&algorithm) => Ok(key),
        _ => Err(WitSvidError::ConfirmationAlgorithm),
    }
}

/// Why a WIT-SVID is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitSvidError {
    /// The token is not a signed token of this kind, or its signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// The token names no key, and keys are never tried in turn.
    #[error("the token names no key")]
    NoKid,
    /// The payload is not JSON that is accepted.
    #[error("the payload is not JSON that is accepted")]
    Payload(#[from] JsonError),
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The subject is not a SPIFFE ID.
    #[error("the subject is not a SPIFFE ID")]
    Subject(#[from] SpiffeIdError),
    /// Nobody here knows the authorities of the trust domain.
    #[error("there is no bundle for trust domain {trust_domain:?}")]
    NoBundle {
        /// The trust domain that the token names.
        trust_domain: TrustDomain,
    },
    /// The bundle of the trust domain has no such key.
    #[error("the trust domain has no key {kid:?}")]
    UnknownKey {
        /// The name, cut.
        kid: String,
    },
    /// The token is for an audience, which such a token never is.
    #[error("the token has an audience")]
    ForAnAudience,
    /// The key that the token is bound to is not a sound public key.
    #[error("the key that the token is bound to is not accepted")]
    ConfirmationKey(#[from] JwkError),
    /// The key that the token is bound to names no algorithm, or one that is not allowed.
    #[error("the key that the token is bound to is for no allowed algorithm")]
    ConfirmationAlgorithm,
}

impl WitSvidError {
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
            Self::Jws(error) => error.reason(),
            Self::NoKid | Self::UnknownKey { .. } => "token_key_unknown",
            Self::Payload(_) => "token_not_json",
            Self::Claims(error) => error.reason(),
            Self::Subject(_) => "token_subject",
            Self::NoBundle { .. } => "trust_domain_unknown",
            Self::ForAnAudience | Self::ConfirmationKey(_) | Self::ConfirmationAlgorithm => {
                "token_claims"
            }
        }
    }
}

#[cfg(test)]
mod tests;
