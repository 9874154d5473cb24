//! What was ended before its time: sessions, subjects, tokens.
//!
//! A token that verifies still counts only while nothing it stands for was revoked. That is asked
//! with every request, of what this process knows already ([`Revocations::check`]), and never
//! remembered with the verdict on a token. A token counts when, in this order:
//!
//! 1. what is known of revocations is not older than the bound that was stated: where they come
//!    from elsewhere, no longer than that passes before one bites, and with nothing heard for
//!    longer everyone is denied;
//! 2. the token says when it was issued, and that is not longer ago than revocations are remembered
//!    ([`DEFAULT_RETENTION`]): what could have been forgotten is not believed;
//! 3. neither its issuer nor its subject was revoked at or after the second that it was issued in;
//! 4. neither the token (`jti`) nor its session (`sid`) was revoked.
//!
//! They are fed by hand, by back-channel logout and by security events ([`Revocation::of_logout`],
//! [`of_event`](Revocation::of_event)). What there is no room for is not forgotten: it is remembered
//! as a revocation of everything that its issuer has issued until then.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::algorithm::sha256_of_parts;
use crate::oidc::access_token::AccessToken;
use crate::possession::eventual::Eventual;

mod event;
mod standing;
mod memory;

pub use event::{
    CREDENTIAL_CHANGE, DEVICE_COMPLIANCE_CHANGE, RevocationEventError, SESSION_REVOKED,
};
pub use memory::MemoryRevocations;
pub use standing::{StandingError, TokenStanding};

/// How long a revocation is remembered unless stated otherwise, and how old a token may be at most:
/// 1 day.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Knows, here and now, what was revoked.
pub trait Revocations: Send + Sync + fmt::Debug {
    /// Whether a token of these names still counts at `now`. It does not wait for anything.
    ///
    /// # Errors
    ///
    /// [`RevokedError`] when it does not, or when nobody can tell.
    fn check(&self, token: &TokenNames<'_>, now: Timestamp) -> Result<(), RevokedError>;
}

impl<R: Revocations + ?Sized> Revocations for Arc<R> {
    fn check(&self, token: &TokenNames<'_>, now: Timestamp) -> Result<(), RevokedError> {
        (**self).check(token, now)
    }
}

/// Takes revocations in, and passes them on to whoever shares them.
pub trait Revoke: Send + Sync + fmt::Debug {
    /// Revokes these. They count in this process from the call on, whether they could be passed on
    /// or not, and may be revoked again.
    fn revoke(
        &self,
        revocations: &[Revocation],
        now: Timestamp,
    ) -> Eventual<Result<(), RevokeError>>;
}

impl<R: Revoke + ?Sized> Revoke for Arc<R> {
    fn revoke(
        &self,
        revocations: &[Revocation],
        now: Timestamp,
    ) -> Eventual<Result<(), RevokeError>> {
        (**self).revoke(revocations, now)
    }
}

/// A revocation that other processes may not hear of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the revocation counts here and could not be passed on: {reason}")]
#[non_exhaustive]
pub struct RevokeError {
    /// What went wrong, as the client of the store says.
    pub reason: String,
}

impl RevokeError {
    /// With what went wrong, as the client of the store says.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Whose fault it is: that of the store.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// What a token can be revoked by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TokenNames<'t> {
    /// Who issued it: `iss`.
    pub issuer: &'t str,
    /// Whom it is about: `sub`.
    pub subject: &'t str,
    /// The session it belongs to: `sid`.
    pub session: Option<&'t str>,
    /// Its own name: `jti`.
    pub id: Option<&'t str>,
    /// When it was issued: `iat`.
    pub issued_at: Option<Timestamp>,
}

impl<'t> TokenNames<'t> {
    /// A token of this issuer about this subject, of which nothing else is known.
    #[must_use]
    pub const fn new(issuer: &'t str, subject: &'t str) -> Self {
        Self { issuer, subject, session: None, id: None, issued_at: None }
    }
}

impl<'t> From<&'t AccessToken> for TokenNames<'t> {
    fn from(token: &'t AccessToken) -> Self {
        Self {
            issuer: token.issuer(),
            subject: token.subject(),
            session: token.session(),
            id: token.id(),
            issued_at: token.issued_at(),
        }
    }
}

/// The name of what is revoked: a digest, so that a list of them tells nobody who was.
type Name = [u8; 32];

fn issuer_name(issuer: &str) -> Name {
    sha256_of_parts(&[b"issuer", issuer.as_bytes()])
}

fn name_of(kind: &str, issuer: &str, name: &str) -> Name {
    sha256_of_parts(&[kind.as_bytes(), issuer.as_bytes(), name.as_bytes()])
}

const SUBJECT: &str = "subject";
const SESSION: &str = "session";
const TOKEN: &str = "token";

/// That something counts no more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    name: Name,
    issuer: Name,
    // What was issued later counts. The end of time where it does not matter when.
    issued_until: Timestamp,
}

impl Revocation {
    /// Of everything that an issuer has issued up to this moment.
    #[must_use]
    pub fn of_issuer(issuer: &str, issued_until: Timestamp) -> Self {
        let name = issuer_name(issuer);
        Self { name, issuer: name, issued_until }
    }

    /// Of every token about a subject that was issued up to this moment. Whoever signs in again
    /// later is let in: tokens of the next second count.
    #[must_use]
    pub fn of_subject(issuer: &str, subject: &str, issued_until: Timestamp) -> Self {
        Self::new(SUBJECT, issuer, subject, issued_until)
    }

    /// Of a session: of every token that names it.
    #[must_use]
    pub fn of_session(issuer: &str, session: &str) -> Self {
        Self::new(SESSION, issuer, session, Timestamp::MAX)
    }

    /// Of one token, by its `jti`.
    #[must_use]
    pub fn of_token(issuer: &str, id: &str) -> Self {
        Self::new(TOKEN, issuer, id, Timestamp::MAX)
    }

    /// What another process needs to know of it.
    #[cfg(feature = "redis")]
    pub(crate) const fn parts(&self) -> (&Name, &Name, Timestamp) {
        (&self.name, &self.issuer, self.issued_until)
    }

    #[cfg(feature = "redis")]
    pub(crate) const fn from_parts(name: Name, issuer: Name, issued_until: Timestamp) -> Self {
        Self { name, issuer, issued_until }
    }

    fn new(kind: &str, issuer: &str, name: &str, issued_until: Timestamp) -> Self {
        Self { name: name_of(kind, issuer, name), issuer: issuer_name(issuer), issued_until }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("issued_until", &self.issued_until)
            .finish_non_exhaustive()
    }
}

/// Why a token that verifies does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokedError {
    /// The token, its session, its subject or its issuer was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// The token does not say when it was issued, so nobody can tell.
    #[error("the token does not say when it was issued")]
    Undated,
    /// The token was issued longer ago than revocations are remembered.
    #[error("issued at {issued_at}, and it is {now}; revocations are remembered for {retention:?}")]
    TooOldToTell {
        /// The moment asked about.
        now: Timestamp,
        /// When the token was issued.
        issued_at: Timestamp,
        /// How long revocations are remembered.
        retention: Duration,
    },
    /// What is known of revocations is too old.
    #[error("revocations are known up to {known_until}, and it is {now}; the bound is {bound:?}")]
    Stale {
        /// The moment asked about.
        now: Timestamp,
        /// Up to when revocations are known.
        known_until: Timestamp,
        /// How far behind that may be.
        bound: Duration,
    },
}

impl RevokedError {
    /// Whose fault it is: the authority's when too little is known, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Stale { .. } => Fault::Authority,
            Self::Revoked | Self::Undated | Self::TooOldToTell { .. } => Fault::Peer,
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Revoked => "token_revoked",
            Self::Undated => "token_undated",
            Self::TooOldToTell { .. } => "token_older_than_revocations",
            Self::Stale { .. } => "revocations_stale",
        }
    }
}

#[cfg(test)]
mod tests;
