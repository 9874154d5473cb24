//! The server over real sockets: what reaches a service, and when connections end.
#![cfg(feature = "serve")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test needs and does not get is its failure"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zt_core::lease::{Ended, Lease};
use zt_core::peer::Peer;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::connection::{AcceptorBuilder, ChannelBinding, ClientStream};
use zt_tls::events::Event;
use zt_tls::health::Health;
use zt_tls::serve::{ConnectionRefused, Server};
use zt_tls::{Acceptor, Connector};

const SOON: Duration = Duration::from_secs(10);

/// Says who is there, after a while if the path is `/slow`.
#[derive(Clone)]
struct WhoIsThere;

impl tower_service::Service<Request<Incoming>> for WhoIsThere {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let peer = request.extensions().get::<Verified<Peer>>().map(|peer| peer.id().to_string());
        let from = request.extensions().get::<SocketAddr>().map(SocketAddr::to_string);
        let slow = request.uri().path() == "/slow";
        if request.uri().path() == "/lease" {
            let lease = request.extensions().get::<Lease>().unwrap().check(SystemClock.now());
            let binding = request.extensions().get::<ChannelBinding>().is_some();
            let said = format!("lasts {} bound {binding}", lease.is_ok());
            return Box::pin(async move { Ok(Response::new(Full::from(said))) });
        }
        if request.uri().path() == "/upgrade" {
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.unwrap();
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            let answer = answer.header("connection", "upgrade").header("upgrade", "echo");
            return Box::pin(async move { Ok(answer.body(Full::default()).unwrap()) });
        }
        Box::pin(async move {
            if slow {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok(Response::new(Full::from(format!("{peer:?} {from:?}"))))
        })
    }
}

struct World {
    authority: Authority,
    members: Authorizer,
    source: X509Source,
    acceptor: Acceptor,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

async fn start(configure: impl FnOnce(Server) -> Server) -> World {
    start_with(|acceptor| acceptor.recheck_every(Duration::from_millis(20)), configure).await
}

async fn start_with(
    accept: impl FnOnce(AcceptorBuilder) -> AcceptorBuilder,
    configure: impl FnOnce(Server) -> Server,
) -> World {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let authority = Authority::new(domain.clone(), SystemClock.now()).unwrap();
    let members = Authorizer::member_of(domain);
    let source = authority.source("/orders").unwrap();
    let acceptor = accept(Acceptor::builder(source.clone(), members.clone())).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = configure(Server::new(acceptor.clone()));
    let server = tokio::spawn(server.serve(listener, WhoIsThere, async {
        let _ = stopped.await;
    }));
    World { authority, members, source, acceptor, address, stop, server }
}

impl World {
    fn health(&self) -> Health {
        self.acceptor.health()
    }

    /// Revokes whoever is at the other end of this connection of a client.
    fn revoke(&self, client: &X509Source) {
        let list = self.authority.revoke(client.load().identity().unwrap()).unwrap();
        let material = self.source.current();
        let bundles = material.bundles().clone().with_revocation_list(list);
        self.source.replace(material.identity().unwrap().clone(), bundles);
    }

    async fn connect_as(&self, source: X509Source, protocol: &str) -> ClientStream<TcpStream> {
        let connector = Connector::builder(source, self.members.clone()).alpn([protocol]);
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("orders").unwrap();
        connector.build().unwrap().connect(name, stream).await.unwrap()
    }

    fn source(&self, lifetime: Duration) -> X509Source {
        let svid = self.authority.request("/cart").lasting(lifetime).identity().unwrap();
        X509Source::new(svid, BundleSet::new().with(self.authority.bundle()))
    }

    async fn connect(&self, lifetime: Duration, protocol: &str) -> ClientStream<TcpStream> {
        self.connect_as(self.source(lifetime), protocol).await
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "orders").body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_request_carries_its_peer_and_where_it_comes_from() {
    let world = start(|server| server).await;
    for protocol in ["http/1.1", "h2"] {
        let stream = world.connect(HOUR, protocol).await;
        assert_eq!(stream.alpn(), Some(protocol.as_bytes()));
        let io = TokioIo::new(stream);
        let answer = if protocol == "h2" {
            let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            send.send_request(get("https://orders/")).await.unwrap()
        } else {
            let (mut send, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            send.send_request(get("/")).await.unwrap()
        };
        let said = text(answer).await;
        assert!(
            said.starts_with(r#"Some("spiffe://example.org/cart") Some("127.0.0.1:"#),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_connection_ends_when_the_certificate_of_its_peer_does() {
    let world = start(|server| server.grace(Duration::ZERO)).await;
    let stream = world.connect(Duration::from_secs(2), "http/1.1").await;
    let until = stream.peer().not_after(); // the server's, which is later
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    text(send.send_request(get("/")).await.unwrap()).await;
    timeout(SOON, connection).await.expect("the server ends the connection").unwrap().ok();
    assert!(SystemClock.now() < until);
    assert!(send.send_request(get("/")).await.is_err());
}

/// A connection that speaks another protocol by now, one that gives back what it is sent.
// A client is told half of this before, which is more than a busy machine takes between two requests.
const AGE: Duration = Duration::from_secs(4);

/// Asks without a pause until the server takes nothing more, and loses no request over it.
async fn keep_busy(stream: ClientStream<TcpStream>) {
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    let connection = tokio::spawn(connection);
    let began = std::time::Instant::now();
    let mut answers = Vec::new();
    while sender.ready().await.is_ok() {
        match sender.send_request(get("/")).await {
            Ok(response) => answers.push(text(response).await),
            // It was told to go away before it sent this one.
            Err(error) => assert!(error.is_canceled(), "{} answers: {error:?}", answers.len()),
        }
    }
    connection.await.unwrap().unwrap();
    assert!(answers.len() > 1, "{answers:?}");
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_is_always_busy_loses_no_request_to_its_greatest_age() {
    let world = start_with(|acceptor| acceptor.max_age(AGE), |server| server).await;
    keep_busy(world.connect(Duration::from_secs(60), "h2").await).await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_busy_connection_of_a_loop_of_others_loses_no_request_to_its_greatest_age() {
    use zt_tls::listen::{Connected, ConnectedLayer, Listener};

    let world = start_with(|acceptor| acceptor.max_age(AGE), |server| server).await;
    let acceptor = Acceptor::builder(world.source.clone(), world.members.clone());
    let acceptor = acceptor.max_age(AGE).build().unwrap();
    let listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route("/", axum::routing::get(async || "here"));
    let app = app.layer(ConnectedLayer::new()).into_make_service_with_connect_info::<Connected>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let world = World { address, ..world };
    keep_busy(world.connect(Duration::from_secs(60), "h2").await).await;
}

async fn upgraded(stream: ClientStream<TcpStream>) -> TokioIo<Upgraded> {
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = get("/upgrade");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let answer = send.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    assert!(echoes(&mut io).await);
    io
}

async fn echoes(io: &mut TokioIo<Upgraded>) -> bool {
    let mut said = [0; 2];
    let echo = async {
        io.write_all(b"hi").await?;
        io.flush().await?;
        io.read_exact(&mut said).await
    };
    timeout(SOON, echo).await.expect("an answer or an end").is_ok()
}

#[tokio::test]
async fn a_connection_that_was_upgraded_ends_when_the_certificate_of_its_peer_does() {
    let world = start(|server| server.grace(Duration::ZERO)).await;
    let stream = world.connect(Duration::from_secs(2), "http/1.1").await;
    let until = SystemClock.now().saturating_add(Duration::from_secs(3));
    let mut io = upgraded(stream).await;
    while SystemClock.now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !echoes(&mut io).await {
            return;
        }
    }
    panic!("the peer still speaks, and its certificate has ended");
}

#[tokio::test]
async fn a_connection_that_was_upgraded_ends_when_the_server_stops() {
    let world = start(|server| server.grace(Duration::ZERO)).await;
    let mut io = upgraded(world.connect(HOUR, "http/1.1").await).await;
    world.stop.send(()).unwrap();
    timeout(SOON, world.server).await.expect("it stops").unwrap().unwrap();
    assert!(!echoes(&mut io).await);
}

#[tokio::test]
async fn requests_under_way_finish_when_the_server_stops() {
    let world = start(|server| server).await;
    let stream = world.connect(HOUR, "http/1.1").await;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let slow = tokio::spawn(send.send_request(get("/slow")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.stop.send(()).unwrap();
    assert!(text(slow.await.unwrap().unwrap()).await.contains("cart"));
    timeout(SOON, world.server).await.expect("it stops").unwrap().unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_ended() {
    let (tell, told) = mpsc::channel();
    let world = start(|server| {
        server.handshake_timeout(Duration::from_millis(50)).on_refused(move |_, refused| {
            tell.send(matches!(refused, ConnectionRefused::TimedOut { .. })).unwrap();
        })
    })
    .await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let ended = timeout(SOON, silent.read(&mut [0; 1])).await.expect("it is ended");
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(told.recv_timeout(SOON).unwrap());
}

#[tokio::test]
async fn a_peer_that_is_silent_after_its_handshake_is_not_waited_for() {
    let world = start(|server| server.header_timeout(Duration::from_millis(50))).await;
    let mut silent = world.connect(HOUR, "http/1.1").await;
    let ended = timeout(SOON, silent.read(&mut [0; 1])).await.expect("it is ended");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

/// Connections that never begin a handshake.
async fn silent(world: &World, count: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    silent
}

#[tokio::test]
async fn half_open_handshakes_beyond_the_cap_give_way_to_others() {
    let world = start(|server| server.max_handshakes(4).handshake_timeout(HOUR)).await;
    let _silent = silent(&world, 16).await;
    // None of them would ever make room by itself.
    for _ in 0..4 {
        let stream = timeout(SOON, world.connect(HOUR, "http/1.1")).await.expect("a place");
        assert_eq!(stream.peer().id().as_str(), "spiffe://example.org/orders");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_half_open_handshakes_does_not_starve_the_others() {
    let world = start(|server| {
        server.max_handshakes(64).max_handshakes_of_a_source(8).handshake_timeout(HOUR)
    })
    .await;
    let address = world.address;
    let flood = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        for n in (0_u8..16).cycle() {
            // From sixteen addresses, which together want twice as many places as there are.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, n.saturating_add(2)], 0))).unwrap();
            held.extend(socket.connect(address).await);
            if held.len() > 200 {
                held.pop_front();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    for n in 0..20 {
        let io = timeout(SOON, world.connect(HOUR, "http/1.1")).await.expect("a connection");
        let (mut send, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        let said = timeout(SOON, send.send_request(get("/"))).await.expect("an answer");
        assert!(text(said.unwrap()).await.contains("cart"), "{n}");
    }
    assert!(!flood.is_finished());
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_its_share_of_handshakes_and_no_more() {
    let (tell, told) = mpsc::channel();
    let world = start(|server| {
        server.max_handshakes_of_a_source(2).on_refused(move |_, refused| {
            let too_many = matches!(refused, ConnectionRefused::TooManyHandshakes { most: 2 });
            tell.send(too_many).unwrap();
        })
    })
    .await;
    let mut silent = silent(&world, 3).await;
    assert!(told.recv_timeout(SOON).unwrap());
    let refused = silent.last_mut().unwrap();
    let ended = timeout(SOON, refused.read(&mut [0; 1])).await.expect("it is ended");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_are_refused_until_one_is_closed() {
    let (tell, told) = mpsc::channel();
    let world = start(|server| {
        server.max_connections(2).on_refused(move |_, refused| {
            let too_many = matches!(refused, ConnectionRefused::TooManyConnections { most: 2 });
            tell.send(too_many).unwrap();
        })
    })
    .await;
    let first = world.connect(HOUR, "http/1.1").await;
    let _second = world.connect(HOUR, "http/1.1").await;
    let connector = Connector::new(world.source(HOUR), world.members.clone()).unwrap();
    let name = || ServerName::try_from("orders").unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    assert!(connector.connect(name(), stream).await.is_err());
    assert!(told.recv_timeout(SOON).unwrap());
    drop(first);
    let again = async {
        loop {
            let stream = TcpStream::connect(world.address).await.unwrap();
            if connector.connect(name(), stream).await.is_ok() {
                break;
            }
        }
    };
    timeout(SOON, again).await.expect("a place");
}

#[tokio::test]
async fn requests_of_a_peer_that_is_revoked_are_refused_and_its_connection_ends() {
    let world = start(|server| server.grace(Duration::from_millis(200))).await;
    for protocol in ["http/1.1", "h2"] {
        let cart = world.source(HOUR);
        let till = world.source(HOUR);
        let io = TokioIo::new(world.connect_as(cart.clone(), protocol).await);
        let stays = TokioIo::new(world.connect_as(till, "h2").await);
        let (mut stays, connection) = http2::handshake(TokioExecutor::new(), stays).await.unwrap();
        tokio::spawn(connection);
        assert!(
            text(stays.send_request(get("https://orders/")).await.unwrap()).await.contains("cart")
        );
        if protocol == "h2" {
            let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut slow = send.clone();
            let slow =
                tokio::spawn(async move { slow.send_request(get("https://orders/slow")).await });
            text(send.send_request(get("https://orders/")).await.unwrap()).await;
            world.revoke(&cart);
            assert!(send.send_request(get("https://orders/")).await.is_err());
            assert!(slow.await.unwrap().is_err(), "longer than the grace");
            timeout(SOON, connection).await.expect("the server ends the connection").unwrap().ok();
        } else {
            let (mut send, connection) = http1::handshake(io).await.unwrap();
            let connection = tokio::spawn(connection);
            text(send.send_request(get("/")).await.unwrap()).await;
            world.revoke(&cart);
            assert!(send.send_request(get("/")).await.is_err());
            timeout(SOON, connection).await.expect("the server ends the connection").unwrap().ok();
        }
        assert!(
            text(stays.send_request(get("https://orders/")).await.unwrap()).await.contains("cart")
        );
    }
}

#[tokio::test]
async fn a_request_on_a_connection_that_has_ended_is_told_and_counted() {
    let (told, events) = mpsc::channel();
    let note = move |event: &Event<'_>| {
        if let Event::RequestRefused { peer: Some(peer), why } = event {
            let _ = told.send((peer.id().to_string(), *why));
        }
    };
    // Nobody but a request finds the end.
    let world = start_with(
        |acceptor| acceptor.recheck_every(HOUR).observe(note),
        |server| server.grace(Duration::ZERO),
    )
    .await;
    let cart = world.source(HOUR);
    let io = TokioIo::new(world.connect_as(cart.clone(), "h2").await);
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    text(send.send_request(get("https://orders/")).await.unwrap()).await;
    assert!(events.try_recv().is_err() && world.health().counted.refused_requests == 0);
    world.revoke(&cart);
    assert!(send.send_request(get("https://orders/")).await.is_err());
    let told = events.try_iter().collect::<Vec<_>>();
    assert_eq!(told, [("spiffe://example.org/cart".to_owned(), Ended::Identity)]);
    assert_eq!(world.health().counted.refused_requests, 1);
}

#[tokio::test]
async fn what_is_under_way_when_a_peer_is_revoked_has_the_grace_to_finish() {
    let world = start(|server| server).await;
    let cart = world.source(HOUR);
    let io = TokioIo::new(world.connect_as(cart.clone(), "h2").await);
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let slow = tokio::spawn(send.send_request(get("https://orders/slow")));
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.revoke(&cart);
    assert!(text(slow.await.unwrap().unwrap()).await.contains("cart"));
    // Told to go away, the client leaves by itself.
    timeout(SOON, connection).await.expect("the connection ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_holds_the_lease_of_its_connection() {
    let world = start(|server| server.grace(Duration::ZERO)).await;
    let cart = world.source(HOUR);
    let stream = world.connect_as(cart.clone(), "http/1.1").await;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let said = text(send.send_request(get("/lease")).await.unwrap()).await;
    assert_eq!(said, "lasts true bound false");
    let mut io = upgraded(world.connect_as(cart.clone(), "http/1.1").await).await;
    world.revoke(&cart);
    let until = SystemClock.now().saturating_add(SOON);
    while echoes(&mut io).await {
        assert!(SystemClock.now() < until, "the peer still speaks, and is revoked");
    }
}

#[tokio::test]
async fn the_binding_of_a_connection_is_there_where_it_is_asked_for() {
    let world = start(Server::channel_bindings).await;
    let stream = world.connect(HOUR, "http/1.1").await;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let said = text(send.send_request(get("/lease")).await.unwrap()).await;
    assert_eq!(said, "lasts true bound true");
}

#[tokio::test]
async fn where_clients_are_optional_those_without_a_certificate_are_served_as_nobody() {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let authority = Authority::new(domain.clone(), SystemClock.now()).unwrap();
    let svid = authority.request("/orders").for_host("orders").identity().unwrap();
    let source = X509Source::new(svid, BundleSet::new().with(authority.bundle()));
    let acceptor = Acceptor::builder(source, Authorizer::member_of(domain));
    let acceptor = acceptor.optional_clients().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(zt_tls::serve::serve(listener, acceptor, WhoIsThere));

    // A client as a browser is: it knows roots, and servers by their hosts.
    let mut roots = rustls::RootCertStore::empty();
    for root in authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(zt_tls::provider::ring())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = tls.connect(ServerName::try_from("orders").unwrap(), stream).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let said = text(send.send_request(get("/")).await.unwrap()).await;
    assert!(said.starts_with("None Some("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_peer_is_reported_with_the_reason() {
    let (tell, told) = mpsc::channel();
    let world = start(|server| {
        server.on_refused(move |_, refused| {
            let ConnectionRefused::Handshake(error) = refused else { return };
            tell.send((error.refused().map(ToString::to_string), refused.why())).unwrap();
        })
    })
    .await;
    let stranger = Authority::new(TrustDomain::from_name("evil.test").unwrap(), SystemClock.now());
    let stranger = stranger.unwrap();
    let bundles = BundleSet::new().with(world.authority.bundle());
    let source = X509Source::new(stranger.svid("/cart").unwrap(), bundles);
    let connector = Connector::new(source, world.members.clone()).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("orders").unwrap();
    // In TLS 1.3 a client is done before its certificate is judged: the alert follows.
    if let Ok(mut stream) = connector.connect(name, stream).await {
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }
    let (reason, why) = told.recv_timeout(SOON).unwrap();
    assert_eq!(reason.as_deref(), Some("the peer's X509-SVID does not verify"));
    assert_eq!(
        why,
        "the peer's X509-SVID does not verify: there is no bundle for trust domain \"evil.test\""
    );

    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (reason, why) = told.recv_timeout(SOON).unwrap();
    assert_eq!(reason, None);
    assert_eq!(why, "the handshake failed: received corrupt message of type InvalidContentType");
}
