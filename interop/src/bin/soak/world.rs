//! Two trust domains whose every identity, root and list changes while it is used.
//!
//! Every second each workload has a new identity, and each domain new revocation lists. Every seven
//! seconds a domain has a new root: it is in the bundles for a second before anything is issued by
//! it, and for twenty seconds after the last was. Every twenty seconds a client is revoked, for five,
//! and the servers forget the bundle of the other domain, for four.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, X509Bundle};
use zt_identity::revocation::RevocationLists;
use zt_identity::source::X509Source;

use crate::outage::Outages;

/// The domain of the servers, and one that it federates with.
pub const DOMAINS: [&str; 2] = ["shop.test", "partner.test"];
/// Servers, all of the first domain.
const SERVERS: [&str; 3] = ["/orders", "/billing", "/ledger"];
/// Clients, by the place of their domain.
const CLIENTS: [(usize, &str); 6] =
    [(0, "/cart"), (0, "/search"), (0, "/mailer"), (0, "/audit"), (1, "/agent"), (1, "/report")];

/// How long identities and lists count: some of what is older is still in use when they expire, so
/// whatever is not renewed is noticed.
const LIFETIME: Duration = Duration::from_secs(30);
/// Roots that are believed at once.
const ROOTS: usize = 4;
/// Identities of a workload that connections may rest on still: those of twenty seconds.
const RECENT: usize = 20;

/// The place of something that recurs every so many ticks.
#[derive(Clone, Copy)]
struct Every(u64, u64);

impl Every {
    const fn is(self, tick: u64) -> bool {
        tick % self.0 == self.1
    }
}

const NEW_ROOT: Every = Every(7, 5);
// These do not overlap.
const REVOKE: Every = Every(20, 3);
const RESTORE: Every = Every(20, 8);
const FORGET: Every = Every(20, 10);
const REMEMBER: Every = Every(20, 14);

pub struct World {
    domains: Vec<Domain>,
    workloads: Vec<Workload>,
    tick: u64,
    forgotten: bool,
    revocations: u64,
    forgettings: u64,
    rotations: u64,
}

struct Domain {
    name: TrustDomain,
    // The oldest first. The newest issues nothing in its first tick.
    roots: VecDeque<Root>,
}

struct Root {
    authority: Authority,
    made: u64,
    revoked: Vec<Vec<u8>>,
}

/// A server or a client.
#[derive(Clone)]
struct Workload {
    domain: usize,
    path: &'static str,
    source: X509Source,
    client: Option<Arc<Outages>>,
    // The root, by when it was made, and the leaf.
    recent: VecDeque<(u64, Vec<u8>)>,
    revoked: bool,
}

/// A client of the world.
pub struct Client {
    pub id: String,
    pub source: X509Source,
    pub outages: Arc<Outages>,
}

impl World {
    pub fn new() -> Self {
        let now = SystemClock.now();
        let domains: Vec<_> = DOMAINS.iter().map(|name| Domain::new(name, now)).collect();
        let servers = SERVERS.iter().map(|path| (0, *path, None));
        let clients = CLIENTS.iter().map(|(domain, path)| (*domain, *path, Some(Arc::default())));
        let workloads = servers.chain(clients).map(|(domain, path, client)| {
            let source = domains[domain].roots[0].authority.source(path).expect("an identity");
            let (recent, revoked) = (VecDeque::new(), false);
            Workload { domain, path, source, client, recent, revoked }
        });
        let mut world = Self {
            workloads: workloads.collect(),
            domains,
            tick: 0,
            forgotten: false,
            revocations: 0,
            forgettings: 0,
            rotations: 0,
        };
        world.tick();
        world
    }

    /// The source of the server with this path.
    pub fn server(&self, path: &str) -> X509Source {
        let server = self.workloads.iter().find(|workload| workload.path == path);
        server.expect("one of the servers").source.clone()
    }

    pub fn clients(&self) -> Vec<Client> {
        let clients = self.workloads.iter().filter_map(|workload| {
            let outages = Arc::clone(workload.client.as_ref()?);
            let id = format!("spiffe://{}{}", DOMAINS[workload.domain], workload.path);
            Some(Client { id, source: workload.source.clone(), outages })
        });
        clients.collect()
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        let now = SystemClock.now();
        if NEW_ROOT.is(self.tick) {
            for domain in &mut self.domains {
                domain.add_root(now, self.tick);
            }
        }
        let met = self.plan();
        for outages in &met.begin {
            outages.begins();
        }
        for outages in &met.end {
            outages.ends();
        }
        self.publish(now);
        for outages in &met.begin {
            outages.began();
        }
        for outages in &met.end {
            outages.ended();
        }
        self.tick += 1;
    }

    /// Who is to be refused from now on, and who no longer.
    fn plan(&mut self) -> Met {
        let (mut met, tick) = (Met::default(), self.tick);
        if REVOKE.is(tick) {
            let victim = SERVERS.len() + (self.revocations as usize) % CLIENTS.len();
            self.revocations += 1;
            let workload = &mut self.workloads[victim];
            workload.revoked = true;
            for (made, leaf) in workload.recent.drain(..) {
                self.domains[workload.domain].revoke(made, leaf);
            }
            met.begin.extend(workload.client.clone());
        }
        if RESTORE.is(tick) {
            for workload in self.workloads.iter_mut().filter(|workload| workload.revoked) {
                workload.revoked = false;
                met.end.extend(workload.client.clone());
            }
        }
        if FORGET.is(tick) && !self.forgotten {
            (self.forgotten, self.forgettings) = (true, self.forgettings + 1);
            met.begin.extend(self.of_the_other_domain());
        }
        if REMEMBER.is(tick) && self.forgotten {
            self.forgotten = false;
            met.end.extend(self.of_the_other_domain());
        }
        met
    }

    fn of_the_other_domain(&self) -> Vec<Arc<Outages>> {
        let others = self.workloads.iter().filter(|workload| workload.domain == 1);
        others.filter_map(|workload| workload.client.clone()).collect()
    }

    /// Gives everybody a new identity, bundles and lists.
    fn publish(&mut self, now: Timestamp) {
        let lists: RevocationLists =
            self.domains.iter().flat_map(|domain| domain.lists(now, self.tick)).collect();
        let own = |domain: &Domain| BundleSet::new().with(domain.bundle(now));
        let all =
            self.domains.iter().fold(BundleSet::new(), |all, domain| all.with(domain.bundle(now)));
        for workload in &mut self.workloads {
            let bundles = match (workload.domain, self.forgotten) {
                (0, true) => own(&self.domains[0]),
                _ => all.clone(),
            };
            let bundles = bundles.with_revocation_lists(lists.clone());
            let identity = if workload.revoked {
                workload.source.current().identity().expect("one that is not withdrawn").clone()
            } else {
                let issuer = self.domains[workload.domain].issuer(self.tick);
                let request = issuer.authority.request(workload.path).at(now).lasting(LIFETIME);
                let identity = request.identity().expect("an identity");
                workload.recent.push_back((issuer.made, identity.chain()[0].to_vec()));
                if workload.recent.len() > RECENT {
                    workload.recent.pop_front();
                }
                identity
            };
            workload.source.replace(identity, bundles);
            self.rotations += 1;
        }
    }

    pub fn findings(&self) -> Vec<String> {
        let missing = self.revocations == 0 || self.forgettings == 0;
        let too_short = "it was too short: nobody was revoked, or no bundle forgotten";
        missing.then(|| too_short.to_owned()).into_iter().collect()
    }

    pub fn report(&self) -> String {
        let roots: u64 = (0..self.tick).filter(|tick| NEW_ROOT.is(*tick)).count() as u64;
        format!(
            "changes   {} new identities, {} sets of lists, {} new roots, {} revocations of a \
             client, {} bundles forgotten and learnt again",
            self.rotations,
            self.tick,
            roots * 2,
            self.revocations,
            self.forgettings
        )
    }
}

/// Who met an outage, or its end.
#[derive(Default)]
struct Met {
    begin: Vec<Arc<Outages>>,
    end: Vec<Arc<Outages>>,
}

impl Domain {
    fn new(name: &str, now: Timestamp) -> Self {
        let name = TrustDomain::from_name(name).expect("a name");
        let mut domain = Self { name, roots: VecDeque::new() };
        domain.add_root(now, 0);
        domain
    }

    fn add_root(&mut self, now: Timestamp, made: u64) {
        let authority = Authority::new(self.name.clone(), now).expect("an authority");
        self.roots.push_back(Root { authority, made, revoked: Vec::new() });
        if self.roots.len() > ROOTS {
            self.roots.pop_front();
        }
    }

    /// The newest root that everybody knows already.
    fn issuer(&self, tick: u64) -> &Root {
        let known = self.roots.iter().rev().find(|root| root.made < tick);
        known.unwrap_or(&self.roots[0])
    }

    fn bundle(&self, now: Timestamp) -> X509Bundle {
        let roots = self.roots.iter().map(|root| root.authority.bundle());
        let roots: Vec<_> = roots
            .flat_map(|of| of.roots().iter().map(|r| r.certificate().clone()).collect::<Vec<_>>())
            .collect();
        X509Bundle::from_der_certs(self.name.clone(), roots, now).expect("a bundle")
    }

    fn lists(
        &self,
        now: Timestamp,
        tick: u64,
    ) -> impl Iterator<Item = zt_identity::revocation::RevocationList> {
        self.roots.iter().map(move |root| {
            let mut list = root.authority.crl().at(now).lasting(LIFETIME).numbered(tick + 1);
            for leaf in &root.revoked {
                list = list.revoking(leaf).expect("a certificate");
            }
            list.list().expect("a list")
        })
    }

    fn revoke(&mut self, made: u64, leaf: Vec<u8>) {
        if let Some(root) = self.roots.iter_mut().find(|root| root.made == made) {
            root.revoked.push(leaf);
        }
    }
}
