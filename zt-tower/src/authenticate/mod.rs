//! Authenticates each request and puts its [`Caller`](crate::caller::Caller) into its extensions.
//!
//! [`Authenticate`] lets a request through when it has no more headers than it may ([limits]; else
//! 431), and, in this order:
//!
//! 1. the connection layer is wired: the remote [`SocketAddr`](std::net::SocketAddr) or the peer
//!    is in the extensions (H-02; else 500);
//! 2. the connection has a `Verified<Peer>` (H-04; else 401), unless the route takes the
//!    [tokens of workloads](crate::workload_tokens);
//! 3. the peer's certificate counts still, however long ago the handshake was, and the lease of the
//!    connection lasts, where the connection layer gives one (M-09; else 401);
//! 4. there is at most one `Authorization` header (T-42; else 400);
//! 5. a peer that is [trusted to speak for its clients](crate::forwarded) says who this one is (H-09;
//!    else 400);
//! 6. where a user is demanded, that header holds a token (else 401), which the
//!    [`VerifyToken`](crate::demand::VerifyToken) of the demand accepts from this peer, under the
//!    scheme and with the proof that it demands (T-16, T-30, T-31; else 401, or 503 where keys or
//!    the replay store are unavailable, or the [limits] of verification are reached, its time among them);
//! 7. the user authenticated as demanded (T-13; else 401) and has the scope that is demanded (else
//!    403).
//!
//! Whoever is named in any other header, or was in the extensions before, is not looked at, and
//! headers that name somebody go no further (H-09).
//! A refusal is recorded before it is answered. What can be told at once is told without waiting; a
//! replay store behind a network, an issuer or an API server is waited for, and [not for
//! long](crate::limits).
//!
//! [limits]: crate::limits
//!
//! # What the connection layer owes
//!
//! For *every* request it inserts the remote `SocketAddr` into the extensions, and for a peer that
//! finished a handshake with a certificate its `Verified<Peer>`. One that watches its connections
//! inserts the [`Lease`](zt_core::lease::Lease) of the connection too, which ends when the peer is
//! revoked, or not trusted any more. A request that has neither address nor peer did not come
//! through it, and no client can be at fault for that.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::AuthenticateLayer;
pub use service::Authenticate;
