//! The mesh, put together: three services, each with an identity of its own.

use std::net::SocketAddr;

use zt_core::record::RecordQueue;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_examples::Outcome;
use zt_examples::client::Client;
use zt_examples::kept::Kept;
use zt_identity::authority::Authority;
use zt_identity::{Authorizer, X509Source};
use zt_tls::Connector;

use crate::service::{Next, start};
use crate::shop;

pub const FRONT: &str = "/ns/shop/sa/front";
pub const ORDERS: &str = "/ns/shop/sa/orders";
pub const LEDGER: &str = "/ns/shop/sa/ledger";
pub const GATEWAY: &str = "/ns/edge/sa/gateway";

pub const FRONT_POLICY: &str = include_str!("policies/front.cedar");
pub const ORDERS_POLICY: &str = include_str!("policies/orders.cedar");
pub const LEDGER_POLICY: &str = include_str!("policies/ledger.cedar");

/// The services, where each is to be called, and what was decided.
pub struct Mesh {
    /// Who gives out identities, in place of SPIRE.
    pub authority: Authority,
    // What two of the services are known by, and whom they believe.
    front: X509Source,
    orders: X509Source,
    pub services: [Place; 3],
    pub records: Kept,
    /// What the records go through.
    pub queue: RecordQueue,
}

/// A service and what there is to be asked for.
#[derive(Clone, Copy)]
pub struct Place {
    pub name: &'static str,
    pub path: &'static str,
    pub address: SocketAddr,
}

impl Mesh {
    pub async fn start() -> Outcome<Self> {
        let domain = TrustDomain::from_name("example.org")?;
        let authority = Authority::new(domain, SystemClock.now())?;
        let kept = Kept::default();
        let records = RecordQueue::builder().start(kept.clone())?;

        let source = authority.source(LEDGER)?;
        let ledger = start(source, LEDGER_POLICY, records.clone(), shop::ledger()).await?;

        let source = authority.source(ORDERS)?;
        let next = Next::new(source.clone(), ledger, id(LEDGER)?)?;
        let routes = shop::orders(next);
        let orders = source.clone();
        let orders_at = start(source, ORDERS_POLICY, records.clone(), routes).await?;

        let source = authority.source(FRONT)?;
        let routes = shop::front(Next::new(source.clone(), orders_at, id(ORDERS)?)?);
        let front = source.clone();
        let front_at = start(source, FRONT_POLICY, records.clone(), routes).await?;

        let services = [
            Place { name: "front", path: "/shop/42", address: front_at },
            Place { name: "orders", path: "/orders/42", address: orders_at },
            Place { name: "ledger", path: "/payments/42", address: ledger },
        ];
        Ok(Self { authority, front, orders, services, records: kept, queue: records })
    }

    /// A caller with an identity of the mesh's authority.
    pub fn caller(&self, path: &str, name: &'static str) -> Outcome<Client> {
        let source = self.authority.source(path)?;
        let members = Authorizer::member_of(self.authority.trust_domain().clone());
        Ok(Client::new(name, &Connector::new(source, members)?))
    }

    /// Revokes the front: the service of orders learns of it, as from a file of revocation lists.
    pub fn revoke_front(&self) -> Outcome<()> {
        let front = self.front.current();
        let list = self.authority.revoke(front.identity()?)?;
        let orders = self.orders.current();
        let bundles = orders.bundles().clone().with_revocation_list(list);
        self.orders.replace(orders.identity()?.clone(), bundles);
        Ok(())
    }
}

pub fn id(path: &str) -> Outcome<SpiffeId> {
    Ok(SpiffeId::parse(&format!("spiffe://example.org{path}"))?)
}
