//! Everything around the service that it takes to call it: an authority, an issuer, callers.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use zt_core::record::RecordQueue;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_examples::Outcome;
use zt_examples::client::Client;
use zt_examples::kept::Kept;
use zt_identity::authority::{Authority, Issuer};
use zt_identity::{AccessTokenVerifier, Authorizer};
use zt_policy::set::PolicySet;
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};

use crate::service;
use crate::store::{Order, Orders};

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
}

impl Stage {
    pub async fn set() -> Outcome<Self> {
        let domain = TrustDomain::from_name("example.org")?;
        let now = SystemClock.now();
        let (authority, issuer) = (Authority::new(domain.clone(), now)?, Issuer::new(ISSUER, now)?);
        let tokens = AccessTokenVerifier::builder(ISSUER)?
            .audience("orders")
            .keys(issuer.keys()?)
            .build()?;
        let records = Kept::default();
        let queue = RecordQueue::builder().start(records.clone())?;
        let policy = PolicySet::parse("orders.cedar", POLICIES)?;
        let app = service::app(tokens, policy, queue.clone(), Arc::new(orders()))?;

        let acceptor = Acceptor::new(authority.source(SERVICE)?, Authorizer::member_of(domain))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(listener, acceptor, app));
        Ok(Self { authority, issuer, address, records, queue })
    }

    /// A workload that calls.
    pub fn caller(&self, path: &str, name: &'static str) -> Outcome<Client> {
        let service = Authorizer::id(self.authority.svid(SERVICE)?.id().clone());
        Ok(Client::new(name, &Connector::new(self.authority.source(path)?, service)?))
    }

    /// A token of the issuer for a user with these claims besides.
    pub fn token(&self, user: &str, claims: Value) -> Outcome<String> {
        let mut all = json!({ "sub": user, "aud": "orders", "client_id": "shop", "jti": user });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        Ok(self.issuer.mint(all)?)
    }
}

fn orders() -> Orders {
    let order = |id, owner: &str, item: &str, cents, shipped| Order {
        id,
        owner: owner.into(),
        item: item.into(),
        cents,
        shipped,
        refunded: false,
    };
    Orders::of([
        order(41, "alice", "tea", 1250, true),
        order(42, "alice", "cups", 3900, false),
        order(43, "bob", "kettle", 8900, false),
        order(44, "bob", "samovar", 48_000, true),
    ])
}
