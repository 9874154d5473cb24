//! What every request of one connection carries.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;
use zt_core::lease::{Ended, Lease};
use zt_core::peer::Peer;
use zt_core::time::Clock;
use zt_core::verified::Verified;

use super::BoxError;
use crate::connection::ChannelBinding;
use crate::events::Counts;

/// Puts peer, address and lease into every request of one connection, and refuses requests once the
/// lease has ended.
#[derive(Clone, Debug)]
pub(super) struct WithPeer<S> {
    pub(super) inner: S,
    pub(super) facts: Arc<Facts>,
}

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) peer: Option<Verified<Peer>>,
    pub(super) from: SocketAddr,
    pub(super) lease: Lease,
    pub(super) binding: Option<ChannelBinding>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counts: Arc<Counts>,
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let facts = &*self.facts;
        if let Err(ended) = facts.lease.check(facts.clock.now()) {
            facts.counts.refused_request(facts.peer.as_ref(), ended);
            return Answer::Refused { ended };
        }
        let extensions = request.extensions_mut();
        if let Some(peer) = &facts.peer {
            extensions.insert(peer.clone());
        }
        extensions.insert(facts.from);
        extensions.insert(facts.lease.clone());
        if let Some(binding) = facts.binding {
            extensions.insert(binding);
        }
        Answer::Asked { future: self.inner.call(request) }
    }
}

pin_project! {
    #[project = AnswerProj]
    pub(super) enum Answer<F> {
        Asked {
            #[pin]
            future: F,
        },
        Refused {
            ended: Ended,
        },
    }
}

impl<F, T, E> Future for Answer<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProj::Asked { future } => future.poll(cx).map_err(Into::into),
            AnswerProj::Refused { ended } => Poll::Ready(Err((*ended).into())),
        }
    }
}
