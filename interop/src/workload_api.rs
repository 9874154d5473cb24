//! As much of SPIFFE's Workload API as gives a peer its identity and its bundle, and new ones.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::UnixListener;
use tokio::sync::watch;
use zt_identity::bundle::X509Bundle;
use zt_identity::x509_identity::X509Identity;

/// A Workload API that has one identity, for whoever asks.
#[derive(Debug)]
pub struct WorkloadApi {
    socket: PathBuf,
    answer: watch::Sender<Bytes>,
}

impl WorkloadApi {
    /// Serves this identity and the bundle of its trust domain at a socket in `folder`, from tasks of
    /// this runtime.
    ///
    /// # Panics
    ///
    /// When the socket cannot be made.
    #[must_use]
    pub fn serve(folder: &Path, identity: &X509Identity, bundle: &X509Bundle) -> Self {
        let socket = folder.join("workload-api.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (answer, answers) = watch::channel(frame(&x509_svid_response(identity, bundle)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = answers.clone();
                let service = service_fn(move |_request: Request<Incoming>| {
                    let answers = Answers::of(answers.clone());
                    let response = Response::builder().header("content-type", "application/grpc");
                    async move { Ok::<_, Infallible>(response.body(answers).expect("a response")) }
                });
                let http = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { socket, answer }
    }

    /// Serves this from now on, and tells everybody who asked before.
    pub fn publish(&self, identity: &X509Identity, bundle: &X509Bundle) {
        self.answer.send_replace(frame(&x509_svid_response(identity, bundle)));
    }

    /// Where it is, as `SPIFFE_ENDPOINT_SOCKET` has it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

/// A stream of messages, one for each answer, that stays open.
struct Answers(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl Answers {
    fn of(mut answers: watch::Receiver<Bytes>) -> Self {
        answers.mark_changed();
        let messages = stream::unfold(answers, |mut answers| async move {
            if answers.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let answer = answers.borrow_and_update().clone();
            Some((answer, answers))
        });
        Self(Box::pin(messages))
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next_unpin(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// `X509SVIDResponse` with one `X509SVID` (SPIFFE Workload API §5.2.1). A bundle of another trust
/// domain than that of the identity is among the federated ones too.
fn x509_svid_response(identity: &X509Identity, bundle: &X509Bundle) -> Vec<u8> {
    let PrivateKeyDer::Pkcs8(key) = identity.key().expose() else { panic!("PKCS#8") };
    let roots = bundle.roots().iter().flat_map(|root| root.certificate().to_vec());
    let roots: Vec<_> = roots.collect();
    let svid = [
        field(1, identity.id().as_str().as_bytes()),
        field(2, &identity.chain().iter().flat_map(|der| der.to_vec()).collect::<Vec<_>>()),
        field(3, key.secret_pkcs8_der()),
        field(4, &roots),
    ];
    let mut response = field(1, &svid.concat());
    if identity.id().trust_domain() != *bundle.trust_domain() {
        let name = bundle.trust_domain().id();
        let federated = [field(1, name.as_str().as_bytes()), field(2, &roots)];
        response.extend(field(3, &federated.concat()));
    }
    response
}

/// A field of Protocol Buffers whose length is given.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len > 0x7f {
        field.push(u8::try_from(len & 0x7f).expect("7 bits") | 0x80);
        len >>= 7;
    }
    field.push(u8::try_from(len).expect("7 bits"));
    field.extend(bytes);
    field
}

/// A message of gRPC.
fn frame(message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], len.as_slice(), message].concat().into()
}
