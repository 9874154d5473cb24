//! Axum extractors for what the layers proved (feature `axum`).
//!
//! A handler takes the [`Caller`], the [`CallingWorkload`], the [`CallingUser`] or the
//! [`Permitted`]. Where one is missing the service is wired wrongly, and the answer is 500: there
//! is no anonymous caller, and no `Option` of one (H-02).
//!
//! ```
//! use zt_core::request::{Action, Resource};
//! use zt_tower::authorize::Permitted;
//! use zt_tower::extract::CallingUser;
//!
//! async fn refund(CallingUser(user): CallingUser, permit: Permitted) -> String {
//!     format!("{} may {} {}", user.subject(), permit.action(), permit.resource())
//! }
//! # let _: axum::Router = axum::Router::new().route("/refund", axum::routing::any(refund));
//! ```

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::Request;
use http::request::Parts;
use zt_core::fault::Fault;
use zt_core::principal::{User, Workload};

use crate::authorize::Permitted;
use crate::caller::Caller;
use crate::denial::{Denial, Problem, Respond};

/// The workload that calls, proven.
#[derive(Clone, Debug)]
pub struct CallingWorkload(pub Workload);

/// The user on whose behalf it calls, proven.
#[derive(Clone, Debug)]
pub struct CallingUser(pub User);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        parts.extensions.get().cloned().ok_or_else(|| NotWired::new("caller", parts))
    }
}

impl<S: Sync> FromRequestParts<S> for CallingWorkload {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotWired> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self(caller.workload().clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for CallingUser {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotWired> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.user().cloned().map(Self).ok_or_else(|| NotWired::new("user", parts))
    }
}

impl<S: Sync> FromRequestParts<S> for Permitted {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        parts.extensions.get().cloned().ok_or_else(|| NotWired::new("permit", parts))
    }
}

/// A handler asks for what no layer in front of it proves.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no layer in front of this handler proves a {what}")]
#[non_exhaustive]
pub struct NotWired {
    /// What is missing.
    pub what: &'static str,
    // Of the request, to answer it in its own protocol.
    content_type: Option<http::HeaderValue>,
}

impl NotWired {
    fn new(what: &'static str, parts: &Parts) -> Self {
        Self { what, content_type: parts.headers.get(http::header::CONTENT_TYPE).cloned() }
    }

    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl IntoResponse for NotWired {
    fn into_response(self) -> Response {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(content_type) = self.content_type {
            parts.headers.insert(http::header::CONTENT_TYPE, content_type);
        }
        Respond::<Body>::respond(&Problem::default(), &Denial::Wiring, &parts)
    }
}
