//! Everything around the service that it takes to call it: an authority, an issuer, policies in a
//! folder, callers.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use zt_core::record::RecordQueue;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_examples::kept::Kept;
use zt_examples::{Outcome, chain};
use zt_identity::authority::{Authority, Issuer};
use zt_identity::possession::revocations::{MemoryRevocations, Revocation, Revoke};
use zt_identity::x509_identity::X509Identity;
use zt_identity::{AccessTokenVerifier, Authorizer, X509Source};
use zt_policy::LivePolicies;
use zt_tls::client::PeerConnector;
use zt_tls::listen::Listener;
use zt_tls::{Acceptor, Connector};
use zt_tower::AccessTokens;

use crate::api::orders_client::OrdersClient;
use crate::service;

pub const SERVICE: &str = "/ns/shop/sa/orders";
pub const WEB: &str = "/ns/shop/sa/web";
const ISSUER: &str = "https://login.example.com";
const POLICIES: &str = include_str!("policies/orders.cedar");

/// The service, up, and those who vouch for its callers.
pub struct Stage {
    pub authority: Authority,
    pub issuer: Issuer,
    pub address: SocketAddr,
    pub records: Kept,
    /// What the records go through.
    pub queue: RecordQueue,
    source: X509Source,
    revocations: Arc<MemoryRevocations>,
    policies: LivePolicies,
    folder: tempfile::TempDir,
}

impl Stage {
    pub async fn set() -> Outcome<Self> {
        let domain = TrustDomain::from_name("example.org")?;
        let now = SystemClock.now();
        let (authority, issuer) = (Authority::new(domain.clone(), now)?, Issuer::new(ISSUER, now)?);
        let revocations = Arc::new(MemoryRevocations::new(1_000));
        let tokens = AccessTokenVerifier::builder(ISSUER)?
            .audience("orders")
            .keys(issuer.keys()?)
            .build()?;
        let tokens = AccessTokens::bearer(tokens).revoked_by(Arc::clone(&revocations));

        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("orders.cedar"), POLICIES)?;
        let policies =
            LivePolicies::builder(folder.path()).every(Duration::from_millis(20)).open()?;
        let records = Kept::default();
        let queue = RecordQueue::builder().start(records.clone())?;

        let source = authority.source(SERVICE)?;
        // gRPC is HTTP/2, and nothing else is offered.
        let members = Authorizer::member_of(domain);
        let acceptor = Acceptor::builder(source.clone(), members).alpn(["h2"]).build()?;
        let listener = Listener::bind("127.0.0.1:0", acceptor).await?;
        let address = listener.local_addr()?;
        let serving = service::serve(listener, tokens, policies.clone(), queue.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                eprintln!("grpc: {}", chain(&*error));
            }
        });
        Ok(Self {
            authority,
            issuer,
            address,
            records,
            queue,
            source,
            revocations,
            policies,
            folder,
        })
    }

    /// A workload that calls, with this certificate.
    pub async fn client(&self, identity: X509Identity) -> Outcome<OrdersClient<Channel>> {
        let bundles = self.source.current().bundles().clone();
        let service = Authorizer::id(self.authority.svid(SERVICE)?.id().clone());
        let connector = Connector::new(X509Source::new(identity, bundles), service)?;
        let connector = PeerConnector::for_any_host(connector).http2_only();
        // TLS is the connector's, whatever the scheme says to tonic.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        Ok(OrdersClient::new(endpoint.connect_with_connector(connector).await?))
    }

    /// A token of the issuer for a user with these claims besides.
    pub fn token(&self, user: &str, claims: Value) -> Outcome<String> {
        let mut all = json!({ "sub": user, "aud": "orders", "client_id": "shop", "jti": user });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        Ok(self.issuer.mint(all)?)
    }

    /// Ends all tokens of a user that were issued so far, as a back-channel logout would.
    pub async fn sign_out(&self, user: &str) -> Outcome<()> {
        let now = SystemClock.now();
        let revoked = Revocation::of_subject(ISSUER, user, now);
        Ok(self.revocations.revoke(&[revoked], now).await?)
    }

    /// Revokes a certificate: the service learns of it, as from a file of revocation lists.
    pub fn revoke(&self, identity: &X509Identity) -> Outcome<()> {
        let list = self.authority.revoke(identity)?;
        let material = self.source.current();
        let bundles = material.bundles().clone().with_revocation_list(list);
        self.source.replace(material.identity()?.clone(), bundles);
        Ok(())
    }

    /// Edits the policies, which are in force soon after.
    pub async fn edit(&self, change: impl Fn(&str) -> String) -> Outcome<()> {
        let before = self.policies.version();
        fs::write(self.folder.path().join("orders.cedar"), change(POLICIES))?;
        while self.policies.version() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// A message on behalf of the user of a token.
pub fn on_behalf_of<T>(token: &str, message: T) -> Outcome<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}
