//! What a logout token or a security event revokes.
//!
//! A logout token ends the session it names (`sid`), and where it names none, everything about its
//! subject (Back-Channel Logout §2.4). A security event token is about the tokens of one issuer. Of
//! its events three revoke (CAEP 1.0 §3):
//!
//! 1. `session-revoked` ends the session that its subject names, and where it names none,
//!    everything about its user;
//! 2. `credential-change` ends everything about its user, whatever was changed;
//! 3. `device-compliance-change` to `not-compliant` ends everything about the user of the device;
//!    one to `compliant` ends nothing.
//!
//! "Everything" is what was issued up to the second in which the event token was: an event time of
//! its own would be earlier, and end less. The subject is the token's `sub_id` (RFC 9493), or the
//! event's `subject`, or the token's `sub`: of the formats `iss_sub` and `opaque`, or
//! `complex` with a `user` and a `session` of these. One that names nobody whose tokens could be
//! found, such as a device alone, is refused: nothing would be revoked. Other events revoke nothing.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::Revocation;
use crate::json::{Object, Value};
use crate::oidc::logout_token::LogoutToken;
use crate::oidc::security_event_token::SecurityEventToken;

/// A session was ended.
pub const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// A credential was created, changed or taken away.
pub const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";
/// A device complies no more, or again.
pub const DEVICE_COMPLIANCE_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change";

impl Revocation {
    /// What a logout token ends.
    #[must_use]
    pub fn of_logout(token: &Verified<LogoutToken>) -> Vec<Self> {
        let issuer = token.issuer();
        match (token.session(), token.subject()) {
            (Some(session), _) => vec![Self::of_session(issuer, session)],
            (None, Some(subject)) => vec![Self::of_subject(issuer, subject, token.issued_at())],
            (None, None) => Vec::new(),
        }
    }

    /// What a security event token ends among the tokens of `token_issuer`, which is often the
    /// issuer of the event token itself.
    ///
    /// # Errors
    ///
    /// [`RevocationEventError`] when an event that revokes does not say whom, or about tokens of
    /// another issuer.
    pub fn of_event(
        token: &Verified<SecurityEventToken>,
        token_issuer: &str,
    ) -> Result<Vec<Self>, RevocationEventError> {
        let malformed = RevocationEventError::Malformed;
        let claims = Object::parse_token(token.payload()).map_err(|_| malformed)?;
        let events = claims.get("events").and_then(Value::as_object).ok_or(malformed)?;
        let mut revocations = Vec::new();
        for (uri, event) in events.iter() {
            let event = event.as_object().ok_or(malformed)?;
            if revokes(uri, event)? {
                let subject = Subject::find(&claims, event, token.issuer(), token_issuer)?;
                let whole_session = uri == SESSION_REVOKED;
                revocations.push(subject.revocation(
                    token_issuer,
                    whole_session,
                    token.issued_at(),
                )?);
            }
        }
        Ok(revocations)
    }
}

fn revokes(uri: &str, event: &Object<'_>) -> Result<bool, RevocationEventError> {
    match uri {
        SESSION_REVOKED | CREDENTIAL_CHANGE => Ok(true),
        DEVICE_COMPLIANCE_CHANGE => match event.get("current_status").and_then(Value::as_str) {
            Some("compliant") => Ok(false),
            Some("not-compliant") => Ok(true),
            _ => Err(RevocationEventError::Malformed),
        },
        _ => Ok(false),
    }
}

/// Whom an event is about, as far as tokens name them.
#[derive(Default)]
struct Subject<'c> {
    user: Option<&'c str>,
    session: Option<&'c str>,
}

impl<'c> Subject<'c> {
    fn find(
        claims: &'c Object<'_>,
        event: &'c Object<'_>,
        event_issuer: &str,
        token_issuer: &str,
    ) -> Result<Self, RevocationEventError> {
        let named = claims.get("sub_id").or_else(|| event.get("subject"));
        let Some(named) = named else {
            return Ok(Self { user: claims.get("sub").and_then(Value::as_str), session: None });
        };
        let named = named.as_object().ok_or(RevocationEventError::Malformed)?;
        let issuers = [event_issuer, token_issuer];
        // Before RFC 9493 a complex subject had no format.
        let is_complex = ["user", "session"].iter().any(|member| named.get(member).is_some());
        if !is_complex {
            return Ok(Self { user: identified(named, issuers)?, session: None });
        }
        let member = |name| match named.get(name) {
            None => Ok(None),
            Some(value) => {
                identified(value.as_object().ok_or(RevocationEventError::Malformed)?, issuers)
            }
        };
        Ok(Self { user: member("user")?, session: member("session")? })
    }

    fn revocation(
        &self,
        issuer: &str,
        whole_session: bool,
        at: Timestamp,
    ) -> Result<Revocation, RevocationEventError> {
        match (self.session.filter(|_| whole_session), self.user) {
            (Some(session), _) => Ok(Revocation::of_session(issuer, session)),
            (None, Some(user)) => Ok(Revocation::of_subject(issuer, user, at)),
            (None, None) => Err(RevocationEventError::NoSubject),
        }
    }
}

/// A subject identifier (RFC 9493 §3.2.3, §3.2.4); `None` for formats that no token has.
fn identified<'c>(
    subject: &'c Object<'_>,
    issuers: [&str; 2],
) -> Result<Option<&'c str>, RevocationEventError> {
    let member = |name| subject.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match member("format") {
        Some("iss_sub") => {
            let issuer = member("iss").ok_or(RevocationEventError::Malformed)?;
            if !issuers.contains(&issuer) {
                return Err(RevocationEventError::OtherIssuer);
            }
            member("sub").map(Some).ok_or(RevocationEventError::Malformed)
        }
        Some("opaque") => member("id").map(Some).ok_or(RevocationEventError::Malformed),
        Some(_) => Ok(None),
        None => Err(RevocationEventError::Malformed),
    }
}

/// Why an event that is to revoke something cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationEventError {
    /// The event or its subject is not as its specification says.
    #[error("the event or its subject is malformed")]
    Malformed,
    /// The event names nobody whom a token names: nothing would be revoked.
    #[error("the event names no user and no session")]
    NoSubject,
    /// The event is about the user of another issuer.
    #[error("the event is about the user of another issuer")]
    OtherIssuer,
}

impl RevocationEventError {
    /// Whose fault it is: that of whoever sent the event.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "event_malformed",
            Self::NoSubject => "event_without_subject",
            Self::OtherIssuer => "event_of_another_issuer",
        }
    }
}
