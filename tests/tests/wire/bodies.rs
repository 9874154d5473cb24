//! Where a request ends, what comes behind it, and that nobody waits for it before the decision.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, Told, block, frame};
use crate::world::{SERVERS, SOON, World, read_all, statuses};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_continue_before_the_decision() {
    let world = World::start().await;
    for server in SERVERS {
        for (user, path, status) in
            [("mallory", "/echo", 403), ("alice", "/admin", 403), ("alice", "//echo", 400)]
        {
            let token = world.token(user);
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n\
                 expect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [status], "{server}: {said}");
        }
        let mut io = world.connect(server, "http/1.1").await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {}\r\n\
             expect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n",
            world.token("alice")
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 12];
        timeout(SOON, io.read_exact(&mut told)).await.unwrap().unwrap();
        assert_eq!(&told, b"HTTP/1.1 100", "whoever may is told to");
        io.write_all(b"hello").await.unwrap();
        assert!(read_all(&mut io).await.ends_with("hello|"));
    }
    assert_eq!(world.calls.all().len(), 2);
    world.records();
}

/// A client that promises a body and sends none is answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_waits_for_no_body() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("mallory"));
    for server in SERVERS {
        let mut http2 = Http2::connect(&world, server).await;
        let fields: [(&[u8], &[u8]); 6] = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"orders"),
            (b":path", b"/echo"),
            (b"authorization", bearer.as_bytes()),
            (b"content-length", b"1000000"),
        ];
        http2.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        assert_eq!(http2.told(1).await, Told::Status(403));

        let mut io = world.connect(server, "http/1.1").await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: orders\r\nauthorization: {bearer}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 12];
        timeout(SOON, io.read_exact(&mut told)).await.unwrap().unwrap();
        assert_eq!(&told, b"HTTP/1.1 403");
    }
    assert!(world.calls.all().is_empty());
    assert_eq!(world.records().len(), 4);
}

/// The body of a request that was denied is nobody's next request.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_unread_of_a_denied_request_is_no_request() {
    let world = World::start().await;
    let (mallory, alice) = (world.token("mallory"), world.token("alice"));
    let inside =
        format!("GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {alice}\r\n\r\n");
    for server in SERVERS {
        let length = format!("content-length: {}\r\n\r\n{inside}", inside.len());
        let chunked = format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{inside}\r\n0\r\n\r\n",
            inside.len()
        );
        for body in [length, chunked] {
            let head = format!("host: orders\r\nauthorization: Bearer {mallory}\r\n");
            let last = "GET /last HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
            let request = format!("POST /echo HTTP/1.1\r\n{head}{body}{last}");
            let said = world.says(server, request).await;
            let told = statuses(&said);
            assert!(told == [403] || told == [403, 401], "{server}: {said}");
        }
    }
    assert!(world.calls.all().is_empty());
    world.records();
}

/// A proxy in front that reads the length in another way would take the second for the body of the
/// first, or the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_length_can_be_read_in_two_ways_are_served_as_themselves_or_not_at_all() {
    let world = World::start().await;
    let alice = world.token("alice");
    let head = format!("host: orders\r\nauthorization: Bearer {alice}\r\n");
    let inside = format!("GET /admin HTTP/1.1\r\n{head}connection: close\r\n\r\n");
    let len = inside.len();
    for server in SERVERS {
        for (lie, most) in [
            (
                format!(
                    "transfer-encoding: chunked\r\ncontent-length: {len}\r\n\r\n0\r\n\r\n{inside}"
                ),
                2,
            ),
            (
                format!(
                    "content-length: {len}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inside}"
                ),
                2,
            ),
            (format!("content-length: 0\r\ncontent-length: {len}\r\n\r\n{inside}"), 1),
            (format!("content-length: 0, {len}\r\n\r\n{inside}"), 1),
            (format!("content-length: +{len}\r\n\r\n{inside}"), 1),
            (format!("content-length: 0x{len:x}\r\n\r\n{inside}"), 1),
            (format!("content-length : {len}\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: xchunked\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: chunked, identity\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: identity\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: chunked\r\n\r\n-1\r\n\r\n{inside}"), 1),
            (format!("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{inside}"), 1),
            (format!("x: y\r\n transfer-encoding: chunked\r\n\r\n{inside}"), 1),
            (format!("x\r\ncontent-length: {len}\r\n\r\n{inside}"), 1),
        ] {
            let said = world.says(server, format!("POST /echo HTTP/1.1\r\n{head}{lie}")).await;
            let told = statuses(&said);
            assert!(told.len() <= most, "{server} {lie}: {said}");
            assert!(told.iter().skip(1).all(|status| [400, 403].contains(status)), "{said}");
        }
    }
    for record in world.records() {
        assert!(record["resource"]["id"] != "/admin" || record["effect"] == "deny");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_ahead_are_those_of_their_own_users() {
    let world = World::start().await;
    for server in SERVERS {
        let request = |user: &str, more: &str| {
            let token = world.token(user);
            format!(
                "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n{more}\r\n"
            )
        };
        let nobody = "GET /who HTTP/1.1\r\nhost: orders\r\n\r\n";
        let ahead = [
            request("alice", ""),
            request("mallory", ""),
            nobody.to_owned(),
            request("carol", ""),
            request("alice", "connection: close\r\n"),
        ];
        let said = world.says(server, ahead.concat()).await;
        assert_eq!(statuses(&said), [200, 403, 401, 200, 200], "{server}: {said}");
        let users: Vec<_> = world.calls.all().into_iter().map(|call| call.user).collect();
        assert!(users.ends_with(&["alice".into(), "carol".into(), "alice".into()]), "{users:?}");
    }
    assert_eq!(world.records().len(), 10);
}

/// Trailers are read with the body, so what stands there is nobody's credential and no header.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_trailers_names_nobody() {
    let world = World::start().await;
    let token = world.token("alice");
    let trailers = format!("authorization: Bearer {token}\r\nx-user: root\r\n");
    for server in SERVERS {
        let chunked =
            "transfer-encoding: chunked\r\ntrailer: authorization, x-user\r\nconnection: close\r\n";
        for (credential, status) in
            [(String::new(), 401), (format!("authorization: Bearer {token}\r\n"), 200)]
        {
            let request = format!(
                "POST /echo HTTP/1.1\r\nhost: orders\r\n{credential}{chunked}\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [status], "{server}: {said}");
        }
        let bearer = format!("Bearer {token}");
        for (credential, status) in [(None, 401), (Some(&*bearer), 200)] {
            let mut fields: Vec<(&[u8], &[u8])> = vec![
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":authority", b"orders"),
                (b":path", b"/echo"),
            ];
            fields.extend(credential.map(|value| (&b"authorization"[..], value.as_bytes())));
            let behind = block(&[(b"authorization", bearer.as_bytes()), (b"x-user", b"root")]);
            let mut http2 = Http2::connect(&world, server).await;
            http2.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
            http2.send(&frame(0, 0, 1, b"hi")).await;
            http2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &behind)).await;
            assert_eq!(http2.told(1).await, Told::Status(status), "{server}");
        }
    }
    let calls = world.calls.all();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.user == "alice" && !call.headers.contains_key("x-user")));
    world.records();
}
