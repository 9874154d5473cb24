//! A tonic client and a tonic service over mutual TLS, with the layers between them.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{ServerStreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tower::{Layer, Service, service_fn};
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::request::{Action, Request as Question, Resource};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::matcher::Authorizer;
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};
use zt_tower::authorize::{CallLease, GrpcTargets, Guard};
use zt_tower::caller::Caller;
use zt_tower::denial::GrpcStatus;
use zt_tower::zero_trust::ZeroTrust;

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining()).to_vec()))
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Messages = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;

/// Cancels the order that it is sent the name of.
struct Cancel;

impl UnaryService<Vec<u8>> for Cancel {
    type Response = Vec<u8>;
    type Future = Boxed<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move {
            let caller = request.extensions().get::<Caller>().unwrap().clone();
            let guard = Guard::of(request.extensions()).unwrap();
            let order = String::from_utf8(request.into_inner()).unwrap();
            let resource = Resource::new("Order", &*order);
            let permit = guard.require(&Action::from_static("cancel"), &resource).await;
            let permit = permit.map_err(|refused| {
                Status::new(Code::from(refused.denial().grpc_code()), "not this order")
            })?;
            Ok(Response::new(format!("{permit} by {}", caller.workload().id()).into_bytes()))
        })
    }
}

/// Says "more" until its lease ends.
struct Watch;

impl ServerStreamingService<Vec<u8>> for Watch {
    type Response = Vec<u8>;
    type ResponseStream = Messages;
    type Future = Boxed<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let lease = CallLease::of(request.extensions()).unwrap();
        let messages = unfold((lease, false), |(lease, over)| async move {
            if over {
                return None;
            }
            tokio::select! {
                why = lease.ended() => {
                    Some((Err(Status::permission_denied(why.name())), (lease, true)))
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    Some((Ok(b"more".to_vec()), (lease, false)))
                }
            }
        });
        Box::pin(async move { Ok(Response::new(Box::pin(messages) as Messages)) })
    }
}

/// What a generated server does: it finds the method by the path.
#[derive(Clone)]
struct Orders;

impl<B> Service<http::Request<B>> for Orders
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            Ok(match request.uri().path() {
                "/shop.Orders/Cancel" => grpc.unary(Cancel, request).await,
                "/shop.Orders/Watch" => grpc.server_streaming(Watch, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// Cart may call `Cancel` and `Watch` while the shop is open, and cancel order 42.
#[derive(Clone, Default)]
struct Shop {
    closed: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Decide for Shop {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Question<'_>) -> Decision {
        let asked = (request.action().name(), request.resource().kind(), request.resource().id());
        Decision::of(request, PolicyVersion::default(), |_| match asked {
            _ if self.gone.load(Ordering::SeqCst) => Answer::unavailable(),
            _ if self.closed.load(Ordering::SeqCst) => Answer::not_permitted(),
            ("/shop.Orders/Cancel" | "/shop.Orders/Watch", "Service", "shop.Orders")
            | ("cancel", "Order", "42") => danger::allow("cart-cancels"),
            _ => Answer::forbidden("secret-rule"),
        })
    }
}

struct World {
    shop: Shop,
    client: tonic::client::Grpc<Channel>,
    records: RecordQueue,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain.clone(), SystemClock.now()).unwrap();
        let members = || Authorizer::member_of(domain.clone());
        let shop = Shop::default();
        let folder = tempfile::tempdir().unwrap();
        let sink = JsonLines::append_to(folder.path().join("records.jsonl")).unwrap();
        let records = RecordQueue::builder().start(sink).unwrap();
        let layer = ZeroTrust::builder()
            .workloads_only()
            .policy(shop.clone())
            .records(records.clone())
            .targets(GrpcTargets)
            .respond(GrpcStatus::default())
            .build();
        let acceptor = Acceptor::new(authority.source("/orders").unwrap(), members()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, acceptor, layer.layer(Orders)));

        let connector = Connector::builder(authority.source("/cart").unwrap(), members());
        let connector = Arc::new(connector.alpn(["h2"]).build().unwrap());
        let connect = service_fn(move |_: http::Uri| {
            let connector = Arc::clone(&connector);
            async move {
                let stream = TcpStream::connect(address).await?;
                let host = ServerName::try_from("orders").unwrap();
                let stream = connector.connect(host, stream).await;
                Ok::<_, std::io::Error>(TokioIo::new(stream.map_err(std::io::Error::other)?))
            }
        });
        let endpoint = Endpoint::from_static("http://orders");
        let channel = endpoint.connect_with_connector(connect).await.unwrap();
        Self { shop, client: tonic::client::Grpc::new(channel), records, folder }
    }

    /// What was decided about which method, or why nothing was.
    fn recorded(&self) -> Vec<String> {
        self.records.close(Duration::from_secs(30)).unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("records.jsonl")).unwrap();
        let of = |line| -> String {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}{}", text("effect"), text("action"), text("reason"))
        };
        text.lines().map(of).collect()
    }

    async fn unary(&mut self, path: &'static str, message: &str) -> Result<String, Status> {
        self.client.ready().await.unwrap();
        let request = Request::new(message.as_bytes().to_vec());
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = self.client.unary(request, path, Plain).await?;
        Ok(String::from_utf8(answer.into_inner()).unwrap())
    }
}

const CANCEL: &str = "/shop.Orders/Cancel";

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_tonic_finds_the_caller_and_asks_about_its_order() {
    let mut world = World::start().await;
    let done = world.unary(CANCEL, "42").await.unwrap();
    assert_eq!(done, r#"cancel Order::"42" by spiffe://example.org/cart"#);
    let refused = world.unary(CANCEL, "43").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "not this order"));
    let done = world.unary("/shop.Orders/Cancel?order=43", "42").await.unwrap();
    assert!(done.contains("\"42\""), "a query is no part of a call: {done}");
    let (call, order) = ("allow /shop.Orders/Cancel", "allow cancel");
    assert_eq!(world.recorded(), [call, order, call, "deny cancel", call, order]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tonic_reads_each_denial_as_its_status() {
    let mut world = World::start().await;
    for (path, code, message) in [
        ("/shop.Orders/Refund", Code::PermissionDenied, "permission denied"),
        ("/shop.Orders/Cancel/", Code::InvalidArgument, "invalid argument"),
        ("/shop.Orders/../shop.Orders/Cancel", Code::InvalidArgument, "invalid argument"),
        ("/SHOP.orders/Cancel", Code::PermissionDenied, "permission denied"),
        ("/shop.Orders//Cancel", Code::InvalidArgument, "invalid argument"),
        ("/shop.Orders%2FCancel", Code::InvalidArgument, "invalid argument"),
        ("/shop.Orders/Refund?/shop.Orders/Cancel", Code::PermissionDenied, "permission denied"),
        ("/grpc.health.v1.Health/Check", Code::PermissionDenied, "permission denied"),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Code::PermissionDenied,
            "permission denied",
        ),
    ] {
        let refused = world.unary(path, "42").await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message), "{path}");
        assert!(!format!("{refused:?}").contains("rule"));
    }
    world.shop.gone.store(true, Ordering::SeqCst);
    let refused = world.unary(CANCEL, "42").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.metadata().get("retry-after").unwrap(), "5");
    let recorded = [
        "deny /shop.Orders/Refund",
        "deny grpc_method_malformed",
        "deny path_not_normal",
        "deny /SHOP.orders/Cancel",
        "deny path_not_normal",
        "deny path_not_normal",
        "deny /shop.Orders/Refund",
        "deny /grpc.health.v1.Health/Check",
        "deny /grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "deny /shop.Orders/Cancel",
    ];
    assert_eq!(world.recorded(), recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_policy_does_not_allow_its_call_any_more() {
    let mut world = World::start().await;
    world.client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/shop.Orders/Watch");
    let answer = world.client.server_streaming(Request::new(Vec::new()), path, Plain).await;
    let mut messages = answer.unwrap().into_inner();
    assert_eq!(messages.message().await.unwrap().unwrap(), b"more");
    world.shop.closed.store(true, Ordering::SeqCst);
    let ended = async {
        loop {
            if let Err(status) = messages.message().await {
                break status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "policy"));
    let watch = "/shop.Orders/Watch";
    assert_eq!(world.recorded(), [format!("allow {watch}"), format!("deny {watch}")]);
}
