//! What a route demands of its callers. It is stated; there is no default.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{Extensions, HeaderValue};
use zt_core::peer::Peer;
use zt_core::principal::User;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::oidc::step_up::StepUp;
use zt_identity::possession::eventual::Eventual;
use zt_identity::possession::revocations::TokenStanding;

use crate::credential::{self, Scheme};
use crate::denial::{Denial, Refusal, Scope};
use crate::workload_tokens::WorkloadDemand;

/// Finds the user behind what a request presents.
///
/// An implementation verifies the token and how it belongs to its sender (T-16, T-30): a token is
/// not a caller, and one that is bound to a key is worth nothing without it. What is refused through
/// no fault of the peer, such as keys that are unavailable, is refused as such:
/// [`Denial::of_token`](crate::denial::Denial::of_token).
///
/// What is known at once is [ready](Eventual::ready); what somebody else has to be asked for is
/// [pending](Eventual::pending), and the request waits for it.
pub trait VerifyToken: Send + Sync {
    /// What is known of this token already, at no cost worth mentioning; `None` where it has to be
    /// verified. What is known is not [limited](crate::limits).
    fn known(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Result<Found, Refusal>> {
        let _ = (presented, now);
        None
    }

    /// The user of the token that is presented, or a [`Refusal`] with a reason out of a fixed set
    /// that holds nothing of the token.
    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding;

    /// The refusal as it is to be answered, whoever of the layer made it: a scheme other than
    /// `Bearer` is challenged in another way.
    fn challenge(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        let _ = now;
        refusal
    }
}

impl<V: VerifyToken + ?Sized> VerifyToken for Arc<V> {
    fn known(&self, presented: &Presented<'_>, now: Timestamp) -> Option<Result<Found, Refusal>> {
        (**self).known(presented, now)
    }

    fn user(&self, presented: &Presented<'_>, now: Timestamp) -> Finding {
        (**self).user(presented, now)
    }

    fn challenge(&self, refusal: Refusal, now: Timestamp) -> Refusal {
        (**self).challenge(refusal, now)
    }
}

/// What [`VerifyToken`] finds.
pub type Finding = Eventual<Result<Found, Refusal>>;

/// What a request presents to be known by: its one `Authorization` header, its connection, and its
/// head.
///
/// The token in it can be read only by saying under which scheme it has to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'r> {
    authorization: &'r HeaderValue,
    peer: &'r Verified<Peer>,
    request: &'r Parts,
}

impl<'r> Presented<'r> {
    pub(crate) const fn new(
        authorization: &'r HeaderValue,
        peer: &'r Verified<Peer>,
        request: &'r Parts,
    ) -> Self {
        Self { authorization, peer, request }
    }

    /// The token, sent as one for bearers.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the scheme is another, or what follows is no token.
    pub fn bearer(&self) -> Result<&'r str, Refusal> {
        credential::token(self.authorization, Scheme::Bearer)
    }

    /// What is sent as a token for bearers, whether it is one or not.
    pub(crate) fn as_bearer(&self) -> Result<&'r [u8], Refusal> {
        credential::sent(self.authorization, Scheme::Bearer)
    }

    /// The token, sent as one that is bound to the key of a DPoP proof.
    ///
    /// # Errors
    ///
    /// As [`Presented::bearer`].
    pub fn dpop(&self) -> Result<&'r str, Refusal> {
        credential::token(self.authorization, Scheme::Dpop)
    }

    /// Who is at the other end of the connection.
    pub const fn peer(&self) -> &'r Verified<Peer> {
        self.peer
    }

    /// The head of the request.
    #[must_use]
    pub const fn request(&self) -> &'r Parts {
        self.request
    }
}

/// A user that was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub(crate) user: Verified<User>,
    pub(crate) dpop_nonce: Option<HeaderValue>,
    pub(crate) standing: Option<TokenStanding>,
    pub(crate) until: Timestamp,
    pub(crate) extensions: Extensions,
}

impl Found {
    /// Whose token counts until then: what goes on for longer, such as a stream, ends.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Self { until, ..self }
    }

    /// Puts this into the extensions of the request, for what goes on after it.
    #[must_use]
    pub fn with_standing(self, standing: TokenStanding) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// Puts this into the extensions of the request, for whoever handles it.
    #[must_use]
    pub fn with_extension(mut self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.extensions.insert(extension);
        self
    }

    /// Hands the client a new nonce with the response (RFC 9449 §8.2).
    #[must_use]
    pub fn with_dpop_nonce(self, nonce: HeaderValue) -> Self {
        Self { dpop_nonce: Some(nonce), ..self }
    }
}

impl From<Verified<User>> for Found {
    fn from(user: Verified<User>) -> Self {
        Self {
            user,
            dpop_nonce: None,
            standing: None,
            until: Timestamp::MAX,
            extensions: Extensions::new(),
        }
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
    /// A workload that a token names, whatever the connection proves.
    WorkloadToken(WorkloadDemand),
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

    /// Whether a user did and has what is demanded.
    pub(crate) fn check(&self, user: &User, now: Timestamp) -> Result<(), Refusal> {
        if let Some(step_up) = &self.step_up
            && !step_up.is_met(user.authentication(), now)
        {
            return Err(Refusal::new(Denial::StepUp(step_up.clone()), "step_up_needed"));
        }
        if let Some(scope) = &self.scope
            && !scope.is_met(user)
        {
            return Err(Refusal::new(
                Denial::InsufficientScope(scope.clone()),
                "insufficient_scope",
            ));
        }
        Ok(())
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
