//! Access tokens: what an issuer lets a client do for a user (RFC 9068).
//!
//! [`AccessTokenVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it is a compact JWS with an allowed `alg`, and `typ` is `at+jwt` or `application/at+jwt`
//!    (RFC 9068 §4, T-07);
//! 2. its `kid` names a key of the issuer, and that key verifies the signature (T-04, T-06);
//! 3. the payload is one strict JSON object (T-03);
//! 4. `iss` is the issuer, `aud` names this service, `sub` is there (RFC 9068 §4, T-10);
//! 5. `exp`, `nbf` and `iat` fit the time (T-11);
//! 6. every other claim that is used has the type that its specification gives it.
//!
//! A missing key set is an error of its own: then nobody can tell whether the token is good.
//!
//! # A token is not a caller
//!
//! The result has a user's name in it and still no principal: whoever copied the token could send
//! it. A [`Binding`](crate::possession::binding::Binding) turns it into a user (T-16).
//!
//! # Providers that predate RFC 9068
//!
//! Many call their access tokens `JWT`. [`AccessTokenVerifierBuilder::admit_jwt_type`] admits
//! those, and with them the danger that an ID token is taken for an access token. Under this
//! switch a token with a claim that belongs to an ID token or a logout token is refused, and the
//! audience has to be a name of this service that is no `client_id` of the issuer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zt_core::attribute::Attributes;
use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::principal::{Authentication, User};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::claims::{
    self, Audience, ClaimsError, EmptyAudience, LeewayTooLong, Lifetime, TimeRules,
};
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};
use crate::jws::{Jws, JwsError, Profile};
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::oidc::keys::{IssuerKeys, KeysUnavailable};

const TYPES: &[&str] = &["at+jwt", "application/at+jwt"];
const TYPES_AND_JWT: &[&str] = &["at+jwt", "application/at+jwt", "JWT"];

/// Claims of ID tokens (OpenID Connect Core §2, §3.3.2.11) and logout tokens (Back-Channel Logout
/// §2.4) that no access token has.
const FOREIGN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "events"];

/// Verifies the access tokens of one issuer. A clone shares its keys.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::jwk::JwkSet;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
/// use zt_identity::oidc::keys::IssuerKeys;
///
/// let keys = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///      "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?);
/// let tokens = AccessTokenVerifier::builder("https://login.example.com")?
///     .audience("orders")
///     .keys(keys)
///     .build()?;
/// assert!(tokens.verify("not.a.token", Timestamp::from_secs(1_800_000_000)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AccessTokenVerifier {
    issuer: Issuer,
    audience: Audience,
    keys: IssuerKeys,
    times: TimeRules,
    types: &'static [&'static str],
    roles_claim: ClaimPath,
    groups_claim: ClaimPath,
}

impl AccessTokenVerifier {
    /// Begins a verifier for the tokens of the issuer with this `https` URL.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL cannot name an issuer.
    pub fn builder(issuer: &str) -> Result<AccessTokenVerifierBuilder, IssuerError> {
        Issuer::parse(issuer).map(Self::for_issuer)
    }

    /// Begins a verifier for the tokens of this issuer.
    pub fn for_issuer(issuer: Issuer) -> AccessTokenVerifierBuilder {
        AccessTokenVerifierBuilder {
            issuer,
            audiences: Vec::new(),
            all_audiences: false,
            keys: None,
            leeway: claims::DEFAULT_LEEWAY,
            max_lifetime: None,
            types: TYPES,
            roles_claim: ClaimPath::from("roles"),
            groups_claim: ClaimPath::from("groups"),
        }
    }

    /// Whose tokens it verifies.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The keys it verifies them with.
    #[must_use]
    pub fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// Verifies a token at `now`.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError`] names the first rule that is broken; its
    /// [`fault`](AccessTokenError::fault) is the authority's when there are no keys to judge by.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<AccessToken>, AccessTokenError> {
        let jws = Jws::parse(token, &Profile::new(Algorithm::ALL, self.types))?;
        let (payload, key_generation) = self.signed_payload(&jws, now)?;
        let claims = Object::parse(&payload)?;
        claims::check_issuer(&claims, self.issuer.as_str())?;
        self.audience.check(&claims)?;
        let subject = claims::subject(&claims)?;
        let lifetime = self.times.check(&claims, now)?;
        self.check_foreign_claims(&claims)?;
        let token = AccessToken(Arc::new(Facts {
            user: self.user(&claims, subject)?,
            confirmation: Confirmation::read(&claims)?,
            id: claims::text(&claims, "jti")?.map(Arc::from),
            lifetime,
            key_generation,
        }));
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of the issuer signed these claims, and every rule of this module holds"
        )]
        let verified = danger::verified(token);
        Ok(verified)
    }

    /// The payload, signed by a key of the issuer, and the generation of the keys.
    fn signed_payload(
        &self,
        jws: &Jws<'_>,
        now: Timestamp,
    ) -> Result<(Vec<u8>, u64), AccessTokenError> {
        let kid = jws.kid().ok_or(AccessTokenError::NoKid)?;
        let keys = self.keys.current(now)?;
        let Some(key) = keys.key(kid) else {
            self.keys.report_unknown();
            return Err(AccessTokenError::UnknownKey { kid: excerpt(kid) });
        };
        Ok((jws.verify(key)?, keys.generation()))
    }

    /// The type `JWT` says nothing, so the claims have to (RFC 8725 §3.12).
    fn check_foreign_claims(&self, claims: &Object<'_>) -> Result<(), AccessTokenError> {
        if self.types == TYPES {
            return Ok(());
        }
        match FOREIGN_CLAIMS.iter().find(|claim| claims.get(claim).is_some()) {
            None => Ok(()),
            Some(claim) => Err(AccessTokenError::ForeignClaim { claim }),
        }
    }

    fn user(&self, claims: &Object<'_>, subject: &str) -> Result<User, ClaimsError> {
        let user = User::new(self.issuer.shared(), subject)
            .with_scopes(scopes(claims)?)
            .with_roles(names(claims, &self.roles_claim, "roles")?)
            .with_groups(names(claims, &self.groups_claim, "groups")?)
            .with_authentication(authentication(claims)?);
        let user = match claims::text(claims, "client_id")? {
            Some(client) => user.with_client(client),
            None => user,
        };
        Ok(match verified_email(claims)? {
            Some(email) => user.with_attributes(Attributes::new().with("email", email)),
            None => user,
        })
    }
}

/// `scope`: names separated by spaces (RFC 8693 §4.2); an array is something else.
fn scopes<'c>(claims: &'c Object<'_>) -> Result<impl Iterator<Item = &'c str>, ClaimsError> {
    let scope = claims::text(claims, "scope")?.unwrap_or_default();
    Ok(scope.split(' ').filter(|name| !name.is_empty()))
}

/// Roles or groups: an array of texts, wherever the provider keeps it (RFC 9068 §2.2.3.1).
fn names<'c>(
    claims: &'c Object<'_>,
    path: &ClaimPath,
    claim: &'static str,
) -> Result<Vec<&'c str>, ClaimsError> {
    match path.find(claims) {
        None => Ok(Vec::new()),
        Some(value) => value.as_strings().ok_or(ClaimsError::Malformed { claim }),
    }
}

/// `acr`, `amr` and `auth_time` (RFC 9068 §2.2.1, T-13).
fn authentication(claims: &Object<'_>) -> Result<Authentication, ClaimsError> {
    let mut authentication = Authentication::default();
    authentication.acr = claims::text(claims, "acr")?.map(Arc::from);
    authentication.auth_time = claims::date(claims, "auth_time")?;
    if let Some(value) = claims.get("amr") {
        let methods = value.as_strings().ok_or(ClaimsError::Malformed { claim: "amr" })?;
        authentication.amr = methods.into_iter().map(Arc::from).collect();
    }
    Ok(authentication)
}

/// An address that the issuer has not verified is what the user typed (T-14).
fn verified_email<'c>(claims: &'c Object<'_>) -> Result<Option<&'c str>, ClaimsError> {
    match claims.get("email_verified") {
        Some(Value::Bool(true)) => claims::text(claims, "email"),
        _ => Ok(None),
    }
}

/// Where in the claims a value stands: a name, or a way of names through nested objects.
///
/// ```
/// use zt_identity::oidc::access_token::ClaimPath;
///
/// let flat = ClaimPath::from("https://example.com/roles"); // one name, dots and all
/// let nested = ClaimPath::from(["realm_access", "roles"]); // as Keycloak does
/// assert_ne!(flat, nested);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    fn find<'c, 'a>(&self, claims: &'c Object<'a>) -> Option<&'c Value<'a>> {
        let (first, rest) = self.0.split_first()?;
        let value = claims.get(first)?;
        rest.iter().try_fold(value, |value, name| value.as_object()?.get(name))
    }
}

impl From<&str> for ClaimPath {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl<const N: usize> From<[&str; N]> for ClaimPath {
    fn from(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).into())
    }
}

/// An [`AccessTokenVerifier`] in the making.
#[must_use]
#[derive(Clone, Debug)]
pub struct AccessTokenVerifierBuilder {
    issuer: Issuer,
    audiences: Vec<Arc<str>>,
    all_audiences: bool,
    keys: Option<IssuerKeys>,
    leeway: Duration,
    max_lifetime: Option<Duration>,
    types: &'static [&'static str],
    roles_claim: ClaimPath,
    groups_claim: ClaimPath,
}

impl AccessTokenVerifierBuilder {
    /// Adds a name of this service: a token has to be for one of those that were added.
    pub fn audience(mut self, name: impl Into<Arc<str>>) -> Self {
        self.audiences.push(name.into());
        self
    }

    /// Demands that a token is for all of the names that were added.
    pub fn require_all_audiences(mut self) -> Self {
        self.all_audiences = true;
        self
    }

    /// Verifies with the keys that the issuer publishes, fetched by discovery and kept fresh in
    /// the background with the default [`RefreshOptions`](crate::oidc::refresh::RefreshOptions).
    ///
    /// # Errors
    ///
    /// As [`IssuerKeys::discover`].
    #[cfg(feature = "http")]
    pub fn discover(self) -> Result<Self, crate::oidc::refresh::DiscoverError> {
        let keys = IssuerKeys::discover(self.issuer.clone(), Default::default())?;
        Ok(self.keys(keys))
    }

    /// The keys of the issuer.
    pub fn keys(mut self, keys: IssuerKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How far clocks may be apart: 60 s unless stated otherwise, and at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Refuses tokens that are issued for longer than this; no limit unless stated otherwise.
    pub fn max_lifetime(mut self, max: Duration) -> Self {
        self.max_lifetime = Some(max);
        self
    }

    /// Also admits the type `JWT`, for providers that predate RFC 9068; see the
    /// [module](self#providers-that-predate-rfc-9068) for what that costs.
    pub fn admit_jwt_type(mut self) -> Self {
        self.types = TYPES_AND_JWT;
        self
    }

    /// Where the user's roles stand; `roles` unless stated otherwise.
    pub fn roles_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.roles_claim = path.into();
        self
    }

    /// Where the user's groups stand; `groups` unless stated otherwise.
    pub fn groups_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.groups_claim = path.into();
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`VerifierError`] when there is no audience, when there are no keys or those of another
    /// issuer, when the leeway is too long, and when a claim has no name.
    pub fn build(self) -> Result<AccessTokenVerifier, VerifierError> {
        let audience = if self.all_audiences {
            Audience::all(self.audiences)?
        } else {
            Audience::any(self.audiences)?
        };
        let keys = self.keys.ok_or(VerifierError::NoKeys)?;
        if let Some(other) = keys.issuer().filter(|issuer| **issuer != self.issuer) {
            return Err(VerifierError::KeysOfAnother { issuer: other.clone() });
        }
        let times = TimeRules::default().with_leeway(self.leeway)?;
        for ClaimPath(names) in [&self.roles_claim, &self.groups_claim] {
            if names.is_empty() || names.iter().any(String::is_empty) {
                return Err(VerifierError::UnnamedClaim);
            }
        }
        Ok(AccessTokenVerifier {
            issuer: self.issuer,
            audience,
            keys,
            times: self.max_lifetime.map_or(times, |max| times.with_max_lifetime(max)),
            types: self.types,
            roles_claim: self.roles_claim,
            groups_claim: self.groups_claim,
        })
    }
}

/// Why a verifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// No audience was given, or one without a name.
    #[error(transparent)]
    Audience(#[from] EmptyAudience),
    /// No keys were given.
    #[error("a verifier needs the issuer's keys")]
    NoKeys,
    /// The keys are those of another issuer.
    #[error("the keys are those of {issuer}")]
    KeysOfAnother {
        /// Whose keys they are.
        issuer: Issuer,
    },
    /// The leeway is too long.
    #[error(transparent)]
    Leeway(#[from] LeewayTooLong),
    /// A claim to read has no name.
    #[error("a claim needs a name that is not empty")]
    UnnamedClaim,
}

impl VerifierError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// What a verified access token says. A clone shares it.
///
/// Whoever sent it is known only once it is bound:
///
/// ```compile_fail,E0308
/// use zt_core::principal::User;
/// use zt_core::verified::Verified;
/// use zt_identity::oidc::access_token::AccessToken;
///
/// fn sender(token: Verified<AccessToken>) -> Verified<User> {
///     token
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    user: User,
    confirmation: Option<Confirmation>,
    id: Option<Arc<str>>,
    lifetime: Lifetime,
    key_generation: u64,
}

impl AccessToken {
    pub(crate) fn user(&self) -> &User {
        &self.0.user
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.user.issuer()
    }

    /// Whom it is about: `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.user.subject()
    }

    /// The client it was issued to: `client_id`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.user.client()
    }

    /// What the client may do: `scope`.
    #[must_use]
    pub fn scopes(&self) -> &[Arc<str>] {
        self.0.user.scopes()
    }

    /// The roles of its subject.
    #[must_use]
    pub fn roles(&self) -> &[Arc<str>] {
        self.0.user.roles()
    }

    /// The groups of its subject.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        self.0.user.groups()
    }

    /// How and when its subject authenticated: `acr`, `amr` and `auth_time`.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        self.0.user.authentication()
    }

    /// The address of its subject, where the issuer says `email_verified: true` (T-14).
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        match self.0.user.attributes().get("email") {
            Some(zt_core::attribute::Value::String(email)) => Some(email),
            _ => None,
        }
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.lifetime.issued_at
    }

    /// What its sender has to possess: `cnf`.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.0.confirmation.as_ref()
    }

    /// The generation of the keys it was verified with: a verdict on it ends with them (T-23).
    #[must_use]
    pub fn key_generation(&self) -> u64 {
        self.0.key_generation
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessToken").field(&self.0).finish()
    }
}

/// What the sender of a token has to possess: the claim `cnf` (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    certificate: Option<[u8; 32]>,
    other: Option<Arc<str>>,
}

impl Confirmation {
    /// A `cnf` without a method would bind a token to nothing, so it is malformed.
    fn read(claims: &Object<'_>) -> Result<Option<Self>, ClaimsError> {
        let malformed = ClaimsError::Malformed { claim: "cnf" };
        let Some(value) = claims.get("cnf") else { return Ok(None) };
        let methods = value.as_object().filter(|methods| !methods.is_empty());
        let methods = methods.ok_or(malformed.clone())?;
        let certificate = match methods.get("x5t#S256") {
            None => None,
            Some(value) => Some(thumbprint(value).ok_or(malformed)?),
        };
        let other = methods.iter().map(|(name, _)| name).find(|name| *name != "x5t#S256");
        let other = other.map(|name| Arc::from(excerpt(name)));
        Ok(Some(Self { certificate, other }))
    }

    /// The SHA-256 digest of the sender's certificate in DER: `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub fn certificate_sha256(&self) -> Option<&[u8; 32]> {
        self.certificate.as_ref()
    }

    /// The first method besides that, such as `jkt`: none of them can be checked yet, so a token
    /// that has one is refused by every binding. The name is cut.
    #[must_use]
    pub fn unsupported(&self) -> Option<&str> {
        self.other.as_deref()
    }
}

fn thumbprint(value: &Value<'_>) -> Option<[u8; 32]> {
    base64url::decode(value.as_str()?).ok()?.try_into().ok()
}

/// Why an access token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessTokenError {
    /// The token is not a signed token of the expected kind, or its signature does not verify.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// The token names no key, and keys are never tried in turn.
    #[error("the token names no key")]
    NoKid,
    /// The token names a key that the issuer does not have.
    #[error("the issuer has no key {kid:?}")]
    UnknownKey {
        /// The name, cut.
        kid: String,
    },
    /// There are no keys to judge the token by.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    /// The payload is not JSON that is accepted.
    #[error("the payload is not JSON that is accepted")]
    Payload(#[from] JsonError),
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The token has a claim that belongs to another kind of token.
    #[error("the claim {claim:?} does not belong into an access token")]
    ForeignClaim {
        /// The claim.
        claim: &'static str,
    },
}

impl AccessTokenError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Keys(unavailable) => unavailable.fault(),
            Self::Jws(_)
            | Self::NoKid
            | Self::UnknownKey { .. }
            | Self::Payload(_)
            | Self::Claims(_)
            | Self::ForeignClaim { .. } => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Jws(error) => error.reason(),
            Self::NoKid | Self::UnknownKey { .. } => "token_key_unknown",
            Self::Keys(_) => "keys_unavailable",
            Self::Payload(_) => "token_not_json",
            Self::Claims(error) => error.reason(),
            Self::ForeignClaim { .. } => "token_of_another_kind",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::jwk::JwkSet;
    use crate::minted;

    const ISSUER: &str = "https://login.example.com";
    const AT_JWT: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#;
    const JWT: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#;

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn builder() -> AccessTokenVerifierBuilder {
        AccessTokenVerifier::builder(ISSUER)
            .unwrap()
            .audience("orders")
            .keys(IssuerKeys::fixed(minted::Issuer::new().jwks()))
    }

    fn claims() -> Json {
        json!({
            "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "t1",
            "iat": 1_799_999_900, "exp": 1_800_000_600, "scope": "read write",
            "roles": ["clerk"], "groups": ["emea"],
            "acr": "mfa", "amr": ["pwd", "otp"], "auth_time": 1_799_999_000,
            "email": "alice@example.com", "email_verified": true,
        })
    }

    /// The usual claims with these instead; `null` takes one away.
    fn with(changes: Json) -> Json {
        let mut claims = claims();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    fn mint(claims: &Json) -> String {
        minted::Issuer::new().sign(AT_JWT, claims.to_string())
    }

    fn verify(claims: &Json) -> Result<Verified<AccessToken>, AccessTokenError> {
        builder().build().unwrap().verify(&mint(claims), now())
    }

    fn refused(changes: Json) -> AccessTokenError {
        verify(&with(changes)).unwrap_err()
    }

    fn malformed(claim: &'static str) -> AccessTokenError {
        ClaimsError::Malformed { claim }.into()
    }

    #[test]
    fn a_good_token_says_what_it_was_issued_with() {
        let token = verify(&claims()).unwrap();
        assert_eq!((token.issuer(), token.subject()), (ISSUER, "alice"));
        assert_eq!((token.client_id(), token.id()), (Some("shop"), Some("t1")));
        assert_eq!(token.scopes(), [Arc::from("read"), Arc::from("write")]);
        assert_eq!(token.roles(), [Arc::from("clerk")]);
        assert_eq!(token.groups(), [Arc::from("emea")]);
        assert_eq!(token.authentication().acr.as_deref(), Some("mfa"));
        assert_eq!(token.authentication().amr.len(), 2);
        assert_eq!(token.authentication().auth_time, Some(Timestamp::from_secs(1_799_999_000)));
        assert_eq!(token.email(), Some("alice@example.com"));
        assert_eq!(token.expires(), Timestamp::from_secs(1_800_000_600));
        assert_eq!(token.issued_at(), Some(Timestamp::from_secs(1_799_999_900)));
        assert_eq!(token.confirmation(), None);
        assert_eq!(token.key_generation(), 2);
    }

    #[test]
    fn a_token_of_another_type_is_refused() {
        let issuer = minted::Issuer::new();
        let verifier = builder().build().unwrap();
        let claims = claims().to_string();
        let header = |typ: &str| format!(r#"{{"alg":"EdDSA",{typ}"kid":"k1"}}"#);
        let verify = |typ| verifier.verify(&issuer.sign(&header(typ), &claims), now());
        assert!(verify(r#""typ":"application/at+jwt","#).is_ok());
        for typ in [
            "",
            r#""typ":"JWT","#,
            r#""typ":"AT+JWT","#,
            r#""typ":"dpop+jwt","#,
            r#""typ":"wit+jwt","#,
            r#""typ":"logout+jwt","#,
        ] {
            let error = verify(typ).unwrap_err();
            assert!(matches!(error, AccessTokenError::Jws(JwsError::Type { .. })), "{typ}");
        }
    }

    #[test]
    fn the_type_jwt_is_admitted_by_its_switch_without_claims_of_an_id_token() {
        let issuer = minted::Issuer::new();
        let verifier = builder().admit_jwt_type().build().unwrap();
        let verify = |claims: Json| verifier.verify(&issuer.sign(JWT, claims.to_string()), now());
        assert!(verify(claims()).is_ok());
        for claim in FOREIGN_CLAIMS {
            let error = verify(with(json!({ claim: "x" }))).unwrap_err();
            assert_eq!(error, AccessTokenError::ForeignClaim { claim });
        }
    }

    #[test]
    fn issuer_audience_and_subject_have_to_be_there_and_to_fit() {
        for (changes, error) in [
            (json!({"iss": null}), ClaimsError::Missing { claim: "iss" }),
            (json!({"iss": 1}), ClaimsError::Malformed { claim: "iss" }),
            (
                json!({"iss": "https://login.example.com/"}),
                ClaimsError::Issuer { found: "https://login.example.com/".into() },
            ),
            (json!({"aud": null}), ClaimsError::Missing { claim: "aud" }),
            (json!({"aud": 1}), ClaimsError::Malformed { claim: "aud" }),
            (json!({"aud": ["orders", 1]}), ClaimsError::Malformed { claim: "aud" }),
            (json!({"aud": {"orders": true}}), ClaimsError::Malformed { claim: "aud" }),
            (json!({"aud": []}), ClaimsError::Audience),
            (json!({"aud": "orders2"}), ClaimsError::Audience),
            (json!({"sub": null}), ClaimsError::Missing { claim: "sub" }),
            (json!({"sub": ""}), ClaimsError::Malformed { claim: "sub" }),
            (json!({"sub": ["alice"]}), ClaimsError::Malformed { claim: "sub" }),
            (json!({"exp": null}), ClaimsError::Missing { claim: "exp" }),
        ] {
            assert_eq!(refused(changes.clone()), error.into(), "{changes}");
        }
        assert!(verify(&with(json!({"aud": ["billing", "orders"]}))).is_ok());
    }

    #[test]
    fn all_audiences_are_demanded_when_it_is_said() {
        let verifier = builder().audience("billing").require_all_audiences().build().unwrap();
        let verify = |aud: Json| verifier.verify(&mint(&with(json!({"aud": aud}))), now());
        assert!(verify(json!(["billing", "orders", "x"])).is_ok());
        assert_eq!(verify(json!(["orders"])).unwrap_err(), ClaimsError::Audience.into());
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        for (changes, claim) in [
            (json!({"scope": ["read"]}), "scope"),
            (json!({"roles": "clerk"}), "roles"),
            (json!({"roles": [1]}), "roles"),
            (json!({"groups": {"a": 1}}), "groups"),
            (json!({"client_id": 1}), "client_id"),
            (json!({"acr": 1}), "acr"),
            (json!({"amr": "pwd"}), "amr"),
            (json!({"auth_time": "now"}), "auth_time"),
            (json!({"jti": 1}), "jti"),
            (json!({"email": 1}), "email"),
        ] {
            assert_eq!(refused(changes), malformed(claim));
        }
    }

    #[test]
    fn an_email_counts_only_when_it_is_verified_with_exactly_true() {
        for verified in [json!(false), json!("true"), json!(1), Json::Null] {
            let token = verify(&with(json!({"email_verified": verified}))).unwrap();
            assert_eq!(token.email(), None, "{verified}");
        }
    }

    #[test]
    fn roles_may_stand_in_a_nested_claim_or_under_a_name_with_dots() {
        let claims = with(json!({
            "roles": null, "realm_access": {"roles": ["a"]}, "https://example.com/groups": ["b"],
        }));
        let verifier = builder()
            .roles_claim(["realm_access", "roles"])
            .groups_claim("https://example.com/groups")
            .build()
            .unwrap();
        let token = verifier.verify(&mint(&claims), now()).unwrap();
        assert_eq!((token.roles(), token.groups()), (&[Arc::from("a")][..], &[Arc::from("b")][..]));
    }

    #[test]
    fn a_confirmation_is_read_strictly() {
        let digest = minted::base64url([1; 32]);
        let token = verify(&with(json!({"cnf": {"x5t#S256": digest}}))).unwrap();
        assert_eq!(token.confirmation().unwrap().certificate_sha256(), Some(&[1; 32]));
        assert_eq!(token.confirmation().unwrap().unsupported(), None);
        let token = verify(&with(json!({"cnf": {"jkt": "x"}}))).unwrap();
        assert_eq!(token.confirmation().unwrap().unsupported(), Some("jkt"));
        for cnf in [
            json!({}),
            json!([]),
            json!("x"),
            json!({"x5t#S256": 1}),
            json!({"x5t#S256": "AQ"}),
            json!({"x5t#S256": format!("{digest}=")}),
        ] {
            assert_eq!(refused(json!({"cnf": cnf})), malformed("cnf"), "{cnf}");
        }
        let null = claims().to_string().replacen('{', r#"{"cnf":null,"#, 1);
        let null = minted::Issuer::new().sign(AT_JWT, null);
        assert_eq!(builder().build().unwrap().verify(&null, now()).unwrap_err(), malformed("cnf"));
    }

    #[test]
    fn a_token_names_its_key_and_keys_are_not_tried_in_turn() {
        let issuer = minted::Issuer::new();
        let verifier = builder().build().unwrap();
        let verify = |header: &str| {
            verifier.verify(&issuer.sign(header, claims().to_string()), now()).unwrap_err()
        };
        assert_eq!(verify(r#"{"alg":"EdDSA","typ":"at+jwt"}"#), AccessTokenError::NoKid);
        let unknown = verify(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k2"}"#);
        assert_eq!(unknown, AccessTokenError::UnknownKey { kid: "k2".into() });
        assert_eq!(unknown.fault(), Fault::Peer);
    }

    #[test]
    fn missing_keys_are_the_fault_of_the_authority() {
        let none = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[]}"#).unwrap());
        let verifier = builder().keys(none).build().unwrap();
        let error = verifier.verify(&mint(&claims()), now()).unwrap_err();
        assert_eq!(error, KeysUnavailable::NoUsableKey.into());
        assert_eq!(error.fault(), Fault::Authority);
    }

    #[test]
    fn a_verifier_without_audience_or_keys_cannot_be_built() {
        let begin = || AccessTokenVerifier::builder(ISSUER).unwrap();
        let keys = || IssuerKeys::fixed(minted::Issuer::new().jwks());
        assert_eq!(begin().audience("a").build().unwrap_err(), VerifierError::NoKeys);
        let empty = VerifierError::Audience(EmptyAudience);
        assert_eq!(begin().keys(keys()).build().unwrap_err(), empty);
        assert_eq!(begin().keys(keys()).audience("").build().unwrap_err(), empty);
        let long = begin().keys(keys()).audience("a").leeway(Duration::from_secs(301)).build();
        assert!(matches!(long, Err(VerifierError::Leeway(_))));
        let unnamed = begin().keys(keys()).audience("a").roles_claim("").build();
        assert_eq!(unnamed.unwrap_err(), VerifierError::UnnamedClaim);
        assert_eq!(AccessTokenVerifier::builder("http://x").unwrap_err(), IssuerError::NotHttps);
    }

    #[test]
    fn a_lifetime_beyond_the_maximum_is_refused() {
        let verifier = builder().max_lifetime(Duration::from_secs(600)).build().unwrap();
        let error = verifier.verify(&mint(&claims()), now()).unwrap_err();
        assert!(matches!(error, AccessTokenError::Claims(ClaimsError::LivesTooLong { .. })));
    }

    #[test]
    fn errors_and_debug_output_never_hold_the_token() {
        let token = mint(&with(json!({"aud": "x"})));
        let error = builder().build().unwrap().verify(&token, now()).unwrap_err();
        let parts: Vec<&str> = token.split('.').collect();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(parts.iter().all(|part| !shown.contains(part)));
        }
    }

    proptest! {
        #[test]
        fn a_token_with_any_one_byte_changed_is_refused(
            at in any::<prop::sample::Index>(),
            to in prop_oneof!["[A-Za-z0-9_.-]", "[ -~]", "\\PC"],
        ) {
            let token = mint(&claims());
            let mut parts: Vec<String> = token.chars().map(String::from).collect();
            let at = at.index(parts.len());
            prop_assume!(parts[at] != to);
            parts[at] = to;
            let changed = parts.concat();
            prop_assert!(builder().build().unwrap().verify(&changed, now()).is_err());
        }

        #[test]
        fn no_input_panics(token in "\\PC*") {
            let _ = builder().build().unwrap().verify(&token, now());
        }

        #[test]
        fn no_signed_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let token = minted::Issuer::new().sign(AT_JWT, payload);
            prop_assert!(builder().build().unwrap().verify(&token, now()).is_err());
        }
    }
}
