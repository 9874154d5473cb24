//! The end beside the service. A connection reaches the service when, in this order:
//!
//! 1. there is room for it, and its handshake is done in time;
//! 2. its peer has proven an X.509-SVID of the trust domain that is not revoked;
//! 3. policy permits this workload to `connect` to this upstream;
//! 4. that decision is recorded.
//!
//! It ends, in the middle of whatever it does, within a second of the moment when 2 or 3 does not
//! hold any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::time::timeout;
use zt_core::decision::{Decide, Denied, Permit};
use zt_core::lease::{Ended, Support};
use zt_core::peer::Peer;
use zt_core::principal::Principal;
use zt_core::record::{Record, RecordQueue};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;
use zt_examples::{Outcome, chain};
use zt_policy::LivePolicies;
use zt_tls::listen::{Connection, Listener};

use crate::endpoint::{Endpoint, Stream};

static CONNECT: Action = Action::from_static("connect");
/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Proxy {
    policy: LivePolicies,
    records: RecordQueue,
    address: Endpoint,
    upstream: Resource,
}

impl Proxy {
    /// A proxy for the service at this address, which policies know by this name.
    pub fn new(policy: LivePolicies, records: RecordQueue, address: Endpoint, name: &str) -> Self {
        Self { policy, records, address, upstream: Resource::of_kind("Upstream", name) }
    }

    pub async fn serve(self, mut listener: Listener) -> Outcome<()> {
        let proxy = Arc::new(self);
        loop {
            let client = listener.accept().await;
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move {
                let (id, from) = (client.peer().id().clone(), client.from());
                if let Err(error) = proxy.connection(client).await {
                    eprintln!("{id} from {from}: {}", chain(&*error));
                }
            });
        }
    }

    async fn connection(&self, mut client: Connection<Verified<Peer>>) -> Outcome<()> {
        let session = Session {
            caller: client.peer().principal(),
            from: client.from(),
            upstream: self.upstream.clone(),
            policy: self.policy.clone(),
            records: self.records.clone(),
        };
        let (record, permit) = session.decide(SystemClock.now());
        self.records.append(record).await?;
        let mut service = self.open(&permit?).await?;

        // The session rests on the connection's certificate, and on policy.
        let lease = client.lease().and(session);
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut service) => copied.map(drop)?,
            why = lease.ended() => return Err(why.into()),
        }
        Ok(())
    }

    /// Nobody comes here without leave for this upstream.
    async fn open(&self, permit: &Permit) -> Outcome<Box<dyn Stream>> {
        permit.covers(&CONNECT, &self.upstream)?;
        Ok(timeout(PATIENCE, self.address.connect()).await??)
    }
}

/// Who is connected to what: one question, asked when it begins and again while it lasts.
struct Session {
    caller: Verified<Principal>,
    from: SocketAddr,
    upstream: Resource,
    policy: LivePolicies,
    records: RecordQueue,
}

impl Session {
    fn decide(&self, now: Timestamp) -> (Record, Result<Permit, Denied>) {
        let context = Context::at(now).from_source(self.from.ip());
        let request = Request::new(&self.caller, &CONNECT, &self.upstream, &context);
        let decision = self.policy.decide(&request);
        (Record::of(&decision), decision.permit())
    }
}

impl Support for Session {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        let (record, Err(_)) = self.decide(now) else { return Ok(()) };
        // It ends whether or not there is room for the record.
        let _ = self.records.append_blocking(record);
        Err(Ended::Policy)
    }
}
