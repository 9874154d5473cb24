use std::ops::Deref;

use http::Extensions;
use zt_core::lease::{Ended, Lease, Support};
use zt_core::time::Timestamp;
use zt_identity::possession::revocations::TokenStanding;

use super::Guard;
use crate::caller::Caller;
use crate::denial::NotWired;

/// Leave for what goes on after its request was let through: a stream, a subscription, a socket.
///
/// It lasts as long as all of this does, and is looked at once a second, or as often as the server
/// looks at its connections:
///
/// 1. the lease of the connection: the peer's certificate, its bundle, its admission;
/// 2. the token behind the call: until a request with it would be refused, which is its `exp` and the
///    leeway of its verifier, and until it is revoked where revocations are asked
///    ([`AccessTokens::revoked_by`](crate::access_tokens::AccessTokens::revoked_by));
/// 3. policy: the question of the request is asked again, at the time of the look and of the policies
///    then in force. The decision that ends it is recorded.
///
/// It is an extractor of axum (feature `axum`).
///
/// ```
/// use zt_tower::authorize::CallLease;
///
/// # async fn next_message() -> Option<String> { None }
/// # async fn send(message: String) {}
/// async fn stream(lease: CallLease) {
///     loop {
///         tokio::select! {
///             why = lease.ended() => break,
///             message = next_message() => match message {
///                 Some(message) => send(message).await,
///                 None => break,
///             },
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct CallLease(Lease);

impl CallLease {
    /// A lease for the request with these extensions.
    ///
    /// # Errors
    ///
    /// [`NotWired`] when the connection layer gives no lease, or no layer in front decides.
    pub fn of(extensions: &Extensions) -> Result<Self, NotWired> {
        let connection = extensions.get::<Lease>().ok_or(NotWired::new("lease"))?;
        let caller = extensions.get::<Caller>().ok_or(NotWired::new("caller"))?;
        let standing = extensions.get::<TokenStanding>().cloned();
        let until = caller.until();
        Ok(Self(connection.and(Call { guard: Guard::of(extensions)?, standing, until })))
    }

    /// The lease, to rest further ones on.
    #[must_use]
    pub fn into_inner(self) -> Lease {
        self.0
    }
}

impl Deref for CallLease {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.0
    }
}

/// What a call rests on beside its connection.
struct Call {
    guard: Guard,
    standing: Option<TokenStanding>,
    until: Timestamp,
}

impl Support for Call {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        if now >= self.until {
            return Err(Ended::Token);
        }
        if let Some(standing) = &self.standing {
            Support::check(standing, now)?;
        }
        self.guard.still(now).map_err(|_| Ended::Policy)
    }
}
