//! An HTTP/1.1 and HTTP/2 server whose every connection has a proven peer.
//!
//! [`serve`] takes any tower service, an axum `Router` among them. Each request that reaches it
//! carries, in its extensions, the [`Verified<Peer>`](zt_core::peer::Peer) of its connection, the
//! [`SocketAddr`](std::net::SocketAddr) that the connection came from, and the [`Lease`](zt_core::lease::Lease) of the
//! connection, for handlers that go on for long. An acceptor whose clients may leave their
//! certificate out serves those without a peer.
//!
//! Handshakes run beside the accept loop, each with a time limit, and no more than a fixed number
//! at once: of one source no more than its share, and when all places are taken, the source with
//! the most gives up its oldest. So those who never finish a handshake keep nobody out.
//!
//! A connection ends when its lease does, that is when the peer is not supported any more
//! ([`connection`](crate::connection) says when): requests that begin after that are refused, h2
//! peers are told to go away (GOAWAY), what is under way has the grace to finish, and then the
//! connection breaks. A connection that was upgraded to another protocol ends no later (M-09).
//! Where the end is known before, as that by age is, peers are told before it, so that a connection
//! that is always busy loses no request.

mod with_peer;

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tower_service::Service;
use zt_core::lease::Ended;
use zt_core::peer::Peer;
use zt_core::verified::Verified;

use self::with_peer::WithPeer;
use crate::connection::{Acceptor, Client};
pub use crate::listen::ConnectionRefused;
use crate::listen::{Arrival, Door, Listener, Silence, limits};

/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves `service` on `listener` until the program ends; [`Server`] has more to be set.
///
/// Hand over an axum router by `router.with_state(())`, as `axum::serve` does: then its layers are put
/// around its handlers once. Else axum does that anew with each request.
///
/// # Errors
///
/// None at present: a connection that breaks, or is refused, ends alone, and a listener that is short
/// of file descriptors or memory tries again.
pub async fn serve<P, S, B>(
    listener: TcpListener,
    acceptor: Acceptor<P>,
    service: S,
) -> io::Result<()>
where
    P: Client,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    Server::new(acceptor).serve(listener, service, pending()).await
}

/// A server with its limits.
#[derive(Clone)]
pub struct Server<P = Verified<Peer>> {
    door: Door<P>,
}

limits!(Server);

impl<P: Client> Server<P> {
    /// A server for the connections of `acceptor`. It offers `h2` and `http/1.1`, unless the
    /// acceptor was told to offer something else (ALPN, RFC 7301).
    #[must_use]
    pub fn new(acceptor: Acceptor<P>) -> Self {
        Self { door: Door::new(acceptor) }
    }

    /// Ends a connection whose peer says nothing for this long after the handshake, or, in HTTP/1.1,
    /// takes longer than this for the headers of a request that it began; 30 seconds by default.
    #[must_use]
    pub const fn header_timeout(mut self, limit: Duration) -> Self {
        self.door.header_timeout = limit;
        self
    }

    /// Serves `service` on `listener` until `shutdown` is ready, then lets the requests under way
    /// finish.
    ///
    /// # Errors
    ///
    /// None at present: a connection that breaks, or is refused, ends alone, and a listener that is short
    /// of file descriptors or memory tries again.
    pub async fn serve<S, B>(
        self,
        listener: TcpListener,
        service: S,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let mut listener = Listener::through(self.door.clone(), listener);
        let (ending, ended) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        loop {
            let arrival = tokio::select! {
                biased;
                () = &mut shutdown => break,
                arrival = listener.arrival() => arrival,
            };
            let (server, service, ended) = (self.clone(), service.clone(), ended.clone());
            tokio::spawn(async move { server.run(arrival, service, ended).await });
        }
        drop(listener);
        drop(ended);
        // Every connection holds a receiver: the channel closes once the last of them is gone.
        let _ = ending.send(());
        ending.closed().await;
        Ok(())
    }

    /// Serves one connection until the peer leaves, its lease ends or the server does.
    async fn run<S, B>(&self, arrival: Arrival<P>, service: S, mut ended: watch::Receiver<()>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Arrival { stream, connected, permit: _permit } = arrival;
        let lease = stream.lease().clone();
        let service = WithPeer { inner: service, connected };
        let builder = self.http(stream.alpn());
        let (held, holds) = watch::channel(());
        let mut leave = pin!(sleep_until(stream.retires().into()));
        let stream = TokioIo::new(Silence::new(stream, holds, self.door.header_timeout));
        let grace = self.door.acceptor.grace();
        let mut over = pin!(async {
            tokio::select! {
                _why = lease.ended() => {}
                _ = ended.changed() => {}
            }
        });
        {
            let service = TowerToHyperService::new(service);
            let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
            let mut leaves = false;
            loop {
                tokio::select! {
                    _outcome = &mut connection => break,
                    () = &mut leave, if !leaves => {
                        leaves = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    () = &mut over => {
                        connection.as_mut().graceful_shutdown();
                        let _ = timeout(grace, connection).await;
                        lease.end(Ended::Closed);
                        return;
                    }
                }
            }
        }
        // If it was upgraded, its stream lives on in the hands of the service.
        tokio::select! {
            () = held.closed() => return,
            () = over => {}
        }
        let _ = timeout(grace, held.closed()).await;
        lease.end(Ended::Closed);
    }

    fn http(&self, alpn: Option<&[u8]>) -> auto::Builder<TokioExecutor> {
        // HTTP/2 is spoken where both ends agreed on it (RFC 9113 §3.2), and not guessed from what a
        // peer says first.
        let mut builder = match alpn {
            Some(b"h2") => auto::Builder::new(TokioExecutor::new()).http2_only(),
            _ => auto::Builder::new(TokioExecutor::new()).http1_only(),
        };
        let (interval, limit) = HTTP2_PING;
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.door.header_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(interval)
            .keep_alive_timeout(limit);
        builder
    }
}

impl<P> fmt::Debug for Server<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("door", &self.door).finish()
    }
}
