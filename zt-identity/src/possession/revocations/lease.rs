//! How long something that was let in may go on.

use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::{Revocations, RevokedError, TokenNames};
use crate::oidc::access_token::AccessToken;

/// What a stream that outlives the request which opened it asks from time to time: does the token
/// that opened it still count? A clone asks the same.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::possession::revocations::Lease;
///
/// /// Called with every message, or every few seconds.
/// fn may_go_on(lease: &Lease, now: Timestamp) -> bool {
///     lease.check(now).is_ok()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    token: Verified<AccessToken>,
    revocations: Arc<dyn Revocations>,
}

impl Lease {
    /// A lease for as long as this token lives and these do not revoke it.
    #[must_use]
    pub fn new(token: Verified<AccessToken>, revocations: Arc<dyn Revocations>) -> Self {
        Self { token, revocations }
    }

    /// When it ends at the latest: with the token, without leeway.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.token.expires()
    }

    /// Whether it still lasts at `now`.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when it does not, or when nobody can tell.
    pub fn check(&self, now: Timestamp) -> Result<(), LeaseError> {
        let expires = self.expires();
        if now >= expires {
            return Err(LeaseError::Expired { now, expires });
        }
        Ok(self.revocations.check(&TokenNames::from(&*self.token), now)?)
    }
}

/// Why what was let in has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
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

impl LeaseError {
    /// Whose fault it is: the authority's when too little is known, else the caller's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Expired { .. } => Fault::Peer,
            Self::Revoked(error) => error.fault(),
        }
    }
}
