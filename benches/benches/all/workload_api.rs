//! As much of SPIFFE's Workload API as gives a peer its identity: one answer, and no more after it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::UnixListener;
use zt_identity::authority::Authority;
use zt_identity::x509_identity::X509Identity;

/// Serves this identity at a socket in `folder`, from a task of this runtime.
pub fn serve(folder: &Path, authority: &Authority, identity: &X509Identity) -> PathBuf {
    let socket = folder.join("workload-api.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = frame(&x509_svid_response(authority, identity));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |_request: Request<Incoming>| {
                let body = Once(Some(answer.clone()));
                let response = Response::builder().header("content-type", "application/grpc");
                async move { Ok::<_, Infallible>(response.body(body).unwrap()) }
            });
            let http = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    socket
}

/// A stream of one message that stays open.
struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// `X509SVIDResponse` with one `X509SVID` (SPIFFE Workload API §5.2.1).
fn x509_svid_response(authority: &Authority, identity: &X509Identity) -> Vec<u8> {
    let PrivateKeyDer::Pkcs8(key) = identity.key().expose() else { panic!("PKCS#8") };
    let bundle = authority.bundle();
    let roots = bundle.roots().iter().flat_map(|root| root.certificate().to_vec());
    let svid = [
        field(1, identity.id().as_str().as_bytes()),
        field(2, &identity.chain().iter().flat_map(|der| der.to_vec()).collect::<Vec<_>>()),
        field(3, key.secret_pkcs8_der()),
        field(4, &roots.collect::<Vec<_>>()),
    ];
    field(1, &svid.concat())
}

/// A field of Protocol Buffers whose length is given.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len > 0x7f {
        field.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    field.push(u8::try_from(len).unwrap());
    field.extend(bytes);
    field
}

/// A message of gRPC.
fn frame(message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], len.as_slice(), message].concat().into()
}
