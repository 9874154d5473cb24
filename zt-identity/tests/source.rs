//! Sources: one generation for identity and bundles, and the last good one kept.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tempfile::TempDir;
use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::{Authority, SVID_LIFETIME};
use zt_identity::bundle::{BundleSet, SpiffeBundle, X509Bundle};
use zt_identity::jwt_bundle::JwtBundleSet;
use zt_identity::revocation::{RevocationError, RevocationListError};
use zt_identity::source::{
    Event, JwtBundleFileError, JwtBundleFiles, JwtBundleSource, NoIdentity, PemFiles,
    PutBundleError, STALE_AFTER, Status, X509Source, X509SourceError,
};
use zt_identity::x509_identity::X509IdentityError;
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

fn authority() -> Authority {
    Authority::new(domain("example.org"), NOW).unwrap()
}

fn open(folder: &Path, now: Timestamp) -> Result<X509Source, X509SourceError> {
    X509Source::from_pem_files(
        domain("example.org"),
        folder.join("svid.pem"),
        folder.join("key.pem"),
        folder.join("bundle.pem"),
        now,
    )
}

fn written(authority: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    authority.write_to_folder(folder.path(), "/a").unwrap();
    folder
}

#[test]
fn what_was_written_is_read() {
    let authority = authority();
    let folder = written(&authority);
    let source = open(folder.path(), NOW).unwrap();
    let material = source.load();
    assert_eq!(material.identity().unwrap().id().as_str(), "spiffe://example.org/a");
    assert_eq!(material.bundles(), &BundleSet::new().with(authority.bundle()));
    let chain = material.identity().unwrap().chain();
    assert!(X509SvidVerifier::new().verify(chain, material.bundles(), NOW).is_ok());
}

#[cfg(unix)]
#[test]
fn what_was_written_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("identity");
    authority().write_to_folder(&folder, "/a").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

#[test]
fn a_reload_brings_a_generation_when_something_has_changed() {
    let authority = authority();
    let folder = written(&authority);
    let source = open(folder.path(), NOW).unwrap();
    let handle = source.clone();
    assert_eq!(source.reload(NOW).unwrap(), 1);
    let before = source.current();
    authority.write_to_folder(folder.path(), "/b").unwrap();
    assert_eq!(source.reload(NOW).unwrap(), 2);
    assert_eq!(handle.load().identity().unwrap().id().path(), "/b");
    assert_eq!(before.identity().unwrap().id().path(), "/a");
}

#[test]
fn a_bad_update_is_refused_and_the_last_good_kept() {
    let authority = authority();
    for (file, text) in [("bundle.pem", "-"), ("svid.pem", ""), ("key.pem", "no key")] {
        let folder = written(&authority);
        let source = open(folder.path(), NOW).unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        assert!(source.reload(NOW).is_err(), "{file}");
        fs::remove_file(folder.path().join(file)).unwrap();
        let missing = source.reload(NOW).unwrap_err();
        assert!(matches!(missing, X509SourceError::File { .. }), "{missing:?}");
        assert_eq!((source.generation(), source.load().identity().unwrap().id().path()), (1, "/a"));
    }
}

#[test]
fn files_of_two_updates_do_not_fit_together() {
    let authority = authority();
    let folder = written(&authority);
    let source = open(folder.path(), NOW).unwrap();
    let next = written(&authority);
    fs::copy(next.path().join("svid.pem"), folder.path().join("svid.pem")).unwrap();
    let torn = source.reload(NOW).unwrap_err();
    assert!(matches!(torn, X509SourceError::Identity(X509IdentityError::KeyMismatch)), "{torn:?}");
    fs::copy(next.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    assert_eq!(source.reload(NOW).unwrap(), 2);
}

#[test]
fn an_identity_that_has_expired_is_not_loaded() {
    let folder = written(&authority());
    let late = NOW.saturating_add(SVID_LIFETIME).saturating_add(Duration::from_secs(1));
    let refused = open(folder.path(), late).unwrap_err();
    assert!(matches!(refused, X509SourceError::Validity(_)), "{refused:?}");
    assert_eq!(refused.fault(), Fault::Authority);
}

#[test]
fn each_trust_domain_has_its_file() {
    let other = Authority::new(domain("other.test"), NOW).unwrap();
    let (ours, theirs) = (written(&authority()), written(&other));
    let files = PemFiles::new(ours.path().join("svid.pem"), ours.path().join("key.pem"))
        .with_bundle(domain("example.org"), ours.path().join("bundle.pem"))
        .with_bundle(domain("other.test"), theirs.path().join("bundle.pem"));
    let source = X509Source::open(files, NOW).unwrap();
    assert_eq!(source.load().bundles().iter().count(), 2);
    let crossed = PemFiles::new(ours.path().join("svid.pem"), ours.path().join("key.pem"))
        .with_bundle(domain("example.org"), theirs.path().join("bundle.pem"));
    let refused = X509Source::open(crossed, NOW).unwrap_err();
    assert!(matches!(refused, X509SourceError::Bundle { .. }), "{refused:?}");
}

#[test]
fn a_bundle_may_be_in_the_json_of_spiffe() {
    let other = Authority::new(domain("other.test"), NOW).unwrap();
    let folder = written(&authority());
    let path = |name| folder.path().join(name);
    let write = |json: &str| fs::write(path("other.json"), json).unwrap();
    write(&SpiffeBundle::of_roots(&other.bundle()).to_json());
    let files = PemFiles::new(path("svid.pem"), path("key.pem"))
        .with_spiffe_bundle(domain("other.test"), path("other.json"));
    let source = X509Source::open(files, NOW).unwrap();
    assert_eq!(source.load().bundles(), &BundleSet::new().with(other.bundle()));

    write(&SpiffeBundle::of_roots(&authority().bundle()).to_json());
    let foreign = source.reload(NOW).unwrap_err();
    assert!(matches!(foreign, X509SourceError::Bundle { .. }), "{foreign:?}");
    write("{}");
    let none = source.reload(NOW).unwrap_err();
    assert!(matches!(none, X509SourceError::SpiffeBundle { .. }), "{none:?}");
    assert_eq!(source.generation(), 1);

    write(r#"{"keys":[]}"#);
    assert_eq!(source.reload(NOW).unwrap(), 2);
    let empty = X509Bundle::empty(domain("other.test"));
    assert_eq!(source.load().bundles(), &BundleSet::new().with(empty));
}

#[test]
fn revocation_lists_rotate_with_the_files() {
    let authority = authority();
    let folder = written(&authority);
    let path = |name| folder.path().join(name);
    let gone = authority.svid("/gone").unwrap();
    fs::write(path("crl.pem"), authority.crl().pem().unwrap()).unwrap();
    let files = PemFiles::new(path("svid.pem"), path("key.pem"))
        .with_bundle(domain("example.org"), path("bundle.pem"))
        .with_crl(path("crl.pem"));
    let source = X509Source::open(files, NOW).unwrap();
    let verify = || {
        let material = source.load();
        X509SvidVerifier::new().verify(gone.chain(), material.bundles(), NOW).map(drop)
    };
    assert_eq!(verify(), Ok(()));
    assert_eq!(source.reload(NOW).unwrap(), 1);

    let next = authority.crl().numbered(2).revoking(&gone.chain()[0]).unwrap();
    fs::write(path("crl.pem"), next.der().unwrap()).unwrap();
    assert_eq!(source.reload(NOW).unwrap(), 2);
    let revoked = Err(X509SvidError::Revocation(RevocationError::Revoked { position: 0 }));
    assert_eq!(verify(), revoked);

    fs::write(path("crl.pem"), [0x30, 0x81]).unwrap();
    let refused = source.reload(NOW).unwrap_err();
    let X509SourceError::Crl { source: error, .. } = &refused else { panic!("{refused:?}") };
    assert!(matches!(error, RevocationListError::Der { .. }), "{error:?}");
    assert_eq!(refused.fault(), Fault::Authority);
    fs::remove_file(path("crl.pem")).unwrap();
    assert!(matches!(source.reload(NOW), Err(X509SourceError::File { .. })));
    assert_eq!(verify(), revoked);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let folder = written(&authority());
    fs::write(folder.path().join("bundle.pem"), vec![b'-'; 1024 * 1024 + 1]).unwrap();
    let refused = open(folder.path(), NOW).unwrap_err();
    assert!(matches!(refused, X509SourceError::FileTooLong { .. }), "{refused:?}");
}

#[test]
fn a_source_without_files_cannot_be_reloaded() {
    let source = authority().source("/a").unwrap();
    let refused = source.reload(NOW).unwrap_err();
    assert!(matches!(refused, X509SourceError::NoFiles));
    assert_eq!(refused.fault(), Fault::Caller);
}

#[test]
fn files_that_change_are_read_again_and_bad_ones_change_nothing() {
    use std::sync::mpsc;
    use std::time::Duration;
    use zt_core::time::ManualClock;

    const SOON: Duration = Duration::from_secs(10);
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(TrustDomain::from_name("example.org").unwrap(), NOW).unwrap();
    authority.write_to_folder(folder.path(), "/cart").unwrap();
    let path = |name: &str| folder.path().join(name);
    let domain = authority.trust_domain().clone();
    let (svid, key, bundle) = (path("svid.pem"), path("key.pem"), path("bundle.pem"));
    let source = X509Source::from_pem_files(domain, &svid, &key, &bundle, NOW).unwrap();

    let (tell, told) = mpsc::channel();
    let watch = source.watch(ManualClock::at(NOW), move |outcome| tell.send(outcome).unwrap());
    let _watch = watch.unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap().unwrap(), 1);

    std::fs::write(&svid, "torn").unwrap();
    assert!(told.recv_timeout(SOON).unwrap().is_err());
    assert_eq!(source.generation(), 1);

    authority.write_to_folder(folder.path(), "/cart").unwrap();
    assert_eq!(told.recv_timeout(SOON).unwrap().unwrap(), 2);
    assert_eq!(source.generation(), 2);
}

#[test]
fn an_update_and_federation_do_not_touch_what_the_other_brought() {
    let (ours, partner) = (authority(), Authority::new(domain("partner.test"), NOW).unwrap());
    let agent = Authority::new(domain("agents.test"), NOW).unwrap();
    let source = ours.source("/a").unwrap();
    let names = || -> Vec<String> {
        source.load().bundles().iter().map(|bundle| bundle.trust_domain().to_string()).collect()
    };
    assert_eq!(source.put_bundle(partner.bundle(), None).unwrap(), 2);
    assert_eq!(names(), ["example.org", "partner.test"]);

    let update = [ours.bundle(), agent.bundle()].into_iter().collect();
    source.replace(ours.svid("/a").unwrap(), update);
    assert_eq!(names(), ["agents.test", "example.org", "partner.test"]);

    let generation = source.remove_bundle(partner.trust_domain().borrowed());
    assert_eq!((names(), generation), (["agents.test", "example.org"].map(Into::into).into(), 4));
    assert_eq!(source.remove_bundle(partner.trust_domain().borrowed()), 4);
    // What an update brought is not federation's to remove.
    assert_eq!(source.remove_bundle(agent.trust_domain().borrowed()), 4);
}

#[test]
fn of_a_trust_domain_that_both_know_what_was_put_counts_until_it_is_removed() {
    let ours = authority();
    let (old, new) =
        ["partner.test"; 2].map(|name| Authority::new(domain(name), NOW).unwrap()).into();
    let source = ours.source("/a").unwrap();
    let update = || [ours.bundle(), old.bundle()].into_iter().collect::<BundleSet>();
    source.replace(ours.svid("/a").unwrap(), update());
    source.put_bundle(new.bundle(), Some(3)).unwrap();
    source.replace(ours.svid("/a").unwrap(), update());
    let partner = new.trust_domain().borrowed();
    assert_eq!(source.load().bundles().get(partner), Some(&new.bundle()));
    source.remove_bundle(partner);
    assert_eq!(source.load().bundles().get(partner), Some(&old.bundle()));
}

#[test]
fn the_bundle_of_our_own_trust_domain_is_nobody_elses_to_bring() {
    let (ours, thief) = (authority(), authority());
    let source = ours.source("/a").unwrap();
    let own = PutBundleError::Own { trust_domain: domain("example.org") };
    assert_eq!(source.put_bundle(thief.bundle(), Some(9)), Err(own.clone()));
    source.withdraw();
    assert_eq!(source.put_bundle(thief.bundle(), None), Err(own));
    // What became ours later was put before.
    let moved = Authority::new(domain("moved.test"), NOW).unwrap();
    let before = Authority::new(domain("moved.test"), NOW).unwrap();
    source.put_bundle(before.bundle(), None).unwrap();
    source.replace(moved.svid("/a").unwrap(), BundleSet::new().with(moved.bundle()));
    assert_eq!(source.load().bundles(), &BundleSet::new().with(moved.bundle()));
}

#[test]
fn a_bundle_of_an_older_sequence_is_not_put() {
    let (ours, partner) = (authority(), Authority::new(domain("partner.test"), NOW).unwrap());
    let source = ours.source("/a").unwrap();
    source.put_bundle(partner.bundle(), Some(7)).unwrap();
    source.put_bundle(partner.bundle(), None).unwrap();
    let empty = || X509Bundle::empty(domain("partner.test"));
    let older = source.put_bundle(empty(), Some(6)).unwrap_err();
    assert!(matches!(older, PutBundleError::Older { known: 7, offered: 6, .. }), "{older:?}");
    assert_eq!(older.fault(), Fault::Authority);
    assert_eq!(source.generation(), 2);
    assert_eq!(source.put_bundle(empty(), Some(7)), Ok(3));
    // Whoever begins anew begins anywhere.
    source.remove_bundle(partner.trust_domain().borrowed());
    assert!(source.put_bundle(partner.bundle(), Some(1)).is_ok());
}

#[test]
fn an_identity_that_was_withdrawn_is_none_until_an_update_brings_one() {
    let folder = written(&authority());
    let source = open(folder.path(), NOW).unwrap();
    assert!(source.load().identity_at(NOW).is_ok());
    assert_eq!((source.withdraw(), source.withdraw()), (2, 2));
    let material = source.current();
    let withdrawn = material.identity().unwrap_err();
    assert_eq!(withdrawn.id().as_str(), "spiffe://example.org/a");
    assert_eq!(material.identity_at(NOW), Err(NoIdentity::Withdrawn(withdrawn.clone())));
    assert_eq!(material.bundles().iter().count(), 1);
    assert_eq!(source.reload(NOW).unwrap(), 3);
    assert!(source.load().identity().is_ok());
    let late = NOW.saturating_add(SVID_LIFETIME).saturating_add(Duration::from_secs(1));
    assert!(matches!(source.load().identity_at(late), Err(NoIdentity::Validity(_))));
}

#[test]
fn a_source_tells_what_happens_to_it_and_how_it_is() {
    use std::sync::{Arc, Mutex};

    let folder = written(&authority());
    let source = open(folder.path(), NOW).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    source.observe(move |event: &Event<'_>| {
        hears.lock().unwrap().push(match event {
            Event::Updated { generation } => format!("updated {generation}"),
            Event::UpdateFailed { error } => format!("failed: {error}"),
            Event::Withdrawn { id } => format!("withdrawn {id}"),
            Event::LeftOut { .. } | Event::Expired { .. } | Event::Disconnected { .. } | _ => {
                "something else".to_owned()
            }
        });
    });
    let health = source.health(NOW);
    assert_eq!((health.status, health.identity), (Status::Good, SVID_LIFETIME));
    assert_eq!((health.generation, health.failed_updates), (1, 0));
    fs::write(folder.path().join("key.pem"), "").unwrap();
    assert!(source.reload(NOW).is_err() && source.reload(NOW).is_err());
    let health = source.health(NOW);
    assert_eq!((health.status, health.failed_updates), (Status::Ailing, 2));
    source.withdraw();
    assert_eq!(source.health(NOW).status, Status::Failing);
    authority().write_to_folder(folder.path(), "/a").unwrap();
    source.reload(NOW).unwrap();
    assert_eq!((source.health(NOW).status, source.health(NOW).failed_updates), (Status::Good, 0));
    let late = NOW.saturating_add(SVID_LIFETIME);
    assert_eq!(source.health(late).status, Status::Ailing);
    let told = told.lock().unwrap();
    assert!(told[0].starts_with("failed: ") && told[1].starts_with("failed: "));
    assert_eq!(told[2..], ["withdrawn spiffe://example.org/a", "updated 3"]);
}

#[test]
fn keys_of_jwt_svids_come_from_files_and_go_stale_when_these_break() {
    let (ours, partner) = (authority(), Authority::new(domain("partner.test"), NOW).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, ours.jwt_bundle_document()).unwrap();
    let files = JwtBundleFiles::new()
        .with_key_set(domain("example.org"), &path)
        .with_spiffe_bundle(domain("other.test"), &path);
    let source = JwtBundleSource::open(domain("example.org"), files).unwrap();
    let known = |now: Timestamp, name: &str| {
        let material = source.current();
        material.at(now).map(|bundles| bundles.get(domain(name).borrowed()).is_some())
    };
    assert_eq!((known(NOW, "example.org"), known(NOW, "partner.test")), (Ok(true), Ok(false)));
    source.put_bundle(partner.jwt_bundle(), Some(2)).unwrap();
    let own = source.put_bundle(ours.jwt_bundle(), None);
    assert!(matches!(own, Err(PutBundleError::Own { .. })));
    let older = source.put_bundle(partner.jwt_bundle(), Some(1));
    assert!(matches!(older, Err(PutBundleError::Older { .. })));

    fs::write(&path, "{").unwrap();
    let torn = source.reload(NOW).unwrap_err();
    assert!(matches!(torn, JwtBundleFileError::KeySet { .. }), "{torn:?}");
    let later = NOW.saturating_add(Duration::from_secs(1));
    assert!(source.reload(later).is_err());
    // From the first failure on, and everybody.
    let last = NOW.saturating_add(STALE_AFTER);
    assert_eq!(known(last, "partner.test"), Ok(true));
    let after = last.saturating_add(Duration::from_micros(1));
    assert!(known(after, "example.org").is_err() && known(after, "partner.test").is_err());
    fs::write(&path, ours.jwt_bundle_document()).unwrap();
    source.reload(after).unwrap();
    assert_eq!((known(after, "example.org"), known(after, "partner.test")), (Ok(true), Ok(true)));
    assert_eq!(source.load().counts_until(), None);
    source.remove_bundle(partner.trust_domain().borrowed());
    assert_eq!(known(after, "partner.test"), Ok(false));
}

/// Does this on a thread of its own, and waits for its end.
fn in_time(work: impl FnOnce() + Send + 'static) {
    let (done, end) = std::sync::mpsc::channel();
    let working = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    if end.recv_timeout(Duration::from_secs(30)) == Err(RecvTimeoutError::Timeout) {
        panic!("it waits for itself");
    }
    working.join().unwrap();
}

#[test]
fn an_observer_may_update_the_source_that_it_observes() {
    in_time(|| {
        let ours = authority();
        let partner = Authority::new(domain("partner.test"), NOW).unwrap();
        let source = ours.source("/a").unwrap();
        let (own, bundle) = (source.clone(), partner.bundle());
        source.observe(move |event: &Event<'_>| match event {
            // What is there already is nothing new, and nobody is told.
            Event::Updated { .. } => drop(own.put_bundle(bundle.clone(), None).unwrap()),
            Event::Withdrawn { .. } => drop(own.remove_bundle(bundle.trust_domain().borrowed())),
            Event::UpdateFailed { .. } => drop(own.withdraw()),
            Event::LeftOut { .. } | Event::Expired { .. } | Event::Disconnected { .. } | _ => {}
        });
        let partners = || source.load().bundles().get(partner.trust_domain().borrowed()).is_some();
        source.replace(ours.svid("/a").unwrap(), BundleSet::new().with(ours.bundle()));
        assert!(partners());
        assert!(source.put_bundle(ours.bundle(), None).is_err());
        assert!(source.load().identity().is_err(), "the failure withdrew it");
    });
}

#[test]
fn an_observer_of_bundles_may_put_one_beside_them() {
    in_time(|| {
        let partner = Authority::new(domain("partner.test"), NOW).unwrap();
        let source = JwtBundleSource::new(domain("example.org"), JwtBundleSet::new());
        let (own, bundle) = (source.clone(), partner.jwt_bundle());
        source.observe(move |event: &Event<'_>| {
            if matches!(event, Event::Updated { generation: 2 } | Event::UpdateFailed { .. }) {
                own.put_bundle(bundle.clone(), None).unwrap();
            }
        });
        source.replace(JwtBundleSet::new());
        assert_eq!(source.generation(), 3);
        assert!(source.put_bundle(authority().jwt_bundle(), None).is_err());
        assert_eq!(source.generation(), 4);
        source.remove_bundle(partner.trust_domain().borrowed());
        assert_eq!(source.generation(), 5);
    });
}
