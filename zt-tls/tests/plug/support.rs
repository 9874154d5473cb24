//! One service twice, on axum and on tonic, and clients that are what they should be, or are not.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_tls::client::{Leased, PeerConnector};
use zt_tls::connection::AcceptorBuilder;
use zt_tls::listen::{Connected, ConnectedLayer, Listener};
use zt_tls::{Acceptor, Connector};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// As long as a loaded machine may take for what is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Axum,
    Tonic,
}

pub(crate) const BOTH: [Host; 2] = [Host::Axum, Host::Tonic];

/// A trust domain with a server in it.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) source: X509Source,
    pub(crate) address: SocketAddr,
    /// How many requests reached a handler.
    served: Arc<AtomicUsize>,
    pub(crate) behind: Behind,
    server: JoinHandle<()>,
}

/// What calls rest on besides their connection, while it is there.
#[derive(Clone)]
pub(crate) struct Behind {
    pub(crate) token: Arc<AtomicBool>,
    pub(crate) policy: Arc<AtomicBool>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn world(host: Host) -> World {
    world_with(host, |listener| listener).await
}

pub(crate) async fn world_with(host: Host, configure: impl FnOnce(Listener) -> Listener) -> World {
    world_of(host, |acceptor| acceptor, configure).await
}

pub(crate) async fn world_of(
    host: Host,
    accept: impl FnOnce(AcceptorBuilder) -> AcceptorBuilder,
    configure: impl FnOnce(Listener) -> Listener,
) -> World {
    let authority = Authority::new(domain("example.org"), SystemClock.now()).unwrap();
    let source = authority.source("/orders").unwrap();
    // All of the trust domain but the mailer.
    let admitted = Authorizer::one_of([id("/cart"), id("/till"), id("/orders")]);
    let acceptor = Acceptor::builder(source.clone(), admitted)
        .recheck_every(Duration::from_millis(20))
        .grace(Duration::from_secs(2));
    let acceptor = accept(acceptor);
    let acceptor = match host {
        Host::Axum => acceptor,
        Host::Tonic => acceptor.alpn(["h2"]),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = configure(Listener::new(listener, acceptor.build().unwrap()));
    let served = Arc::new(AtomicUsize::new(0));
    let there = || Arc::new(AtomicBool::new(true));
    let behind = Behind { token: there(), policy: there() };
    let server = match host {
        Host::Axum => tokio::spawn(serve_axum(listener, Arc::clone(&served))),
        Host::Tonic => tokio::spawn(serve_tonic(listener, Arc::clone(&served), behind.clone())),
    };
    World { authority, source, address, served, behind, server }
}

async fn serve_axum(listener: Listener, served: Arc<AtomicUsize>) {
    let count = move |request: Request, next: axum::middleware::Next| {
        served.fetch_add(1, Ordering::SeqCst);
        next.run(request)
    };
    let app = Router::new()
        .route("/", get(async |request: Request| who(request.extensions())))
        .route(
            "/slow",
            get(async |request: Request| {
                tokio::time::sleep(Duration::from_millis(500)).await;
                who(request.extensions())
            }),
        )
        .route("/endless", get(async || axum::body::Body::from_stream(endless())))
        .layer(axum::middleware::from_fn(count))
        .layer(ConnectedLayer::new());
    let app = app.into_make_service_with_connect_info::<Connected>();
    axum::serve(listener, app).await.unwrap();
}

async fn serve_tonic(listener: Listener, served: Arc<AtomicUsize>, behind: Behind) {
    let mut server = tonic::transport::Server::builder().layer(ConnectedLayer::new());
    server.add_service(Grpc { served, behind }).serve_with_incoming(listener).await.unwrap();
}

/// Goes on whatever becomes of its connection.
fn endless() -> impl Stream<Item = Result<&'static str, Infallible>> {
    futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok("and on "), ()))
    })
}

/// Says what a handler knows of its caller.
fn who(extensions: &http::Extensions) -> String {
    let peer = extensions.get::<Verified<Peer>>().map(|peer| peer.id().as_str());
    let from = extensions.get::<SocketAddr>().map(SocketAddr::ip);
    let lasts = extensions.get::<Lease>().map(|lease| lease.check(SystemClock.now()).is_ok());
    format!("{} {} {}", peer.unwrap_or("nobody"), from.unwrap(), lasts.unwrap())
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// A service as generated code has it, with texts for messages.
#[derive(Clone)]
struct Grpc {
    served: Arc<AtomicUsize>,
    behind: Behind,
}

impl tonic::server::NamedService for Grpc {
    const NAME: &'static str = "test.Who";
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Grpc {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        self.served.fetch_add(1, Ordering::SeqCst);
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
        let behind = self.behind.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/test.Who/Watch" => grpc.server_streaming(Watch(behind), request).await,
                _ => grpc.unary(Who, request).await,
            })
        })
    }
}

struct Who;

impl tonic::server::UnaryService<String> for Who {
    type Response = String;
    type Future = Boxed<Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        Box::pin(async move {
            if request.get_ref() == "slowly" {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(tonic::Response::new(who(request.extensions())))
        })
    }
}

struct Watch(Behind);

impl tonic::server::ServerStreamingService<String> for Watch {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Boxed<Result<tonic::Response<Texts>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let behind = self.0.clone();
        Box::pin(async move {
            let lease = request.extensions().get::<Lease>().unwrap();
            Ok(tonic::Response::new(crate::streams::watch(lease, behind)))
        })
    }
}

/// Calls the service over a channel.
pub(crate) async fn call(channel: &Channel, say: &str) -> Result<String, Status> {
    let mut grpc = ready(channel).await?;
    let path = http::uri::PathAndQuery::from_static("/test.Who/Who");
    let codec = ProstCodec::<String, String>::default();
    let answer = grpc.unary(tonic::Request::new(say.to_owned()), path, codec).await;
    answer.map(tonic::Response::into_inner)
}

/// Watches over a channel.
pub(crate) async fn watch(channel: &Channel) -> Result<tonic::Streaming<String>, Status> {
    let mut grpc = ready(channel).await?;
    let path = http::uri::PathAndQuery::from_static("/test.Who/Watch");
    let codec = ProstCodec::<String, String>::default();
    let answer = grpc.server_streaming(tonic::Request::new(String::new()), path, codec).await;
    answer.map(tonic::Response::into_inner)
}

async fn ready(channel: &Channel) -> Result<tonic::client::Grpc<Channel>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
    Ok(grpc)
}

pub(crate) type HttpClient = Leased<Client<PeerConnector, Empty<Bytes>>>;

impl World {
    pub(crate) fn source_of(&self, identity: X509Identity) -> X509Source {
        X509Source::new(identity, BundleSet::new().with(self.authority.bundle()))
    }

    pub(crate) fn connector(&self, source: X509Source) -> Connector {
        Connector::builder(source, Authorizer::member_of(domain("example.org")))
            .recheck_every(Duration::from_millis(20))
            .grace(Duration::from_secs(2))
            .build()
            .unwrap()
    }

    /// A connector that expects the orders service.
    pub(crate) fn dial(&self, source: X509Source) -> PeerConnector {
        let orders = Authorizer::id(id("/orders"));
        PeerConnector::new(self.connector(source)).server("127.0.0.1", orders)
    }

    pub(crate) fn cart(&self) -> X509Source {
        self.authority.source("/cart").unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn channel(&self, source: X509Source) -> Channel {
        let endpoint = Endpoint::from_shared(self.url("")).unwrap();
        endpoint.connect_with_connector_lazy(self.dial(source).http2_only())
    }

    /// A stream to the server of a client that believes any server.
    pub(crate) async fn tls(
        &self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = rustls_pki_types::ServerName::try_from("orders").unwrap();
        tokio_rustls::TlsConnector::from(config).connect(name, tcp).await
    }

    /// Takes back the identity of this client.
    pub(crate) fn revoke(&self, client: &X509Source) {
        let list = self.authority.revoke(client.load().identity().unwrap()).unwrap();
        let material = self.source.current();
        let bundles = material.bundles().clone().with_revocation_list(list);
        self.source.replace(material.identity().unwrap().clone(), bundles);
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Asks as this client, over a connection of its own; says what it got, or why it did not.
    pub(crate) async fn ask(&self, host: Host, source: X509Source) -> Result<String, String> {
        match host {
            Host::Axum => {
                let client = self.dial(source).client();
                let answer = send(&client, &self.url("/")).await;
                answer.map(|(_, said)| said)
            }
            Host::Tonic => {
                let channel = self.channel(source);
                call(&channel, "").await.map_err(|status| format!("{status:?}"))
            }
        }
    }
}

/// Sends a request and reads all of the answer.
pub(crate) async fn send(client: &HttpClient, url: &str) -> Result<(u16, String), String> {
    let request = http::Request::get(url).body(Empty::new()).unwrap();
    let answer = client.request(request).await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
    Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
}
