//! A request of our own, as far as its headers depend on it.

use http::{Method, Uri};

use super::error::OutgoingError;
use super::user_token::UserToken;
use crate::excerpt::excerpt;
use crate::possession::target::Origin;

/// A request that is about to be sent: by this method, to this absolute URI, for this user.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRequest<'r> {
    method: &'r Method,
    uri: &'r Uri,
    user: Option<&'r UserToken>,
}

impl<'r> OutgoingRequest<'r> {
    /// A request of this service.
    #[must_use]
    pub const fn new(method: &'r Method, uri: &'r Uri) -> Self {
        Self { method, uri, user: None }
    }

    /// On behalf of the user of this token, where the destination is one of the user.
    #[must_use]
    pub const fn for_user(self, user: &'r UserToken) -> Self {
        Self { user: Some(user), ..self }
    }

    pub(super) const fn method(&self) -> &'r Method {
        self.method
    }

    pub(super) const fn user(&self) -> Option<&'r UserToken> {
        self.user
    }

    /// Where it goes; `None` where that is no absolute URL of HTTP, or could be read in two ways.
    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::of(&self.url())
    }

    /// The URL without its query (RFC 9449 §4.2).
    pub(super) fn url(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        format!("{scheme}://{authority}{}", self.uri.path())
    }

    /// Nothing of the path: it may be somebody's.
    pub(super) fn nowhere(&self) -> OutgoingError {
        let host = self.uri.host().unwrap_or_default();
        OutgoingError::NotADestination { host: excerpt(host) }
    }
}
