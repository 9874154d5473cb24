//! hyper-rustls with the connector's rustls config.
//!
//! Servers are judged in each handshake, as the connector judges them. What is lost: a connection
//! that is kept outlives whatever its server rests on, and nothing says who answered. `tls_hyper` has
//! both.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};

type Error = Box<dyn std::error::Error + Send + Sync>;
type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For development. In production: `X509Source::from_pem_files`, or the Workload API.
    let domain = TrustDomain::from_name("example.org")?;
    let members = Authorizer::member_of(domain.clone());
    let authority = Authority::new(domain, SystemClock.now())?;
    let orders = authority.source("/orders")?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}/", listener.local_addr()?.port());
    let app = Router::new().route("/", get(async || "42 orders"));
    tokio::spawn(serve(listener, Acceptor::new(orders.clone(), members)?, app));

    let cart = authority.source("/cart")?;
    let only = |path: &str| -> Result<Connector, Error> {
        let id = SpiffeId::parse(&format!("spiffe://example.org{path}"))?;
        Ok(Connector::new(cart.clone(), Authorizer::id(id))?)
    };
    let kept = client(&only("/orders")?);
    println!("orders: {}", ask(&kept, &url).await?);
    let refused = ask(&client(&only("/payments")?), &url).await;
    println!("orders in the place of payments: {}", outcome(refused.is_err()));

    // The server is revoked. Who has a connection to it goes on; who makes one is told.
    let material = cart.current();
    let revoked = authority.revoke(orders.load().identity()?)?;
    let bundles = material.bundles().clone().with_revocation_list(revoked);
    cart.replace(material.identity()?.clone(), bundles);
    println!("revoked, on a connection that is kept: {}", ask(&kept, &url).await?);
    let refused = ask(&client(&only("/orders")?), &url).await;
    println!("revoked, on a new connection: {}", outcome(refused.is_err()));
    Ok(())
}

fn client(connector: &Connector) -> HttpsClient {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config((*connector.config()).clone())
        .https_only()
        .enable_all_versions()
        .build();
    Client::builder(TokioExecutor::new()).build(https)
}

const fn outcome(refused: bool) -> &'static str {
    if refused { "refused" } else { "ANSWERED" }
}

async fn ask(client: &HttpsClient, url: &str) -> Result<StatusCode, Error> {
    let answer = client.request(Request::get(url).body(Empty::new())?).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}
