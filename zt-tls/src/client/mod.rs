//! A connector for HTTP clients: hyper-util's and tonic's.
//!
//! A [`PeerConnector`] makes connections on which the server has proven to be one that may answer
//! for the host of the URL. Nothing but mutual TLS is ever spoken, whatever the scheme of the URL.
//!
//! Such clients keep connections for further requests, and a connection may end while it is kept,
//! as [`connection`](crate::connection) says. From then on no request begins on it
//! ([`Connection`] has the details); what is under way has the grace to finish.
//!
//! ```no_run
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Empty;
//! use zt_core::spiffe::SpiffeId;
//! use zt_identity::matcher::Authorizer;
//! use zt_tls::Connector;
//! use zt_tls::client::PeerConnector;
//!
//! # async fn run(source: zt_identity::X509Source, members: Authorizer) -> Result<(), Box<dyn std::error::Error>> {
//! let orders = Authorizer::id(SpiffeId::parse("spiffe://example.org/ns/shop/sa/orders")?);
//! let connector = PeerConnector::new(Connector::new(source, members)?)
//!     .server("orders.example.org", orders);
//! let client = connector.client();
//! let request = Request::get("https://orders.example.org/orders/42");
//! let answer = client.request(request.body(Empty::<Bytes>::new())?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! tonic takes it as it is, and wants HTTP/2 alone:
//!
//! ```no_run
//! # #[cfg(feature = "tonic")]
//! # async fn run(connector: zt_tls::client::PeerConnector) -> Result<(), Box<dyn std::error::Error>> {
//! use tonic::transport::Endpoint;
//!
//! let endpoint = Endpoint::from_static("https://orders.example.org");
//! let channel = endpoint.connect_with_connector(connector.http2_only()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Where another crate has turned tonic's own TLS on, it wants an `http` URL for this.
//!
//! tonic does not try again by itself: a call that begins just when a server goes away, this one or
//! any other, may fail as `Cancelled`, and was not sent then.
//!
//! # Clients that take a rustls config
//!
//! reqwest and hyper-rustls take [`Connector::config`](crate::Connector::config), and judge servers
//! in each handshake as the connector does. What they do without: hosts of their own servers, as
//! the config admits the same ones everywhere; the `Verified<Peer>`; and the lease. A connection
//! that they keep outlives the certificate, the bundle and the admission of its server, for as long
//! as it is used. Have them keep none (`pool_max_idle_per_host(0)`), and every request is a
//! handshake; or live with their idle timeout.

mod connection;
mod error;
mod leased;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tower_service::Service;
use zt_identity::matcher::Authorizer;

pub use self::connection::Connection;
pub use self::error::ConnectError;
pub use self::leased::{Leased, LeasedFuture};
use crate::connection::Connector;

/// How long a connection may take, from the resolution of the name to the end of the handshake.
const TIMEOUT: Duration = Duration::from_secs(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the servers of URLs. Clones share what they were told.
#[derive(Clone)]
pub struct PeerConnector<C = HttpConnector> {
    connector: Connector,
    servers: Servers,
    transport: C,
    timeout: Duration,
    http2_only: bool,
}

/// Who may answer for a host.
#[derive(Clone, Debug)]
enum Servers {
    Named(Arc<HashMap<String, Authorizer>>),
    WhoeverIsAdmitted,
}

impl PeerConnector {
    /// A connector that knows no host yet: each is named with [`server`](Self::server).
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self::with(connector, Servers::Named(Arc::default()))
    }

    /// A connector for any host, where whoever `connector` admits may answer. It is for a connector
    /// that admits one server, or for servers that may stand in for each other.
    #[must_use]
    pub fn for_any_host(connector: Connector) -> Self {
        Self::with(connector, Servers::WhoeverIsAdmitted)
    }

    fn with(connector: Connector, servers: Servers) -> Self {
        let mut transport = HttpConnector::new();
        transport.enforce_http(false);
        transport.set_nodelay(true);
        let connector = connector.or_alpn(&[b"h2", b"http/1.1"]);
        Self { connector, servers, transport, timeout: TIMEOUT, http2_only: false }
    }
}

impl<C> PeerConnector<C> {
    /// Whom `who` admits may answer for `host`, on every port, or for `host:port` alone. The
    /// connector below has to admit it besides. A host that is not named has no connection.
    #[must_use]
    pub fn server(mut self, host: &str, who: Authorizer) -> Self {
        let mut named = match self.servers {
            Servers::Named(named) => Arc::unwrap_or_clone(named),
            Servers::WhoeverIsAdmitted => HashMap::new(),
        };
        named.insert(host.to_ascii_lowercase(), who);
        self.servers = Servers::Named(Arc::new(named));
        self
    }

    /// Speaks HTTP/2 and nothing else, which is what tonic assumes.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.connector = self.connector.with_alpn(&[b"h2"]);
        self.http2_only = true;
        self
    }

    /// Gives a connection this long, from the resolution of its name to the end of the handshake; 20
    /// seconds by default.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Has the connections below TLS made by another connector: through a proxy, over a Unix
    /// socket, with names resolved otherwise.
    #[must_use]
    pub fn over<D>(self, transport: D) -> PeerConnector<D> {
        let Self { connector, servers, timeout, http2_only, .. } = self;
        PeerConnector { connector, servers, transport, timeout, http2_only }
    }
}

impl<C> PeerConnector<C>
where
    Self: Connect + Clone,
{
    /// hyper-util's client on this connector, with a pool in which no connection outlives its lease.
    #[must_use]
    pub fn client<B>(self) -> Leased<Client<Self, B>>
    where
        B: http_body::Body + Send,
        B::Data: Send,
    {
        let mut builder = Client::builder(TokioExecutor::new());
        Leased::new(builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).build(self))
    }
}

impl Servers {
    /// Who may answer; nothing where whoever was admitted may.
    fn of(&self, host: &str, port: Option<u16>) -> Result<Option<&Authorizer>, ConnectError> {
        let Self::Named(named) = self else { return Ok(None) };
        let host = host.to_ascii_lowercase();
        let there = port.and_then(|port| named.get(&format!("{host}:{port}")));
        let who = there.or_else(|| named.get(&host));
        who.map(Some).ok_or(ConnectError::UnknownServer { host })
    }
}

impl<C> Service<Uri> for PeerConnector<C>
where
    C: Service<Uri> + Send + 'static,
    C::Response: rt::Read + rt::Write + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<Connection<TokioIo<C::Response>>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.transport.poll_ready(cx).map_err(|error| ConnectError::Transport(error.into()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let server = match Server::of(&uri, &self.servers) {
            Ok(server) => server,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let (connector, limit) = (self.connector.clone(), self.timeout);
        let (http2_only, below) = (self.http2_only, self.transport.call(uri));
        Box::pin(async move {
            let connect = async {
                let below = below.await.map_err(|error| ConnectError::Transport(error.into()))?;
                server.connect(&connector, TokioIo::new(below), http2_only).await
            };
            let connected = timeout(limit, connect).await;
            connected.map_err(|_elapsed| ConnectError::TimedOut { limit })?.map(TokioIo::new)
        })
    }
}

/// The server of a URL.
struct Server {
    host: String,
    name: ServerName<'static>,
    who: Option<Authorizer>,
}

impl Server {
    fn of(uri: &Uri, servers: &Servers) -> Result<Self, ConnectError> {
        let host = uri.host().unwrap_or_default().to_owned();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let Ok(name) = ServerName::try_from(bare.to_owned()) else {
            return Err(ConnectError::Host { host });
        };
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            Some(_) | None => None,
        });
        let who = servers.of(&host, port)?.cloned();
        Ok(Self { host, name, who })
    }

    async fn connect<IO>(
        self,
        connector: &Connector,
        io: IO,
        http2_only: bool,
    ) -> Result<Connection<IO>, ConnectError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let Self { host, name, who } = self;
        let stream = connector.connect(name, io).await.map_err(ConnectError::Handshake)?;
        if let Some(who) = who
            && !who.authorizes(stream.peer().id().borrowed())
        {
            return Err(ConnectError::NotTheServer { host, id: stream.peer().id().clone() });
        }
        let is_http2 = stream.alpn() == Some(b"h2");
        if http2_only && !is_http2 {
            return Err(ConnectError::NoHttp2);
        }
        Ok(Connection::new(stream, Arc::clone(connector.clock()), is_http2))
    }
}

impl<C> fmt::Debug for PeerConnector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnector")
            .field("connector", &self.connector)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}
