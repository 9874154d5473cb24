//! Security event tokens: what has happened to an account, told by its issuer (RFC 8417).
//!
//! [`SecurityEventTokenVerifier::verify`] accepts a token of the type `secevent+jwt` when the rules
//! of every [`event_token`](crate::oidc::event_token) hold, and `iat` is in the past and no longer
//! ago than [`DEFAULT_MAX_AGE`], or what was asked for instead. `exp` and `nbf`, of which the
//! standard advises against the first, are honoured where they are there (§2.2).

use std::sync::Arc;
use std::time::Duration;

use zt_core::time::Timestamp;

use crate::claims::{self, Audience, ClaimsError, DEFAULT_LEEWAY};
use crate::json::Object;
use crate::oidc::event_token::{EventTokenError, Recipient, RecipientError, occurrence};
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::SignedTokenError;
use crate::unadmitted::{ReplayId, Unadmitted};

/// How old a token may be unless stated otherwise: 1 day, so that a recipient that was down hears
/// of what it has missed.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

const TYPE: &str = "secevent+jwt";

/// What an admitted security event token says. A clone shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEventToken(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    issuer: Arc<str>,
    subject: Option<Arc<str>>,
    events: Vec<Arc<str>>,
    issued_at: Timestamp,
    // INVARIANT: one JSON object.
    payload: Vec<u8>,
}

impl SecurityEventToken {
    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whom it is about, where it says so by `sub`; others say it by `sub_id`, or in the event.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The URIs of what has happened.
    #[must_use]
    pub fn events(&self) -> &[Arc<str>] {
        &self.0.events
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.0.issued_at
    }

    /// All claims, as the JSON object that was signed: each event has members of its own.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }
}

/// Verifies the security event tokens of one issuer. A clone shares its keys.
#[derive(Clone, Debug)]
pub struct SecurityEventTokenVerifier {
    recipient: Recipient,
    max_age: Duration,
}

impl SecurityEventTokenVerifier {
    /// A verifier of the tokens that this issuer sends to this recipient.
    ///
    /// # Errors
    ///
    /// [`RecipientError`] when the keys are those of another issuer.
    pub fn new(
        issuer: Issuer,
        audience: Audience,
        keys: IssuerKeys,
    ) -> Result<Self, RecipientError> {
        let recipient = Recipient::new(issuer, audience, keys)?;
        Ok(Self { recipient, max_age: DEFAULT_MAX_AGE })
    }

    /// The same verifier, which accepts tokens up to another age.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
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
    ) -> Result<Unadmitted<SecurityEventToken>, EventTokenError> {
        let payload = self.recipient.signed(token, TYPE, now)?;
        let claims = Object::parse_token(&payload).map_err(SignedTokenError::from)?;
        self.recipient.check(&claims)?;
        let issued_at = self.check_times(&claims, now)?;
        let (events, jti) = occurrence(&claims)?;
        let issuer = self.recipient.issuer().shared();
        let id = ReplayId::of(TYPE, &issuer, jti);
        let subject = claims::text(&claims, "sub")?.map(Arc::from);
        let events = events.iter().map(|(uri, _)| Arc::from(uri)).collect();
        let facts = Facts { issuer, subject, events, issued_at, payload: payload.clone() };
        let until = issued_at.saturating_add(self.max_age).saturating_add(DEFAULT_LEEWAY);
        Ok(Unadmitted::new(SecurityEventToken(Arc::new(facts)), id, until))
    }

    /// Yields when the token was issued.
    fn check_times(
        &self,
        claims: &Object<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, EventTokenError> {
        let issued_at = claims::date(claims, "iat")?;
        let issued_at = issued_at.ok_or(ClaimsError::Missing { claim: "iat" })?;
        let soon = now.saturating_add(DEFAULT_LEEWAY);
        if issued_at > soon {
            return Err(ClaimsError::IssuedInFuture { now, issued_at }.into());
        }
        if let Some(not_before) = claims::date(claims, "nbf")?.filter(|begin| *begin > soon) {
            return Err(ClaimsError::NotYetValid { now, not_before }.into());
        }
        let over = |expires: &Timestamp| now >= expires.saturating_add(DEFAULT_LEEWAY);
        if let Some(expires) = claims::date(claims, "exp")?.filter(over) {
            return Err(ClaimsError::Expired { now, expires }.into());
        }
        let max_age = self.max_age;
        if now.since(issued_at) > max_age.saturating_add(DEFAULT_LEEWAY) {
            return Err(EventTokenError::TooOld { now, issued_at, max_age });
        }
        Ok(issued_at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::jwk::JwkSet;
    use crate::minted;

    const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn with(changes: Json) -> Json {
        let mut claims = json!({
            "iss": "https://login.example.com", "aud": "shop", "sub": "alice", "jti": "1",
            "iat": 1_800_000_000, "events": {REVOKED: {"event_timestamp": 1_800_000_000}},
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

    fn verify_typed(
        typ: &str,
        changes: Json,
    ) -> Result<Unadmitted<SecurityEventToken>, EventTokenError> {
        let keys = JwkSet::parse(minted::Issuer::p256().jwks().as_bytes()).unwrap();
        let issuer = Issuer::parse("https://login.example.com").unwrap();
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        let token = minted::Issuer::p256().sign(&header, with(changes).to_string());
        let audience = Audience::any(["shop"]).unwrap();
        SecurityEventTokenVerifier::new(issuer, audience, IssuerKeys::fixed(keys))
            .unwrap()
            .with_max_age(Duration::from_secs(600))
            .verify(&token, now())
    }

    fn refused(changes: Json) -> EventTokenError {
        verify_typed(TYPE, changes).unwrap_err()
    }

    #[test]
    fn a_token_of_the_issuer_tells_what_has_happened_once_it_is_admitted() {
        let token = verify_typed(TYPE, json!({})).unwrap();
        assert_eq!(token.until(), Timestamp::from_secs(1_800_000_660));
        let token = token.admit(|_, _| true).unwrap();
        assert_eq!((token.issuer(), token.subject()), ("https://login.example.com", Some("alice")));
        assert_eq!(token.events(), [Arc::from(REVOKED)]);
        let claims: Json = serde_json::from_slice(token.payload()).unwrap();
        assert_eq!(claims["events"][REVOKED]["event_timestamp"], 1_800_000_000);
    }

    #[test]
    fn only_the_type_of_security_event_tokens_is_one() {
        for typ in ["JWT", "logout+jwt", "at+jwt"] {
            let refused = verify_typed(typ, json!({})).unwrap_err();
            assert_eq!(refused.reason(), "token_of_another_kind", "{typ}");
        }
    }

    #[test]
    fn the_claims_of_a_security_event_token_are_there() {
        for claim in ["iss", "aud", "iat", "jti", "events"] {
            let error = ClaimsError::Missing { claim };
            assert_eq!(refused(json!({claim: null})), error.into(), "{claim}");
        }
        let nonce = refused(json!({"nonce": "n"}));
        assert_eq!(nonce, EventTokenError::ForeignClaim { claim: "nonce" });
    }

    #[test]
    fn a_token_counts_until_it_is_too_old_or_has_expired() {
        assert!(verify_typed(TYPE, json!({"iat": 1_799_999_340})).is_ok());
        assert!(matches!(refused(json!({"iat": 1_799_999_339})), EventTokenError::TooOld { .. }));
        assert_eq!(refused(json!({"iat": 1_800_000_061})).reason(), "token_not_yet_valid");
        assert_eq!(refused(json!({"nbf": 1_800_000_061})).reason(), "token_not_yet_valid");
        assert_eq!(refused(json!({"exp": 1_799_999_940})).reason(), "token_expired");
        assert!(verify_typed(TYPE, json!({"exp": 1_799_999_941})).is_ok());
    }
}
