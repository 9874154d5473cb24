//! Who may come in, how long that may take, and how many may be here.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::facts::{Connected, Facts};
use super::handshakes::{Handshakes, Place};
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

type OnRefused = Arc<dyn Fn(SocketAddr, &ConnectionRefused) + Send + Sync>;

/// An acceptor with its limits.
#[derive(Clone)]
pub(crate) struct Door<P> {
    pub(crate) acceptor: Acceptor<P>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_handshakes: usize,
    pub(crate) max_handshakes_of_a_source: usize,
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) channel_bindings: bool,
    pub(crate) on_refused: Option<OnRefused>,
}

/// A connection whose handshake is done.
pub(crate) struct Arrival<P> {
    pub(crate) stream: ServerStream<TcpStream, P>,
    pub(crate) connected: Connected,
    // One of as many as there may be.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl<P: Client> Door<P> {
    pub(crate) fn new(acceptor: Acceptor<P>) -> Self {
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

    pub(super) fn enter(
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

    pub(super) fn refuse(&self, from: SocketAddr, refused: &ConnectionRefused) {
        // The acceptor has counted those whose handshake failed.
        if let Some(reason) = refused.reason() {
            self.acceptor.counts().refused(reason, refused);
        }
        if let Some(hook) = &self.on_refused {
            hook(from, refused);
        }
    }

    /// Does the handshake of a connection that came from `from`.
    pub(super) async fn arrival(
        self,
        stream: TcpStream,
        from: SocketAddr,
        place: Place,
        permit: OwnedSemaphorePermit,
    ) -> Option<Arrival<P>> {
        let stream = match self.handshake(stream, place).await {
            Ok(stream) => stream,
            Err(refused) => {
                self.refuse(from, &refused);
                return None;
            }
        };
        let connected = Connected::new(self.facts(&stream, from).ok()?);
        Some(Arrival { stream, connected, permit })
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
            retires: stream.retires(),
            binding,
            clock: Arc::clone(self.acceptor.clock()),
            counts: Arc::clone(self.acceptor.counts()),
        })
    }
}

impl<P> fmt::Debug for Door<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("acceptor", &self.acceptor)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("max_handshakes", &self.max_handshakes)
            .field("max_handshakes_of_a_source", &self.max_handshakes_of_a_source)
            .field("max_connections", &self.max_connections)
            .field("header_timeout", &self.header_timeout)
            .finish_non_exhaustive()
    }
}

/// What is set of a [`Door`], for a struct that has one.
macro_rules! limits {
    ($of:ident) => {
        impl<P: crate::connection::Client> $of<P> {
            /// Gives a handshake this long; 10 seconds by default.
            #[must_use]
            pub const fn handshake_timeout(mut self, limit: std::time::Duration) -> Self {
                self.door.handshake_timeout = limit;
                self
            }

            /// Does at most this many handshakes at once; 1,024 by default, at least 1. Beyond that,
            /// the source with the most of them loses its oldest to whoever comes.
            #[must_use]
            pub fn max_handshakes(mut self, handshakes: usize) -> Self {
                self.door.max_handshakes = handshakes.max(1);
                self
            }

            /// Does at most this many handshakes of one source at once, and refuses further ones;
            /// 128 by default, at least 1. A source is an IPv4 address or an IPv6 network of 64
            /// bits: behind a proxy that passes bytes on, all clients are one source.
            #[must_use]
            pub fn max_handshakes_of_a_source(mut self, handshakes: usize) -> Self {
                self.door.max_handshakes_of_a_source = handshakes.max(1);
                self
            }

            /// Has at most this many connections open at once, those in a handshake among them, and
            /// refuses further ones; 10,000 by default, at least 1.
            #[must_use]
            pub fn max_connections(mut self, connections: usize) -> Self {
                let most = tokio::sync::Semaphore::MAX_PERMITS;
                self.door.max_connections = connections.clamp(1, most);
                self
            }

            /// Gives the requests under way this long when a connection ends; what the acceptor says
            /// by default, which is 10 seconds.
            #[must_use]
            pub fn grace(mut self, limit: std::time::Duration) -> Self {
                self.door.acceptor = self.door.acceptor.with_grace(limit);
                self
            }

            /// Puts the [`ChannelBinding`](crate::connection::ChannelBinding) of its connection into
            /// each request, for credentials that are bound to one (RFC 9266). It costs 2 µs a
            /// connection.
            #[must_use]
            pub const fn channel_bindings(mut self) -> Self {
                self.door.channel_bindings = true;
                self
            }

            /// Calls this for every connection that is refused, to log or count it.
            #[must_use]
            pub fn on_refused(
                mut self,
                hook: impl Fn(std::net::SocketAddr, &crate::listen::ConnectionRefused)
                + Send
                + Sync
                + 'static,
            ) -> Self {
                self.door.on_refused = Some(std::sync::Arc::new(hook));
                self
            }
        }
    };
}

pub(crate) use limits;

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
    /// Why, in one line for a log of ours. The peer learns nothing of it.
    ///
    /// ```
    /// # fn server(acceptor: zt_tls::Acceptor) -> zt_tls::serve::Server {
    /// zt_tls::serve::Server::new(acceptor)
    ///     .on_refused(|from, refused| eprintln!("{from} is refused: {}", refused.why()))
    /// # }
    /// ```
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Handshake(error) => error.why(),
            Self::TimedOut { .. }
            | Self::GaveWay
            | Self::TooManyHandshakes { .. }
            | Self::TooManyConnections { .. } => self.to_string(),
        }
    }

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
