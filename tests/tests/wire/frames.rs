//! Frames of HTTP/2, written by hand (RFC 9113), and as much of HPACK as it takes to say anything in
//! them (RFC 7541): literals without an index.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zt_tls::connection::ClientStream;

use crate::world::{SOON, World};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Status(u16),
    Reset,
    Gone,
}

pub(crate) struct Http2 {
    io: ClientStream<TcpStream>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn length(mut len: usize) -> Vec<u8> {
    if len < 127 {
        return vec![u8::try_from(len).unwrap()];
    }
    let mut bytes = vec![127];
    len -= 127;
    while len >= 128 {
        bytes.push(u8::try_from(len % 128).unwrap() | 128);
        len /= 128;
    }
    bytes.push(u8::try_from(len).unwrap());
    bytes
}

/// A block of these fields, in this order.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend(length(text.len()));
            block.extend(*text);
        }
    }
    block
}

impl Http2 {
    pub(crate) async fn connect(world: &World, server: &str) -> Self {
        let mut io = world.connect(server, "h2").await;
        io.write_all(PREFACE).await.unwrap();
        io.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        io.flush().await.unwrap();
        Self { io }
    }

    /// Whether the other end took it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.io.write_all(bytes).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// A request without a body.
    pub(crate) async fn ask(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) -> Told {
        self.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))).await;
        self.told(stream).await
    }

    /// What becomes of this stream: the first of its frames that says so.
    pub(crate) async fn told(&mut self, stream: u32) -> Told {
        while let Some((kind, flags, on, payload)) = self.next().await {
            match kind {
                HEADERS if on == stream => return Told::Status(status(&payload)),
                RST_STREAM if on == stream => return Told::Reset,
                // SETTINGS, which are acknowledged, or a PING.
                4 if flags & 1 == 0 => drop(self.send(&frame(4, 1, 0, &[])).await),
                6 if flags & 1 == 0 => drop(self.send(&frame(6, 1, 0, &payload)).await),
                7 => return Told::Gone,
                _ => {}
            }
        }
        Told::Gone
    }

    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        let read = timeout(SOON, self.io.read_exact(&mut head)).await.unwrap();
        read.ok()?;
        let [a, b, c, kind, flags, s @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        timeout(SOON, self.io.read_exact(&mut payload)).await.unwrap().ok()?;
        Some((kind, flags, u32::from_be_bytes(s), payload))
    }
}

/// The status of a response, which is the first field of its block: an index of the static table, or a
/// literal with the name of one (RFC 7541 appendix A). One that refers to an earlier response of the
/// connection is told as 0.
fn status(block: &[u8]) -> u16 {
    match *block {
        // The last literal of the connection, or one before.
        [0xbe..=0xff, ..] => 0,
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x48, len, ref rest @ ..] => {
            let value = &rest[..usize::from(len & 127)];
            if len & 128 == 0 {
                str::from_utf8(value).unwrap().parse().unwrap()
            } else {
                digits(value)
            }
        }
        _ => panic!("{block:x?} begins with no status"),
    }
}

/// Three digits in the code of RFC 7541 appendix B: 5 bits for 0, 1 and 2, 6 bits from 3 on.
fn digits(bytes: &[u8]) -> u16 {
    let bits = bytes.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = u32::try_from(bytes.len()).unwrap() * 8;
    let mut number = 0;
    for _ in 0..3 {
        let short = bits >> (left - 5) & 31;
        let (digit, taken) =
            if short < 3 { (short, 5) } else { ((bits >> (left - 6) & 63) - 22, 6) };
        left -= taken;
        number = number * 10 + digit;
    }
    u16::try_from(number).unwrap()
}
