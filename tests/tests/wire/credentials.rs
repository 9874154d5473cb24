//! `Authorization` in every shape, and tokens where none is looked for.

use crate::frames::{Http2, Told};
use crate::world::{SERVERS, World, statuses};

/// What is sent for a token `T`, its status, and the reason in its record.
const SHAPES: [(&[u8], u16, &str); 21] = [
    (b"Bearer T", 200, "-"),
    (b"bEARER T", 200, "-"),
    (b"Bearer   T", 200, "-"),
    (b"Bearer", 401, "token_malformed"),
    (b"Bearer\tT", 401, "unsupported_scheme"),
    (b"Bearer=T", 401, "unsupported_scheme"),
    (b"Bearer:T", 401, "unsupported_scheme"),
    (b"BearerT", 401, "unsupported_scheme"),
    (b"T", 401, "unsupported_scheme"),
    (b"", 401, "unsupported_scheme"),
    (b"Basic T", 401, "unsupported_scheme"),
    (b"DPoP T", 401, "unsupported_scheme"),
    (b"Bearer T,Bearer T", 401, "token_malformed"),
    (b"Bearer T, Basic x", 401, "token_malformed"),
    (b"Basic x, Bearer T", 401, "unsupported_scheme"),
    (b"Bearer T T", 401, "token_malformed"),
    (b"Bearer \"T\"", 401, "token_malformed"),
    (b"Bearer \tT", 401, "token_malformed"),
    (b"Bearer T\xff", 401, "token_malformed"),
    (b"Bearer \xc3\xa4T", 401, "token_malformed"),
    (b"\xffBearer T", 401, "unsupported_scheme"),
];

fn with_token(shape: &[u8], token: &str) -> Vec<u8> {
    let mut value = Vec::new();
    for (n, byte) in shape.iter().enumerate() {
        let alone = shape.get(n + 1).is_none_or(|next| !next.is_ascii_lowercase());
        if *byte == b'T' && alone { value.extend(token.bytes()) } else { value.push(*byte) }
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_in_one_shape_over_http1_and_http2() {
    let world = World::start().await;
    let token = world.token("alice");
    let mut expected = Vec::new();
    for server in SERVERS {
        for (shape, status, reason) in SHAPES {
            let value = with_token(shape, &token);
            let mut request = b"GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: ".to_vec();
            request.extend(&value);
            request.extend(b"\r\nconnection: close\r\n\r\n");
            let said = world.says(server, request).await;
            let shown = String::from_utf8_lossy(shape);
            assert_eq!(statuses(&said), [status], "{server} {shown}: {said}");
            assert!(!said.contains(&token), "an answer tells no token");
            let mut http2 = Http2::connect(&world, server).await;
            let answer = http2.ask(1, &who(&[(b"authorization", &value)])).await;
            assert_eq!(answer, Told::Status(status), "{server} h2 {shown}");
            expected.extend([reason, reason]);
        }
    }
    assert_eq!(world.reasons(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_are_400_over_http1_and_http2_whatever_they_are() {
    let world = World::start().await;
    let alice = format!("Bearer {}", world.token("alice"));
    for server in SERVERS {
        for other in [&*alice, "", "Basic x", "Bearer x"] {
            for (first, second) in [(&*alice, other), (other, &*alice)] {
                let said = world
                    .says(
                        server,
                        format!(
                            "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: {first}\r\n\
                             x: y\r\nAUTHORIZATION: {second}\r\nconnection: close\r\n\r\n"
                        ),
                    )
                    .await;
                assert_eq!(statuses(&said), [400], "{server} {other:?}: {said}");
                let two: [(&[u8], &[u8]); 2] =
                    [(b"authorization", first.as_bytes()), (b"authorization", second.as_bytes())];
                let answer = Http2::connect(&world, server).await.ask(1, &who(&two)).await;
                assert_eq!(answer, Told::Status(400), "{server} h2 {other:?}");
            }
        }
    }
    assert!(world.calls.all().is_empty());
    let reasons = world.reasons();
    assert_eq!((reasons.len(), &*reasons[0]), (32, "two_credentials"));
    assert!(reasons.iter().all(|reason| *reason == reasons[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_anywhere_else_is_nobodys() {
    let world = World::start().await;
    let token = world.token("alice");
    for server in SERVERS {
        for (query, header) in [
            (format!("?access_token={token}"), "x: y".into()),
            (String::new(), format!("cookie: access_token={token}; authorization=Bearer {token}")),
            (String::new(), format!("sec-websocket-protocol: bearer, {token}")),
            (String::new(), format!("proxy-authorization: Bearer {token}")),
            (String::new(), format!("x-authorization: Bearer {token}")),
            (String::new(), format!("x-forwarded-access-token: {token}")),
            (String::new(), format!("x-original-authorization: Bearer {token}")),
            (String::new(), format!("grpc-metadata-authorization: Bearer {token}")),
            (String::new(), format!("authorization_: Bearer {token}")),
        ] {
            let request = format!(
                "GET /who{query} HTTP/1.1\r\nhost: orders\r\n{header}\r\nconnection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [401], "{server} {header}: {said}");
            let (name, value) = header.split_once(": ").unwrap();
            let field: [(&[u8], &[u8]); 1] = [(name.as_bytes(), value.as_bytes())];
            let answer = Http2::connect(&world, server).await.ask(1, &who(&field)).await;
            assert_eq!(answer, Told::Status(401), "{server} h2 {name}");
        }
    }
    assert!(world.calls.all().is_empty());
    assert!(world.reasons().iter().all(|reason| reason == "no_credential"));
}

/// `GET /who` with these fields.
fn who<'f>(more: &[(&'f [u8], &'f [u8])]) -> Vec<(&'f [u8], &'f [u8])> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"orders"),
        (b":path", b"/who"),
    ];
    fields.extend(more);
    fields
}
