//! ID tokens: how a provider tells a client who has logged in (OpenID Connect Core §2, §3.1.3.7).
//!
//! [`IdTokenVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it is signed by a key of the provider ([`signed`](crate::oidc::signed)), and `typ` is `JWT`
//!    or absent (T-07);
//! 2. `iss` is the provider, `aud` holds this client, `sub` is there (T-10);
//! 3. `azp` is there where there are several audiences, and is this client wherever it is there
//!    (T-12);
//! 4. `exp`, `iat` and `nbf` fit the time, and `iat` is there (T-11);
//! 5. `nonce` is the one that the client sent; where it sent none, there is none (T-12). A refresh
//!    may leave it out (Core §12.2);
//! 6. `at_hash` and `c_hash` fit the access token and the code that came with it: the left half of
//!    their digest by the hash function of `alg` (T-12, Core §3.1.3.8, §3.3.2.11);
//! 7. `auth_time` is there and recent enough, where the client asked for a maximum age (T-12);
//! 8. there is no `events`: that would be a logout token (RFC 8725 §3.12).
//!
//! # An ID token never authorizes a request
//!
//! It signs a session in, at the client that asked for it, and no binding takes it (T-16).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::principal::Authentication;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::Algorithm;
use crate::claims::{
    self, Audience, ClaimsError, EmptyAudience, LeewayTooLong, Lifetime, TimeRules,
};
use crate::json::{Object, Value};
use crate::jws::Profile;
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::own_claims::{Payload, UnfitClaims};
use crate::oidc::person::{authentication, verified_email};
use crate::oidc::signed::{KeysOfAnother, Signed, SignedTokenError, Signer};

const PROFILE: Profile<'_> = Profile::new(Algorithm::ALL, &["JWT"]).or_untyped();

/// What a client knows of the login that it began.
///
/// ```
/// use std::time::Duration;
/// use zt_identity::oidc::id_token::Login;
///
/// let login = Login::with_nonce("n-0S6_WzA2Mj").max_age(Duration::from_secs(600));
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct Login<'a> {
    nonce: Option<&'a str>,
    refreshed: bool,
    max_age: Option<Duration>,
    access_token: Option<&'a str>,
    code: Option<&'a str>,
    hashes_required: bool,
}

impl<'a> Login<'a> {
    /// A login that was begun with this nonce.
    pub const fn with_nonce(nonce: &'a str) -> Self {
        Self { nonce: Some(nonce), ..Self::without_nonce() }
    }

    /// A login that was begun without one: what protects its response from being replayed is
    /// PKCE alone.
    pub const fn without_nonce() -> Self {
        Self {
            nonce: None,
            refreshed: false,
            max_age: None,
            access_token: None,
            code: None,
            hashes_required: false,
        }
    }

    /// A refresh of a login that was begun with this nonce, or without one: the nonce of the token
    /// is the same, where there is one at all (Core §12.2).
    pub const fn refreshed(nonce: Option<&'a str>) -> Self {
        Self { nonce, refreshed: true, ..Self::without_nonce() }
    }

    /// The user was to have authenticated no longer ago than this.
    pub const fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// This access token came with the ID token; `at_hash` has to fit it, where it is there.
    pub const fn access_token(self, access_token: &'a str) -> Self {
        Self { access_token: Some(access_token), ..self }
    }

    /// This code came with the ID token; `c_hash` has to fit it, where it is there.
    pub const fn code(self, code: &'a str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The tokens came through the browser: the hash of each has to be there (Core §3.2.2.9,
    /// §3.3.2.11).
    pub const fn require_hashes(self) -> Self {
        Self { hashes_required: true, ..self }
    }
}

/// Without the nonce, the token and the code.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

/// What a verified ID token says. A clone shares it.
///
/// It yields no user to any route:
///
/// ```compile_fail,E0308
/// # use zt_core::verified::Verified;
/// # use zt_identity::oidc::id_token::IdToken;
/// use zt_identity::possession::binding::Binding;
///
/// fn user(token: &Verified<IdToken>) {
///     let _ = Binding::bearer().user(token);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdToken(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    issuer: Arc<str>,
    subject: Arc<str>,
    session: Option<Arc<str>>,
    email: Option<Arc<str>>,
    authentication: Authentication,
    lifetime: Lifetime,
    payload: Payload,
}

impl IdToken {
    fn read(
        claims: &Object<'_>,
        payload: &[u8],
        issuer: &Issuer,
        lifetime: Lifetime,
    ) -> Result<Self, ClaimsError> {
        Ok(Self(Arc::new(Facts {
            issuer: issuer.shared(),
            subject: claims::subject(claims)?.into(),
            session: claims::text(claims, "sid")?.map(Arc::from),
            email: verified_email(claims)?.map(Arc::from),
            authentication: authentication(claims)?,
            lifetime,
            payload: Payload::new(payload.into()),
        })))
    }

    /// All of its claims, in a type of one's own, as
    /// [`AccessToken::claims`](crate::oidc::access_token::AccessToken::claims) reads them.
    ///
    /// # Errors
    ///
    /// [`UnfitClaims`] when they are not of this type.
    pub fn claims<'t, C: Deserialize<'t>>(&'t self) -> Result<C, UnfitClaims> {
        self.0.payload.read()
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Who has logged in: `sub`, which means something only beside the issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The session at the provider, by which a logout token may name it: `sid`.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.0.session.as_deref()
    }

    /// The address of the user, where the provider says `email_verified: true` (T-14).
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// How and when the user authenticated.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }
}

/// Verifies the ID tokens of one provider for one client. A clone shares the keys.
#[derive(Clone, Debug)]
pub struct IdTokenVerifier {
    provider: Signer,
    client_id: Arc<str>,
    audience: Audience,
    times: TimeRules,
}

impl IdTokenVerifier {
    /// A verifier of the ID tokens that this provider issues to this client.
    ///
    /// # Errors
    ///
    /// [`IdTokenVerifierError`] when the client has no name, and when the keys are those of
    /// another issuer.
    pub fn new(
        issuer: Issuer,
        client_id: &str,
        keys: IssuerKeys,
    ) -> Result<Self, IdTokenVerifierError> {
        Ok(Self {
            provider: Signer::new(issuer, keys)?,
            client_id: client_id.into(),
            audience: Audience::any([client_id])?,
            times: TimeRules::default(),
        })
    }

    /// The same verifier with another leeway than [`DEFAULT_LEEWAY`](claims::DEFAULT_LEEWAY).
    ///
    /// # Errors
    ///
    /// [`LeewayTooLong`] beyond [`MAX_LEEWAY`](claims::MAX_LEEWAY).
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, LeewayTooLong> {
        Ok(Self { times: self.times.with_leeway(leeway)?, ..self })
    }

    /// Verifies the token that ended a login.
    ///
    /// # Errors
    ///
    /// [`IdTokenError`] names the first rule that is broken; its [`fault`](IdTokenError::fault) is
    /// the authority's when there are no keys to judge by.
    pub fn verify(
        &self,
        token: &str,
        login: &Login<'_>,
        now: Timestamp,
    ) -> Result<Verified<IdToken>, IdTokenError> {
        let Signed { payload, algorithm, .. } = self.provider.signed(token, &PROFILE, now)?;
        let claims = Object::parse_token(&payload).map_err(SignedTokenError::from)?;
        claims::check_issuer(&claims, self.provider.issuer().as_str())?;
        self.audience.check(&claims)?;
        self.check_authorized_party(&claims)?;
        let lifetime = self.times.check(&claims, now)?;
        lifetime.issued_at.ok_or(ClaimsError::Missing { claim: "iat" })?;
        check_nonce(&claims, login)?;
        check_hash(&claims, "at_hash", login.access_token, algorithm, login.hashes_required)?;
        check_hash(&claims, "c_hash", login.code, algorithm, login.hashes_required)?;
        self.check_age(&claims, login.max_age, now)?;
        if claims.get("events").is_some() {
            return Err(IdTokenError::ForeignClaim { claim: "events" });
        }
        let token = IdToken::read(&claims, &payload, self.provider.issuer(), lifetime)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the provider signed these claims, and every rule of this module holds"
        )]
        let verified = danger::verified(token);
        Ok(verified)
    }

    /// Core §3.1.3.7, 4 and 5.
    fn check_authorized_party(&self, claims: &Object<'_>) -> Result<(), IdTokenError> {
        let audiences = claims.get("aud").and_then(Value::as_array).map_or(1, <[_]>::len);
        match claims::text(claims, "azp")? {
            None if audiences > 1 => Err(ClaimsError::Missing { claim: "azp" }.into()),
            Some(azp) if azp != &*self.client_id => Err(IdTokenError::AuthorizedParty),
            _ => Ok(()),
        }
    }

    /// Core §3.1.3.7, 13. A date in the future says nothing about how long ago it was.
    fn check_age(
        &self,
        claims: &Object<'_>,
        max_age: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), IdTokenError> {
        let Some(max_age) = max_age else { return Ok(()) };
        let auth_time = claims::date(claims, "auth_time")?;
        let auth_time = auth_time.ok_or(ClaimsError::Missing { claim: "auth_time" })?;
        let leeway = self.times.leeway();
        let recent = now.since(auth_time) <= max_age.saturating_add(leeway);
        if recent && auth_time <= now.saturating_add(leeway) {
            return Ok(());
        }
        Err(IdTokenError::AuthenticatedTooLongAgo { now, auth_time, max_age })
    }
}

/// Core §3.1.3.7, 11. An empty nonce protects from nothing.
fn check_nonce(claims: &Object<'_>, login: &Login<'_>) -> Result<(), IdTokenError> {
    let nonce = claims::text(claims, "nonce")?;
    let left_out = login.refreshed && nonce.is_none();
    if left_out || (nonce == login.nonce && nonce != Some("")) {
        return Ok(());
    }
    Err(IdTokenError::Nonce)
}

/// Core §3.1.3.6, §3.3.2.11.
fn check_hash(
    claims: &Object<'_>,
    claim: &'static str,
    token: Option<&str>,
    algorithm: Algorithm,
    required: bool,
) -> Result<(), IdTokenError> {
    let Some(token) = token else { return Ok(()) };
    let Some(found) = claims::text(claims, claim)? else {
        return if required { Err(ClaimsError::Missing { claim }.into()) } else { Ok(()) };
    };
    let digest = algorithm.digest(token.as_bytes());
    let digest = digest.as_ref();
    let left_half = digest.get(..digest.len() / 2).unwrap_or_default();
    if found == URL_SAFE_NO_PAD.encode(left_half) {
        return Ok(());
    }
    Err(IdTokenError::Hash { claim })
}

/// Why a verifier of ID tokens cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenVerifierError {
    /// The client has no name.
    #[error(transparent)]
    Client(#[from] EmptyAudience),
    /// The keys are those of another issuer.
    #[error(transparent)]
    Keys(#[from] KeysOfAnother),
}

impl IdTokenVerifierError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Why an ID token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenError {
    /// The provider has not signed it.
    #[error(transparent)]
    Signed(#[from] SignedTokenError),
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The token was issued to another client: `azp`.
    #[error("the token was issued to another client")]
    AuthorizedParty,
    /// The token ends another login than the one that was begun.
    #[error("the nonce is not the one of this login")]
    Nonce,
    /// The token does not belong to what came with it.
    #[error("the claim {claim:?} does not fit what came with the token")]
    Hash {
        /// `at_hash` or `c_hash`.
        claim: &'static str,
    },
    /// The user authenticated longer ago than was asked for, or in the future.
    #[error("authenticated at {auth_time}, and it is {now}; at most {max_age:?} were asked for")]
    AuthenticatedTooLongAgo {
        /// The moment asked about.
        now: Timestamp,
        /// When the user authenticated.
        auth_time: Timestamp,
        /// What was asked for.
        max_age: Duration,
    },
    /// The token has a claim that belongs to another kind of token.
    #[error("the claim {claim:?} does not belong into an ID token")]
    ForeignClaim {
        /// The claim.
        claim: &'static str,
    },
}

impl IdTokenError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Signed(error) => error.fault(),
            Self::Claims(_)
            | Self::AuthorizedParty
            | Self::Nonce
            | Self::Hash { .. }
            | Self::AuthenticatedTooLongAgo { .. }
            | Self::ForeignClaim { .. } => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Signed(error) => error.reason(),
            Self::Claims(error) => error.reason(),
            Self::AuthorizedParty => "token_of_another_audience",
            Self::Nonce | Self::Hash { .. } => "token_of_another_login",
            Self::AuthenticatedTooLongAgo { .. } => "authentication_too_old",
            Self::ForeignClaim { .. } => "token_of_another_kind",
        }
    }
}

#[cfg(test)]
mod tests;
