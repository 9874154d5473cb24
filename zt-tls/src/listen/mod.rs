//! Proven peers for servers that have a loop of their own: `axum::serve`, tonic, any other.
//!
//! A [`Listener`] does what [`serve`](crate::serve) does until the handshake is done, and yields
//! [`Connection`]s. Handshakes run beside each other and beside the accept loop, each with a time
//! limit, and no more than a fixed number at once: of one source no more than its share, and when
//! all places are taken, the source with the most gives up its oldest.
//!
//! Requests learn of their connection by what such a server hands on, a [`Connected`], and
//! [`ConnectedLayer`] makes of it what `serve` puts into requests: the
//! [`Verified<Peer>`](zt_core::peer::Peer), the [`SocketAddr`], the [`Lease`](zt_core::lease::Lease).
//! All layers that work behind `serve` work behind it.
//!
//! # When a connection ends
//!
//! Its lease ends with what it rests on, as [`connection`](crate::connection) says. From then on the
//! layer refuses requests, at once; HTTP/2 peers are told to go away (GOAWAY), and after the grace
//! the stream breaks, with whatever is under way. What [`serve`](crate::serve) does better: it closes
//! HTTP/1.1 connections that are idle at once, where here the next request on one is answered 421
//! (Misdirected Request, RFC 9110 §15.5.20), which says that another connection will do. It also limits
//! how long the headers of a request may take, and asks HTTP/2 peers whether they are still there:
//! `axum::serve` does neither, so a proven peer that says half of a request keeps its connection until
//! the lease ends, and tonic does the second where it is told to (`http2_keepalive_interval`).
//!
//! # `axum::serve` (feature `axum`)
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn run(acceptor: zt_tls::Acceptor) -> std::io::Result<()> {
//! use axum::{Extension, Router, routing::get};
//! use zt_core::{peer::Peer, verified::Verified};
//! use zt_tls::listen::{Connected, ConnectedLayer, Listener};
//!
//! async fn hello(Extension(peer): Extension<Verified<Peer>>) -> String {
//!     format!("hello, {}\n", peer.id())
//! }
//!
//! let listener = Listener::bind("0.0.0.0:8443", acceptor).await?;
//! let app = Router::new().route("/", get(hello)).layer(ConnectedLayer::new());
//! axum::serve(listener, app.into_make_service_with_connect_info::<Connected>()).await
//! # }
//! ```
//!
//! # tonic (feature `tonic`)
//!
//! A [`Listener`] is the stream that `serve_with_incoming` takes. tonic speaks HTTP/2 alone, so the
//! acceptor offers nothing else. tonic's own TLS, `ServerTlsConfig`, is not to be used.
//!
//! ```no_run
//! # #[cfg(feature = "tonic")]
//! # async fn run(source: zt_identity::X509Source, members: zt_identity::Authorizer, routes: tonic::service::Routes)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use zt_tls::listen::{ConnectedLayer, Listener};
//!
//! let acceptor = zt_tls::Acceptor::builder(source, members).alpn(["h2"]).build()?;
//! let listener = Listener::bind("0.0.0.0:8443", acceptor).await?;
//! tonic::transport::Server::builder()
//!     .layer(ConnectedLayer::new())
//!     .add_routes(routes)
//!     .serve_with_incoming(listener)
//!     .await?;
//! # Ok(())
//! # }
//! ```

mod facts;
mod handshakes;
mod door;
mod silence;
mod connection;
mod layer;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
mod tonic;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use zt_core::peer::Peer;
use zt_core::verified::Verified;

pub use self::connection::Connection;
pub use self::door::ConnectionRefused;
pub(crate) use self::door::{Arrival, Door, limits};
pub use self::facts::Connected;
use self::handshakes::Handshakes;
pub use self::layer::{ConnectedFuture, ConnectedLayer, ConnectedService};
pub(crate) use self::silence::Silence;
use crate::connection::{Acceptor, Client};

/// How long to leave a listener alone that has run out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Yields connections whose peers are proven.
pub struct Listener<P = Verified<Peer>> {
    tcp: TcpListener,
    door: Door<P>,
    running: Option<Running<P>>,
}

/// What there is from the first connection on.
struct Running<P> {
    handshakes: Handshakes,
    connections: Arc<Semaphore>,
    // Gone with the listener.
    under_way: JoinSet<Option<Arrival<P>>>,
    rest: Option<Pin<Box<Sleep>>>,
}

limits!(Listener);

impl<P: Client> Listener<P> {
    /// A listener on `tcp` for the peers of `acceptor`. It offers `h2` and `http/1.1`, unless the
    /// acceptor was told to offer something else (ALPN, RFC 7301).
    #[must_use]
    pub fn new(tcp: TcpListener, acceptor: Acceptor<P>) -> Self {
        Self::through(Door::new(acceptor), tcp)
    }

    /// A listener on a new socket at `address`.
    ///
    /// # Errors
    ///
    /// When there can be none.
    pub async fn bind(address: impl ToSocketAddrs, acceptor: Acceptor<P>) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address).await?, acceptor))
    }

    pub(crate) const fn through(door: Door<P>, tcp: TcpListener) -> Self {
        Self { tcp, door, running: None }
    }

    /// Ends a connection whose peer says nothing for this long after the handshake; 30 seconds by
    /// default.
    #[must_use]
    pub const fn silence_timeout(mut self, limit: Duration) -> Self {
        self.door.header_timeout = limit;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The next connection whose handshake is done, in whatever order they came. Nothing is lost
    /// when it is dropped before it is ready; handshakes begin and end while it is awaited, and go
    /// on in between.
    pub async fn accept(&mut self) -> Connection<P> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`accept`](Self::accept), for those who poll.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Connection<P>> {
        let silence = self.door.header_timeout;
        self.poll_arrival(cx).map(|arrival| Connection::new(arrival, silence))
    }

    pub(crate) async fn arrival(&mut self) -> Arrival<P> {
        poll_fn(|cx| self.poll_arrival(cx)).await
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival<P>> {
        let Self { tcp, door, running } = self;
        let running = running.get_or_insert_with(|| Running::new(door));
        loop {
            while let Poll::Ready(Some(done)) = running.under_way.poll_join_next(cx) {
                if let Ok(Some(arrival)) = done {
                    return Poll::Ready(arrival);
                }
            }
            if let Some(rest) = &mut running.rest {
                ready!(rest.as_mut().poll(cx));
                running.rest = None;
            }
            match ready!(tcp.poll_accept(cx)) {
                Ok((stream, from)) => running.begin(door, stream, from),
                Err(error) if is_of_one_connection(&error) => {}
                // Out of file descriptors or memory: others will give some back.
                Err(_error) => running.rest = Some(Box::pin(sleep(ACCEPT_RETRY))),
            }
        }
    }
}

impl<P: Client> Running<P> {
    fn new(door: &Door<P>) -> Self {
        Self {
            handshakes: Handshakes::new(door.max_handshakes, door.max_handshakes_of_a_source),
            connections: Arc::new(Semaphore::new(door.max_connections)),
            under_way: JoinSet::new(),
            rest: None,
        }
    }

    fn begin(&mut self, door: &Door<P>, stream: TcpStream, from: SocketAddr) {
        match door.enter(from, &self.handshakes, &self.connections) {
            Ok((place, permit)) => {
                self.under_way.spawn(door.clone().arrival(stream, from, place, permit));
            }
            Err(refused) => door.refuse(from, &refused),
        }
    }
}

impl<P> fmt::Debug for Listener<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).field("door", &self.door).finish()
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
