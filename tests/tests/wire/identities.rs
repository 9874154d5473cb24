//! Headers that name who calls, in every spelling, and who is believed.

use tokio::io::AsyncWriteExt;

use crate::frames::{Http2, Told};
use crate::world::{SERVERS, World, read_all, statuses};

/// Gateways of CGI, WSGI and PHP make one name of all of a row: `HTTP_X_USER`.
const NAMES: [&str; 16] = [
    "x-user",
    "X-User",
    "x_user",
    "X_USER",
    "x.user",
    "x_forwarded_for",
    "X_Forwarded-For",
    "x_forwarded_client_cert",
    "x-forwarded_user",
    "x_spiffe-id",
    "remote_user",
    "client_cert",
    "x_ssl_client_cert",
    "x_auth_request_email",
    "x-goog_authenticated-user-id",
    "x-ms-client_principal",
];

/// By which some frameworks serve another method or path than the one that was judged.
const OVERRIDES: [&str; 7] = [
    "x-http-method-override",
    "x_http_method_override",
    "x-method-override",
    "X-Original-URL",
    "x_original_url",
    "x-rewrite-url",
    "x.http.method",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_header_that_names_somebody_reaches_a_handler() {
    let world = World::start().await;
    let token = world.token("alice");
    for server in SERVERS {
        for name in NAMES.into_iter().chain(OVERRIDES) {
            let request = format!(
                "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n\
                 {name}: root\r\nx-request-id: 7\r\n{name}: again\r\nconnection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert_eq!(statuses(&said), [200], "{server} {name}: {said}");
            let (lower, bearer) = (name.to_ascii_lowercase(), format!("Bearer {token}"));
            let fields: [(&[u8], &[u8]); 6] = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"orders"),
                (b":path", b"/who"),
                (lower.as_bytes(), b"root"),
                (b"authorization", bearer.as_bytes()),
            ];
            let answer = Http2::connect(&world, server).await.ask(1, &fields).await;
            assert_eq!(answer, Told::Status(200), "{server} h2 {name}");
        }
    }
    let calls = world.calls.all();
    assert_eq!(calls.len(), 4 * (NAMES.len() + OVERRIDES.len()));
    for call in calls {
        let named = call.headers.values().any(|value| value == "root" || value == "again");
        assert!(!named, "{call:?}");
    }
    for record in world.records() {
        assert_eq!(record["principal"]["workload"]["id"]["spiffe"], "spiffe://example.org/cart");
        assert_eq!(record["context"]["source"], "127.0.0.1");
    }
}

/// What a client says is believed of nobody but a proxy that is named, by the certificate of this
/// connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_spoken_for_by_a_proxy_that_is_named_and_by_nobody_else() {
    let world = World::start().await;
    let token = world.token("alice");
    let gateway = world.authority.source("/gateway").unwrap();
    let batch = world.authority.source("/batch").unwrap();
    let cart =
        "x-forwarded-client-cert: By=spiffe://example.org/gateway;URI=spiffe://example.org/cart";
    let seen = "x-forwarded-for: 10.9.9.9, 203.0.113.9";
    for server in SERVERS {
        for (by, headers, status) in [
            (&batch, format!("{cart}\r\n{seen}"), 403),
            (&gateway, format!("{cart}\r\n{seen}"), 200),
            (&gateway, seen.to_owned(), 400),
            (&gateway, cart.to_owned(), 400),
            (&gateway, format!("{cart}\r\n{cart}\r\n{seen}"), 400),
            (&gateway, format!("{cart},URI=spiffe://example.org/x\r\n{seen}"), 400),
            (&gateway, format!("{}\r\n{seen}", cart.replace("-", "_")), 400),
            (
                &gateway,
                format!("x-forwarded-client-cert: URI=spiffe://example.org/batch\r\n{seen}"),
                403,
            ),
        ] {
            let request = format!(
                "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\n\
                 {headers}\r\nconnection: close\r\n\r\n"
            );
            let mut io = world.connect_as(by, server, "http/1.1").await;
            io.write_all(request.as_bytes()).await.unwrap();
            let said = read_all(&mut io).await;
            assert_eq!(statuses(&said), [status], "{server} {headers}: {said}");
        }
    }
    let records = world.records();
    let allowed: Vec<_> = records.iter().filter(|record| record["effect"] == "allow").collect();
    assert_eq!(allowed.len(), 2);
    for record in allowed {
        assert_eq!(record["principal"]["workload"]["id"]["spiffe"], "spiffe://example.org/cart");
        assert_eq!(record["context"]["source"], "203.0.113.9");
    }
    assert_eq!(records[0]["principal"]["workload"]["id"]["spiffe"], "spiffe://example.org/batch");
    assert_eq!(records[0]["context"]["source"], "127.0.0.1");
}

/// Bytes beyond ASCII in a value are text to some and an error to others (RFC 9110 §5.5).
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_no_text_end_nothing_and_say_nothing() {
    let world = World::start().await;
    let bearer = format!("authorization: Bearer {}\r\n", world.token("alice"));
    for server in SERVERS {
        for name in ["traceparent", "content-type", "host", "x-forwarded-for", "cookie", "dpop"] {
            let mut request = b"GET /who HTTP/1.1\r\n".to_vec();
            if name != "host" {
                request.extend(b"host: orders\r\n");
            }
            request.extend(bearer.as_bytes());
            request.extend(format!("{name}: ").bytes());
            request.extend(b"\xff\xfe\x80\r\nconnection: close\r\n\r\n");
            let said = world.says(server, request).await;
            assert!([200, 400].contains(&statuses(&said)[0]), "{server} {name}: {said}");
        }
    }
    for record in world.records() {
        assert_eq!((&record["effect"], record["context"].get("trace")), (&"allow".into(), None));
    }
}
