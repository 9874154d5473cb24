//! hyper-util's client: the server that is meant answers, and a connection that has ended is not
//! used again.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use tokio::net::TcpListener;
use zt_core::peer::Peer;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
use zt_tls::client::{Leased, PeerConnector};
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For development. In production: `X509Source::from_pem_files`, or the Workload API.
    let domain = TrustDomain::from_name("example.org")?;
    let members = Authorizer::member_of(domain.clone());
    let authority = Authority::new(domain, SystemClock.now())?;
    let orders = authority.source("/orders")?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let app = Router::new().route("/", get(async || "42 orders"));
    tokio::spawn(serve(listener, Acceptor::new(orders.clone(), members.clone())?, app));

    // Who may answer for which host. A host of which nothing is said is not called.
    let cart = authority.source("/cart")?;
    let id = |path: &str| SpiffeId::parse(&format!("spiffe://example.org{path}"));
    let client = PeerConnector::new(Connector::new(cart.clone(), members)?)
        .server("localhost", Authorizer::id(id("/orders")?))
        .server("127.0.0.1", Authorizer::id(id("/payments")?))
        .client();
    let first = ask(&client, &format!("https://localhost:{port}/")).await?;
    println!("orders: answered");
    let refused = ask(&client, &format!("https://127.0.0.1:{port}/")).await;
    println!("orders in the place of payments: {}", outcome(refused.is_err()));
    let refused = ask(&client, &format!("https://[::1]:{port}/")).await;
    println!("an unknown host: {}", outcome(refused.is_err()));

    // The server gets a new certificate, and its old one is revoked.
    let old = orders.current();
    orders.replace(authority.svid("/orders")?, old.bundles().clone());
    let bundles = cart.current().bundles().clone();
    let bundles = bundles.with_revocation_list(authority.revoke(old.identity()?)?);
    cart.replace(cart.current().identity()?.clone(), bundles);
    // Within a second its connection is left.
    let until = SystemClock.now().saturating_add(std::time::Duration::from_secs(30));
    while ask(&client, &format!("https://localhost:{port}/")).await? == first {
        assert!(SystemClock.now() < until, "the old connection is still in use");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    println!("revoked: the connection is left, and a new one answers");
    Ok(())
}

const fn outcome(refused: bool) -> &'static str {
    if refused { "refused" } else { "ANSWERED" }
}

/// Asks, and returns the certificate of whoever answered.
async fn ask(
    client: &Leased<Client<PeerConnector, Empty<Bytes>>>,
    url: &str,
) -> Result<Vec<u8>, Error> {
    let answer = client.request(Request::get(url).body(Empty::new())?).await?;
    let peer = answer.extensions().get::<Verified<Peer>>().ok_or("nobody answered")?;
    let leaf = peer.leaf().to_vec();
    answer.into_body().collect().await?;
    Ok(leaf)
}
