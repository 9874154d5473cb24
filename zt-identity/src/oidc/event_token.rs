//! What logout tokens and security event tokens have in common (RFC 8417, T-41).
//!
//! Such a token tells that something has happened, once. It is accepted when, in this order:
//!
//! 1. it is signed by a key of the issuer ([`signed`](crate::oidc::signed)) and has the `typ` of
//!    its kind (T-07);
//! 2. `iss` is the issuer, `aud` holds this recipient (T-10);
//! 3. its times are good, and `iat` is there; each kind has its own rule for that;
//! 4. there is no `nonce`: that would be an ID token (Back-Channel Logout §2.4);
//! 5. `events` is an object that is not empty, whose members are objects (RFC 8417 §2.2);
//! 6. `jti` is there and not empty.
//!
//! What comes out is [`Unadmitted`](crate::unadmitted::Unadmitted): it cannot be read before its
//! `jti` was looked up among those of the past.

use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::algorithm::Algorithm;
use crate::claims::{self, Audience, ClaimsError, EmptyAudience};
use crate::json::Object;
use crate::jws::Profile;
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::{KeysOfAnother, SignedTokenError, Signer};

/// From whom, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    issuer: Signer,
    audience: Audience,
}

impl Recipient {
    pub(super) fn new(
        issuer: Issuer,
        audience: Audience,
        keys: IssuerKeys,
    ) -> Result<Self, KeysOfAnother> {
        Ok(Self { issuer: Signer::new(issuer, keys)?, audience })
    }

    pub(super) const fn issuer(&self) -> &Issuer {
        self.issuer.issuer()
    }

    /// Rule 1.
    pub(super) fn signed(
        &self,
        token: &str,
        typ: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, EventTokenError> {
        let profile = Profile::new(Algorithm::ALL, std::slice::from_ref(&typ));
        Ok(self.issuer.signed(token, &profile, now)?.payload)
    }

    /// Rule 2.
    pub(super) fn check(&self, claims: &Object<'_>) -> Result<(), EventTokenError> {
        claims::check_issuer(claims, self.issuer().as_str())?;
        Ok(self.audience.check(claims)?)
    }
}

/// Rules 4 to 6. Yields `events` and `jti`.
pub(super) fn occurrence<'c, 'a>(
    claims: &'c Object<'a>,
) -> Result<(&'c Object<'a>, &'c str), EventTokenError> {
    if claims.get("nonce").is_some() {
        return Err(EventTokenError::ForeignClaim { claim: "nonce" });
    }
    let events = claims.get("events").ok_or(ClaimsError::Missing { claim: "events" })?;
    let events = events.as_object().filter(|events| !events.is_empty());
    let events =
        events.filter(|events| events.iter().all(|(_, event)| event.as_object().is_some()));
    let events = events.ok_or(ClaimsError::Malformed { claim: "events" })?;
    match claims::text(claims, "jti")? {
        None => Err(ClaimsError::Missing { claim: "jti" }.into()),
        Some("") => Err(ClaimsError::Malformed { claim: "jti" }.into()),
        Some(jti) => Ok((events, jti)),
    }
}

/// Why a verifier of such tokens cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The recipient has no name.
    #[error(transparent)]
    Audience(#[from] EmptyAudience),
    /// The keys are those of another issuer.
    #[error(transparent)]
    Keys(#[from] KeysOfAnother),
}

impl RecipientError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Why a logout token or a security event token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventTokenError {
    /// The issuer has not signed it.
    #[error(transparent)]
    Signed(#[from] SignedTokenError),
    /// The claims are refused.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The token has a claim that belongs to another kind of token.
    #[error("the claim {claim:?} does not belong into this kind of token")]
    ForeignClaim {
        /// The claim.
        claim: &'static str,
    },
    /// The token does not tell of the event that it is for.
    #[error("the token does not tell of {event:?}")]
    OtherEvent {
        /// The event that was expected.
        event: &'static str,
    },
    /// The token names neither a subject nor a session.
    #[error("the token names neither a subject nor a session")]
    NoSubject,
    /// The token was issued too long ago.
    #[error("issued at {issued_at}, and it is {now}; at most {max_age:?} may have passed")]
    TooOld {
        /// The moment asked about.
        now: Timestamp,
        /// When the token was issued.
        issued_at: Timestamp,
        /// How old it may be.
        max_age: Duration,
    },
}

impl EventTokenError {
    /// Whose fault it is: the authority's when there are no keys to judge by, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Signed(error) => error.fault(),
            Self::Claims(_)
            | Self::ForeignClaim { .. }
            | Self::OtherEvent { .. }
            | Self::NoSubject
            | Self::TooOld { .. } => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Signed(error) => error.reason(),
            Self::Claims(error) => error.reason(),
            Self::ForeignClaim { .. } | Self::OtherEvent { .. } => "token_of_another_kind",
            Self::NoSubject => "token_claims",
            Self::TooOld { .. } => "token_expired",
        }
    }
}
