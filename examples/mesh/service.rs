//! What every service of the mesh is made of, whatever it does: an identity, a policy that names
//! its callers, a place for records; and a client for the one service that it calls itself.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use zt_core::record::RecordQueue;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_examples::{Outcome, chain};
use zt_identity::{Authorizer, X509Source};
use zt_policy::set::PolicySet;
use zt_tls::client::{Leased, PeerConnector};
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};
use zt_tower::{RouteTargets, ZeroTrust};

/// Serves `routes` to the callers that `policy` names, on a port that the system chooses.
pub async fn start(
    source: X509Source,
    policy: &str,
    records: RecordQueue,
    routes: Router,
) -> Outcome<SocketAddr> {
    let domain = TrustDomain::from_name("example.org")?;
    // Whoever has an identity of this trust domain gets as far as policy, and into the records.
    let acceptor = Acceptor::new(source, Authorizer::member_of(domain))?;
    let zero_trust = ZeroTrust::builder()
        .workloads_only()
        .policy(PolicySet::parse("policy", policy)?)
        .records(records)
        .targets(RouteTargets)
        .build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, acceptor, routes.layer(zero_trust)));
    Ok(address)
}

/// The service that this one calls.
#[derive(Clone)]
pub struct Next {
    client: Leased<Client<PeerConnector, Empty<Bytes>>>,
    address: SocketAddr,
}

impl Next {
    /// The one at this address, if it is the one of this name: an address proves nothing.
    pub fn new(source: X509Source, address: SocketAddr, id: SpiffeId) -> Outcome<Self> {
        let connector = Connector::new(source, Authorizer::id(id))?;
        Ok(Self { client: PeerConnector::for_any_host(connector).client(), address })
    }

    /// What it has at this path. Why it has nothing goes to our log, and not to our caller.
    pub async fn get(&self, path: &str) -> Result<Value, StatusCode> {
        self.try_get(path).await.map_err(|error| {
            eprintln!("nothing from https://{}{path}: {}", self.address, chain(&*error));
            StatusCode::BAD_GATEWAY
        })
    }

    async fn try_get(&self, path: &str) -> Outcome<Value> {
        let request = Request::get(format!("https://{}{path}", self.address));
        let response = self.client.request(request.body(Empty::new())?).await?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()).into());
        }
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}
