//! What hostile clients try under `axum::serve` and tonic.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::source::X509Source;
use zt_tls::listen::ConnectionRefused;
use zt_tls::provider;

use crate::gullible::{Presents, plain};
use crate::support::{BOTH, HOUR, Host, SOON, World, domain, world, world_with};

/// Clients that must not get in, by what is wrong with them.
fn hostile(world: &World) -> Vec<(&'static str, Option<X509Source>)> {
    let now = SystemClock.now();
    let stranger = Authority::new(domain("evil.test"), now).unwrap();
    let twin = Authority::new(domain("example.org"), now).unwrap();
    let long_ago = world.authority.request("/cart").at(now.saturating_sub(HOUR.saturating_mul(2)));
    let revoked = world.cart();
    world.revoke(&revoked);
    vec![
        ("no certificate", None),
        ("another trust domain", Some(world.source_of(stranger.svid("/cart").unwrap()))),
        ("an authority by our name", Some(world.source_of(twin.svid("/cart").unwrap()))),
        ("not admitted", Some(world.authority.source("/mailer").unwrap())),
        ("expired", Some(world.source_of(long_ago.identity().unwrap()))),
        ("revoked", Some(revoked)),
    ]
}

fn config(who: Option<&X509Source>, alpn: &str) -> Arc<rustls::ClientConfig> {
    let mut config = plain(provider::ring(), &[&TLS13], None);
    if let Some(source) = who {
        let material = source.current();
        let key = material.identity().unwrap().key().expose().clone_key();
        let key = provider::ring().key_provider.load_private_key(key).unwrap();
        let chain = material.identity().unwrap().chain().to_vec();
        let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
        config.client_auth_cert_resolver = Arc::new(Presents(certified));
    }
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n";

/// The preface, empty settings, and a request that reaches a handler of this server.
fn request_2(host: Host) -> Vec<u8> {
    let (method, path) = match host {
        Host::Axum => (0x82, "/"),
        Host::Tonic => (0x83, "/test.Who/Who"),
    };
    let mut fields = vec![method, 0x87, 0x41, 6];
    fields.extend(b"orders\x44");
    fields.push(u8::try_from(path.len()).unwrap());
    fields.extend(path.as_bytes());
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0".to_vec();
    said.push(u8::try_from(fields.len()).unwrap());
    said.extend(b"\x01\x05\0\0\0\x01");
    said.extend(fields);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_the_heels_of_a_handshake_that_is_refused_reaches_no_handler() {
    for host in BOTH {
        let world = world(host).await;
        for (what, who) in hostile(&world) {
            for (alpn, request) in [("h2", request_2(host)), ("http/1.1", REQUEST.to_vec())] {
                // In TLS 1.3 a client is done first: it says all it has to say at once.
                let Ok(mut stream) = world.tls(config(who.as_ref(), alpn)).await else { continue };
                let _ = stream.write_all(&request).await;
                let _ = stream.flush().await;
                let mut answer = Vec::new();
                let ended = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
                assert!(ended.is_err() && answer.is_empty(), "{host:?}, {what}: {answer:?}");
            }
        }
        assert_eq!(world.served(), 0, "{host:?}");
        // The same bytes of one who may, so that the above was a request.
        let till = world.authority.source("/till").unwrap();
        let mut stream = world.tls(config(Some(&till), "h2")).await.unwrap();
        stream.write_all(&request_2(host)).await.unwrap();
        stream.flush().await.unwrap();
        let served = async {
            while world.served() == 0 {
                let mut bytes = [0; 64];
                tokio::select! {
                    _ = stream.read(&mut bytes) => {}
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        };
        timeout(SOON, served).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_prove_nothing_get_no_answer_from_either_server() {
    for host in BOTH {
        let world = world(host).await;
        for (what, who) in hostile(&world) {
            let Some(who) = who else { continue };
            let answer = timeout(SOON, world.ask(host, who)).await.unwrap();
            assert!(answer.is_err(), "{host:?}, {what}: {answer:?}");
        }
        assert_eq!(world.served(), 0);
        let till = world.authority.source("/till").unwrap();
        assert!(world.ask(host, till).await.unwrap().starts_with("spiffe://example.org/till"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_tls_or_before_it_reach_no_handler() {
    for host in BOTH {
        let world = world(host).await;
        for said in [REQUEST.to_vec(), request_2(host)] {
            let mut tcp = TcpStream::connect(world.address).await.unwrap();
            tcp.write_all(&said).await.unwrap();
            let mut answer = Vec::new();
            let _ = timeout(SOON, tcp.read_to_end(&mut answer)).await.unwrap();
            // An alert of TLS at most.
            assert!(answer.first().is_none_or(|first| *first == 21), "{host:?}: {answer:?}");
        }
        assert_eq!(world.served(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_never_finished_keep_nobody_waiting() {
    for host in BOTH {
        let world =
            world_with(host, |listener| listener.max_handshakes(8).handshake_timeout(HOUR)).await;
        let mut silent = Vec::new();
        for _ in 0..32 {
            silent.push(TcpStream::connect(world.address).await.unwrap());
        }
        for _ in 0..3 {
            let answer = timeout(SOON, world.ask(host, world.cart())).await.expect("not starved");
            assert!(answer.unwrap().starts_with("spiffe://example.org/cart"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_given_up_and_told_of() {
    let (tell, told) = mpsc::channel();
    let world = world_with(Host::Tonic, |listener| {
        listener.handshake_timeout(Duration::from_millis(50)).on_refused(move |_, refused| {
            tell.send(matches!(refused, ConnectionRefused::TimedOut { .. })).unwrap();
        })
    })
    .await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let ended = timeout(SOON, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(told.recv_timeout(SOON).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_after_its_handshake_is_not_waited_for() {
    for host in BOTH {
        let world =
            world_with(host, |listener| listener.silence_timeout(Duration::from_millis(50))).await;
        let mut silent = world.tls(config(Some(&world.cart()), "h2")).await.unwrap();
        let ended = timeout(SOON, silent.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{host:?}: it is waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_passes_for_a_connection() {
    let world = world(Host::Axum).await;
    let mut stream = world.tls(config(Some(&world.cart()), "http/1.1")).await.unwrap();
    let forged = "GET / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\
        connected: spiffe://example.org/till\r\nx-forwarded-client-cert: URI=spiffe://example.org/till\r\n\
        forwarded: for=192.0.2.1\r\nx-forwarded-for: 192.0.2.1\r\nx-spiffe-id: spiffe://example.org/till\r\n\r\n";
    stream.write_all(forged.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with("spiffe://example.org/cart 127.0.0.1 true"), "{answer}");
}
