//! Axum extractors for what the layers proved (feature `axum`).
//!
//! A handler takes the [`Caller`], the [`CallingWorkload`], the [`CallingUser`] or the
//! [`Permitted`]; the [`Guard`], to ask about things that it finds; the [`CallLease`], to end with
//! what let it begin. Where one is missing the service is wired wrongly, and the answer is 500: there
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
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use zt_core::principal::{User, Workload};

use crate::authorize::{CallLease, Guard, NotPermitted, Permitted};
use crate::caller::Caller;
use crate::denial::{Denial, NotWired, Problem, Respond, is_grpc};

/// The workload that calls, proven.
#[derive(Clone, Debug)]
pub struct CallingWorkload(pub Workload);

/// The user on whose behalf it calls, proven.
#[derive(Clone, Debug)]
pub struct CallingUser(pub User);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        // What a handler keeps of it is good for no other request.
        let caller = parts.extensions.get().map(Self::proven);
        caller.ok_or_else(|| of(NotWired::new("caller"), parts))
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
        let user = caller.user().cloned().map(Self);
        user.ok_or_else(|| of(NotWired::new("user"), parts))
    }
}

impl<S: Sync> FromRequestParts<S> for Permitted {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        Self::of(&parts.extensions).map_err(|error| of(error, parts))
    }
}

impl<S: Sync> FromRequestParts<S> for Guard {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        Self::of(&parts.extensions).map_err(|error| of(error, parts))
    }
}

impl<S: Sync> FromRequestParts<S> for CallLease {
    type Rejection = NotWired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotWired> {
        Self::of(&parts.extensions).map_err(|error| of(error, parts))
    }
}

/// The error with the protocol of its request.
fn of(error: NotWired, parts: &Parts) -> NotWired {
    NotWired { is_grpc: is_grpc(&parts.method, &parts.headers), ..error }
}

impl IntoResponse for NotWired {
    fn into_response(self) -> Response {
        answer(&Denial::Wiring, self.is_grpc)
    }
}

/// As [`Problem`] answers over HTTP.
impl IntoResponse for NotPermitted {
    fn into_response(self) -> Response {
        answer(self.denial(), false)
    }
}

fn answer(denial: &Denial, is_grpc: bool) -> Response {
    let (mut parts, ()) = Request::new(()).into_parts();
    if is_grpc {
        parts.method = Method::POST;
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    }
    Respond::<Body>::respond(&Problem::default(), denial, &parts)
}
