//! Connections that become something else: upgrades that are refused, and ones that outlive what let
//! them begin.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::world::{SERVERS, SOON, World, read_all, statuses};

fn upgrade(path: &str, token: &str, to: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade, http2-settings\r\nupgrade: {to}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// What follows a refused upgrade is HTTP, and judged.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_leaves_no_tunnel() {
    let world = World::start().await;
    let (mallory, alice) = (world.token("mallory"), world.token("alice"));
    for server in SERVERS {
        let behind = format!(
            "GET /admin HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {alice}\r\nconnection: close\r\n\r\n"
        );
        for (path, token, to, first) in [
            ("/socket", &mallory, "websocket", 403),
            ("/admin", &alice, "websocket", 403),
            ("/who", &alice, "h2c", 200),
            ("/who", &alice, "TLS/1.0", 200),
        ] {
            let said = world.says(server, upgrade(path, token, to) + &behind).await;
            assert_eq!(statuses(&said), [first, 403], "{server} {path} {to}: {said}");
        }
    }
    assert_eq!(world.records().len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_ends_with_the_policy_and_with_the_identity_that_let_it_begin() {
    for server in SERVERS {
        for why in ["policy", "identity"] {
            let world = World::start().await;
            let mut io = world.connect(server, "http/1.1").await;
            let request = upgrade("/socket", &world.token("alice"), "websocket");
            io.write_all(request.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                timeout(SOON, io.read_exact(&mut byte)).await.unwrap().unwrap();
                said.extend(byte);
            }
            assert!(said.starts_with(b"HTTP/1.1 101"));
            io.write_all(b"hi").await.unwrap();
            let mut back = [0; 2];
            timeout(SOON, io.read_exact(&mut back)).await.unwrap().unwrap();
            assert_eq!(&back, b"hi");

            if why == "policy" {
                world.policy.shut.store(true, Ordering::SeqCst);
            } else {
                world.revoke_cart();
            }
            assert_eq!(read_all(&mut io).await, "", "{server} {why}");
            let last = world.records().pop().unwrap();
            let effect = if why == "policy" { "deny" } else { "allow" };
            assert_eq!(last["effect"], effect, "{server} {why}: {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_peer_that_was_revoked_is_not_served_though_its_connection_is_open() {
    for server in SERVERS {
        let world = World::start().await;
        let mut io = world.connect(server, "http/1.1").await;
        let token = world.token("alice");
        let request = |more: &str| {
            format!(
                "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n{more}\r\n"
            )
        };
        io.write_all(request("").as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"alice") {
            let mut byte = [0];
            timeout(SOON, io.read_exact(&mut byte)).await.unwrap().unwrap();
            said.extend(byte);
        }
        world.revoke_cart();
        let _ = io.write_all(request("connection: close\r\n").as_bytes()).await;
        let said = read_all(&mut io).await;
        assert!(!said.contains("HTTP/1.1 200"), "{server}: {said}");
        assert_eq!(world.calls.all().len(), 1);
        assert_eq!(world.records().len(), 1);
    }
}
