//! What a route demands of its callers. It is stated; there is no default.

use std::fmt;
use std::sync::Arc;

use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::denial::{Refusal, Scope, StepUp};

/// Finds the user behind a token that this peer sent.
///
/// An implementation verifies the token and its binding to the peer (T-16, T-30): a token is not a
/// caller, and one that is bound to a key is worth nothing without it. What is refused through no
/// fault of the peer, such as keys that are unavailable, is refused as such:
/// [`Denial::of_token`](crate::denial::Denial::of_token).
pub trait VerifyToken: Send + Sync {
    /// The user of `token`, sent over the connection of `peer`.
    ///
    /// # Errors
    ///
    /// [`Refusal`], with a reason out of a fixed set that holds nothing of the token.
    fn user(
        &self,
        token: &str,
        peer: &Verified<Peer>,
        now: Timestamp,
    ) -> Result<Verified<User>, Refusal>;
}

impl<V: VerifyToken + ?Sized> VerifyToken for Arc<V> {
    fn user(
        &self,
        token: &str,
        peer: &Verified<Peer>,
        now: Timestamp,
    ) -> Result<Verified<User>, Refusal> {
        (**self).user(token, peer, now)
    }
}

/// Whom a route demands to be proven.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Demand {
    /// The workload at the other end of the connection. A token is not looked at, and nobody's.
    Workload,
    /// The workload, and a user on whose behalf it calls.
    WorkloadAndUser(UserDemand),
}

/// What is demanded of a user.
#[derive(Clone)]
pub struct UserDemand {
    tokens: Arc<dyn VerifyToken>,
    step_up: Option<StepUp>,
    scope: Option<Scope>,
}

impl UserDemand {
    /// A token that these verify.
    #[must_use]
    pub fn new(tokens: impl VerifyToken + 'static) -> Self {
        Self { tokens: Arc::new(tokens), step_up: None, scope: None }
    }

    /// And this authentication (T-13).
    #[must_use]
    pub fn step_up(mut self, step_up: StepUp) -> Self {
        self.step_up = Some(step_up);
        self
    }

    /// And this scope.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    pub(crate) fn tokens(&self) -> &dyn VerifyToken {
        &*self.tokens
    }

    pub(crate) const fn demanded_step_up(&self) -> Option<&StepUp> {
        self.step_up.as_ref()
    }

    pub(crate) const fn demanded_scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }
}

impl fmt::Debug for UserDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserDemand")
            .field("step_up", &self.step_up)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
