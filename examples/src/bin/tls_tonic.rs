//! tonic at both ends of a connection of ours: a stream that ends when its caller is revoked.
//!
//! A service as generated code has it, by hand and with texts for messages, so that no protoc is
//! needed.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::server::{NamedService, ServerStreamingService};
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use zt_core::lease::Lease;
use zt_core::peer::Peer;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
use zt_tls::client::PeerConnector;
use zt_tls::listen::{ConnectedLayer, Listener};
use zt_tls::{Acceptor, Connector};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Ticks = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For development. In production: `X509Source::from_pem_files`, or the Workload API.
    let domain = TrustDomain::from_name("example.org")?;
    let members = Authorizer::member_of(domain.clone());
    let authority = Authority::new(domain, SystemClock.now())?;
    let clock = authority.source("/clock")?;

    // The server: HTTP/2 alone, and tonic's own TLS is not used.
    let acceptor = Acceptor::builder(clock.clone(), members.clone()).alpn(["h2"]).build()?;
    let listener = Listener::bind("127.0.0.1:0", acceptor).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let server = Server::builder().layer(ConnectedLayer::new()).add_service(Clockwork);
    tokio::spawn(server.serve_with_incoming(listener));

    // The client: the clock may answer, and nobody else.
    let cart = authority.source("/cart")?;
    let connector = PeerConnector::new(Connector::new(cart.clone(), members)?)
        .server("127.0.0.1", Authorizer::id(SpiffeId::parse("spiffe://example.org/clock")?));
    let endpoint = Endpoint::from_shared(url)?;
    let channel = endpoint.connect_with_connector(connector.http2_only()).await?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/example.Clock/Watch");
    let call = grpc.server_streaming(Request::new(String::new()), path, codec()).await?;
    let mut ticks = call.into_inner();
    println!("{}", ticks.message().await?.unwrap_or_default());

    let revoked = authority.revoke(cart.load().identity()?)?;
    let material = clock.current();
    let bundles = material.bundles().clone().with_revocation_list(revoked);
    clock.replace(material.identity()?.clone(), bundles);
    let end = loop {
        match ticks.message().await {
            Ok(Some(_tick)) => {}
            Ok(None) => break Status::ok("the end"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated);
    println!("revoked: the stream ends, {}", end.message());
    Ok(())
}

fn codec() -> ProstCodec<String, String> {
    ProstCodec::default()
}

/// Ticks for whoever calls, for as long as the connection is supported. What a call rests on besides,
/// a token or a policy, is added by `lease.and(..)`.
fn ticks(request: &Request<String>) -> Result<Ticks, Status> {
    let of_connection = (request.extensions().get::<Verified<Peer>>(), request.extensions().get());
    let (Some(peer), Some(lease)) = of_connection else {
        return Err(Status::internal("the server is not wired"));
    };
    let (tick, lease): (_, &Lease) = (format!("tick for {}", peer.id()), lease);
    Ok(Box::pin(unfold(Some((tick, lease.clone())), |state| async {
        let (tick, lease) = state?;
        tokio::select! {
            biased;
            why = lease.ended() => Some((Err(Status::unauthenticated(why.to_string())), None)),
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                Some((Ok(tick.clone()), Some((tick, lease))))
            }
        }
    })))
}

struct Watch;

impl ServerStreamingService<String> for Watch {
    type Response = String;
    type ResponseStream = Ticks;
    type Future = Boxed<Result<Response<Ticks>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move { ticks(&request).map(Response::new) })
    }
}

#[derive(Clone)]
struct Clockwork;

impl NamedService for Clockwork {
    const NAME: &'static str = "example.Clock";
}

impl tower_service::Service<http::Request<Body>> for Clockwork {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(tonic::server::Grpc::new(codec()).server_streaming(Watch, request).await)
        })
    }
}
