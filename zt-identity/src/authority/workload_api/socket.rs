//! Connections over a Unix socket, also of clients that name it in a way HTTP/2 does not take.
//!
//! gRPC's C core, below Python's clients among others, sends the escaped path of the socket as the
//! `:authority` of its requests. That is not one (RFC 3986 §3.2.2), and the HTTP/2 below tonic resets
//! the stream. The name has no meaning here, so in the first bytes of a connection, where it is
//! written out, other characters take the place of those that it may not have.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

/// How much of a connection is looked at: later requests refer to what the first one has said.
const FIRST: usize = 4096;

/// A connection on which the path of the socket is a name like any other.
pub(super) struct Named {
    stream: UnixStream,
    // The ways to write the path, none of which is empty.
    names: Vec<Vec<u8>>,
    left: usize,
}

impl Named {
    pub(super) fn new(stream: UnixStream, path: &Path) -> Self {
        let path = path.as_os_str().as_encoded_bytes();
        let escaped: Vec<u8> = path.iter().flat_map(|byte| escaped(*byte)).collect();
        let relative = escaped.strip_prefix(b"%2F").unwrap_or(&escaped).to_vec();
        let names = [escaped, relative, path.to_vec()];
        let names = names.into_iter().filter(|name| !name.is_empty()).collect();
        Self { stream, names, left: FIRST }
    }

    fn rename(&self, bytes: &mut [u8]) {
        for name in &self.names {
            let last = bytes.len().saturating_sub(name.len());
            for at in 0..=last {
                let end = at.saturating_add(name.len());
                let Some(found) = bytes.get_mut(at..end).filter(|part| part == name) else {
                    continue;
                };
                let unfit = found.iter_mut().filter(|byte| matches!(byte, b'%' | b'/'));
                unfit.for_each(|byte| *byte = b'-');
            }
        }
    }
}

fn escaped(byte: u8) -> Vec<u8> {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        vec![byte]
    } else {
        format!("%{byte:02X}").into_bytes()
    }
}

impl AsyncRead for Named {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let left = self.left;
        if left > 0
            && let Some(read) = buf.filled_mut().get_mut(before..)
        {
            self.rename(read);
            self.left = left.saturating_sub(read.len());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Named {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Named {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_path_of_the_socket_is_a_name_in_the_first_bytes_and_nothing_else_changes() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut named = Named::new(ours, Path::new("/tmp/a b/agent.sock"));
        let sent = b"\x40:authority\x1atmp%2Fa%20b%2Fagent.sock/SpiffeWorkloadAPI%";
        theirs.write_all(sent).await.unwrap();
        let mut read = vec![0; sent.len()];
        named.read_exact(&mut read).await.unwrap();
        assert_eq!(read, b"\x40:authority\x1atmp-2Fa-20b-2Fagent.sock/SpiffeWorkloadAPI%");
        theirs.write_all(&[b'x'; FIRST]).await.unwrap();
        named.read_exact(&mut [0; FIRST]).await.unwrap();
        theirs.write_all(b"tmp%2Fa%20b%2Fagent.sock").await.unwrap();
        let mut read = vec![0; 24];
        named.read_exact(&mut read).await.unwrap();
        assert_eq!(read, b"tmp%2Fa%20b%2Fagent.sock");
    }
}
