//! Much for little: floods of frames and of denied requests, and what they cost others.

use crate::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, Told, block, frame,
};
use crate::world::{SERVERS, World, statuses};

const MANY: u32 = 2_000;

fn fields(bearer: &str) -> [(&[u8], &[u8]); 5] {
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"orders"),
        (b":path", b"/who"),
        (b"authorization", bearer.as_bytes()),
    ]
}

/// Somebody else is served meanwhile.
async fn carol_is_served(world: &World, server: &str) {
    let token = world.token("carol");
    let request = format!(
        "GET /who HTTP/1.1\r\nhost: orders\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(statuses(&world.says(server, request).await), [200], "{server}");
}

/// Streams that are opened and reset at once (CVE-2023-44487): each that was begun is judged and
/// recorded, and the connection ends before they all are.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_are_cut_off() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("mallory"));
    for server in SERVERS {
        let mut http2 = Http2::connect(&world, server).await;
        let request = block(&fields(&bearer));
        let mut flood = Vec::new();
        for stream in (1..MANY * 2).step_by(2) {
            flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &request));
            flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        http2.send(&flood).await;
        assert_eq!(http2.told(0).await, Told::Gone, "{server}");
        carol_is_served(&world, server).await;
    }
    assert!(world.calls.all().iter().all(|call| call.user == "carol"));
    assert!(world.records().len() < 2 * usize::try_from(MANY).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_cut_off() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    for server in SERVERS {
        let mut http2 = Http2::connect(&world, server).await;
        http2.send(&frame(HEADERS, END_STREAM, 1, &block(&fields(&bearer)))).await;
        let more = block(&[(b"x", &[b'y'; 8_000])]);
        let mut taken = 0;
        while taken < MANY && http2.send(&frame(CONTINUATION, 0, 1, &more)).await {
            taken += 1;
        }
        assert!(
            matches!(http2.told(1).await, Told::Gone | Told::Reset | Told::Status(431)),
            "{server}"
        );

        let request =
            format!("GET /who HTTP/1.1\r\nhost: orders\r\n{}\r\n", "x: y\r\n".repeat(200));
        assert_eq!(statuses(&world.says(server, request).await), [431], "{server}");
        carol_is_served(&world, server).await;
    }
    assert!(world.calls.all().iter().all(|call| call.user == "carol"));
    world.records();
}

/// A frame that means nothing costs what it takes to read it.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_mean_nothing_keep_nobody_from_being_served() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.token("alice"));
    for server in SERVERS {
        let mut http2 = Http2::connect(&world, server).await;
        let mut flood = Vec::new();
        for _ in 0..MANY {
            flood.extend(frame(2, 0, 3, &[0, 0, 0, 0, 200]));
            flood.extend(frame(0xbe, 0, 0, b"unknown"));
        }
        assert!(http2.send(&flood).await);
        assert_eq!(http2.ask(5, &fields(&bearer)).await, Told::Status(200), "{server}");
        carol_is_served(&world, server).await;
    }
    assert_eq!(world.records().len(), 4);
}

/// Ten thousand denied requests hold up nobody, and their records have a bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_denied_request_is_small_whatever_was_sent() {
    let world = World::start().await;
    let token = world.token("mallory");
    for server in SERVERS {
        for (method, path) in [
            ("M".repeat(200_000), "/who".into()),
            ("GET".into(), format!("/{}", "p".repeat(60_000))),
            ("GET".into(), format!("/who?{}", "q".repeat(60_000))),
            ("GET".into(), format!("/{}", "p".repeat(8_000))),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
                 traceparent: {}\r\nconnection: close\r\n\r\n",
                "h".repeat(10_000),
                "t".repeat(10_000)
            );
            let said = world.says(server, request).await;
            assert!([400, 403, 414].contains(&statuses(&said)[0]), "{server}: {said}");
        }
    }
    for record in world.records() {
        assert!(record.to_string().len() < 16 * 1024, "{} bytes", record.to_string().len());
    }
}
