//! Requests that are asked together.

use zt_core::danger;
use zt_core::decision::{Decide, DenyReason};
use zt_core::principal::{User, Workload};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;

use super::*;
use crate::decide::MAX_TEXT;

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn alice() -> Verified<Principal> {
    let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart").unwrap());
    let alice = User::new("https://issuer", "alice");
    danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice))
}

const OWNERS: &str = r#"
    @id("all") permit (principal is Workload, action == Action::"read", resource);
    @id("own") permit (principal is User, action, resource)
    when { resource.owner == principal.subject };
"#;

fn order(id: u32, owner: &str) -> Resource {
    Resource::new("Order", id.to_string()).with("owner", owner)
}

fn now() -> Context {
    Context::at(Timestamp::EPOCH)
}

fn found(permits: &[Permit]) -> Vec<&str> {
    permits.iter().map(|permit| permit.resource().id()).collect()
}

#[test]
fn a_search_keeps_the_order_and_asks_both_questions() {
    let set = PolicySet::parse("p", OWNERS).unwrap();
    let (caller, context) = (alice(), now());
    let orders = [order(3, "alice"), order(1, "bob"), order(2, "alice")];
    let read = Action::new("read");
    let permits = set.search(&caller, &read, &context, &orders);
    assert_eq!(found(&permits), ["3", "2"]);
    assert!(permits[0].covers(&read, &orders[0]).is_ok());
    assert!(permits[0].covers(&read, &orders[2]).is_err());
    // The user may, the workload may not.
    assert!(set.search(&caller, &Action::new("write"), &context, &orders).is_empty());
}

#[test]
fn every_request_has_a_decision_that_is_its_own_with_both_answers() {
    let set = PolicySet::parse("p", OWNERS).unwrap().with_generation(9);
    let (caller, context) = (alice(), now());
    let (read, write) = (Action::new("read"), Action::new("write"));
    let orders = [order(1, "alice"), order(2, "bob")];
    let asked = [(&read, &orders[0]), (&write, &orders[0]), (&read, &orders[1])];
    let decisions = set.decide_all(&caller, &context, asked);
    assert_eq!(decisions.len(), 3);
    for (decision, (action, resource)) in decisions.iter().zip(asked) {
        assert!(decision.is_of(&Request::new(&caller, action, resource, &context)));
        assert_eq!((decision.answers().count(), decision.version().generation), (2, 9));
    }
    let allowed: Vec<bool> = decisions.iter().map(Decision::is_allowed).collect();
    assert_eq!(allowed, [true, false, false]);
    assert!(set.decide_all(&caller, &context, []).is_empty());
}

#[test]
fn what_cannot_be_asked_is_denied_and_leaves_nothing_behind() {
    let set = PolicySet::parse("p", OWNERS).unwrap();
    let (caller, context, read) = (alice(), now(), Action::new("read"));
    let deep = (0..40).fold(zt_core::attribute::Value::from(1), |inner, _| {
        zt_core::attribute::Value::Set([inner].into())
    });
    // The first attribute of the second is read before its second is refused.
    let posing = Resource::new("User", "root");
    let deep = Resource::new("Order", "x").with("owner", "alice").with("z", deep);
    let unowned = Resource::new("Order", "y");
    let all = [order(1, "alice"), posing, deep, unowned, order(2, "alice")];
    let decisions = set.decide_all(&caller, &context, all.iter().map(|order| (&read, order)));
    let reasons: Vec<_> = decisions
        .iter()
        .map(|decision| decision.answers().map(|(_, answer)| answer.denied()).collect())
        .collect::<Vec<Vec<_>>>();
    let (yes, error) = (vec![None, None], vec![Some(DenyReason::Error); 2]);
    let no = vec![None, Some(DenyReason::NotPermitted)];
    assert_eq!(reasons, [yes.clone(), error.clone(), error, no, yes]);
    assert_eq!(found(&set.search(&caller, &read, &context, &all)), ["1", "2"]);
}

#[test]
fn a_caller_who_cannot_ask_is_denied_everything() {
    let set = PolicySet::parse("p", "permit (principal, action, resource);").unwrap();
    let (caller, context, read) = (alice(), now().with("user", "root"), Action::new("read"));
    let orders = [order(1, "alice"), order(2, "alice")];
    let decisions = set.decide_all(&caller, &context, orders.iter().map(|one| (&read, one)));
    assert_eq!(decisions.len(), 2);
    for decision in decisions {
        assert_eq!(decision.answers().count(), 2);
        assert_eq!(decision.denial().unwrap().reason, DenyReason::Error);
    }
    assert!(set.search(&caller, &read, &context, &orders).is_empty());
}

#[test]
fn what_was_asked_before_takes_no_room_from_what_is_asked_next() {
    let set = PolicySet::parse("p", OWNERS).unwrap();
    let (caller, context, read) = (alice(), now(), Action::new("read"));
    // Each fits alone, no two fit together, and the last fits nowhere.
    let long = |id: u32, len: usize| {
        Resource::new("Order", format!("{id}{}", "x".repeat(len))).with("owner", "alice")
    };
    let mut all: Vec<_> = (0..4).map(|id| long(id, MAX_TEXT / 3 * 2)).collect();
    all.push(long(4, MAX_TEXT));
    all.push(order(5, "alice"));
    let asked = all.iter().map(|resource| (&read, resource));
    let together = set.decide_all(&caller, &context, asked);
    for (decision, resource) in together.iter().zip(&all) {
        let alone = set.decide(&Request::new(&caller, &read, resource, &context));
        assert_eq!(decision.denial(), alone.denial());
        assert_eq!(decision.is_allowed(), resource.id().len() < MAX_TEXT);
    }
    assert_eq!(set.search(&caller, &read, &context, &all).len(), 5);
}
