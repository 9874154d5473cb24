//! An HTTP/1.1 and HTTP/2 server whose every connection has a proven peer.
//!
//! [`serve`] takes any tower service, an axum `Router` among them. Each request that reaches it
//! carries, in its extensions, the [`Verified<Peer>`] of its connection and the [`SocketAddr`] that
//! the connection came from.
//!
//! Handshakes run beside the accept loop, each with a time limit, and no more than a fixed number
//! at once. A connection ends, gracefully, when the peer's certificate does: a live connection is
//! not a way to outlive it, nor is one that was upgraded to another protocol (M-09).

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tower_service::Service;
use zt_core::peer::Peer;
use zt_core::verified::Verified;

use crate::connection::{Acceptor, HandshakeError, ServerStream, let_alert_arrive};

/// How long a handshake may take: what a peer across the world on a bad line needs, twice over.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once: at 0.4 ms each, more than a core finishes in a second.
const MAX_HANDSHAKES: usize = 1_024;
/// How long the headers of an HTTP/1.1 request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the requests of a connection that ends have left.
const GRACE: Duration = Duration::from_secs(10);
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
pub async fn serve<S, B>(listener: TcpListener, acceptor: Acceptor, service: S) -> io::Result<()>
where
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
pub struct Server {
    acceptor: Acceptor,
    handshake_timeout: Duration,
    max_handshakes: usize,
    header_timeout: Duration,
    grace: Duration,
    on_refused: Option<OnRefused>,
}

impl Server {
    /// A server for the connections of `acceptor`. It offers `h2` and `http/1.1`, unless the
    /// acceptor was told to offer something else (ALPN, RFC 7301).
    #[must_use]
    pub fn new(acceptor: Acceptor) -> Self {
        Self {
            acceptor: acceptor.or_alpn(&[b"h2", b"http/1.1"]),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            max_handshakes: MAX_HANDSHAKES,
            header_timeout: HEADER_TIMEOUT,
            grace: GRACE,
            on_refused: None,
        }
    }

    /// Gives a handshake this long; 10 seconds by default.
    #[must_use]
    pub const fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Does at most this many handshakes at once; 1,024 by default, at least 1. Further
    /// connections wait in the listener's backlog.
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Ends a connection whose peer says nothing for this long after the handshake, or, in HTTP/1.1,
    /// takes longer than this for the headers of a request that it began; 30 seconds by default.
    #[must_use]
    pub const fn header_timeout(mut self, limit: Duration) -> Self {
        self.header_timeout = limit;
        self
    }

    /// Gives the requests under way this long when a connection, or the server, ends; 10 seconds
    /// by default.
    #[must_use]
    pub const fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
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
        let handshakes = Arc::new(Semaphore::new(self.max_handshakes));
        let (ending, ended) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, from, permit) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = next(&listener, &handshakes) => accepted?,
            };
            let (server, service, ended) = (self.clone(), service.clone(), ended.clone());
            tokio::spawn(async move {
                match server.handshake(stream, permit).await {
                    Ok(stream) => server.run(stream, from, service, ended).await,
                    Err(refused) => {
                        if let Some(hook) = &server.on_refused {
                            hook(from, &refused);
                        }
                    }
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

    /// Does a handshake and gives its place to the next, before a refused peer is heard out.
    async fn handshake(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> Result<ServerStream<TcpStream>, ConnectionRefused> {
        // Answers are small and late bytes cost a round trip; a socket without the option works too.
        let _ = stream.set_nodelay(true);
        let outcome = timeout(self.handshake_timeout, self.acceptor.shake_hands(stream)).await;
        drop(permit);
        match outcome {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((error, refused))) => {
                let_alert_arrive(refused).await;
                Err(ConnectionRefused::Handshake(error))
            }
            Err(_elapsed) => Err(ConnectionRefused::TimedOut { limit: self.handshake_timeout }),
        }
    }

    /// Serves one connection until the peer leaves, its certificate ends or the server does.
    async fn run<S, B>(
        &self,
        stream: ServerStream<TcpStream>,
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
        let peer = stream.peer().clone();
        let lifetime = peer.validity().remaining(self.acceptor.clock().now());
        let service = TowerToHyperService::new(WithPeer { inner: service, peer, from });
        // HTTP/2 is spoken where both ends agreed on it (RFC 9113 §3.2), and not guessed from what a
        // peer says first.
        let mut builder = match stream.alpn() {
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
        let (lease, leased) = watch::channel(());
        let stream = TokioIo::new(Leased::new(stream, &leased, self.header_timeout));
        drop(leased);
        let mut over = pin!(async {
            tokio::select! {
                () = sleep(lifetime) => {}
                _ = ended.changed() => {}
            }
        });
        {
            let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
            tokio::select! {
                _outcome = &mut connection => {}
                () = &mut over => {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(self.grace, connection).await;
                    return;
                }
            }
        }
        // If it was upgraded, its stream lives on in the hands of the service.
        tokio::select! {
            () = lease.closed() => return,
            () = over => {}
        }
        let _ = timeout(self.grace, lease.closed()).await;
    }
}

/// A stream that breaks, for whoever holds it by then, when the sender of its lease is dropped.
struct Leased<IO> {
    io: IO,
    // How long the peer may take to say anything; nothing once it did.
    silence: Option<Pin<Box<Sleep>>>,
    // One for each direction, as two tasks may wait for them.
    read_ends: End,
    write_ends: End,
}

/// What is left to wait for; nothing once it is over.
struct End(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl End {
    fn of(mut lease: watch::Receiver<()>) -> Self {
        Self(Some(Box::pin(async move { while lease.changed().await.is_ok() {} })))
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.0.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_pending()) {
            return Ok(());
        }
        self.0 = None;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl<IO> Leased<IO> {
    fn new(io: IO, lease: &watch::Receiver<()>, silence: Duration) -> Self {
        Self {
            io,
            silence: Some(Box::pin(sleep(silence))),
            read_ends: End::of(lease.clone()),
            write_ends: End::of(lease.clone()),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Leased<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read_ends.check(cx)?;
        if Pin::new(&mut self.io).poll_read(cx, buf)?.is_ready() {
            self.silence = None;
            return Poll::Ready(Ok(()));
        }
        match self.silence.as_mut().map(|silence| silence.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Leased<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_ends.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_ends.check(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_ends.check(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_ends.check(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("acceptor", &self.acceptor)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("max_handshakes", &self.max_handshakes)
            .field("header_timeout", &self.header_timeout)
            .field("grace", &self.grace)
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
}

/// The next connection, once there is room for its handshake.
async fn next(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(handshakes).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return Ok((stream, from, permit)),
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

/// Puts the peer and its address into every request of one connection.
#[derive(Clone, Debug)]
struct WithPeer<S> {
    inner: S,
    peer: Verified<Peer>,
    from: SocketAddr,
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.peer.clone());
        extensions.insert(self.from);
        self.inner.call(request)
    }
}
