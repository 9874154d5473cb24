//! What every peer goes through, as a server of our client and as a client of our server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::server::ServerSessionMemoryCache;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, X509Bundle};
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_tls::events::Reason;

use crate::ours::{OurClient, OurServer, Seen, serve_always, visit, visit_as};
use crate::peer::{Cannot, Client, End, Outcome, Peer};
use crate::setup::{Land, Setup, Who, domain, ids, with_host};
use crate::table::{Expected, Table};

/// How long a peer may take to present what it was given.
const TAKES_UP: Duration = Duration::from_secs(20);
/// How many times a peer is asked after each step of a rotation.
const ASKED: usize = 3;
const PEER: &str = "/peer";
const OURS: &str = "/ours";

/// Everything with one peer.
pub async fn run(peer: &dyn Peer, table: &mut Table) {
    let land = Land::new();
    for (end, role) in [(End::Server, "server"), (End::Client, "client")] {
        let cannot = |what| peer.cannot(end).contains(&what);
        let name = peer.name();
        let seen = exchange(peer, &land, end, Who::Good, Who::Good).await;
        table.seen([name, role, Who::Good.name()], &Expected::Answered, seen);
        for bad in Who::BAD {
            // A server presents a certificate always.
            let never = bad == Who::Nobody;
            if !(cannot(Cannot::Be(bad)) || never && end == End::Server) {
                let case = format!("the peer: {}", bad.name());
                let seen = exchange(peer, &land, end, bad, Who::Good).await;
                table.seen([name, role, &case], &Expected::ByOurs(reason(bad)), seen);
            }
            if !(cannot(Cannot::Refuse(bad)) || never && end == End::Client) {
                let case = format!("we: {}", bad.name());
                let seen = exchange(peer, &land, end, Who::Good, bad).await;
                table.seen([name, role, &case], &Expected::ByTheirs, seen);
            }
        }
        let resumes = if cannot(Cannot::Resume) { "full, full" } else { "full, resumed" };
        let control = resumption(peer, &land, end, true).await;
        let case = "resumption, where we are made to allow it";
        table.said([name, role, case], &Expected::Text(resumes), control);
        let ours = resumption(peer, &land, end, false).await;
        table.said([name, role, "resumption, as we are"], &Expected::Text("full, full"), ours);
        let rotation = rotation(peer, &land, end).await;
        let all = Expected::Text("all answered, old refused");
        let case = "rotation of SVIDs and authorities under requests";
        table.said([name, role, case], &all, rotation);
    }
}

const fn reason(bad: Who) -> Reason {
    match bad {
        Who::Good | Who::Nobody => Reason::NoCertificate,
        Who::OtherDomain => Reason::TrustDomain,
        Who::Forged => Reason::Path,
        Who::NotAdmitted => Reason::NotAdmitted,
        Who::Expired => Reason::Validity,
        Who::Revoked => Reason::Revoked,
    }
}

/// Both ends, with their files.
struct Pair {
    _folder: TempDir,
    theirs: X509Identity,
    ours: X509Identity,
    /// What we believe.
    believes: BundleSet,
    setup: Setup,
}

impl Pair {
    fn new(land: &Land, them: Who, us: Who) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (theirs, ours) = (land.identity(PEER, them), land.identity(OURS, us));
        let setup = Setup {
            folder: folder.path().to_owned(),
            presents: (them != Who::Nobody).then(|| theirs.clone()),
            believes: land.bundle(),
            list: Some(land.list_pem(&ours, us)),
            admits: ids(OURS)[0].clone(),
        };
        setup.write();
        let believes = land.believes(&theirs, them);
        Self { _folder: folder, theirs, ours, believes, setup }
    }

    fn client(&self) -> OurClient {
        OurClient::new(&self.ours, self.believes.clone(), &ids(PEER))
    }

    fn source(&self) -> X509Source {
        X509Source::new(self.ours.clone(), self.believes.clone())
    }
}

/// One exchange, in which one end may have something wrong with it.
async fn exchange(peer: &dyn Peer, land: &Land, end: End, them: Who, us: Who) -> Outcome<Seen> {
    let pair = Pair::new(land, them, us);
    match end {
        End::Server => {
            let server = peer.serve(&pair.setup).await?;
            Ok(visit_as(us, &pair.client(), &pair.ours, server.address()).await)
        }
        End::Client => {
            let server = if us == Who::Expired {
                // Ours presents nothing then.
                let resolver = serve_always(&pair.ours);
                let expired = |config: &mut _| present(config, resolver);
                OurServer::on_config(&pair.source(), &ids(PEER), expired).await
            } else {
                OurServer::start(&pair.source(), &ids(PEER)).await
            };
            let mut client = peer.client(&pair.setup, server.address).await?;
            match client.ask().await {
                Ok(asked) if us == Who::Expired || asked.text == ids(PEER)[0].as_str() => {
                    Ok(Seen::Answered)
                }
                Ok(asked) => Err(format!("it was taken for {:?}", asked.text)),
                Err(why) => Ok(match server.refused().await {
                    Some(reason) => Seen::RefusedByOurs(reason),
                    None => Seen::RefusedByTheirs(why),
                }),
            }
        }
    }
}

fn present(
    config: &mut tokio_rustls::rustls::ServerConfig,
    resolver: Arc<dyn tokio_rustls::rustls::server::ResolvesServerCert>,
) {
    config.cert_resolver = resolver;
}

/// Two connections, the second of which the peer may try to resume; and how both were done, on
/// which both ends have to agree.
async fn resumption(peer: &dyn Peer, land: &Land, end: End, allowed: bool) -> Outcome<String> {
    let pair = Pair::new(land, Who::Good, Who::Good);
    let mut kinds = Vec::new();
    match end {
        End::Server => {
            let mut server = peer.serve(&pair.setup).await?;
            let config = pair.client().config(|config| {
                if allowed {
                    config.resumption = Resumption::in_memory_sessions(8);
                }
            });
            for _ in 0..2 {
                let visit = visit(&config, server.address()).await?;
                let resumed = server.resumed(&visit.answer.headers).await?;
                kinds.push(agreed(visit.kind, resumed)?);
            }
        }
        End::Client => {
            let generous = |config: &mut tokio_rustls::rustls::ServerConfig| {
                if allowed {
                    config.session_storage = ServerSessionMemoryCache::new(8);
                    config.send_tls13_tickets = 2;
                }
            };
            let server = OurServer::on_config(&pair.source(), &ids(PEER), generous).await;
            let mut client = peer.client(&pair.setup, server.address).await?;
            for _ in 0..2 {
                let asked = client.ask().await?;
                kinds.push(agreed(server.last_kind(), asked.resumed)?);
            }
        }
    }
    Ok(kinds.join(", "))
}

fn agreed(ours: Option<HandshakeKind>, resumed: bool) -> Outcome<&'static str> {
    match (ours, resumed) {
        (Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), false) => Ok("full"),
        (Some(HandshakeKind::Resumed), true) => Ok("resumed"),
        _ => Err(format!("we say {ours:?}, and the peer that resumed is {resumed}")),
    }
}

/// A new SVID at the peer; new authorities at both ends, believed beside the old ones at first; new
/// SVIDs of the new authority at both ends; and the old authority forgotten. Every request in
/// between has to be answered, and at last what the old authority issued has to be refused.
async fn rotation(peer: &dyn Peer, land: &Land, end: End) -> Outcome<String> {
    let mut turning = Turning::start(peer, land, end).await?;
    let next = Authority::new(domain(), SystemClock.now()).map_err(|error| error.to_string())?;
    let (old, new) = (&land.authority, &next);
    let both = [old, new];

    turning.step(old, PEER, OURS, &[old]).await?;
    // Everybody believes both before anybody presents what the new one issued.
    turning.believe(&both).await?;
    turning.step(new, PEER, OURS, &both).await?;
    turning.step(new, PEER, OURS, &[new]).await?;
    turning.old_is_refused(old, new).await?;
    Ok("all answered, old refused".into())
}

/// A pair while it changes.
struct Turning<'p> {
    peer: &'p dyn Peer,
    pair: Pair,
    source: X509Source,
    running: Running,
}

enum Running {
    Server(Box<dyn crate::peer::Server>, OurClient),
    Client(Box<dyn Client>, OurServer),
}

impl<'p> Turning<'p> {
    async fn start(peer: &'p dyn Peer, land: &Land, end: End) -> Outcome<Self> {
        let mut pair = Pair::new(land, Who::Good, Who::Good);
        // The authorities that follow each other here have one name, and OpenSSL goes by it.
        pair.setup.list = None;
        let (source, running) = match end {
            End::Server => {
                let client = pair.client();
                let running = Running::Server(peer.serve(&pair.setup).await?, client);
                let Running::Server(_, client) = &running else { unreachable!("just made") };
                (client.source.clone(), running)
            }
            End::Client => {
                let source = pair.source();
                let server = OurServer::start(&source, &ids(PEER)).await;
                let client = peer.client(&pair.setup, server.address).await?;
                (source, Running::Client(client, server))
            }
        };
        let mut turning = Self { peer, pair, source, running };
        turning.until_presented().await?;
        Ok(turning)
    }

    /// Both ends believe these, and present what they presented before.
    async fn believe(&mut self, authorities: &[&Authority]) -> Outcome<()> {
        self.pair.setup.believes = bundle(authorities);
        self.reload().await?;
        self.source.replace(self.pair.ours.clone(), believed(authorities));
        self.until_presented().await
    }

    /// Both ends present something new of `issuer` and believe these; the peer first.
    async fn step(
        &mut self,
        issuer: &Authority,
        peer: &str,
        ours: &str,
        authorities: &[&Authority],
    ) -> Outcome<()> {
        self.pair.theirs = with_host(issuer.request(peer));
        self.pair.ours = with_host(issuer.request(ours));
        self.pair.setup.presents = Some(self.pair.theirs.clone());
        if authorities.len() > 1 || self.pair.setup.believes == bundle(authorities) {
            self.reload().await?;
            self.source.replace(self.pair.ours.clone(), believed(authorities));
        } else {
            // Ours is not of the old one any more before the peer forgets that.
            self.source.replace(self.pair.ours.clone(), believed(authorities));
            self.believe(authorities).await?;
        }
        self.until_presented().await
    }

    async fn reload(&mut self) -> Outcome<()> {
        match &mut self.running {
            Running::Server(server, _) => server.reload(&self.pair.setup).await,
            Running::Client(client, _) => client.reload(&self.pair.setup).await,
        }
    }

    /// Asks until the peer presents what it was given, and then some more times.
    async fn until_presented(&mut self) -> Outcome<()> {
        let wanted = self.pair.theirs.chain()[0].to_vec();
        let began = Instant::now();
        let mut more = ASKED;
        while more > 0 {
            if self.ask().await?.as_deref() == Some(&wanted) {
                more -= 1;
            } else if began.elapsed() > TAKES_UP {
                return Err(format!("{} goes on presenting an old SVID", self.peer.name()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Asks once, which has to succeed, and returns the leaf that the peer presented.
    async fn ask(&mut self) -> Outcome<Option<Vec<u8>>> {
        match &mut self.running {
            Running::Server(server, client) => match client.visit(server.address()).await {
                Ok(visit) if visit.answer.status.is_success() => Ok(Some(visit.leaf)),
                Ok(visit) => Err(format!("a request was answered {}", visit.answer.status)),
                Err(seen) => Err(format!("a request failed: {seen:?}")),
            },
            Running::Client(client, server) => {
                client.ask().await.map_err(|why| format!("a request failed: {why}"))?;
                Ok(server.last_leaf())
            }
        }
    }

    /// Whoever is certified by the old authority is refused at last: we by a peer that serves, a
    /// peer that calls by us.
    async fn old_is_refused(mut self, old: &Authority, new: &Authority) -> Outcome<()> {
        let ours = with_host(old.request(OURS));
        let ours = OurClient::new(&ours, believed(&[new]), &ids(PEER));
        if matches!(self.running, Running::Client(..)) {
            self.pair.setup.presents = Some(with_host(old.request(PEER)));
            self.reload().await?;
        }
        let (mut seen, began) = (Seen::Answered, Instant::now());
        while seen == Seen::Answered && began.elapsed() < TAKES_UP {
            sleep(Duration::from_millis(20)).await;
            seen = match &mut self.running {
                Running::Server(server, _) => {
                    visit_as(Who::Good, &ours, &self.pair.ours, server.address()).await
                }
                Running::Client(client, server) => match client.ask().await {
                    Ok(_) => Seen::Answered,
                    Err(why) => {
                        let reason = server.refused().await;
                        reason.map_or(Seen::RefusedByTheirs(why), Seen::RefusedByOurs)
                    }
                },
            };
        }
        match (seen, &self.running) {
            (Seen::RefusedByTheirs(_), Running::Server(..))
            | (Seen::RefusedByOurs(Reason::Path), Running::Client(..)) => Ok(()),
            (seen, _) => Err(format!("what the old authority issued: {seen:?}")),
        }
    }
}

fn bundle(authorities: &[&Authority]) -> X509Bundle {
    let roots = authorities.iter().flat_map(|authority| {
        let bundle = authority.bundle();
        bundle.roots().iter().map(|root| root.certificate().clone()).collect::<Vec<_>>()
    });
    X509Bundle::from_der_certs(domain(), roots.collect::<Vec<_>>(), SystemClock.now())
        .expect("a bundle")
}

fn believed(authorities: &[&Authority]) -> BundleSet {
    BundleSet::new().with(bundle(authorities))
}
