//! Logout tokens: how a provider ends a session behind the user's back (OpenID Connect
//! Back-Channel Logout 1.0).
//!
//! [`LogoutTokenVerifier::verify`] accepts a token of the type `logout+jwt` when the rules of
//! every [`event_token`](crate::oidc::event_token) hold, and (§2.4, §2.6):
//!
//! 1. `exp` is in the future, `iat` is there, and no more than [`MAX_LIFETIME`] lies between them;
//! 2. `events` tells of [`EVENT`];
//! 3. there is `sub`, or `sid`, or both.

use std::sync::Arc;
use std::time::Duration;

use zt_core::time::Timestamp;

use crate::claims::{self, Audience, ClaimsError, TimeRules};
use crate::json::Object;
use crate::oidc::event_token::{EventTokenError, Recipient, RecipientError, occurrence};
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::SignedTokenError;
use crate::unadmitted::{ReplayId, Unadmitted};

/// What a logout token tells of.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long a token may live: 1 hour. The specification advises two minutes (§4).
pub const MAX_LIFETIME: Duration = Duration::from_secs(3600);

const TYPE: &str = "logout+jwt";

/// What an admitted logout token says. A clone shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    issuer: Arc<str>,
    subject: Option<Arc<str>>,
    session: Option<Arc<str>>,
    issued_at: Timestamp,
}

impl LogoutToken {
    /// When it was issued: `iat`.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whose sessions end, all of them unless one is named: `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The one session that ends: `sid`.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

/// Verifies the logout tokens of one provider for one client. A clone shares the keys.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use std::collections::HashSet;
/// use zt_core::time::Timestamp;
/// use zt_identity::oidc::logout_token::LogoutTokenVerifier;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// # let provider = zt_identity::authority::Issuer::new("https://login.example.com", now)?;
/// # let token = provider.mint_as("logout+jwt", r#"{"aud": "shop", "sid": "s1", "jti": "1",
/// #     "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}"#)?;
/// let mut seen = HashSet::new(); // in production: shared by replicas, and names forgotten in time
/// let tokens = LogoutTokenVerifier::new(provider.url().clone(), "shop", provider.keys()?)?;
/// let logout = tokens.verify(&token, now)?.admit(|id, _until| seen.insert(*id))?;
/// assert_eq!(logout.session(), Some("s1"));
/// assert!(tokens.verify(&token, now)?.admit(|id, _until| seen.insert(*id)).is_err());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogoutTokenVerifier {
    client: Recipient,
    times: TimeRules,
}

impl LogoutTokenVerifier {
    /// A verifier of the logout tokens that this provider sends to this client.
    ///
    /// # Errors
    ///
    /// [`RecipientError`] when the client has no name, and when the keys are those of another
    /// issuer.
    pub fn new(issuer: Issuer, client_id: &str, keys: IssuerKeys) -> Result<Self, RecipientError> {
        Ok(Self {
            client: Recipient::new(issuer, Audience::any([client_id])?, keys)?,
            times: TimeRules::default().with_max_lifetime(MAX_LIFETIME),
        })
    }

    /// Verifies a token at `now`.
    ///
    /// # Errors
    ///
    /// [`EventTokenError`] names the first rule that is broken.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Unadmitted<LogoutToken>, EventTokenError> {
        let payload = self.client.signed(token, TYPE, now)?;
        let claims = Object::parse_token(&payload).map_err(SignedTokenError::from)?;
        self.client.check(&claims)?;
        let (issued_at, expires) = self.times(&claims, now)?;
        let (events, jti) = occurrence(&claims)?;
        if events.get(EVENT).is_none() {
            return Err(EventTokenError::OtherEvent { event: EVENT });
        }
        let (subject, session) = whose(&claims)?;
        let issuer = self.client.issuer().shared();
        let id = ReplayId::of(TYPE, &issuer, jti);
        let until = expires.saturating_add(self.times.leeway());
        Ok(Unadmitted::new(LogoutToken { issuer, subject, session, issued_at }, id, until))
    }

    /// Rule 1.
    fn times(
        &self,
        claims: &Object<'_>,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), EventTokenError> {
        let lifetime = self.times.check(claims, now)?;
        let issued_at = lifetime.issued_at.ok_or(ClaimsError::Missing { claim: "iat" })?;
        Ok((issued_at, lifetime.expires))
    }
}

type Named = Option<Arc<str>>;

/// Rule 3.
fn whose(claims: &Object<'_>) -> Result<(Named, Named), EventTokenError> {
    let named = |claim| {
        let text = claims::text(claims, claim)?;
        if text == Some("") {
            return Err(ClaimsError::Malformed { claim });
        }
        Ok(text.map(Arc::from))
    };
    match (named("sub")?, named("sid")?) {
        (None, None) => Err(EventTokenError::NoSubject),
        both => Ok(both),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::jwk::JwkSet;
    use crate::minted;

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn with(changes: Json) -> Json {
        let mut claims = json!({
            "iss": "https://login.example.com", "aud": "shop", "sub": "alice", "sid": "s1",
            "jti": "1", "iat": 1_800_000_000, "exp": 1_800_000_120, "events": {EVENT: {}},
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    fn verify_typed(typ: &str, changes: Json) -> Result<Unadmitted<LogoutToken>, EventTokenError> {
        let keys = JwkSet::parse(minted::Issuer::p256().jwks().as_bytes()).unwrap();
        let issuer = Issuer::parse("https://login.example.com").unwrap();
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        let token = minted::Issuer::p256().sign(&header, with(changes).to_string());
        LogoutTokenVerifier::new(issuer, "shop", IssuerKeys::fixed(keys))
            .unwrap()
            .verify(&token, now())
    }

    fn refused(changes: Json) -> EventTokenError {
        verify_typed(TYPE, changes).unwrap_err()
    }

    #[test]
    fn a_token_of_the_provider_names_whose_session_ends_once_it_is_admitted() {
        let token = verify_typed(TYPE, json!({})).unwrap();
        assert_eq!(token.until(), Timestamp::from_secs(1_800_000_180));
        let logout = token.admit(|_, _| true).unwrap();
        assert_eq!((logout.subject(), logout.session()), (Some("alice"), Some("s1")));
        let again = verify_typed(TYPE, json!({})).unwrap();
        assert!(again.admit(|_, _| false).is_err());
    }

    #[test]
    fn only_the_type_of_logout_tokens_is_one() {
        for typ in ["JWT", "secevent+jwt", "at+jwt", "LOGOUT+JWT"] {
            let refused = verify_typed(typ, json!({})).unwrap_err();
            assert_eq!(refused.reason(), "token_of_another_kind", "{typ}");
        }
    }

    #[test]
    fn the_claims_of_a_logout_token_are_there() {
        for claim in ["iss", "aud", "exp", "iat", "jti", "events"] {
            let error = ClaimsError::Missing { claim };
            assert_eq!(refused(json!({claim: null})), error.into(), "{claim}");
        }
        assert_eq!(refused(json!({"jti": ""})), ClaimsError::Malformed { claim: "jti" }.into());
        assert_eq!(refused(json!({"aud": "orders"})), ClaimsError::Audience.into());
    }

    #[test]
    fn a_token_with_a_nonce_is_an_id_token() {
        let error = EventTokenError::ForeignClaim { claim: "nonce" };
        assert_eq!(refused(json!({"nonce": "n"})), error);
    }

    #[test]
    fn the_event_is_that_of_a_logout_and_an_object() {
        let other = refused(json!({"events": {"urn:other": {}}}));
        assert_eq!(other, EventTokenError::OtherEvent { event: EVENT });
        for events in [json!({}), json!([EVENT]), json!(EVENT), json!({EVENT: true})] {
            let error = ClaimsError::Malformed { claim: "events" };
            assert_eq!(refused(json!({"events": events})), error.into());
        }
    }

    #[test]
    fn a_subject_or_a_session_is_named() {
        assert!(verify_typed(TYPE, json!({"sub": null})).is_ok());
        assert!(verify_typed(TYPE, json!({"sid": null})).is_ok());
        assert_eq!(refused(json!({"sub": null, "sid": null})), EventTokenError::NoSubject);
    }

    #[test]
    fn a_token_does_not_live_longer_than_its_name_is_remembered() {
        assert_eq!(refused(json!({"exp": 1_800_003_601})).reason(), "token_lives_too_long");
        assert_eq!(refused(json!({"iat": 1, "exp": 100})).reason(), "token_expired");
    }
}
