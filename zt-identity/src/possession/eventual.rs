//! An answer that is there, or that somebody has to be asked for.
//!
//! What replicas share may be in this process or in a store behind a network. An [`Eventual`] is
//! the answer of either: in the first case it is there at once, without an allocation, and code
//! that is not asynchronous can take it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that may be done already.
///
/// ```
/// use zt_identity::possession::eventual::Eventual;
///
/// let answer = Eventual::ready(20).map(|n| n + 1);
/// assert_eq!(answer.into_ready().unwrap(), 21);
/// assert!(Eventual::pending(async { 20 }).into_ready().is_err());
/// ```
#[must_use = "nothing is asked before it is awaited"]
pub struct Eventual<T>(State<T>);

enum State<T> {
    // None once it was taken.
    Ready(Option<T>),
    Pending(Boxed<T>),
}

// What is ready is never pinned.
impl<T> Unpin for Eventual<T> {}

impl<T> Eventual<T> {
    /// An answer that is there.
    pub const fn ready(answer: T) -> Self {
        Self(State::Ready(Some(answer)))
    }

    /// An answer that this will give.
    pub fn pending(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Pending(Box::pin(future)))
    }

    /// The answer, where it is there.
    ///
    /// # Errors
    ///
    /// Itself, when it has to be awaited.
    pub fn into_ready(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(Some(answer)) => Ok(answer),
            state @ (State::Ready(None) | State::Pending(_)) => Err(Self(state)),
        }
    }

    /// What `change` makes of the answer.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Eventual<U>
    where
        T: Send + 'static,
    {
        match self.into_ready() {
            Ok(answer) => Eventual::ready(change(answer)),
            Err(pending) => Eventual::pending(async move { change(pending.await) }),
        }
    }

    /// What `next` answers when it is told this answer.
    pub fn then<U: Send + 'static>(
        self,
        next: impl FnOnce(T) -> Eventual<U> + Send + 'static,
    ) -> Eventual<U>
    where
        T: Send + 'static,
    {
        match self.into_ready() {
            Ok(answer) => next(answer),
            Err(pending) => Eventual::pending(async move { next(pending.await).await }),
        }
    }
}

impl<T> Future for Eventual<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            // Awaited again after its end, it stays silent.
            State::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            State::Pending(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Eventual<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Ready(_) => "ready",
            State::Pending(_) => "pending",
        };
        f.debug_tuple("Eventual").field(&state).finish()
    }
}
