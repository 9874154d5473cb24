//! What endpoints answer, and what is not taken.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::time::{Duration, Instant};

use zt_identity::bundle::{MAX_BUNDLE_LEN, SpiffeBundle};
use zt_tls::federation::FetchError;
use zt_tls::health::Status;

use crate::support::{
    ENDPOINT, Endpoint, LONG, Say, World, answer, authority, document, ok, run, spiffe, world,
    world_with,
};

/// An endpoint whose bundle was fetched once, and that says something else from there on.
async fn after_a_good_one(world: &mut World) -> (zt_identity::authority::Authority, Endpoint) {
    let partner = authority("partner.test");
    let svid = partner.svid(ENDPOINT).unwrap();
    let endpoint = Endpoint::serving(&svid, &document(&[&partner], 7)).await;
    world.establish(spiffe(&partner, &endpoint));
    assert_eq!(world.told().await, "partner.test new 7");
    (partner, endpoint)
}

#[test]
fn an_answer_with_another_status_than_200_is_not_taken() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let json = document(&[&authority("partner.test")], 8).to_json();
        for (status, code) in [
            ("201 Created", 201),
            ("203 Non-Authoritative Information", 203),
            ("204 No Content", 204),
            ("206 Partial Content", 206),
            ("304 Not Modified", 304),
            ("404 Not Found", 404),
            ("429 Too Many Requests", 429),
            ("500 Internal Server Error", 500),
        ] {
            let body = if matches!(code, 204 | 304) { String::new() } else { json.clone() };
            endpoint.says(move |_| answer(status, "content-type: application/json\r\n", &body));
            world.refreshed("partner.test").await;
            let FetchError::Status { status: found } = world.failure() else { panic!("{status}") };
            assert_eq!(found, code);
            assert!(world.believes(&partner), "{status}");
        }
        let health = &world.federation.health()[0];
        assert_eq!((health.status, health.failures, health.sequence), (Status::Ailing, 8, Some(7)));
        endpoint.serves(&document(&[&partner], 9));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 9");
        let health = &world.federation.health()[0];
        assert_eq!((health.status, health.failures), (Status::Good, 0));
    });
}

#[test]
fn what_is_not_a_bundle_is_not_taken() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let json = document(&[&authority("partner.test")], 8).to_json();
        for body in [
            Vec::new(),
            b"<html></html>".to_vec(),
            b"[]".to_vec(),
            b"null".to_vec(),
            b"{}".to_vec(),
            br#"{"keys":{}}"#.to_vec(),
            br#"{"keys":[],"keys":[]}"#.to_vec(),
            br#"{"spiffe_sequence":-1,"keys":[]}"#.to_vec(),
            br#"{"spiffe_sequence":18446744073709551616,"keys":[]}"#.to_vec(),
            br#"{"trust_domains":{}}"#.to_vec(),
            [b"\xef\xbb\xbf", json.as_bytes()].concat(),
            [json.as_bytes(), b"\xff"].concat(),
            [json.as_bytes(), b"{}"].concat(),
            json.as_bytes()[..json.len() - 1].to_vec(),
            json.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            [b"[".repeat(100_000), b"]".repeat(100_000)].concat(),
        ] {
            let said = body.clone();
            endpoint.says(move |_| ok(&said));
            world.refreshed("partner.test").await;
            let failure = world.failure();
            let quoted = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert!(matches!(failure, FetchError::Document(_)), "{quoted}: {failure:?}");
            assert!(world.believes(&partner), "{quoted}");
        }
    });
}

#[test]
fn a_document_is_as_long_as_may_be_and_no_longer() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let mut json = document(&[&partner], 8).to_json();
        json.push_str(&" ".repeat(MAX_BUNDLE_LEN - json.len()));
        let most = json.clone();
        endpoint.says(move |_| ok(&most));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 8");
        json.push(' ');
        let chunked = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{json}\r\n0\r\n\r\n",
            json.len()
        );
        for say in [ok(&json), Say::Bytes(chunked.into_bytes())] {
            endpoint.says(move |_| say.clone());
            world.refreshed("partner.test").await;
            assert!(matches!(world.failure(), FetchError::TooLong), "{:?}", world.failure());
        }
        // One that never ends is given up at its length, and not when time is over.
        let begun = Instant::now();
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let endless = [head, vec![b' '; MAX_BUNDLE_LEN + 1]].concat();
        endpoint.says(move |_| Say::Drip(endless.clone()));
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::TooLong), "{:?}", world.failure());
        assert!(begun.elapsed() < LONG);
    });
}

#[test]
fn an_answer_that_does_not_end_in_time_is_given_up() {
    run(async {
        let mut world = world_with(|builder| builder.timeout(Duration::from_secs(3)));
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let body = [&head[..], b"\r\n{"].concat();
        // A head, a body, an answer at all, that never comes to its end.
        for say in [Say::Drip([&head[..], b"x: "].concat()), Say::Drip(body), Say::Nothing] {
            endpoint.says(move |_| say.clone());
            let begun = Instant::now();
            world.refreshed("partner.test").await;
            let failure = world.failure();
            let FetchError::Timeout { after } = failure else { panic!("{failure:?}") };
            assert_eq!(after, Duration::from_secs(3));
            assert!(begun.elapsed() >= Duration::from_secs(3));
            assert!(world.believes(&partner));
        }
    });
}

#[test]
fn a_server_that_does_not_even_shake_hands_is_given_up() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut world = world_with(|builder| builder.timeout(Duration::from_secs(1)));
        let url = format!("https://localhost:{port}/");
        world.establish(crate::support::spiffe_at(&authority("partner.test"), &url));
        world.told().await;
        assert!(matches!(world.failure(), FetchError::Timeout { .. }));
        drop(listener);
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::Unreachable(_)), "{:?}", world.failure());
        assert_eq!(world.federation.health()[0].status, Status::Failing);
    });
}

#[test]
fn an_answer_that_breaks_off_or_is_no_http_is_not_taken() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let json = document(&[&authority("partner.test")], 8).to_json();
        let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n{json}").into_bytes();
        let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
        for say in [
            // The length that was announced is not there.
            Say::Bytes(head(&format!("content-length: {}\r\n", json.len() + 1))),
            Say::Bytes(head("content-length: 1\r\ncontent-length: 2\r\n")),
            // No length and no goodbye: who knows whether that is all of it.
            Say::Break(head("")),
            Say::Break(
                format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{json}\r\n",
                    json.len()
                )
                .into_bytes(),
            ),
            Say::Bytes(b"220 mail.partner.test ESMTP\r\n".to_vec()),
            Say::Bytes(Vec::new()),
            Say::Bytes(long_head.into_bytes()),
        ] {
            endpoint.says(move |_| say.clone());
            world.refreshed("partner.test").await;
            assert!(matches!(world.failure(), FetchError::Http(_)), "{:?}", world.failure());
            assert!(world.believes(&partner));
        }
    });
}

#[test]
fn a_bundle_is_not_followed_by_an_older_one_or_by_another_of_its_sequence() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        let other = authority("partner.test");
        let unnumbered = SpiffeBundle::of_roots(&other.bundle());
        for (refused, found) in [
            (document(&[&partner], 6), Some(6)),
            (document(&[&other], 6), Some(6)),
            (document(&[&other], 7), Some(7)),
            (document(&[&partner, &other], 7), Some(7)),
            (unnumbered, None),
        ] {
            endpoint.serves(&refused);
            world.refreshed("partner.test").await;
            let failure = world.failure();
            let FetchError::Sequence { latest, found: was } = failure else {
                panic!("{failure:?}");
            };
            assert_eq!((latest, was), (Some(7), found));
            assert!(world.believes(&partner) && !world.believes(&other));
        }
        endpoint.serves(&document(&[&partner, &other], 8));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 8");
        assert!(world.believes(&partner) && world.believes(&other));
    });
}

#[test]
fn a_bundle_without_a_key_replaces_the_one_before_and_vouches_for_nobody() {
    run(async {
        let mut world = world();
        let (partner, endpoint) = after_a_good_one(&mut world).await;
        endpoint.serves(&SpiffeBundle::default().with_sequence(8));
        assert_eq!(world.refreshed("partner.test").await, "partner.test new 8");
        assert!(!world.believes(&partner));
        let health = &world.federation.health()[0];
        assert_eq!((health.status, health.roots), (Status::Failing, 0));
        // Nor for the endpoint itself, though it repents: the bundle that came with the profile was
        // for the first fetch.
        endpoint.serves(&document(&[&partner], 9));
        world.refreshed("partner.test").await;
        assert!(matches!(world.failure(), FetchError::Tls(_)));
        // To establish the relationship anew is to begin anew.
        let partners = zt_core::spiffe::TrustDomain::from_name("partner.test").unwrap();
        assert!(world.federation.remove(partners.borrowed()));
        assert_eq!(world.told().await, "partner.test gone: Ended");
        world.establish(spiffe(&partner, &endpoint));
        assert_eq!(world.told().await, "partner.test new 9");
        assert!(world.believes(&partner));
    });
}
