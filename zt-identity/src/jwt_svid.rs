//! JWT-SVIDs: a workload's name in a signed token.
//!
//! [`JwtSvidVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it is compact JWS, signed by an algorithm of [`ALGORITHMS`] (JWT-SVID §2.1, §5.1; J-01,
//!    J-02);
//! 2. its header has `alg`, `kid` and `typ` and nothing else; `typ` is `JWT` or `JOSE` or absent
//!    (§2, §2.3; J-03, J-04), and `kid` is there (J-05);
//! 3. the payload is one strict JSON object, in which `sub` is a SPIFFE ID (§3.1, J-06);
//! 4. there is a bundle of the trust domain of that ID; no other bundle is looked at (§5, J-10);
//! 5. that bundle's key of this `kid` verifies the signature (§4): until then, nothing that the
//!    token says has counted for anything but to find this key;
//! 6. `aud` has at most [`MAX_AUDIENCES`] names and this service among them (§3.2, J-07);
//! 7. `exp` is in the future and `nbf`, where present, in the past, give or take a leeway (§3.3,
//!    J-08, J-09). `iat` limits nothing, as the standard gives it no say.
//!
//! # A token is not a caller
//!
//! A bearer token is believed from anyone who holds it until `exp`. What comes out is a proven
//! document; a [`Binding`](crate::possession::binding::Binding) that says so makes a principal of
//! it (T-16). Where workloads have connections of their own, an X.509-SVID is the better proof.
//! Never write the token into a log (J-12).
//!
//! # Not supported
//!
//! `EdDSA` is not among the algorithms of the standard. `ES512` is, and is refused without the feature
//! `aws-lc-rs`: ring has no P-521.

mod cached;

use std::sync::Arc;
use std::time::Duration;

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

pub use self::cached::CachedJwtSvidVerifier;
use crate::algorithm::Algorithm;
use crate::claims::{self, Audience, ClaimsError, LeewayTooLong, Lifetime, TimeRules};
use crate::confirmation::Confirmation;
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};
use crate::jws::{Jws, JwsError, Profile};
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};

/// What a JWT-SVID may be signed with (JWT-SVID §2.1), as far as ring goes.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    #[cfg(feature = "aws-lc-rs")]
    Algorithm::Es512,
];
/// How many names `aud` may have. The standard advises one (§3.2) and has no limit; the crate
/// `spiffe` has this one.
pub const MAX_AUDIENCES: usize = 32;

const PROFILE: Profile<'_> =
    Profile::new(ALGORITHMS, &["JWT", "JOSE"]).or_untyped().and_no_other_header();

/// What a verified JWT-SVID says. A clone shares it.
///
/// It is a document, and no caller:
///
/// ```compile_fail,E0599
/// # use zt_core::verified::Verified;
/// # use zt_identity::jwt_svid::JwtSvid;
/// fn principal(svid: Verified<JwtSvid>) {
///     svid.principal();
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSvid(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    id: SpiffeId,
    confirmation: Option<Confirmation>,
    lifetime: Lifetime,
}

impl JwtSvid {
    /// The SPIFFE ID of the workload: `sub`.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }

    /// Until when its verifier takes it: `exp` and the leeway. What was let in by it ends then too.
    #[must_use]
    pub fn counts_until(&self) -> Timestamp {
        self.0.lifetime.counts_until
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.lifetime.issued_at
    }

    /// What its sender has to possess: `cnf`. The standard has no such claim; a token that has it
    /// is not for bearers.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.0.confirmation.as_ref()
    }
}

/// Verifies the JWT-SVIDs that are meant for this service.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::spiffe::TrustDomain;
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Authority;
/// use zt_identity::claims::Audience;
/// use zt_identity::jwt_bundle::JwtBundleSet;
/// use zt_identity::jwt_svid::JwtSvidVerifier;
/// use zt_identity::possession::binding::Binding;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// let token = authority.jwt_svid("/ns/shop/sa/cart", "orders")?;
///
/// let verifier = JwtSvidVerifier::new(Audience::any(["orders"])?);
/// let bundles = JwtBundleSet::new().with(authority.jwt_bundle());
/// let svid = verifier.verify(&token, &bundles, now)?;
/// let caller = Binding::bearer().workload(&svid)?;
/// assert_eq!(caller.workload().id().to_string(), "spiffe://example.org/ns/shop/sa/cart");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwtSvidVerifier {
    audience: Audience,
    times: TimeRules,
}

impl JwtSvidVerifier {
    /// A verifier of tokens for this service, with a leeway of
    /// [`DEFAULT_LEEWAY`](claims::DEFAULT_LEEWAY) for clocks that are apart.
    #[must_use]
    pub fn new(audience: Audience) -> Self {
        Self { audience, times: TimeRules::default().with_informative_iat() }
    }

    /// The same verifier with another leeway.
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`](claims::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { times: self.times.with_leeway(leeway)?, ..self })
    }

    /// Verifies a token with the bundle of its own trust domain.
    ///
    /// # Errors
    ///
    /// [`JwtSvidError`] names the first rule that is broken.
    pub fn verify(
        &self,
        token: &str,
        bundles: &JwtBundleSet,
        now: Timestamp,
    ) -> Result<Verified<JwtSvid>, JwtSvidError> {
        self.judge(token, bundles, now).map(|(svid, _)| svid)
    }

    /// The token, and the bundle that vouches for it.
    fn judge<'b>(
        &self,
        token: &str,
        bundles: &'b JwtBundleSet,
        now: Timestamp,
    ) -> Result<(Verified<JwtSvid>, &'b JwtBundle), JwtSvidError> {
        let jws = Jws::parse(token, &PROFILE)?;
        let kid = jws.kid().ok_or(JwtSvidError::NoKid)?;
        let payload = jws.unverified_payload()?;
        let claims = Object::parse_token(&payload)?;
        let id = SpiffeId::parse(claims::subject(&claims)?)?;
        let bundle = check_signature(&jws, kid, &id, bundles)?;
        check_audience_count(&claims)?;
        self.audience.check(&claims)?;
        let lifetime = self.times.check(&claims, now)?;
        let confirmation = Confirmation::read(&claims)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the workload's own trust domain signed it, and rules 1 to 7 hold"
        )]
        let verified = danger::verified(JwtSvid(Arc::new(Facts { id, confirmation, lifetime })));
        Ok((verified, bundle))
    }
}

/// J-10, J-05.
fn check_signature<'b>(
    jws: &Jws<'_>,
    kid: &str,
    id: &SpiffeId,
    bundles: &'b JwtBundleSet,
) -> Result<&'b JwtBundle, JwtSvidError> {
    let trust_domain = id.trust_domain();
    let bundle = bundles
        .get(trust_domain)
        .ok_or_else(|| JwtSvidError::NoBundle { trust_domain: trust_domain.to_owned() })?;
    let key = bundle.key(kid).ok_or_else(|| JwtSvidError::UnknownKey { kid: excerpt(kid) })?;
    jws.check_signature(key)?;
    Ok(bundle)
}

/// Every name of ours is compared with every name of theirs, so theirs are counted.
fn check_audience_count(claims: &Object<'_>) -> Result<(), JwtSvidError> {
    match claims.get("aud").and_then(Value::as_array) {
        Some(names) if names.len() > MAX_AUDIENCES => {
            Err(JwtSvidError::TooManyAudiences { count: names.len() })
        }
        _ => Ok(()),
    }
}

/// Why a JWT-SVID is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtSvidError {
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
    /// More than [`MAX_AUDIENCES`].
    #[error("a token for {count} audiences, and at most {MAX_AUDIENCES} are read")]
    TooManyAudiences {
        /// How many.
        count: usize,
    },
}

impl JwtSvidError {
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
            Self::TooManyAudiences { .. } => "token_claims",
        }
    }
}

#[cfg(test)]
mod tests;
