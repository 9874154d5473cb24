//! What a request may be aimed at: forms of the target, authorities, paths.

use crate::frames::{Http2, Told};
use crate::world::{SERVERS, World, statuses};

const LONG: usize = 9 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_http1_is_judged_as_it_is_served_or_refused() {
    let world = World::start().await;
    let token = world.token("alice");
    let long = format!("/who{}", "a".repeat(LONG));
    for server in SERVERS {
        for (line, status) in [
            ("GET /who", 200),
            ("GET /who?next=/../admin", 200),
            // Absolute forms name the path alone: hosts are not judged.
            ("GET http://elsewhere/who", 200),
            ("GET https://root@orders/who", 200),
            ("GET http://orders/admin", 403),
            ("GET http://who/../admin", 400),
            ("GET http://who@orders//admin", 400),
            ("GET *", 400),
            ("OPTIONS *", 400),
            ("CONNECT orders:443", 400),
            ("CONNECT /who", 403),
            ("GET who", 400),
            ("GET /who%00", 400),
            ("GET /who%0d%0ax:y", 400),
            ("GET /who\u{0}", 400),
            ("GET /admin/%2e%2e/who", 400),
            ("GET /who/../admin", 400),
            ("GET /admin;/who", 403),
            ("GET /%61dmin", 400),
            ("GET /ADMIN", 200),
            (&format!("GET {long}"), 400),
            ("", 400),
        ] {
            let head = format!("host: orders\r\nauthorization: Bearer {token}\r\n");
            let request = format!("{line} HTTP/1.1\r\n{head}connection: close\r\n\r\n");
            let said = world.says(server, request).await;
            let cut = &line[..line.len().min(60)];
            assert_eq!(statuses(&said), [status], "{server} {cut}: {said}");
        }
    }
    for call in world.calls.all() {
        assert!(!call.resource.starts_with("/admin"), "{call:?}");
    }
    let records = world.records();
    assert!(records.iter().any(|record| record["resource"]["id"] == "/ADMIN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_disagree_change_neither_who_asks_nor_for_what() {
    let world = World::start().await;
    let token = world.token("mallory");
    for server in SERVERS {
        for (target, hosts) in [
            ("/admin", "host: who\r\n"),
            ("http://orders/admin", "host: elsewhere\r\n"),
            ("/admin", "host: orders\r\nhost: elsewhere\r\n"),
            ("/admin", "host: localhost\r\nx-forwarded-host: localhost\r\n"),
            ("/admin", "host: alice@orders\r\n"),
            ("/admin", ""),
        ] {
            let request = format!(
                "GET {target} HTTP/1.1\r\n{hosts}authorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            );
            let said = world.says(server, request).await;
            assert!([403, 400].contains(&statuses(&said)[0]), "{server} {target} {hosts}: {said}");
        }
    }
    assert!(world.calls.all().is_empty());
    assert!(world.records().iter().all(|record| record["effect"] == "deny"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_http2_is_judged_as_it_is_served_or_refused() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let long = format!("/who{}", "a".repeat(LONG));
    for server in SERVERS {
        for (path, told) in [
            ("/who", &[Told::Status(200)][..]),
            ("/admin", &[Told::Status(403)]),
            ("", &[Told::Reset, Told::Gone, Told::Status(400)]),
            ("*", &[Told::Status(400)]),
            ("who", &[Told::Reset, Told::Gone, Told::Status(400)]),
            ("//admin", &[Told::Status(400)]),
            ("/who/../admin", &[Told::Status(400)]),
            ("/who%2f..%2fadmin", &[Told::Status(400)]),
            ("/%61dmin", &[Told::Status(400)]),
            ("/who%00", &[Told::Status(400)]),
            ("/who\0", &[Told::Reset, Told::Gone, Told::Status(400)]),
            ("/who HTTP/1.1\r\nx: y", &[Told::Reset, Told::Gone, Told::Status(400)]),
            (
                "http://orders/admin",
                &[Told::Reset, Told::Gone, Told::Status(400), Told::Status(403)],
            ),
            (&long, &[Told::Status(400)]),
        ] {
            let mut http2 = Http2::connect(&world, server).await;
            let fields: [(&[u8], &[u8]); 5] = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"orders"),
                (b":path", path.as_bytes()),
                (b"authorization", bearer.as_bytes()),
            ];
            let answer = http2.ask(1, &fields).await;
            assert!(told.contains(&answer), "{server} {:.60}: {answer:?}", path);
        }
    }
    for call in world.calls.all() {
        assert_eq!(call.resource, "/who");
    }
    world.records();
}

/// What RFC 9113 §8.2 and §8.3 call malformed, and what is only odd.
#[tokio::test(flavor = "multi_thread")]
async fn odd_pseudo_headers_reach_no_handler_as_anything_but_what_was_judged() {
    type Field<'f> = (&'f [u8], &'f [u8]);
    type Fields<'f> = &'f [Field<'f>];
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let method: Field<'_> = (b":method", b"GET");
    let scheme: Field<'_> = (b":scheme", b"https");
    let host: Field<'_> = (b":authority", b"orders");
    let path: Field<'_> = (b":path", b"/who");
    let user: Field<'_> = (b"authorization", bearer.as_bytes());
    let admin: Field<'_> = (b":path", b"/admin");
    let malformed: &[Fields<'_>] = &[
        &[scheme, host, path, user],
        &[method, host, path, user],
        &[method, scheme, host, user],
        &[method, scheme, host, path, admin, user],
        &[method, scheme, host, admin, path, user],
        &[method, (b":method", b"POST"), scheme, host, path, user],
        &[method, scheme, host, (b":authority", b"elsewhere"), path, user],
        &[method, scheme, host, user, path],
        &[method, scheme, host, path, (b":user", b"root"), user],
        &[method, scheme, host, path, (b":status", b"200"), user],
        &[method, scheme, host, path, (b":protocol", b"websocket"), user],
        &[(b":method", b"CONNECT"), scheme, host, path, (b":protocol", b"websocket"), user],
        &[(b":method", b"CONNECT"), host, user],
        &[(b":method", b"GET POST"), scheme, host, path, user],
        &[(b":method", b""), scheme, host, path, user],
        &[method, scheme, host, path, (b"Authorization", bearer.as_bytes())],
        &[method, scheme, host, path, (b"connection", b"upgrade"), user],
        &[method, scheme, host, path, (b"transfer-encoding", b"chunked"), user],
        &[method, scheme, host, path, (b"te", b"gzip"), user],
        &[method, scheme, host, path, (b"x y", b"z"), user],
        &[method, scheme, host, path, (b"x", b"y\r\nx-user: root"), user],
        &[method, scheme, host, path, (b"x", b"y\0z"), user],
        &[method, scheme, host, path, (b"", b"x"), user],
        &[method, scheme, host, path, (b"content-length", b"5"), user],
        &[method, scheme, (b":authority", b"or\0ders"), path, user],
    ];
    for server in SERVERS {
        for fields in malformed {
            let mut http2 = Http2::connect(&world, server).await;
            let answer = http2.ask(1, fields).await;
            let shown: Vec<_> = fields.iter().map(|(n, v)| (lossy(n), lossy(v))).collect();
            let refused =
                matches!(answer, Told::Reset | Told::Gone | Told::Status(400 | 403 | 401));
            assert!(refused, "{server} {shown:?}: {answer:?}");
        }
        assert_eq!(world.calls.all().len(), 0);
    }
    for server in SERVERS {
        for host in [&b"root@orders"[..], b"elsewhere", b"orders:99"] {
            let fields = [method, scheme, (b":authority", host), (b"host", b"admin"), user, admin];
            let fields = [fields[0], fields[1], fields[2], fields[5], fields[3], fields[4]];
            let answer = Http2::connect(&world, server).await.ask(1, &fields).await;
            assert!(matches!(answer, Told::Status(400 | 403) | Told::Reset), "{answer:?}");
        }
    }
    assert!(world.calls.all().is_empty());
    assert!(world.records().iter().all(|record| record["effect"] == "deny"));
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
