//! Service accounts of Kubernetes: a workload's name in a token that its cluster projects into it.
//!
//! [`ServiceAccountVerifier::verify`] accepts a token, offline, when, in this order:
//!
//! 1. it is compact JWS, signed with RSA PKCS#1 or ECDSA by a key of the cluster, and `typ` is
//!    `JWT` or absent (T-04, T-07);
//! 2. it is no token of a secret, as they were before Kubernetes 1.24: those have neither audience
//!    nor expiry;
//! 3. `iss` is the cluster's issuer, `aud` names this service (T-10);
//! 4. `exp`, `nbf` and `iat` fit the time (T-11);
//! 5. `sub` is `system:serviceaccount:<namespace>:<name>`, and both have the form of such names
//!    (RFC 1123 label and subdomain);
//! 6. the claim `kubernetes.io` agrees with `sub`, and has the account's UID;
//! 7. the token is bound to at most one of pod, secret and node; beside a pod a node informs only.
//!
//! # A token is not a caller
//!
//! It is a bearer token: a [`Binding`](crate::possession::binding::Binding) that says so makes a
//! principal of it (T-16).
//!
//! # Deployment caveat
//!
//! Only the API server knows whether the pod, the node or the account that a token is bound to is
//! still there: a [`TokenReviewer`] (feature `http`) asks it, about each token, and holds the answer
//! to the same rules. Offline, a token counts until `exp`: project it with a lifetime of ten minutes
//! (`expirationSeconds: 600`), not with the default of an hour, and with an audience of its own,
//! never with that of the API server. [`ServiceAccountToken::warn_after`] tells a token that the
//! cluster has prolonged to a year; limit that with [`ServiceAccountVerifier::with_max_lifetime`].
//!
//! A cluster gives out its keys at `/openid/v1/jwks`, by default to authenticated callers only:
//! bind the role `system:service-account-issuer-discovery` to `system:unauthenticated`, or fetch the
//! set with a token of your own and use [`IssuerKeys::fixed`].

mod name;
mod token;
mod cached;
mod review;
#[cfg(feature = "http")]
mod reviewer;

use std::time::Duration;

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

pub use self::cached::CachedServiceAccountVerifier;
use self::name::AccountName;
pub use self::review::{TokenReview, TokenReviewAnswerError};
#[cfg(feature = "http")]
pub use self::reviewer::{
    DEFAULT_REVIEW_TIMEOUT, DEFAULT_REVIEWS_AT_ONCE, TokenReviewError, TokenReviewer,
};
use self::token::Private;
pub use self::token::{BoundTo, ObjectReference, ServiceAccountToken};
use crate::algorithm::Algorithm;
use crate::claims::{self, Audience, ClaimsError, LeewayTooLong, TimeRules};
use crate::confirmation::Confirmation;
use crate::excerpt::excerpt;
use crate::json::Object;
use crate::jws::Profile;
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::{KeysOfAnother, Signed, SignedTokenError, Signer};

/// What the API server signs with, as far as ring goes.
pub const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Es256, Algorithm::Es384];

const PROFILE: Profile<'_> = Profile::new(ALGORITHMS, &["JWT"]).or_untyped();

/// How the claims of tokens that live in secrets begin.
const LEGACY_PREFIX: &str = "kubernetes.io/serviceaccount/";

/// Verifies the service account tokens of one cluster. A clone shares its keys.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::claims::Audience;
/// use zt_identity::oidc::issuer::Issuer;
/// use zt_identity::possession::binding::Binding;
/// use zt_identity::service_account::ServiceAccountVerifier;
///
/// # #[cfg(feature = "authority")] {
/// # let now = Timestamp::from_secs(1_800_000_000);
/// // In production: IssuerKeys::discover, with the cluster's issuer.
/// let cluster = zt_identity::authority::Issuer::new("https://kubernetes.default.svc", now)?;
/// let token = cluster.mint_as("JWT", r#"{
///     "aud": ["orders"], "sub": "system:serviceaccount:shop:cart",
///     "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "14ee3fa4"},
///                       "pod": {"name": "cart-0", "uid": "5e0bd49b"}}}"#)?;
///
/// let issuer = Issuer::parse("https://kubernetes.default.svc")?;
/// let accounts = ServiceAccountVerifier::new(issuer, Audience::any(["orders"])?, cluster.keys()?)?;
/// let account = accounts.verify(&token, now)?;
/// let caller = Binding::bearer().service_account(&account)?;
/// assert_eq!(caller.workload().id().to_string(), "system:serviceaccount:shop:cart");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServiceAccountVerifier {
    cluster: Signer,
    rules: Rules,
}

impl ServiceAccountVerifier {
    /// A verifier of the tokens that the cluster of this issuer signs for this service.
    ///
    /// # Errors
    ///
    /// [`KeysOfAnother`] when the keys were obtained from another issuer.
    pub fn new(
        issuer: Issuer,
        audience: Audience,
        keys: IssuerKeys,
    ) -> Result<Self, KeysOfAnother> {
        let cluster = Signer::new(issuer, keys)?;
        Ok(Self { cluster, rules: Rules::new(audience) })
    }

    /// The same verifier with another leeway than [`DEFAULT_LEEWAY`](claims::DEFAULT_LEEWAY).
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`](claims::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { rules: self.rules.with_leeway(leeway)?, ..self })
    }

    /// The same verifier, which refuses tokens that are issued for longer than this.
    #[must_use]
    pub fn with_max_lifetime(self, max: Duration) -> Self {
        Self { rules: self.rules.with_max_lifetime(max), ..self }
    }

    /// Verifies a token at `now`.
    ///
    /// # Errors
    ///
    /// [`ServiceAccountError`] names the first rule that is broken; its
    /// [`fault`](ServiceAccountError::fault) is the authority's when there are no keys to judge by.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<ServiceAccountToken>, ServiceAccountError> {
        self.judge(token, now).map(|(token, _)| token)
    }

    /// The token, and the generation of the keys that vouch for it.
    fn judge(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(Verified<ServiceAccountToken>, u64), ServiceAccountError> {
        let Signed { payload, key_generation, .. } = self.cluster.signed(token, &PROFILE, now)?;
        let token = self.rules.read(self.cluster.issuer(), &payload, now)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the cluster signed these claims, and every rule of this module holds"
        )]
        let verified = danger::verified(token);
        Ok((verified, key_generation))
    }
}

/// What the claims of a token are held to, whoever says that they are genuine.
#[derive(Clone, Debug)]
struct Rules {
    audience: Audience,
    times: TimeRules,
}

impl Rules {
    fn new(audience: Audience) -> Self {
        Self { audience, times: TimeRules::default() }
    }

    fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { times: self.times.with_leeway(leeway)?, ..self })
    }

    fn with_max_lifetime(self, max: Duration) -> Self {
        Self { times: self.times.with_max_lifetime(max), ..self }
    }

    /// Rules 2 to 7.
    fn read(
        &self,
        issuer: &Issuer,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<ServiceAccountToken, ServiceAccountError> {
        let claims = Object::parse_token(payload).map_err(SignedTokenError::from)?;
        check_no_legacy(&claims)?;
        claims::check_issuer(&claims, issuer.as_str())?;
        self.audience.check(&claims)?;
        let lifetime = self.times.check(&claims, now)?;
        let subject = claims::subject(&claims)?;
        let account = AccountName::parse(subject)
            .ok_or_else(|| ServiceAccountError::Subject { found: excerpt(subject) })?;
        let private = Private::read(&claims, &account)?;
        let confirmation = Confirmation::read(&claims)?;
        let id = claims::text(&claims, "jti")?;
        Ok(ServiceAccountToken::new(issuer, &account, private, confirmation, id, lifetime))
    }
}

fn check_no_legacy(claims: &Object<'_>) -> Result<(), ServiceAccountError> {
    match claims.iter().any(|(name, _)| name.starts_with(LEGACY_PREFIX)) {
        true => Err(ServiceAccountError::OfSecret),
        false => Ok(()),
    }
}

/// Why a service account's token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAccountError {
    /// The cluster has not signed it.
    #[error(transparent)]
    Signed(#[from] SignedTokenError),
    /// The token lives in a secret, for ever and for everyone.
    #[error("a token of a secret has neither audience nor expiry, and is refused")]
    OfSecret,
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The subject is no service account.
    #[error("the subject {found:?} is no service account")]
    Subject {
        /// The subject, cut.
        found: String,
    },
    /// The claim `kubernetes.io` is missing a member, or has a malformed one.
    #[error("the member {member:?} of the claim \"kubernetes.io\" is missing or malformed")]
    Private {
        /// The member.
        member: &'static str,
    },
    /// The claim `kubernetes.io` names another account than `sub`.
    #[error("the claim \"kubernetes.io\" names another service account than \"sub\"")]
    Disagrees,
    /// The token is bound to a secret and to something else.
    #[error("the token is bound to more than one object")]
    BoundToSeveral,
}

impl ServiceAccountError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Signed(error) => error.fault(),
            Self::OfSecret
            | Self::Claims(_)
            | Self::Subject { .. }
            | Self::Private { .. }
            | Self::Disagrees
            | Self::BoundToSeveral => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Signed(error) => error.reason(),
            Self::OfSecret => "token_of_secret",
            Self::Claims(error) => error.reason(),
            Self::Subject { .. } => "token_subject",
            Self::Private { .. } | Self::Disagrees | Self::BoundToSeveral => "token_claims",
        }
    }
}

#[cfg(test)]
mod tests;
