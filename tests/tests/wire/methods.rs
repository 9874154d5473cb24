//! Methods: the one that is judged is the one that is served.

use crate::frames::{Http2, Told};
use crate::world::{SERVERS, World, statuses};

/// axum serves `HEAD` where there is a `GET`; policy is asked about `HEAD`.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_judged_by_its_own_name() {
    let world = World::start().await;
    let token = world.token("alice");
    let long = "A".repeat(65);
    for server in SERVERS {
        for (method, status) in [
            ("GET", 200),
            ("POST", 200),
            ("HEAD", 403),
            ("OPTIONS", 403),
            ("TRACE", 403),
            ("PUT", 403),
            ("get", 403),
            ("GET2", 403),
            ("GET,POST", 400),
            (&long[..64], 403),
            (&long, 400),
        ] {
            let request = format!(
                "{method} /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n\
                 x-http-method-override: GET\r\nx-http-method: GET\r\nx_http_method: GET\r\n\
                 connection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [status], "{server} {method}: {said}");
            let bearer = format!("Bearer {token}");
            let fields: [(&[u8], &[u8]); 6] = [
                (b":method", method.as_bytes()),
                (b":scheme", b"https"),
                (b":authority", b"orders"),
                (b":path", b"/who"),
                (b"authorization", bearer.as_bytes()),
                (b"x-http-method-override", b"GET"),
            ];
            let answer = Http2::connect(&world, server).await.ask(1, &fields).await;
            let fits = answer == Told::Status(status)
                || status == 400 && matches!(answer, Told::Reset | Told::Gone);
            assert!(fits, "{server} h2 {method}: {answer:?}");
        }
    }
    for record in world.records() {
        assert!(record.to_string().len() < 2_048, "{record}");
    }
}

/// Browsers send a preflight without any credential (Fetch §3.2), so it is 401 here, and a layer for
/// CORS stands outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_a_request_without_a_credential() {
    let world = World::start().await;
    for server in SERVERS {
        let said = world
            .says(
                server,
                "OPTIONS /who HTTP/1.1\r\nhost: orders\r\norigin: https://shop.example.com\r\n\
                 access-control-request-method: GET\r\n\
                 access-control-request-headers: authorization\r\nconnection: close\r\n\r\n",
            )
            .await;
        assert_eq!(statuses(&said), [401], "{said}");
        assert!(!said.contains("access-control-allow"));
    }
    assert_eq!(world.reasons(), ["no_credential", "no_credential"]);
}

/// A cache in front would keep an answer with status 200 to a GET, and none with 401 or 403 (RFC 9110
/// §15.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_no_200_for_a_request_that_is_no_call_of_grpc() {
    let world = World::start().await;
    for server in SERVERS {
        for (method, content, answer) in [
            ("GET", "application/grpc", 401),
            ("HEAD", "application/grpc", 401),
            ("POST", "application/grpc-web+proto", 401),
            ("POST", "application/grpcs", 401),
            ("POST", "application/grpc", 200),
        ] {
            let request = format!(
                "{method} /who HTTP/1.1\r\nhost: orders\r\ncontent-type: {content}\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [answer], "{server} {method} {content}: {said}");
            assert_eq!(said.contains("grpc-status: 16"), answer == 200);
        }
    }
    assert!(world.reasons().iter().all(|reason| reason == "no_credential"));
}
