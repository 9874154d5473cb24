//! What asking costs: nothing is allocated to ask about a revocation or to remember a name.

use std::time::Duration;

use zt_core::time::Timestamp;
use zt_identity::possession::replay::{MemoryReplayStore, ReplayStore};
use zt_identity::possession::revocations::{
    MemoryRevocations, Revocation, Revocations, Revoke, TokenNames,
};
use zt_identity::unadmitted::ReplayId;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[test]
fn asking_about_a_revocation_allocates_nothing() {
    let revocations = MemoryRevocations::new(10_000);
    let all: Vec<_> = (0..10_000)
        .map(|n: u32| Revocation::of_session("https://issuer", &n.to_string()))
        .collect();
    revocations.revoke(&all, NOW).into_ready().unwrap().unwrap();
    let mut token = TokenNames::new("https://issuer", "alice");
    (token.session, token.id, token.issued_at) = (Some("not revoked"), Some("1"), Some(NOW));
    let cost = allocation_counter::measure(|| assert!(revocations.check(&token, NOW).is_ok()));
    assert_eq!(cost.count_total, 0);
    token.session = Some("7");
    let cost = allocation_counter::measure(|| assert!(revocations.check(&token, NOW).is_err()));
    assert_eq!(cost.count_total, 0);
}

#[test]
fn remembering_a_name_allocates_nothing_once_there_is_room() {
    let store = MemoryReplayStore::new(1_000);
    let until = NOW.saturating_add(Duration::from_secs(60));
    let insert = |n: u8| {
        let inserted = store.insert_if_absent(&ReplayId::from_bytes([n; 32]), until, NOW);
        assert_eq!(inserted.into_ready().unwrap(), Ok(true));
    };
    (0..100).for_each(insert);
    let cost = allocation_counter::measure(|| insert(100));
    assert_eq!(cost.count_total, 0);
}
