//! An HTTP/1.1 and HTTP/2 server whose every connection has a proven peer.
//!
//! [`serve`] takes any tower service, an axum `Router` among them. Each request that reaches it
//! carries, in its extensions, the [`Verified<Peer>`](zt_core::peer::Peer) of its connection, the
//! [`SocketAddr`] that the connection came from, and the [`Lease`](zt_core::lease::Lease) of the
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

mod handshakes;
mod silence;
mod with_peer;

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tower_service::Service;
use zt_core::lease::Ended;
use zt_core::peer::Peer;
use zt_core::verified::Verified;

use self::handshakes::{Handshakes, Place};
use self::silence::Silence;
use self::with_peer::{Facts, WithPeer};
use crate::connection::{Acceptor, Client, HandshakeError, ServerStream, let_alert_arrive};
use crate::events::Reason;

/// How long a handshake may take: what a peer across the world on a bad line needs, twice over.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once: at 0.4 ms each, more than a core finishes in a second.
const MAX_HANDSHAKES: usize = 1_024;
/// Handshakes of one source under way at once: an eighth of all.
const MAX_HANDSHAKES_OF_A_SOURCE: usize = 128;
/// Connections that are open at once: half of a megabyte of certificates, and as a rule fewer than
/// there are file descriptors.
const MAX_CONNECTIONS: usize = 10_000;
/// How long the headers of an HTTP/1.1 request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to leave a listener alone that has run out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves `service` on `listener` until the program ends; [`Server`] has more to be set.
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

type OnRefused = Arc<dyn Fn(SocketAddr, &ConnectionRefused) + Send + Sync>;

/// A server with its limits.
#[derive(Clone)]
pub struct Server<P = Verified<Peer>> {
    acceptor: Acceptor<P>,
    handshake_timeout: Duration,
    max_handshakes: usize,
    max_handshakes_of_a_source: usize,
    max_connections: usize,
    header_timeout: Duration,
    channel_bindings: bool,
    on_refused: Option<OnRefused>,
}

impl<P: Client> Server<P> {
    /// A server for the connections of `acceptor`. It offers `h2` and `http/1.1`, unless the
    /// acceptor was told to offer something else (ALPN, RFC 7301).
    #[must_use]
    pub fn new(acceptor: Acceptor<P>) -> Self {
        Self {
            acceptor: acceptor.or_alpn(&[b"h2", b"http/1.1"]),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            max_handshakes: MAX_HANDSHAKES,
            max_handshakes_of_a_source: MAX_HANDSHAKES_OF_A_SOURCE,
            max_connections: MAX_CONNECTIONS,
            header_timeout: HEADER_TIMEOUT,
            channel_bindings: false,
            on_refused: None,
        }
    }

    /// Gives a handshake this long; 10 seconds by default.
    #[must_use]
    pub const fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Does at most this many handshakes at once; 1,024 by default, at least 1. Beyond that, the
    /// source with the most of them loses its oldest to whoever comes.
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes.max(1);
        self
    }

    /// Does at most this many handshakes of one source at once, and refuses further ones; 128 by
    /// default, at least 1. A source is an IPv4 address or an IPv6 network of 64 bits: behind a
    /// proxy that passes bytes on, all clients are one source.
    #[must_use]
    pub fn max_handshakes_of_a_source(mut self, handshakes: usize) -> Self {
        self.max_handshakes_of_a_source = handshakes.max(1);
        self
    }

    /// Has at most this many connections open at once, those in a handshake among them, and refuses
    /// further ones; 10,000 by default, at least 1.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Ends a connection whose peer says nothing for this long after the handshake, or, in HTTP/1.1,
    /// takes longer than this for the headers of a request that it began; 30 seconds by default.
    #[must_use]
    pub const fn header_timeout(mut self, limit: Duration) -> Self {
        self.header_timeout = limit;
        self
    }

    /// Gives the requests under way this long when a connection, or the server, ends; what the
    /// acceptor says by default, which is 10 seconds.
    #[must_use]
    pub fn grace(mut self, limit: Duration) -> Self {
        self.acceptor = self.acceptor.with_grace(limit);
        self
    }

    /// Puts the [`ChannelBinding`](crate::connection::ChannelBinding) of its connection into each
    /// request, for credentials that are bound to one (RFC 9266). It costs 2 µs a connection.
    #[must_use]
    pub const fn channel_bindings(mut self) -> Self {
        self.channel_bindings = true;
        self
    }

    /// Calls this for every connection that is refused, to log or count it.
    #[must_use]
    pub fn on_refused(
        mut self,
        hook: impl Fn(SocketAddr, &ConnectionRefused) + Send + Sync + 'static,
    ) -> Self {
        self.on_refused = Some(Arc::new(hook));
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
        let handshakes = Handshakes::new(self.max_handshakes, self.max_handshakes_of_a_source);
        let connections = Arc::new(Semaphore::new(self.max_connections));
        let (ending, ended) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, from) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = next(&listener) => accepted,
            };
            let (place, permit) = match self.enter(from, &handshakes, &connections) {
                Ok(entered) => entered,
                Err(refused) => {
                    self.refuse(from, &refused);
                    continue;
                }
            };
            let (server, service, ended) = (self.clone(), service.clone(), ended.clone());
            tokio::spawn(async move {
                let _permit = permit;
                match server.handshake(stream, place).await {
                    Ok(stream) => server.run(stream, from, service, ended).await,
                    Err(refused) => server.refuse(from, &refused),
                }
            });
        }
        drop(listener);
        drop(ended);
        // Every connection holds a receiver: the channel closes once the last of them is gone.
        let _ = ending.send(());
        ending.closed().await;
        Ok(())
    }

    fn enter(
        &self,
        from: SocketAddr,
        handshakes: &Handshakes,
        connections: &Arc<Semaphore>,
    ) -> Result<(Place, OwnedSemaphorePermit), ConnectionRefused> {
        let permit = Arc::clone(connections)
            .try_acquire_owned()
            .map_err(|_| ConnectionRefused::TooManyConnections { most: self.max_connections })?;
        let most = self.max_handshakes_of_a_source;
        let place = handshakes.enter(from).ok_or(ConnectionRefused::TooManyHandshakes { most })?;
        Ok((place, permit))
    }

    fn refuse(&self, from: SocketAddr, refused: &ConnectionRefused) {
        // The acceptor has counted those whose handshake failed.
        if let Some(reason) = refused.reason() {
            self.acceptor.counts().refused(reason, refused);
        }
        if let Some(hook) = &self.on_refused {
            hook(from, refused);
        }
    }

    /// Does a handshake and gives its place to the next, before a refused peer is heard out.
    async fn handshake(
        &self,
        stream: TcpStream,
        mut place: Place,
    ) -> Result<ServerStream<TcpStream, P>, ConnectionRefused> {
        // Answers are small and late bytes cost a round trip; a socket without the option works too.
        let _ = stream.set_nodelay(true);
        let limit = self.handshake_timeout;
        let outcome = tokio::select! {
            outcome = timeout(limit, self.acceptor.shake_hands(stream)) => outcome,
            _ = &mut place.lost => return Err(ConnectionRefused::GaveWay),
        };
        drop(place);
        match outcome {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((error, refused))) => {
                let_alert_arrive(refused).await;
                Err(ConnectionRefused::Handshake(error))
            }
            Err(_elapsed) => Err(ConnectionRefused::TimedOut { limit }),
        }
    }

    /// Serves one connection until the peer leaves, its lease ends or the server does.
    async fn run<S, B>(
        &self,
        stream: ServerStream<TcpStream, P>,
        from: SocketAddr,
        service: S,
        mut ended: watch::Receiver<()>,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let lease = stream.lease().clone();
        let Ok(facts) = self.facts(&stream, from) else { return };
        let service = WithPeer { inner: service, facts: Arc::new(facts) };
        let builder = self.http(stream.alpn());
        let (held, holds) = watch::channel(());
        let mut leave = pin!(sleep_until(stream.retires().into()));
        let stream = TokioIo::new(Silence::new(stream, holds, self.header_timeout));
        let grace = self.acceptor.grace();
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

    fn facts(
        &self,
        stream: &ServerStream<TcpStream, P>,
        from: SocketAddr,
    ) -> Result<Facts, rustls::Error> {
        let binding = if self.channel_bindings { Some(stream.channel_binding()?) } else { None };
        Ok(Facts {
            peer: stream.peer().proven().cloned(),
            from,
            lease: stream.lease().clone(),
            binding,
            clock: Arc::clone(self.acceptor.clock()),
            counts: Arc::clone(self.acceptor.counts()),
        })
    }

    fn http(&self, alpn: Option<&[u8]>) -> auto::Builder<TokioExecutor> {
        // HTTP/2 is spoken where both ends agreed on it (RFC 9113 §3.2), and not guessed from what a
        // peer says first.
        let mut builder = match alpn {
            Some(b"h2") => auto::Builder::new(TokioExecutor::new()).http2_only(),
            _ => auto::Builder::new(TokioExecutor::new()).http1_only(),
        };
        let (interval, limit) = HTTP2_PING;
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
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
        f.debug_struct("Server")
            .field("acceptor", &self.acceptor)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("max_handshakes", &self.max_handshakes)
            .field("max_handshakes_of_a_source", &self.max_handshakes_of_a_source)
            .field("max_connections", &self.max_connections)
            .field("header_timeout", &self.header_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a connection ended before its first request. The peer learns an alert, or nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionRefused {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The handshake took too long.
    #[error("the handshake took longer than {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// The handshake had waited longest when there were too many, and gave its place to another.
    #[error("the handshake gave its place to another")]
    GaveWay,
    /// Its source has as many handshakes under way as one may have.
    #[error("its source has {most} handshakes under way")]
    TooManyHandshakes {
        /// How many it may have.
        most: usize,
    },
    /// There are as many connections as there may be.
    #[error("there are {most} connections")]
    TooManyConnections {
        /// How many there may be.
        most: usize,
    },
}

impl ConnectionRefused {
    /// Why, where that is not in the handshake itself.
    const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Handshake(_) => None,
            Self::TimedOut { .. } | Self::GaveWay => Some(Reason::TooSlow),
            Self::TooManyHandshakes { .. } | Self::TooManyConnections { .. } => {
                Some(Reason::TooMany)
            }
        }
    }
}

/// The next connection.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory: others will give some back.
            Err(_error) => sleep(ACCEPT_RETRY).await,
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
