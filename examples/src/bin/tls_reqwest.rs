//! reqwest with the connector's rustls config.
//!
//! Servers are judged in each handshake, as the connector judges them. What is lost: a connection
//! that is kept outlives whatever its server rests on, and nothing says who answered. Here none is
//! kept, so every request is a handshake. `tls_hyper` keeps connections and loses neither.

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
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
    let url = format!("https://localhost:{}/", listener.local_addr()?.port());
    let app = Router::new().route("/", get(async || "42 orders"));
    tokio::spawn(serve(listener, Acceptor::new(orders.clone(), members)?, app));

    let cart = authority.source("/cart")?;
    let only = |path: &str| -> Result<Connector, Error> {
        let id = SpiffeId::parse(&format!("spiffe://example.org{path}"))?;
        Ok(Connector::new(cart.clone(), Authorizer::id(id))?)
    };
    let client = client(&only("/orders")?)?;
    println!("orders: {}", client.get(&url).send().await?.text().await?);
    let refused = self::client(&only("/payments")?)?.get(&url).send().await;
    println!("orders in the place of payments: {}", outcome(refused.is_err()));

    // The server is revoked: the next request is a handshake, and refuses it.
    let material = cart.current();
    let revoked = authority.revoke(orders.load().identity()?)?;
    let bundles = material.bundles().clone().with_revocation_list(revoked);
    cart.replace(material.identity()?.clone(), bundles);
    println!("revoked: {}", outcome(client.get(&url).send().await.is_err()));
    Ok(())
}

fn client(connector: &Connector) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured((*connector.config()).clone())
        .https_only(true)
        .no_proxy()
        .pool_max_idle_per_host(0);
    Ok(builder.build()?)
}

const fn outcome(refused: bool) -> &'static str {
    if refused { "refused" } else { "ANSWERED" }
}
