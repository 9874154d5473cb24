//! Decides about each request before its body is read (H-04), and records the decision.
//!
//! [`Authorize`] lets a request through when, in this order:
//!
//! 1. its [`Caller`](crate::caller::Caller) is in the extensions (H-02; else 500);
//! 2. its method has at most [`MAX_METHOD`] bytes and its path is [normal](crate::path) (H-08; else
//!    400);
//! 3. the [`Targets`] say what it wants to do to what;
//! 4. [`Decide`](zt_core::decision::Decide) allows every question it asks: of the workload, and of
//!    the user where there is one (H-11; else 403, or 503 where no current policy is there);
//! 5. the decision is of this very request, and its permit for what was asked (else 500);
//! 6. the decision is recorded (A-04; else 503).
//!
//! A service within that panics is answered for with 500 and recorded with the reason
//! `handler_panicked`; the connection goes on. What it has begun to send by then, as the body of its
//! response, is its own.
//!
//! The service within finds in the extensions what it may do ([`Permitted::of`]), a [`Guard`] to ask about
//! what it finds itself, and, where the connection layer gives leases, a [`CallLease`] for what goes on
//! after it. The headers by which a client may ask some frameworks to serve another method or path than
//! the one that was judged are taken out: they do not exist, however they are spelt (H-08).

mod authority;
mod future;
mod grpc;
mod guard;
mod layer;
mod lease;
mod service;
mod target;

pub use future::ResponseFuture;
pub use grpc::GrpcTargets;
pub use guard::{Guard, MAX_FILTERED, NotPermitted, Permitted};
pub use layer::{AuthorizeLayer, MAX_METHOD};
pub use lease::CallLease;
pub use service::Authorize;
#[cfg(feature = "axum")]
pub use target::RouteTargets;
pub use target::{PathTargets, Target, Targets};
