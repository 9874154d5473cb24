//! One connector for hyper-util's client and tonic's channels.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tower_service::Service;
use zt_core::fault::Fault;
use zt_core::lease::{Ended, Lease};
use zt_core::peer::Peer;
use zt_core::verified::Verified;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::client::{ConnectError, PeerConnector};

use crate::support::{BOTH, Host, HttpClient, SOON, World, call, domain, id, send, world};

async fn refused(mut connector: PeerConnector, url: &str) -> ConnectError {
    let url = url.parse().unwrap();
    timeout(SOON, connector.call(url)).await.unwrap().map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_host_is_answered_for_by_whom_it_was_said_of_and_by_nobody_else() {
    let world = world(Host::Axum).await;
    let connector = || PeerConnector::new(world.connector(world.cart()));
    let url = world.url("/");
    let port = world.address.port();

    let unknown = refused(connector(), &url).await;
    assert!(matches!(unknown, ConnectError::UnknownServer { .. }), "{unknown:?}");
    assert_eq!(unknown.fault(), Fault::Caller);
    let unknown =
        refused(connector().server("localhost", Authorizer::id(id("/orders"))), &url).await;
    assert!(matches!(unknown, ConnectError::UnknownServer { .. }), "{unknown:?}");

    // A workload of ours that the connector admits, and which is not the one that is meant.
    let payments = || Authorizer::id(id("/payments"));
    let other = refused(connector().server("127.0.0.1", payments()), &url).await;
    let ConnectError::NotTheServer { host, id: who } = other else { panic!("{other:?}") };
    assert_eq!((host.as_str(), who), ("127.0.0.1", id("/orders")));
    // What is said of a port says more than what is said of the host.
    let orders = connector().server("127.0.0.1", Authorizer::id(id("/orders")));
    let other = refused(orders.server(&format!("127.0.0.1:{port}"), payments()), &url).await;
    assert!(matches!(other, ConnectError::NotTheServer { .. }));
    // The connector below has its say as well.
    let strict = zt_tls::Connector::new(world.cart(), payments()).unwrap();
    let refusal = refused(PeerConnector::for_any_host(strict), &url).await;
    assert!(matches!(refusal, ConnectError::Handshake(_)), "{refusal:?}");
    assert_eq!(world.served(), 0);

    let whoever = PeerConnector::for_any_host(world.connector(world.cart())).client();
    assert_eq!(send(&whoever, &url).await.unwrap().0, 200);
}

#[tokio::test]
async fn nothing_but_mutual_tls_is_spoken_whatever_the_scheme() {
    let world = world(Host::Axum).await;
    let client = world.dial(world.cart()).client();
    let url = format!("http://{}/", world.address);
    let (status, said) = send(&client, &url).await.unwrap();
    assert_eq!((status, said.starts_with("spiffe://example.org/cart")), (200, true));
    // A server that speaks plainly is not spoken to.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", plain.local_addr().unwrap());
    let said = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let mut said = [0; 3];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut said).await.unwrap();
        said
    });
    assert!(send(&client, &url).await.is_err());
    assert_eq!(said.await.unwrap()[..2], [0x16, 0x03], "a ClientHello");
}

#[tokio::test]
async fn hosts_that_are_none_and_servers_that_take_their_time_are_refused() {
    let world = world(Host::Axum).await;
    let none = refused(world.dial(world.cart()), "https://exa_mple..org/").await;
    assert!(matches!(none, ConnectError::Host { .. } | ConnectError::UnknownServer { .. }));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let limit = Duration::from_millis(50);
    let slow = refused(world.dial(world.cart()).timeout(limit), &url).await;
    assert!(matches!(slow, ConnectError::TimedOut { .. }), "{slow:?}");
}

#[tokio::test]
async fn a_channel_does_not_speak_http2_with_a_server_that_does_not() {
    let world = world(Host::Axum).await;
    let members = Authorizer::member_of(domain("example.org"));
    let acceptor = zt_tls::Acceptor::builder(world.source.clone(), members).alpn(["http/1.1"]);
    let mut listener =
        zt_tls::listen::Listener::bind("127.0.0.1:0", acceptor.build().unwrap()).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { listener.accept().await });
    let refusal = refused(world.dial(world.cart()).http2_only(), &url).await;
    assert!(matches!(refusal, ConnectError::NoHttp2 | ConnectError::Handshake(_)), "{refusal:?}");
}

#[tokio::test]
async fn an_answer_says_who_gave_it() {
    let world = world(Host::Axum).await;
    let client = world.dial(world.cart()).client::<Empty<Bytes>>();
    let request = Request::get(world.url("/")).body(Empty::new()).unwrap();
    let answer = client.request(request).await.unwrap();
    let peer = answer.extensions().get::<Verified<Peer>>().unwrap();
    assert_eq!(peer.id(), &id("/orders"));
    assert!(answer.extensions().get::<Lease>().unwrap().has_ended().is_none());
}

/// The server gets a new certificate, and the client hears that the old one is revoked.
fn server_is_replaced(world: &World, client: &X509Source) {
    let old = world.source.current();
    let new = world.authority.svid("/orders").unwrap();
    world.source.replace(new, old.bundles().clone());
    let list = world.authority.revoke(old.identity().unwrap()).unwrap();
    let material = client.current();
    let bundles = material.bundles().clone().with_revocation_list(list);
    client.replace(material.identity().unwrap().clone(), bundles);
}

async fn leaf_of_server(client: &HttpClient, url: &str) -> Vec<u8> {
    let request = Request::get(url).body(Empty::new()).unwrap();
    let answer = client.request(request).await.unwrap();
    let leaf = answer.extensions().get::<Verified<Peer>>().unwrap().leaf().to_vec();
    let _ = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    leaf
}

/// A connector that speaks this alone.
fn speaking(source: X509Source, alpn: &str) -> PeerConnector {
    let members = Authorizer::member_of(domain("example.org"));
    let connector = zt_tls::Connector::builder(source, members)
        .recheck_every(Duration::from_millis(20))
        .alpn([alpn])
        .build();
    PeerConnector::new(connector.unwrap()).server("127.0.0.1", Authorizer::id(id("/orders")))
}

#[tokio::test]
async fn a_connection_that_has_ended_is_not_used_again_and_no_request_is_lost() {
    for alpn in ["http/1.1", "h2"] {
        let world = world(Host::Axum).await;
        let cart = world.cart();
        let client = speaking(cart.clone(), alpn).client();
        let before = leaf_of_server(&client, &world.url("/")).await;
        assert_eq!(leaf_of_server(&client, &world.url("/")).await, before, "it is kept");
        // One request is under way while the server is replaced.
        let (slow, url) = (client.clone(), world.url("/slow"));
        let slow = tokio::spawn(async move { send(&slow, &url).await });
        while world.served() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server_is_replaced(&world, &cart);
        // Longer than the interval at which it is noticed, shorter than the grace.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..3 {
            let after = leaf_of_server(&client, &world.url("/")).await;
            assert_ne!(after, before, "{alpn}");
        }
        assert_eq!(slow.await.unwrap().unwrap().0, 200, "{alpn}");
    }
}

#[tokio::test]
async fn a_request_of_http1_is_refused_before_its_first_byte_where_nothing_else_helps() {
    let world = world(Host::Axum).await;
    let cart = world.cart();
    let connector = speaking(cart.clone(), "http/1.1");
    // hyper-util's client as it is.
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let get = || Request::get(world.url("/")).body(Empty::new()).unwrap();
    let answer = client.request(get()).await.unwrap();
    http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server_is_replaced(&world, &cart);
    let served = world.served();
    let error = client.request(get()).await.unwrap_err();
    assert_eq!(world.served(), served, "not a byte of it was sent");
    let (mut cause, mut said) = (error.source(), String::new());
    while let Some(error) = cause {
        said += &error.to_string();
        cause = error.source();
    }
    assert!(said.contains(&Ended::Identity.to_string()), "{said}");
    assert!(client.request(get()).await.is_ok(), "the next has a connection of its own");
}

#[tokio::test]
async fn a_channel_moves_to_another_connection_when_its_own_has_ended() {
    let world = world(Host::Tonic).await;
    let cart = world.cart();
    let channel = world.channel(cart.clone());
    call(&channel, "").await.unwrap();
    for _ in 0..3 {
        server_is_replaced(&world, &cart);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(call(&channel, "").await.is_ok(), "no call is lost");
    }
    // Where nobody answers who may, no request gets through.
    let old = world.source.current();
    let list = world.authority.revoke(old.identity().unwrap()).unwrap();
    let material = cart.current();
    let bundles = material.bundles().clone().with_revocation_list(list);
    cart.replace(material.identity().unwrap().clone(), bundles);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let served = world.served();
    assert!(timeout(SOON, call(&channel, "")).await.unwrap().is_err());
    assert_eq!(world.served(), served);
}

#[tokio::test]
async fn a_call_that_is_under_way_when_its_connection_ends_is_answered() {
    let world = world(Host::Tonic).await;
    let cart = world.cart();
    let channel = world.channel(cart.clone());
    let slow = channel.clone();
    let slow = tokio::spawn(async move { call(&slow, "slowly").await });
    while world.served() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server_is_replaced(&world, &cart);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // tonic learns of a goodbye, whoever says it, by the first call after it, if others are under
    // way. That call is not sent.
    if let Err(status) = call(&channel, "").await {
        assert_eq!((status.code(), world.served()), (Code::Cancelled, 1), "{status:?}");
    }
    assert!(call(&channel, "").await.is_ok());
    assert!(slow.await.unwrap().is_ok());
}

/// Knows one address, whatever is asked for.
#[derive(Clone)]
struct Fixed(SocketAddr);

impl Service<http::Uri> for Fixed {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
    }
}

#[tokio::test]
async fn what_lies_below_tls_may_be_another_connector_and_changes_nothing_above() {
    let world = world(Host::Axum).await;
    let connector = || {
        PeerConnector::new(world.connector(world.cart()))
            .server("orders.example.org", Authorizer::id(id("/orders")))
            .server("payments.example.org", Authorizer::id(id("/payments")))
            .over(Fixed(world.address))
    };
    let client = connector().client::<Empty<Bytes>>();
    let get = |url| Request::get(url).body(Empty::new()).unwrap();
    assert_eq!(client.request(get("https://orders.example.org/")).await.unwrap().status(), 200);
    let url = "https://payments.example.org/".parse().unwrap();
    let refused = connector().call(url).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ConnectError::NotTheServer { .. }), "{refused:?}");
}

#[tokio::test]
async fn clients_reach_either_server() {
    for host in BOTH {
        let world = world(host).await;
        assert!(world.ask(host, world.cart()).await.is_ok());
    }
}
