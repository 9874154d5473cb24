//! A source driven through updates that are good, bad, torn, late, missing and repeated, while the
//! clock steps: beside a model that keeps the last good thing and looks everything up.

#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "numbers of a test are small")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::Authority;
use zt_identity::bundle::X509Bundle;
use zt_identity::source::{X509Material, X509Source};
use zt_identity::x509_svid::X509SvidVerifier;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const FILES: [&str; 3] = ["svid.pem", "key.pem", "bundle.pem"];

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    /// Files of a new trust domain root and a new SVID of so many seconds.
    Good(u64),
    /// The same of an SVID that has expired already.
    Late,
    /// One file of a new set, the others of the set before.
    Torn(usize),
    /// One file holds something else.
    Bad(usize),
    /// One file is gone.
    Missing(usize),
    /// The files are as they were.
    Repeated,
    /// The clock moves by so many seconds.
    Clock(i64),
    /// Federation brings a bundle with this sequence.
    Put(u64),
    /// Federation ends.
    Remove,
    /// The identity is not to be used any more.
    Withdraw,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (60u64..600).prop_map(Step::Good),
        1 => Just(Step::Late),
        2 => (0usize..3).prop_map(Step::Torn),
        2 => (0usize..3).prop_map(Step::Bad),
        1 => (0usize..3).prop_map(Step::Missing),
        1 => Just(Step::Repeated),
        3 => (-400i64..400).prop_map(Step::Clock),
        2 => (0u64..4).prop_map(Step::Put),
        1 => Just(Step::Remove),
        1 => Just(Step::Withdraw),
    ]
}

fn authority(name: &str, now: Timestamp) -> Authority {
    Authority::new(TrustDomain::from_name(name).unwrap(), now).unwrap()
}

/// The last good thing, as it was written.
struct Model {
    now: Timestamp,
    chain: Vec<Vec<u8>>,
    from: Timestamp,
    until: Timestamp,
    own: X509Bundle,
    withdrawn: bool,
    federated: Option<(X509Bundle, u64)>,
    failed: u64,
    // Whether the files are those of the model.
    sound: bool,
}

impl Model {
    fn holds(&self, source: &X509Source) -> Result<(), TestCaseError> {
        let material = source.current();
        let identity = material.identity_at(self.now);
        let counts = !self.withdrawn && self.from <= self.now && self.now <= self.until;
        prop_assert_eq!(identity.is_ok(), counts);
        if let Ok(identity) = identity {
            let chain: Vec<_> = identity.chain().iter().map(|der| der.to_vec()).collect();
            prop_assert_eq!(&chain, &self.chain);
        }
        let partner = TrustDomain::from_name("partner.test").unwrap();
        let known = material.bundles().get(partner.borrowed());
        prop_assert_eq!(known, self.federated.as_ref().map(|(bundle, _)| bundle));
        prop_assert_eq!(
            material.bundles().get(self.own.trust_domain().borrowed()),
            Some(&self.own)
        );
        prop_assert_eq!(source.health(self.now).failed_updates, self.failed);
        Ok(())
    }
}

/// Never half of one update and half of another: the SVID counts under the roots beside it.
fn whole(material: &X509Material, now: Timestamp) -> bool {
    let Ok(identity) = material.identity_at(now) else { return true };
    X509SvidVerifier::new().verify(identity.chain(), material.bundles(), now).is_ok()
}

fn copy(from: &std::path::Path, to: &std::path::Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Writes a new set, and takes note of it in the model as it would be when it is taken.
fn write(folder: &std::path::Path, model: &mut Model, lifetime: u64) {
    let authority = authority("example.org", model.now);
    let request = authority.request("/a").at(model.now).lasting(Duration::from_secs(lifetime));
    request.write_to_folder(folder).unwrap();
    let files = FILES.map(|name| folder.join(name));
    let source = X509Source::from_pem_files(
        authority.trust_domain().clone(),
        &files[0],
        &files[1],
        &files[2],
        model.now,
    );
    let material = source.unwrap().current();
    let identity = material.identity().unwrap();
    model.chain = identity.chain().iter().map(|der| der.to_vec()).collect();
    (model.from, model.until) = (identity.validity().not_before(), identity.validity().not_after());
    model.own = authority.bundle();
    (model.withdrawn, model.failed, model.sound) = (false, 0, true);
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut model = Model {
        now: NOW,
        chain: Vec::new(),
        from: NOW,
        until: NOW,
        own: authority("example.org", NOW).bundle(),
        withdrawn: false,
        federated: None,
        failed: 0,
        sound: false,
    };
    write(folder.path(), &mut model, 300);
    let domain = TrustDomain::from_name("example.org").unwrap();
    let [svid, key, bundle] = FILES.map(|name| folder.path().join(name));
    let source = X509Source::from_pem_files(domain, svid, key, bundle, NOW).unwrap();
    let mut generation = source.generation();
    for step in steps {
        match step {
            Step::Good(lifetime) => {
                write(folder.path(), &mut model, lifetime);
                prop_assert!(source.reload(model.now).is_ok());
            }
            Step::Late => {
                let then = model.now.saturating_sub(Duration::from_secs(7200));
                authority("example.org", then).write_to_folder(folder.path(), "/a").unwrap();
                (model.sound, model.failed) = (false, model.failed + 1);
                prop_assert!(source.reload(model.now).is_err());
            }
            Step::Torn(which) if which < 2 => {
                // The bundle of another root fits any SVID as far as files can tell.
                authority("example.org", model.now).write_to_folder(other.path(), "/a").unwrap();
                copy(other.path(), folder.path(), &[FILES[which]]);
                (model.sound, model.failed) = (false, model.failed + 1);
                prop_assert!(source.reload(model.now).is_err());
            }
            Step::Torn(which) | Step::Bad(which) => {
                let path = folder.path().join(FILES[which]);
                fs::write(path, "-----BEGIN CERTIFICATE-----\nMII").unwrap();
                (model.sound, model.failed) = (false, model.failed + 1);
                prop_assert!(source.reload(model.now).is_err());
            }
            Step::Missing(which) => {
                let _ = fs::remove_file(folder.path().join(FILES[which]));
                (model.sound, model.failed) = (false, model.failed + 1);
                prop_assert!(source.reload(model.now).is_err());
            }
            Step::Repeated => {
                let counts = model.sound && model.from <= model.now && model.now <= model.until;
                prop_assert_eq!(source.reload(model.now).is_ok(), counts);
                if counts {
                    (model.failed, model.withdrawn) = (0, false);
                } else {
                    model.failed += 1;
                }
            }
            Step::Clock(by) => {
                let by_secs = Duration::from_secs(by.unsigned_abs());
                model.now = if by < 0 {
                    model.now.saturating_sub(by_secs)
                } else {
                    model.now.saturating_add(by_secs)
                };
            }
            Step::Put(sequence) => {
                let bundle = authority("partner.test", model.now).bundle();
                let older = model.federated.as_ref().is_some_and(|(_, known)| sequence < *known);
                prop_assert_eq!(source.put_bundle(bundle.clone(), Some(sequence)).is_err(), older);
                if older {
                    model.failed += 1;
                } else {
                    model.federated = Some((bundle, sequence));
                }
            }
            Step::Remove => {
                source.remove_bundle(TrustDomain::from_name("partner.test").unwrap().borrowed());
                model.federated = None;
            }
            Step::Withdraw => {
                source.withdraw();
                model.withdrawn = true;
            }
        }
        model.holds(&source)?;
        prop_assert!(whole(&source.load(), model.now));
        prop_assert!(source.generation() >= generation);
        generation = source.generation();
    }
    // It always recovers.
    write(folder.path(), &mut model, 300);
    prop_assert!(source.reload(model.now).is_ok());
    model.holds(&source)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_updates_come_a_source_holds_the_last_good_one_and_recovers(
        steps in proptest::collection::vec(step(), 1..24)
    ) {
        run(steps)?;
    }
}

#[test]
fn readers_never_see_half_an_update_while_everybody_writes() {
    let ours = [1, 2].map(|_| authority("example.org", NOW));
    let partner = authority("partner.test", NOW);
    let source = ours[0].source("/a").unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (source, over) = (source.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                let (mut last, mut seen) = (0, 0u32);
                while !over.load(Ordering::Relaxed) || seen == 0 {
                    let material = source.load();
                    assert!(whole(&material, NOW));
                    assert!(material.generation() >= last);
                    (last, seen) = (material.generation(), seen.saturating_add(1));
                }
            })
        })
        .collect();
    let federation = {
        let (source, over) = (source.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                source.put_bundle(partner.bundle(), None).unwrap();
                source.remove_bundle(partner.trust_domain().borrowed());
            }
        })
    };
    let sets = ours.map(|authority| {
        (authority.svid("/a").unwrap(), [authority.bundle()].into_iter().collect())
    });
    for n in 0..400 {
        let (identity, bundles): &(_, zt_identity::bundle::BundleSet) = &sets[n % 2];
        source.replace(identity.clone(), bundles.clone());
    }
    over.store(true, Ordering::Relaxed);
    readers.into_iter().chain([federation]).for_each(|thread| thread.join().unwrap());
}
