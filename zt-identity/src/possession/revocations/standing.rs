//! How long what a token let in may go on.

use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::lease::{Ended, Support};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::{Revocations, RevokedError, TokenNames};
use crate::oidc::access_token::AccessToken;

/// What a stream that outlives the request which opened it asks from time to time: does the token
/// that opened it still count? A clone asks the same. A [`Lease`](zt_core::lease::Lease) can rest
/// on it.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::possession::revocations::TokenStanding;
///
/// /// Called with every message, or every few seconds.
/// fn may_go_on(standing: &TokenStanding, now: Timestamp) -> bool {
///     standing.check(now).is_ok()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TokenStanding {
    token: Verified<AccessToken>,
    revocations: Arc<dyn Revocations>,
}

impl TokenStanding {
    /// The standing of a token that counts for as long it lives and these do not revoke it.
    #[must_use]
    pub fn new(token: Verified<AccessToken>, revocations: Arc<dyn Revocations>) -> Self {
        Self { token, revocations }
    }

    /// When it ends at the latest: when its verifier would refuse the token.
    #[must_use]
    pub fn counts_until(&self) -> Timestamp {
        self.token.counts_until()
    }

    /// Whether it still lasts at `now`.
    ///
    /// # Errors
    ///
    /// [`StandingError`] when it does not, or when nobody can tell.
    pub fn check(&self, now: Timestamp) -> Result<(), StandingError> {
        if now >= self.counts_until() {
            return Err(StandingError::Expired { now, expires: self.token.expires() });
        }
        Ok(self.revocations.check(&TokenNames::from(&*self.token), now)?)
    }
}

impl Support for TokenStanding {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        Self::check(self, now).map_err(|_| Ended::Token)
    }
}

/// Why what was let in has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StandingError {
    /// The token is over.
    #[error("expired at {expires}, and it is {now}")]
    Expired {
        /// The moment asked about.
        now: Timestamp,
        /// When the token ended.
        expires: Timestamp,
    },
    /// The token was revoked, or nobody can tell.
    #[error(transparent)]
    Revoked(#[from] RevokedError),
}

impl StandingError {
    /// Whose fault it is: the authority's when too little is known, else the caller's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Expired { .. } => Fault::Peer,
            Self::Revoked(error) => error.fault(),
        }
    }
}
