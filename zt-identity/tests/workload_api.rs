//! The Workload API over real sockets: what comes, what is refused, and what happens when it stops.

#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "numbers of a test are small")]
#![cfg(all(unix, feature = "workload-api"))]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, ManualClock, SystemClock, Timestamp};
use zt_identity::authority::{AgentFault, Authority, MessageDefect, WorkloadApiServer};
use zt_identity::claims::Audience;
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::source::{Event, Status, X509Source};
use zt_identity::workload_api::{
    EndpointAddress, Feed, MessageError, NotReady, WorkloadApi, WorkloadApiError,
};
use zt_identity::x509_svid::X509SvidVerifier;

const PATIENCE: Duration = Duration::from_secs(30);
const A_MOMENT: Duration = Duration::from_millis(100);

/// A trust domain with an agent.
struct World {
    authority: Arc<Authority>,
    server: WorkloadApiServer,
    clock: ManualClock,
    told: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

async fn world() -> World {
    let now = SystemClock.now();
    let authority = Arc::new(Authority::new(domain("example.org"), now).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(now);
    let socket = folder.path().join("agent.sock");
    let server = WorkloadApiServer::on_unix_by(Arc::clone(&authority), socket, clock.clone());
    let server = server.await.unwrap();
    World { authority, server, clock, told: Arc::default(), folder }
}

impl World {
    fn agent(&self) -> WorkloadApi {
        let told = Arc::clone(&self.told);
        WorkloadApi::at(self.server.address().clone())
            .clock(self.clock.clone())
            .random(|| 0)
            .observe(move |event: &Event<'_>| {
                let word = match event {
                    Event::Updated { .. } => "updated".to_owned(),
                    Event::UpdateFailed { error } => format!("failed: {error}"),
                    Event::LeftOut { trust_domain, .. } => format!("left out: {trust_domain}"),
                    Event::Withdrawn { id } => format!("withdrawn: {id}"),
                    Event::Expired { id } => format!("expired: {id}"),
                    Event::Disconnected { error } => format!("disconnected: {error}"),
                    _ => "something else".to_owned(),
                };
                told.lock().unwrap().push(word);
            })
    }

    fn serve(&self, path: &str) {
        self.server.serve([self.authority.svid(path).unwrap()]);
    }

    fn was_told(&self, word: &str) -> bool {
        self.told.lock().unwrap().iter().any(|told| told.starts_with(word))
    }

    async fn x509(&self) -> (Feed<X509Source>, X509Source) {
        let feed = self.agent().x509().unwrap();
        let source = feed.ready(PATIENCE).await.unwrap();
        (feed, source)
    }
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

fn path_of(source: &X509Source) -> Option<String> {
    source.load().identity().ok().map(|identity| identity.id().path().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_comes_with_its_bundles_and_rotates() {
    let world = world().await;
    let partner = Authority::new(domain("partner.test"), SystemClock.now()).unwrap();
    world.serve("/cart");
    world.server.federate(&partner);
    let (feed, source) = world.x509().await;
    {
        let material = source.load();
        let chain = material.identity().unwrap().chain().to_vec();
        let now = world.clock.now();
        assert!(X509SvidVerifier::new().verify(&chain, material.bundles(), now).is_ok());
        let theirs = partner.svid("/x").unwrap();
        assert!(X509SvidVerifier::new().verify(theirs.chain(), material.bundles(), now).is_ok());
    }
    assert!(feed.problem().is_none());
    assert_eq!(source.health(world.clock.now()).status, Status::Good);

    world.serve("/orders");
    until("rotated", || path_of(&source).as_deref() == Some("/orders")).await;
    // A message is the whole of what there is.
    world.server.unfederate(partner.trust_domain().borrowed());
    until("unloaded", || source.load().bundles().iter().count() == 1).await;

    drop(feed);
    world.serve("/late");
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(path_of(&source).as_deref(), Some("/orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_identity_is_the_default_and_a_hint_finds_another() {
    let world = world().await;
    let svid = |path: &str| world.authority.svid(path).unwrap();
    let both = [("external", svid("/a")), ("internal", svid("/b")), ("internal", svid("/c"))];
    world.server.serve_hinted(both);
    let (_feed, source) = world.x509().await;
    assert_eq!(path_of(&source).as_deref(), Some("/a"));
    // of two with one hint the first.
    let hinted = world.agent().x509_with_hint("internal").unwrap();
    let internal = hinted.ready(PATIENCE).await.unwrap();
    assert_eq!(path_of(&internal).as_deref(), Some("/b"));

    world.server.serve_hinted([("external", svid("/a"))]);
    until("taken back", || path_of(&internal).is_none()).await;
    assert!(world.was_told("withdrawn: spiffe://example.org/b"));
    assert_eq!(path_of(&source).as_deref(), Some("/a"));
    world.server.serve_hinted([("internal", svid("/d"))]);
    until("back", || path_of(&internal).as_deref() == Some("/d")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_is_refused_and_told_and_the_last_good_one_stays() {
    let world = world().await;
    let partner = Authority::new(domain("partner.test"), SystemClock.now()).unwrap();
    world.server.federate(&partner);
    world.serve("/good");
    let (feed, source) = world.x509().await;
    for defect in MessageDefect::ALL {
        if defect == MessageDefect::TornFederatedBundles {
            continue;
        }
        let failed = source.health(world.clock.now()).failed_updates;
        world.told.lock().unwrap().clear();
        world.server.spoil(Some(defect));
        until(&format!("{defect:?} refused"), || {
            world.was_told("failed") || world.was_told("disconnected")
        })
        .await;
        assert_eq!(path_of(&source).as_deref(), Some("/good"), "{defect:?}");
        assert_eq!(source.load().bundles().iter().count(), 2, "{defect:?}");
        if defect != MessageDefect::TooLong {
            assert!(source.health(world.clock.now()).failed_updates > failed, "{defect:?}");
            assert!(matches!(feed.problem(), Some(WorkloadApiError::Message(_))), "{defect:?}");
        }
        world.server.spoil(None);
        until("recovered", || feed.problem().is_none()).await;
        assert_eq!(source.health(world.clock.now()).failed_updates, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_trust_domain_publishes_refuses_nothing_of_ours() {
    let world = world().await;
    let partner = Authority::new(domain("partner.test"), SystemClock.now()).unwrap();
    world.server.federate(&partner);
    world.serve("/a");
    let (_feed, source) = world.x509().await;
    world.server.spoil(Some(MessageDefect::TornFederatedBundles));
    world.serve("/b");
    until("taken", || path_of(&source).as_deref() == Some("/b")).await;
    let theirs = partner.svid("/x").unwrap();
    let material = source.current();
    let refused =
        X509SvidVerifier::new().verify(theirs.chain(), material.bundles(), world.clock.now());
    assert!(refused.is_err());
    assert!(world.was_told("left out: partner.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_denies_is_not_used_any_more_until_it_is_given_again() {
    let world = world().await;
    world.serve("/cart");
    let (feed, source) = world.x509().await;
    world.server.fail(Some(AgentFault::Denied));
    until("withdrawn", || path_of(&source).is_none()).await;
    assert!(world.was_told("withdrawn: spiffe://example.org/cart"));
    assert_eq!(source.health(world.clock.now()).status, Status::Failing);
    until("said", || matches!(feed.problem(), Some(WorkloadApiError::NotRegistered { .. }))).await;
    world.server.fail(None);
    until("given again", || path_of(&source).as_deref() == Some("/cart")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_is_opened_again_at_once_and_nothing_is_lost() {
    let world = world().await;
    world.serve("/cart");
    let (feed, source) = world.x509().await;
    let generation = source.generation();
    world.server.cut();
    until("again", || world.server.asked() == 2).await;
    until("there", || feed.problem().is_none()).await;
    // The same is no new generation.
    assert_eq!((path_of(&source).as_deref(), source.generation()), (Some("/cart"), generation));
    assert!(world.was_told("disconnected: the agent ended the stream"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_is_found_again() {
    let world = world().await;
    world.serve("/cart");
    let (feed, source) = world.x509().await;
    let World { authority, server, folder, .. } = world;
    let socket = folder.path().join("agent.sock");
    server.cut();
    drop(server);
    until("away", || feed.problem().is_some()).await;
    assert_eq!(path_of(&source).as_deref(), Some("/cart"));
    let server = WorkloadApiServer::on_unix(Arc::clone(&authority), &socket).await.unwrap();
    server.serve([authority.svid("/again").unwrap()]);
    until("found", || path_of(&source).as_deref() == Some("/again")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_says_what_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let waited_for = async |agent: WorkloadApi| {
        let feed = agent.x509().unwrap();
        let late = feed.ready(Duration::from_millis(500)).await.unwrap_err();
        let NotReady::TimedOut { waiting_for, .. } = late else { panic!("{late:?}") };
        waiting_for
    };
    let nowhere = WorkloadApi::at(EndpointAddress::unix(&path).unwrap());
    let missing = waited_for(nowhere.clone()).await;
    assert!(matches!(missing, WorkloadApiError::NoSocket { .. }), "{missing:?}");
    assert!(missing.to_string().contains("there is no socket at"), "{missing}");

    fs::write(&path, "no socket").unwrap();
    let refused = waited_for(nowhere).await;
    assert!(matches!(refused, WorkloadApiError::Unreachable { .. }), "{refused:?}");

    let world = world().await;
    world.server.fail(Some(AgentFault::Denied));
    let unregistered = waited_for(world.agent()).await;
    assert!(matches!(unregistered, WorkloadApiError::NotRegistered { .. }), "{unregistered:?}");
    assert!(unregistered.to_string().contains("no identity issued"), "{unregistered}");
    world.server.fail(Some(AgentFault::Unavailable));
    let failed = waited_for(world.agent()).await;
    assert!(matches!(failed, WorkloadApiError::Failed { code: "UNAVAILABLE", .. }), "{failed:?}");
    assert_eq!(failed.fault(), Fault::Authority);

    world.server.fail(None);
    let empty = waited_for(world.agent()).await;
    let missing = MessageError::Missing { field: "svids" };
    assert!(matches!(&empty, WorkloadApiError::Message(error) if *error == missing), "{empty:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_may_not_be_opened_is_said_so() {
    let world = world().await;
    let socket = world.folder.path().join("agent.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        println!("whoever runs this test may open every socket");
        return;
    }
    let feed = world.agent().x509().unwrap();
    let refused = feed.ready(Duration::from_millis(500)).await.unwrap_err();
    let NotReady::TimedOut { waiting_for, .. } = refused else { panic!("{refused:?}") };
    assert!(matches!(waiting_for, WorkloadApiError::NotAllowed { .. }), "{waiting_for:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_does_not_do_is_not_asked_again() {
    for fault in [AgentFault::InvalidArgument, AgentFault::Unimplemented] {
        let world = world().await;
        world.serve("/cart");
        world.server.fail(Some(fault));
        let feed = world.agent().x509().unwrap();
        let over = feed.ready(PATIENCE).await.unwrap_err();
        assert!(matches!(over, NotReady::Over(WorkloadApiError::Refused { .. })), "{over:?}");
        tokio::time::sleep(4 * A_MOMENT).await;
        assert_eq!(world.server.asked(), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_asked_again() {
    for fault in [AgentFault::Unavailable, AgentFault::Internal, AgentFault::Denied] {
        let world = world().await;
        world.serve("/cart");
        world.server.fail(Some(fault));
        let feed = world.agent().x509().unwrap();
        until("asked again", || world.server.asked() >= 2).await;
        world.server.fail(None);
        assert!(feed.ready(PATIENCE).await.is_ok(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_does_not_count_now_is_not_taken() {
    let world = world().await;
    world.serve("/cart");
    world.clock.advance(Duration::from_secs(2 * 3600));
    let feed = world.agent().x509().unwrap();
    until("refused", || world.was_told("failed: the identity does not count")).await;
    let late = world.clock.now();
    let renewed = world.authority.request("/cart").at(late).identity().unwrap();
    world.server.serve([renewed]);
    assert!(feed.ready(PATIENCE).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn jwt_bundles_come_and_go_stale_when_nobody_says_that_they_hold() {
    let world = world().await;
    world.serve("/cart");
    let agent = world.agent().stale_after(Duration::from_secs(60));
    let feed = agent.jwt_bundles(domain("example.org")).unwrap();
    let source = feed.ready(PATIENCE).await.unwrap();
    let token = world.authority.jwt_svid("/cart", "orders").unwrap();
    let verifier = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap());
    let verify = |now: Timestamp| {
        source.load().at(now).is_ok_and(|bundles| verifier.verify(&token, bundles, now).is_ok())
    };
    assert!(verify(world.clock.now()));
    world.server.fail(Some(AgentFault::Unavailable));
    until("missed", || source.load().counts_until().is_some()).await;
    assert!(verify(world.clock.now()));
    assert!(source.load().at(world.clock.now().saturating_add(Duration::from_secs(61))).is_err());
    world.server.fail(None);
    until("confirmed", || source.load().counts_until().is_none()).await;
    assert!(verify(world.clock.now()));
    world.server.fail(Some(AgentFault::Denied));
    until("unloaded", || !verify(world.clock.now())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_alone_are_for_services_without_an_identity() {
    let world = world().await;
    let partner = Authority::new(domain("partner.test"), SystemClock.now()).unwrap();
    world.server.federate(&partner);
    let feed = world.agent().x509_bundles(domain("example.org")).unwrap();
    let source = feed.ready(PATIENCE).await.unwrap();
    let now = world.clock.now();
    let known = |path: &Authority| {
        let svid = path.svid("/x").unwrap();
        let material = source.load();
        X509SvidVerifier::new().verify(svid.chain(), material.at(now).unwrap(), now).is_ok()
    };
    assert!(known(&world.authority) && known(&partner));
    world.server.unfederate(partner.trust_domain().borrowed());
    until("unloaded", || !known(&partner)).await;
    assert!(known(&world.authority));
    for defect in [MessageDefect::Empty, MessageDefect::TornBundle, MessageDefect::TornList] {
        let failed = source.failed_updates();
        world.server.spoil(Some(defect));
        until("refused", || source.failed_updates() > failed).await;
        assert!(known(&world.authority), "{defect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_lists_come_with_the_bundles() {
    let world = world().await;
    world.serve("/cart");
    let gone = world.authority.svid("/gone").unwrap();
    let (_feed, source) = world.x509().await;
    let verified = || {
        let material = source.load();
        X509SvidVerifier::new().verify(gone.chain(), material.bundles(), world.clock.now()).is_ok()
    };
    assert!(verified());
    let list = world.authority.crl().numbered(2).revoking(&gone.chain()[0]).unwrap();
    world.server.serve_lists([list.der().unwrap().to_vec()]);
    until("revoked", || !verified()).await;
    world.server.serve_lists([]);
    until("no lists", verified).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_is_fetched_once_and_renewed_ahead_of_time() {
    let world = world().await;
    world.serve("/cart");
    let feed = world.agent().jwt_bundles(domain("example.org")).unwrap();
    let tokens = world.agent().jwt_svids(feed.ready(PATIENCE).await.unwrap());
    let asked = world.server.asked();
    let first = tokens.fetch(["orders"]).await.unwrap();
    assert_eq!(first.svid().id().as_str(), "spiffe://example.org/cart");
    assert_eq!(tokens.fetch(["orders"]).await.unwrap().token().expose(), first.token().expose());
    assert_eq!(world.server.asked() - asked, 1);
    let both = tokens.fetch(["orders", "stock"]).await.unwrap();
    let same = tokens.fetch(["stock", "orders", "stock"]).await.unwrap();
    assert_eq!(both.token().expose(), same.token().expose());
    assert_eq!(world.server.asked() - asked, 2);

    // After half of its life it is handed out while the next one is fetched.
    world.clock.advance(Duration::from_secs(200));
    let still = tokens.fetch(["orders"]).await.unwrap();
    assert_eq!(still.token().expose(), first.token().expose());
    until("renewed", || world.server.asked() - asked == 3).await;
    let renewed = async {
        while tokens.fetch(["orders"]).await.unwrap().token().expose() == first.token().expose() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();

    // One that has expired is not handed out, whatever the agent does.
    world.server.fail(Some(AgentFault::Unavailable));
    world.clock.advance(Duration::from_secs(600));
    let failed = tokens.fetch(["orders"]).await.unwrap_err();
    assert!(matches!(failed, WorkloadApiError::Failed { .. }), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_is_verified_before_it_is_used() {
    let world = world().await;
    world.server.serve(["/a", "/b"].map(|path| world.authority.svid(path).unwrap()));
    let feed = world.agent().jwt_bundles(domain("example.org")).unwrap();
    let tokens = world.agent().jwt_svids(feed.ready(PATIENCE).await.unwrap());
    let id = |path: &str| SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap();
    assert_eq!(*tokens.fetch_as(id("/b"), ["x"]).await.unwrap().svid().id(), id("/b"));
    let denied = tokens.fetch_as(id("/c"), ["x"]).await.unwrap_err();
    assert!(matches!(denied, WorkloadApiError::NotRegistered { .. }), "{denied:?}");
    let nobody = tokens.fetch(Vec::<String>::new()).await.unwrap_err();
    assert!(matches!(nobody, WorkloadApiError::NoAudience), "{nobody:?}");
    for (n, defect) in [
        MessageDefect::Empty,
        MessageDefect::NoId,
        MessageDefect::NoSvid,
        MessageDefect::AnotherId,
        MessageDefect::LongHint,
    ]
    .into_iter()
    .enumerate()
    {
        world.server.spoil(Some(defect));
        assert!(tokens.fetch([format!("{n}")]).await.is_err(), "{defect:?}");
    }
    world.server.spoil(None);
    // The bundle of another authority does not verify them.
    let impostor = Authority::new(domain("example.org"), SystemClock.now()).unwrap();
    let bundles = [impostor.jwt_bundle()].into_iter().collect();
    let other = zt_identity::source::JwtBundleSource::new(domain("example.org"), bundles);
    let refused = world.agent().jwt_svids(other).fetch(["x"]).await.unwrap_err();
    assert!(matches!(refused, WorkloadApiError::JwtSvid(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_expires_without_another_is_told_and_asked_for() {
    let world = world().await;
    world.serve("/cart");
    let (_feed, source) = world.x509().await;
    world.clock.advance(Duration::from_secs(2 * 3600));
    until("told", || world.was_told("expired: spiffe://example.org/cart")).await;
    assert!(source.load().identity_at(world.clock.now()).is_err());
    until("asked", || world.server.asked() >= 2).await;
    let renewed = world.authority.request("/cart").at(world.clock.now()).identity().unwrap();
    world.server.serve([renewed]);
    until("renewed", || source.load().identity_at(world.clock.now()).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_needs_a_runtime() {
    let agent = WorkloadApi::at(EndpointAddress::parse("tcp://127.0.0.1:1").unwrap());
    let outside = std::thread::spawn(move || agent.x509().is_err());
    assert!(outside.join().unwrap());
}

/// What an agent does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another identity, of so many seconds.
    Good(u64),
    Bad(MessageDefect),
    Fail(AgentFault),
    Cut,
    /// The clock moves by so many seconds.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let sent: Vec<_> = MessageDefect::ALL
        .into_iter()
        .filter(|defect| *defect != MessageDefect::TornFederatedBundles)
        .collect();
    let faults = [AgentFault::Denied, AgentFault::Unavailable, AgentFault::Internal];
    prop_oneof![
        3 => (300u64..3600).prop_map(Step::Good),
        3 => proptest::sample::select(sent).prop_map(Step::Bad),
        2 => proptest::sample::select(faults.to_vec()).prop_map(Step::Fail),
        1 => Just(Step::Cut),
        3 => (-1200i64..1800).prop_map(Step::Clock),
    ]
}

/// Each step is waited for; meanwhile, and after it, what is served is what the model says.
async fn drive(steps: &[Step]) {
    let world = world().await;
    // The clock may go back without reaching the time before the root.
    world.clock.advance(Duration::from_secs(24 * 3600));
    let mut n = 0;
    let mut validity = serve_nth(&world, n, 3600);
    let (feed, source) = world.x509().await;
    for step in steps {
        let now = world.clock.now();
        if validity.check(now).is_err() {
            n += 1;
            validity = serve_nth(&world, n, 3600);
        }
        let path = format!("/w{n}");
        until("served", || path_of(&source).as_deref() == Some(&path)).await;
        let is_served = || path_of(&source).as_deref() == Some(&path);
        let failed = || world.told.lock().unwrap().len();
        let before = failed();
        match *step {
            Step::Good(lifetime) => {
                n += 1;
                validity = serve_nth(&world, n, lifetime);
                let path = format!("/w{n}");
                until("taken", || path_of(&source).as_deref() == Some(&path)).await;
            }
            Step::Bad(defect) => {
                world.server.spoil(Some(defect));
                until("refused", || failed() > before).await;
                assert!(is_served(), "{defect:?}");
                world.server.spoil(None);
            }
            Step::Fail(fault) => {
                world.server.fail(Some(fault));
                until("noticed", || {
                    feed.problem()
                        .is_some_and(|problem| !matches!(problem, WorkloadApiError::Message(_)))
                })
                .await;
                let denied = fault == AgentFault::Denied;
                until("what the model says", || is_served() != denied).await;
                world.server.fail(None);
            }
            Step::Cut => world.server.cut(),
            Step::Clock(by) => {
                let by_secs = Duration::from_secs(by.unsigned_abs());
                world.clock.set(if by < 0 {
                    now.saturating_sub(by_secs)
                } else {
                    now.saturating_add(by_secs)
                });
            }
        }
        let material = source.current();
        // Never one that has expired, and never half.
        if let Ok(identity) = material.identity_at(world.clock.now()) {
            assert!(identity.validity().check(world.clock.now()).is_ok());
            let verifier = X509SvidVerifier::new();
            assert!(
                verifier.verify(identity.chain(), material.bundles(), world.clock.now()).is_ok()
            );
        }
        if validity.check(world.clock.now()).is_err() {
            assert!(material.identity_at(world.clock.now()).is_err());
        }
    }
    // It always recovers.
    let validity = serve_nth(&world, n + 1, 3600);
    let path = format!("/w{}", n + 1);
    until("recovered", || path_of(&source).as_deref() == Some(&path)).await;
    assert_eq!(source.load().identity().unwrap().validity(), validity);
    until("healthy", || feed.problem().is_none()).await;
}

fn serve_nth(world: &World, n: u32, lifetime: u64) -> zt_core::time::Validity {
    let request = world.authority.request(&format!("/w{n}")).at(world.clock.now());
    let identity = request.lasting(Duration::from_secs(lifetime)).identity().unwrap();
    let validity = identity.validity();
    world.server.serve([identity]);
    validity
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_an_agent_does_the_last_good_identity_is_served_until_it_expires(
        steps in proptest::collection::vec(step(), 1..10)
    ) {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(drive(&steps));
    }
}
