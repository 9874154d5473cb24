//! Who has signed in, and the tokens that came of it.

use std::fmt;
use std::sync::Arc;

use zt_core::principal::Authentication;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::return_path::ReturnPath;
use crate::oidc::id_token::IdToken;
use crate::oidc::step_up::StepUp;

/// A user who has signed in at the provider. A clone shares the tokens.
///
/// It is made by [`finish`](super::RelyingParty::finish) and by nothing else. How long it counts is
/// for the application to say: no longer than it would trust a browser that was left alone. It
/// authorizes no request of another service: that is what the access token is for.
#[derive(Clone)]
pub struct Session(Arc<Facts>);

pub(super) struct Facts {
    pub(super) client_id: Arc<str>,
    pub(super) id_token: Verified<IdToken>,
    /// As it arrived: providers want to see it again.
    pub(super) id_token_text: Secret<String>,
    pub(super) nonce: Secret<String>,
    /// Of the login: a refresh does not change how the user authenticated.
    pub(super) authentication: Authentication,
    pub(super) access_token: Secret<String>,
    pub(super) access_token_expires: Option<Timestamp>,
    pub(super) refresh_token: Option<Secret<String>>,
}

impl Session {
    pub(super) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.0
    }

    /// The ID token that signed the user in, or that came with the last refresh.
    pub fn id_token(&self) -> &Verified<IdToken> {
        &self.0.id_token
    }

    /// Who has signed in: `sub`, which means something only beside the issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.id_token.subject()
    }

    /// How and when the user authenticated.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    /// Whether the user has authenticated as is demanded at `now`; where not,
    /// [`LoginRequest::step_up`](super::LoginRequest::step_up) asks for it.
    #[must_use]
    pub fn meets(&self, step_up: &StepUp, now: Timestamp) -> bool {
        step_up.is_met(&self.0.authentication, now)
    }

    /// What calls other services for the user.
    #[must_use]
    pub fn access_token(&self) -> &Secret<String> {
        &self.0.access_token
    }

    /// When the access token expires, where the provider says so.
    #[must_use]
    pub fn access_token_expires(&self) -> Option<Timestamp> {
        self.0.access_token_expires
    }

    /// Whether the provider gave out a refresh token.
    #[must_use]
    pub fn is_refreshable(&self) -> bool {
        self.0.refresh_token.is_some()
    }
}

/// Without its tokens.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id_token", &self.0.id_token)
            .field("access_token_expires", &self.0.access_token_expires)
            .field("is_refreshable", &self.is_refreshable())
            .finish_non_exhaustive()
    }
}

/// A login that has ended well.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Who has signed in.
    pub session: Session,
    /// Where the user wanted to go.
    pub return_to: ReturnPath,
}
