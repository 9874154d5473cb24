//! What a request knows under `axum::serve` and tonic, and how its connection ends.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::Code;
use zt_core::lease::Ended;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::Connector;
use zt_tls::client::PeerConnector;
use zt_tls::connection::ClientStream;
use zt_tls::listen::{Connected, ConnectedLayer, Listener};

use crate::support::{BOTH, Host, SOON, World, call, domain, id, send, watch, world, world_of};

/// A stream of a client of ours that speaks this and does not look after its own connections.
async fn stream(world: &World, source: X509Source, alpn: &str) -> ClientStream<TcpStream> {
    let members = Authorizer::member_of(domain("example.org"));
    let connector = Connector::builder(source, members).alpn([alpn]).build().unwrap();
    let tcp = TcpStream::connect(world.address).await.unwrap();
    connector.connect(rustls_pki_types::ServerName::try_from("orders").unwrap(), tcp).await.unwrap()
}

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "orders").body(Empty::new()).unwrap()
}

async fn said(answer: http::Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

const WHO: &str = "spiffe://example.org/cart 127.0.0.1 true";

#[tokio::test]
async fn a_request_of_axum_carries_what_one_of_serve_does() {
    let world = world(Host::Axum).await;
    let io = TokioIo::new(stream(&world, world.cart(), "http/1.1").await);
    let (mut http1, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(said(http1.send_request(ask("/")).await.unwrap()).await, WHO);
    let io = TokioIo::new(stream(&world, world.cart(), "h2").await);
    let (mut http2, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let answer = http2.send_request(ask("https://orders/")).await.unwrap();
    assert_eq!(said(answer).await, WHO);
}

#[tokio::test]
async fn a_call_of_tonic_carries_what_a_request_of_serve_does() {
    let world = world(Host::Tonic).await;
    assert_eq!(world.ask(Host::Tonic, world.cart()).await.unwrap(), WHO);
}

#[tokio::test]
async fn a_server_that_is_not_wired_answers_500() {
    let world = world(Host::Axum).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = zt_tls::Acceptor::new(world.source.clone(), Authorizer::id(id("/cart")));
    let app = Router::new().route("/", get(async || "let in")).layer(ConnectedLayer::new());
    // Without the information on connections.
    let serving = axum::serve(Listener::new(listener, acceptor.unwrap()), app.into_make_service());
    tokio::spawn(async { serving.await });
    let client = world.dial(world.cart()).client();
    let answer = send(&client, &format!("https://{address}/")).await.unwrap();
    assert_eq!(answer, (500, String::new()));
}

#[tokio::test]
async fn a_connection_of_http1_whose_peer_is_revoked_is_refused_its_next_request() {
    let world = world(Host::Axum).await;
    let cart = world.cart();
    let io = TokioIo::new(stream(&world, cart.clone(), "http/1.1").await);
    let (mut http1, connection) = http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(http1.send_request(ask("/")).await.unwrap().status(), StatusCode::OK);
    world.revoke(&cart);
    let served = world.served();
    let answer = http1.send_request(ask("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(answer.headers().get("connection").unwrap(), "close");
    assert_eq!(world.served(), served);
    drop(answer);
    let _ = timeout(SOON, connection).await.unwrap();
    assert!(world.ask(Host::Axum, cart).await.is_err());
}

#[tokio::test]
async fn what_is_under_way_on_http1_finishes_and_says_that_nothing_follows() {
    let world = world(Host::Axum).await;
    let cart = world.cart();
    let io = TokioIo::new(stream(&world, cart.clone(), "http/1.1").await);
    let (mut http1, connection) = http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let slow = tokio::spawn(http1.send_request(ask("/slow")));
    while world.served() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.revoke(&cart);
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers().get("connection").unwrap(), "close");
    assert!(said(answer).await.ends_with("false"), "the handler sees that its lease has ended");
    let _ = timeout(SOON, connection).await.unwrap();
}

#[tokio::test]
async fn a_connection_of_http2_whose_peer_is_revoked_says_goodbye_and_finishes() {
    for idle in [false, true] {
        let world = world(Host::Axum).await;
        let cart = world.cart();
        let io = TokioIo::new(stream(&world, cart.clone(), "h2").await);
        let (mut http2, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = http2.send_request(ask("https://orders/")).await.unwrap();
        assert_eq!(said(answer).await, WHO);
        let slow = (!idle).then(|| tokio::spawn(http2.send_request(ask("https://orders/slow"))));
        while !idle && world.served() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.revoke(&cart);
        // The goodbye: the client's own end takes no more requests, and finishes without an error.
        let gone = async {
            while http2.ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, gone).await.unwrap();
        if let Some(slow) = slow {
            assert!(said(slow.await.unwrap().unwrap()).await.ends_with("false"));
        }
        assert!(timeout(SOON, connection).await.unwrap().unwrap().is_ok(), "idle: {idle}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_breaks_when_the_grace_is_over() {
    for alpn in ["http/1.1", "h2"] {
        let world = world(Host::Axum).await;
        let cart = world.cart();
        let io = TokioIo::new(stream(&world, cart.clone(), alpn).await);
        let answer = if alpn == "h2" {
            let (mut http2, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            http2.send_request(ask("https://orders/endless")).await.unwrap()
        } else {
            let (mut http1, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            http1.send_request(ask("/endless")).await.unwrap()
        };
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        world.revoke(&cart);
        let began = Instant::now();
        let broken = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        timeout(SOON, broken).await.unwrap();
        assert!(began.elapsed() > Duration::from_millis(1_500), "{alpn}: it had its grace");
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_breaks_as_well() {
    let world = world(Host::Axum).await;
    let cart = world.cart();
    let mut idle = stream(&world, cart.clone(), "http/1.1").await;
    world.revoke(&cart);
    let mut byte = [0; 1];
    let ended = timeout(SOON, tokio::io::AsyncReadExt::read(&mut idle, &mut byte)).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_peer_under_either_server() {
    for host in BOTH {
        let world = world(host).await;
        let brief = world.authority.request("/cart").lasting(Duration::from_secs(3));
        let brief = world.source_of(brief.identity().unwrap());
        let io = TokioIo::new(stream(&world, brief, "h2").await);
        let (mut http2, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let connection = tokio::spawn(connection);
        http2.ready().await.unwrap();
        let _ended = timeout(SOON, connection).await.unwrap();
        assert!(http2.send_request(ask("https://orders/")).await.is_err());
        assert_eq!(world.served(), 0);
    }
}

#[tokio::test]
async fn a_caller_of_tonic_that_is_revoked_is_refused_while_another_goes_on() {
    let world = world(Host::Tonic).await;
    let (cart, till) = (world.cart(), world.authority.source("/till").unwrap());
    let (carts, tills) = (world.channel(cart.clone()), world.channel(till));
    call(&carts, "").await.unwrap();
    call(&tills, "").await.unwrap();
    let mut watched = watch(&tills).await.unwrap();
    world.revoke(&cart);
    let refused = call(&carts, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(call(&tills, "").await.is_ok());
    assert_eq!(watched.message().await.unwrap().unwrap(), "still there");
}

#[tokio::test]
async fn connections_that_end_by_age_lose_no_request() {
    let age = Duration::from_secs(2);
    for host in BOTH {
        let world = world_of(host, |acceptor| acceptor.max_age(age), |listener| listener).await;
        let (cart, url) = (world.cart(), world.url("/"));
        let http1 = Connector::builder(cart.clone(), Authorizer::id(id("/orders")));
        let http1 = PeerConnector::for_any_host(http1.alpn(["http/1.1"]).build().unwrap()).client();
        let (http2, channel) = (world.dial(cart.clone()).client(), world.channel(cart));
        let (began, mut asked, mut unsent) = (Instant::now(), 0_usize, 0_usize);
        while began.elapsed() < age.saturating_mul(3) {
            match host {
                Host::Axum => {
                    assert_eq!(send(&http1, &url).await.unwrap().0, 200);
                    assert_eq!(send(&http2, &url).await.unwrap().0, 200);
                }
                // tonic gives up the one call that meets a goodbye, unsent.
                Host::Tonic => match call(&channel, "").await {
                    Ok(said) => assert_eq!(said, WHO),
                    Err(status) => {
                        assert_eq!(status.code(), Code::Cancelled, "{status:?}");
                        unsent = unsent.saturating_add(1);
                    }
                },
            }
            asked = asked.saturating_add(1);
        }
        let expected = match host {
            Host::Axum => asked.saturating_mul(2),
            Host::Tonic => asked.saturating_sub(unsent),
        };
        assert_eq!(world.served(), expected, "{host:?}: what was sent was answered, once");
        // Each connection says goodbye at half of its age, so there are six or seven of them.
        assert!(asked > 10 && unsent <= 7, "{host:?}: {unsent} of {asked}");
    }
}

#[tokio::test]
async fn connections_yield_what_their_handshake_proved() {
    let world = world(Host::Axum).await;
    let members = Authorizer::member_of(domain("example.org"));
    let acceptor = zt_tls::Acceptor::new(world.source.clone(), members).unwrap();
    let mut listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = world.connector(world.cart());
    let connect = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("orders").unwrap();
        connector.connect(name, tcp).await.unwrap()
    };
    let (connection, _client) = tokio::join!(listener.accept(), connect);
    assert_eq!(connection.peer().id(), &id("/cart"));
    let connected: Connected = connection.connected().clone();
    assert_eq!(connected.peer().map(|peer| peer.id()), Some(connection.peer().id()));
    assert_eq!(connected.from(), connection.from());
    connection.lease().end(Ended::Closed);
    assert_eq!(connected.lease().has_ended(), Some(Ended::Closed));
    assert!(connection.alpn().is_none());
}
