//! Each rule of live policies.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use zt_core::danger;
use zt_core::decision::DenyReason;
use zt_core::principal::{Principal, User, Workload};
use zt_core::request::{Action, Context, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::ManualClock;
use zt_core::verified::Verified;

use super::*;

const EVERY: Duration = Duration::from_millis(5);
const SOON: Duration = Duration::from_secs(20);
/// Never looks by itself within a test.
const HOUR: Duration = Duration::from_secs(3600);

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn caller() -> Verified<Principal> {
    let cart = SpiffeId::parse("spiffe://example.org/cart").unwrap();
    danger::verified(Principal::new(Workload::new(cart)))
        .on_behalf_of(danger::verified(User::new("https://issuer", "alice")))
}

fn decide(policies: &LivePolicies) -> Decision {
    let (action, resource) = (Action::new("read"), Resource::new("Order", "42"));
    let context = Context::at(Timestamp::EPOCH);
    policies.decide(&Request::new(&caller(), &action, &resource, &context))
}

/// The names of the policies that answered, without repetition.
fn deciders(decision: &Decision) -> Vec<String> {
    let mut names: Vec<String> =
        decision.answers().filter_map(|(_, answer)| Some(answer.policy()?.into())).collect();
    names.dedup();
    names
}

fn allow(name: &str) -> String {
    format!("@id({name:?}) permit (principal, action, resource);")
}

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.cedar"), text).unwrap();
    folder
}

fn write(folder: &tempfile::TempDir, text: &str) {
    fs::write(folder.path().join("a.cedar"), text).unwrap();
}

/// Waits until this holds.
fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < SOON, "it did not happen within {SOON:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_edit_is_picked_up_as_the_next_generation() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    assert_eq!(
        (policies.version().generation, deciders(&decide(&policies))),
        (1, vec!["first".into()])
    );

    write(&folder, &allow("second"));
    until(|| policies.version().generation == 2);
    let decision = decide(&policies);
    assert_eq!(deciders(&decision), ["second"]);
    assert_eq!(decision.version(), policies.version());
    assert_eq!(policies.current().generation(), 2);
    assert_eq!((policies.failures(), policies.last_error().is_none()), (0, true));
}

#[test]
fn a_broken_edit_keeps_the_old_policies_and_says_what_is_wrong() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(HOUR).open().unwrap();
    write(&folder, "permit (principal, action");
    let error = policies.reload().unwrap_err();
    assert!(error.to_string().contains("a.cedar:1:"), "{error}");
    assert_eq!(policies.last_error().unwrap().to_string(), error.to_string());
    assert_eq!((policies.failures(), policies.version().generation), (1, 1));
    assert_eq!(deciders(&decide(&policies)), ["first"]);

    // As is a folder that is gone, and one without policies.
    write(&folder, "// nothing");
    assert!(policies.reload().is_err());
    fs::remove_dir_all(folder.path()).unwrap();
    assert!(policies.reload().is_err());
    assert_eq!((policies.failures(), deciders(&decide(&policies))), (3, vec!["first".into()]));
}

#[test]
fn a_repaired_edit_is_picked_up_and_its_error_forgotten() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    write(&folder, "broken");
    until(|| policies.last_error().is_some());
    write(&folder, &allow("second"));
    until(|| policies.last_error().is_none());
    assert_eq!(deciders(&decide(&policies)), ["second"]);
    // A look may fall between the truncation of the file and its writing.
    assert!(policies.failures() >= 1);
    assert_eq!(policies.version().generation, 2);
}

#[test]
fn an_edit_that_is_taken_back_is_no_new_generation() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(HOUR).open().unwrap();
    let before = policies.version();
    write(&folder, "broken");
    assert!(policies.reload().is_err());
    write(&folder, &allow("first"));
    assert_eq!(policies.reload().unwrap(), before);
    assert!(policies.last_error().is_none());
}

#[test]
fn what_was_read_between_two_looks_is_not_taken_for_what_is_there() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    write(&folder, &allow("second"));
    policies.reload().unwrap();
    write(&folder, &allow("first"));
    until(|| deciders(&decide(&policies)) == ["first"]);
}

#[test]
fn policies_that_were_not_checked_for_too_long_deny_every_question() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path())
        .every(HOUR)
        .max_staleness(HOUR * 2)
        .clock(clock.clone())
        .open()
        .unwrap();
    clock.advance(HOUR * 2);
    assert!(decide(&policies).is_allowed());

    clock.advance(Duration::from_micros(1));
    let decision = decide(&policies);
    assert!(policies.is_stale());
    assert!(decision.answers().all(|(_, a)| a.denied() == Some(DenyReason::Unavailable)));
    assert_eq!(decision.answers().count(), 2);

    // A check that fails makes nothing younger, one that succeeds does.
    write(&folder, "broken");
    assert!(policies.reload().is_err());
    assert!(policies.is_stale());
    write(&folder, &allow("first"));
    policies.reload().unwrap();
    assert_eq!(policies.checked(), clock.now());
    assert!(decide(&policies).is_allowed());
}

#[test]
fn a_look_at_an_unchanged_folder_is_a_check_unless_it_did_not_load() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path())
        .every(EVERY)
        .max_staleness(HOUR)
        .clock(clock.clone())
        .open()
        .unwrap();
    clock.advance(HOUR * 2);
    until(|| !policies.is_stale());

    write(&folder, "broken");
    until(|| policies.last_error().is_some());
    clock.advance(HOUR * 2);
    let told = policies.checked();
    thread::sleep(EVERY * 10);
    assert!(policies.is_stale());
    assert_eq!(policies.checked(), told);
    assert!(!decide(&policies).is_allowed());

    write(&folder, &allow("second"));
    until(|| !policies.is_stale());
    assert_eq!(deciders(&decide(&policies)), ["second"]);
}

#[test]
fn the_hook_hears_of_every_attempt() {
    let folder = folder(&allow("first"));
    let (told, hears) = mpsc::channel();
    let told = Mutex::new(told);
    let policies = LivePolicies::builder(folder.path())
        .every(HOUR)
        .on_reload(move |outcome| {
            let heard = outcome.as_ref().map(|version| version.generation).map_err(|_| ());
            let _ = told.lock().unwrap().send(heard);
        })
        .open()
        .unwrap();
    for text in ["broken", &allow("second")] {
        write(&folder, text);
        let _ = policies.reload();
    }
    assert_eq!(hears.try_iter().collect::<Vec<_>>(), [Err(()), Ok(2)]);
}

#[test]
fn what_cannot_be_loaded_at_first_is_an_error() {
    let broken = LivePolicies::open(folder("broken").path()).unwrap_err();
    assert!(matches!(broken, LiveError::Folder(_)), "{broken}");
    let missing = LivePolicies::open("/nowhere").unwrap_err();
    assert!(matches!(missing, LiveError::Folder(_)), "{missing}");
}

#[test]
fn a_staleness_shorter_than_two_looks_is_refused() {
    let folder = folder(&allow("first"));
    let builder = LivePolicies::builder(folder.path()).every(HOUR).max_staleness(HOUR);
    let refused = builder.open().unwrap_err();
    assert!(matches!(refused, LiveError::StaleBetweenLooks { .. }), "{refused}");
}

#[test]
fn who_decides_does_not_wait_for_who_loads() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(HOUR).open().unwrap();
    let _loading = policies.shared.attempt();
    assert!(decide(&policies).is_allowed());
    assert_eq!(policies.version().generation, 1);
}

#[cfg(unix)]
#[test]
fn a_swap_of_a_mounted_config_map_is_picked_up() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    for version in ["first", "second"] {
        fs::create_dir(folder.path().join(format!("..{version}"))).unwrap();
        fs::write(folder.path().join(format!("..{version}/a.cedar")), allow(version)).unwrap();
    }
    symlink("..first", folder.path().join("..data")).unwrap();
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    assert_eq!(deciders(&decide(&policies)), ["first"]);

    symlink("..second", folder.path().join("..next")).unwrap();
    fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
    until(|| policies.version().generation == 2);
    assert_eq!(deciders(&decide(&policies)), ["second"]);
    assert_eq!(policies.failures(), 0);
}

/// Each version has two files, and one answers the workload's question, the other the user's.
#[cfg(unix)]
#[test]
fn readers_under_load_see_one_version_or_the_other_and_never_a_mix() {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::AtomicBool;

    let folder = tempfile::tempdir().unwrap();
    for version in ["even", "odd"] {
        let data = folder.path().join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        for (file, kind) in [("a.cedar", "Workload"), ("b.cedar", "User")] {
            let text = format!(
                r#"@id("{version}-{kind}") permit (principal is {kind}, action, resource);"#
            );
            fs::write(data.join(file), text).unwrap();
        }
    }
    symlink("..odd", folder.path().join("..data")).unwrap();
    let policies = LivePolicies::builder(folder.path()).every(HOUR).open().unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut decisions = 0u64;
                    while !done.load(Ordering::Relaxed) {
                        let decision = decide(&policies);
                        let odd = decision.version().generation % 2 == 1;
                        let version = if odd { "odd" } else { "even" };
                        let both = [format!("{version}-Workload"), format!("{version}-User")];
                        assert_eq!(deciders(&decision), both);
                        decisions += 1;
                    }
                    decisions
                })
            })
            .collect();
        for n in 2..=200u64 {
            let next = if n % 2 == 1 { "..odd" } else { "..even" };
            symlink(next, folder.path().join("..next")).unwrap();
            fs::rename(folder.path().join("..next"), folder.path().join("..data")).unwrap();
            assert_eq!(policies.reload().unwrap().generation, n);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn what_could_not_be_read_is_tried_again_and_ever_more_rarely() {
    let mut retry = Retry::default();
    let mut looks = Vec::new();
    for _ in 0..9 {
        retry.failed();
        looks.push((1..).find(|_| retry.is_due()).unwrap());
    }
    assert_eq!(looks, [1, 2, 4, 8, 16, 32, 64, 64, 64]);

    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    until(|| policies.failures() > 3);
    assert_eq!(deciders(&decide(&policies)), ["first"]);
}

#[test]
fn what_was_read_and_is_no_policy_is_not_tried_again_until_it_changes() {
    let folder = folder(&allow("first"));
    let policies = LivePolicies::builder(folder.path()).every(EVERY).open().unwrap();
    let broken = folder.path().join("draft");
    fs::write(&broken, "broken").unwrap();
    fs::rename(&broken, folder.path().join("a.cedar")).unwrap();
    until(|| policies.failures() > 0);
    // The draft that was written first is a change of its own, and is none of the policies.
    let failures = policies.failures();
    thread::sleep(EVERY * 20);
    assert_eq!(policies.failures(), failures);
}

#[test]
fn the_status_tells_of_loads_failures_and_age() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let folder = folder(&allow("first"));
    let builder = LivePolicies::builder(folder.path()).every(HOUR).max_staleness(HOUR * 2);
    let policies = builder.clock(clock.clone()).open().unwrap();
    let status = policies.status();
    assert_eq!((status.loads, status.failures, status.age), (1, 0, Duration::ZERO));
    assert!(status.last_error.is_none() && !status.is_stale);

    clock.advance(HOUR * 3);
    write(&folder, "broken");
    assert!(policies.reload().is_err());
    let status = policies.status();
    assert_eq!((status.loads, status.failures, status.age), (1, 1, HOUR * 3));
    assert!(status.last_error.is_some() && status.is_stale);
    assert_eq!(status.checked, Timestamp::from_secs(1_000));

    write(&folder, &allow("second"));
    policies.reload().unwrap();
    let status = policies.status();
    assert_eq!((status.loads, status.failures, status.version.generation), (2, 1, 2));
    assert_eq!((status.age, status.is_stale), (Duration::ZERO, false));
}

#[test]
fn many_requests_are_decided_by_one_version_and_stale_policies_show_nothing() {
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let folder = folder(&allow("first"));
    let builder = LivePolicies::builder(folder.path()).every(HOUR).max_staleness(HOUR * 2);
    let policies = builder.clock(clock.clone()).open().unwrap();
    let (caller, context) = (caller(), Context::at(Timestamp::EPOCH));
    let (read, orders) = (Action::new("read"), ["1", "2"].map(|id| Resource::new("Order", id)));
    let decide_all =
        || policies.decide_all(&caller, &context, orders.iter().map(|order| (&read, order)));
    assert!(decide_all().iter().all(Decision::is_allowed));
    assert_eq!(policies.search(&caller, &read, &context, &orders).len(), 2);

    clock.advance(HOUR * 3);
    let denied = decide_all();
    assert_eq!(denied.len(), 2);
    for decision in denied {
        assert_eq!(decision.denial().unwrap().reason, DenyReason::Unavailable);
        assert_eq!(decision.answers().count(), 2);
    }
    assert!(policies.search(&caller, &read, &context, &orders).is_empty());
}

#[test]
fn the_default_of_a_folder_is_the_one_that_was_asked_for_after_every_reload() {
    use crate::evaluate::default::{DefaultEffect, Side};
    let elsewhere = |name: &str| {
        format!(r#"@id({name:?}) permit (principal, action, resource == Order::"1");"#)
    };
    let folder = folder(&elsewhere("first"));
    let open = LivePolicies::builder(folder.path())
        .every(HOUR)
        .default_effect(DefaultEffect::AllowUnselected(Side::Resource))
        .open()
        .unwrap();
    let closed = LivePolicies::builder(folder.path()).every(HOUR).open().unwrap();
    for next in ["second", "third"] {
        assert!(decide(&open).is_allowed() && !decide(&closed).is_allowed());
        write(&folder, &elsewhere(next));
        open.reload().unwrap();
        closed.reload().unwrap();
    }
}
