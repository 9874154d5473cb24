//! The token of the user on whose behalf a request is made.

use std::fmt;
use std::sync::Arc;

use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::error::OutgoingError;
use crate::oidc::access_token::AccessToken;

/// A user's access token as it was sent to this service, and what was verified of it. A clone shares
/// it.
///
/// It is exchanged for others, and sent to nobody but the token endpoint, until it is over. What was
/// revoked since it was verified is for whoever goes on with it to ask
/// ([`TokenStanding`](crate::possession::revocations::TokenStanding)). Only a token that was
/// verified is one:
///
/// ```compile_fail,E0308
/// use zt_identity::oidc::access_token::AccessToken;
/// use zt_identity::outgoing::UserToken;
///
/// fn believed(text: &str, token: AccessToken) -> UserToken {
///     UserToken::new(text, token)
/// }
/// ```
#[derive(Clone)]
pub struct UserToken(Arc<Parts>);

struct Parts {
    text: Secret<String>,
    token: Verified<AccessToken>,
}

impl UserToken {
    /// The token with this text, which was verified to be this.
    #[must_use]
    pub fn new(text: &str, token: Verified<AccessToken>) -> Self {
        Self(Arc::new(Parts { text: Secret::new(text.to_owned()), token }))
    }

    /// What was verified of it.
    pub fn token(&self) -> &Verified<AccessToken> {
        &self.0.token
    }

    pub(super) fn text(&self) -> &str {
        self.0.text.expose()
    }

    /// Nothing is done for a user whose token is over, also with what was exchanged for it before.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), OutgoingError> {
        let expires = self.0.token.expires();
        if now >= expires { Err(OutgoingError::UserTokenOver { now, expires }) } else { Ok(()) }
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UserToken").field(&self.0.token).finish()
    }
}
