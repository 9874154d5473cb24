//! `axum::serve` with proven callers: its own loop, and the connections of `zt_tls::listen`.

use axum::{Extension, Router, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use zt_core::peer::Peer;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::authority::Authority;
use zt_identity::{Authorizer, X509Source};
use zt_tls::client::PeerConnector;
use zt_tls::listen::{Connected, ConnectedLayer, Listener};
use zt_tls::{Acceptor, Connector};

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn hello(Extension(peer): Extension<Verified<Peer>>) -> String {
    format!("hello, {}", peer.id())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For development. In production: `X509Source::from_pem_files`, or the Workload API.
    let domain = TrustDomain::from_name("example.org")?;
    let members = Authorizer::member_of(domain.clone());
    let authority = Authority::new(domain, SystemClock.now())?;
    let orders = authority.source("/orders")?;

    let acceptor = Acceptor::new(orders.clone(), members.clone())?;
    let listener = Listener::bind("127.0.0.1:0", acceptor).await?;
    let url = format!("https://{}/", listener.local_addr()?);
    let app = Router::new().route("/", get(hello)).layer(ConnectedLayer::new());
    let app = app.into_make_service_with_connect_info::<Connected>();
    tokio::spawn(async { axum::serve(listener, app).await });

    let cart = authority.source("/cart")?;
    for version in ["http/1.1", "h2"] {
        let connector =
            Connector::builder(cart.clone(), members.clone()).alpn([version]).build()?;
        println!("{version}: {}", call(connector, &url).await?);
    }

    let stranger = Authority::new(TrustDomain::from_name("evil.test")?, SystemClock.now())?;
    let mallory = stranger.svid("/cart")?;
    let mallory = X509Source::new(mallory, cart.load().bundles().clone());
    let refused = call(Connector::new(mallory, members.clone())?, &url).await;
    println!("another trust domain: {}", if refused.is_err() { "refused" } else { "LET IN" });

    let revoked = authority.revoke(cart.load().identity()?)?;
    let material = orders.current();
    let bundles = material.bundles().clone().with_revocation_list(revoked);
    orders.replace(material.identity()?.clone(), bundles);
    let refused = call(Connector::new(cart, members)?, &url).await;
    println!("revoked: {}", if refused.is_err() { "refused" } else { "LET IN" });
    Ok(())
}

async fn call(connector: Connector, url: &str) -> Result<String, Error> {
    let client = PeerConnector::for_any_host(connector).client();
    let answer = client.request(Request::get(url).body(Empty::<Bytes>::new())?).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}
