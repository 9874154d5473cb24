//! Handles and prepared requests answer as names do, of whatever program is asked.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use allocation_counter::measure;
use proptest::prelude::*;
use zt_policy::cedar::{data, text};
use zt_policy::decide::{Prepared, Query, Scratch};
use zt_policy::entity::{Entities, Entity, Request};
use zt_policy::evaluate::{OnForbidError, Outcome};
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::program::Program;
use zt_policy::value::Record;

const DENY: OnForbidError = OnForbidError::Deny;

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::new(EntityType::parse(kind).unwrap(), id)
}

fn program(policies: &str) -> Program {
    let roles = r#"[{"uid": {"type": "User", "id": "alice"}, "attrs": {}, "parents": [{"type": "Role", "id": "clerk"}]}]"#;
    let policies = text::policies("p", policies).unwrap();
    Program::compile(&policies, &data::entities("roles", roles).unwrap()).unwrap()
}

fn request(principal: &EntityUid, resource: &EntityUid) -> Request {
    let (principal, resource) = (principal.clone(), resource.clone());
    Request { principal, action: uid("Action", "read"), resource, context: Arc::default() }
}

#[test]
fn a_handle_of_another_program_is_looked_up_again_and_never_misread() {
    // In each program the same numbers stand for other entities.
    let one = program(r#"permit (principal == User::"bob", action, resource == Order::"42");"#);
    let other = program(
        r#"permit (principal == Order::"42", action, resource);
        permit (principal == User::"carol", action, resource == User::"bob");"#,
    );
    let names = ["alice", "bob", "carol", "dave", "42"]
        .into_iter()
        .flat_map(|id| [uid("User", id), uid("Order", id), uid("Unknown", id)]);
    let names: Vec<_> = names.collect();
    let mut scratch = Scratch::new();
    for (maker, asked) in [(&one, &one), (&one, &other), (&other, &one), (&other, &other)] {
        for principal in &names {
            for resource in &names {
                let handles = [principal, resource].map(|uid| maker.handle(uid));
                let [who, what] = &handles;
                assert_eq!((who.is_of(maker), who.uid()), (true, principal));
                let query = Query::new(who, ("Action", "read"), what);
                let by_handle = asked.rule(&mut scratch, &query, DENY).policy();
                let plain = request(principal, resource);
                let by_name = asked.decide(&mut scratch, &plain, &Entities::new(), DENY);
                let expected =
                    if let Outcome::Allow { policy } = &by_name { Some(&**policy) } else { None };
                assert_eq!(by_handle, expected, "{principal} {resource}");
            }
        }
    }
}

#[test]
fn a_handle_outlives_its_program() {
    let (old, new) = (
        program("permit (principal, action, resource);"),
        program("permit (principal == User::\"alice\", action, resource);"),
    );
    let alice = old.handle(&uid("User", "alice"));
    drop(old);
    assert!(!alice.is_of(&new));
    let query = Query::new(&alice, ("Action", "read"), ("Order", "42"));
    assert!(new.rule(&mut Scratch::new(), &query, DENY).is_allow());
}

#[test]
fn two_handles_of_one_entity_that_no_policy_names_are_the_same_entity() {
    let same = program("permit (principal, action, resource) when { principal == resource };");
    let handle = |id| same.handle(&uid("Thing", id));
    let (a, also_a, b) = (handle("a"), handle("a"), handle("b"));
    let mut scratch = Scratch::new();
    let mut rule = |query: &Query<'_>| same.rule(&mut scratch, query, DENY).is_allow();
    assert!(rule(&Query::new(&a, ("Action", "read"), &also_a)));
    assert!(rule(&Query::new(&a, ("Action", "read"), ("Thing", "a"))));
    assert!(rule(&Query::new(("Thing", "a"), ("Action", "read"), &uid("Thing", "a"))));
    assert!(!rule(&Query::new(&a, ("Action", "read"), &b)));
    assert!(!rule(&Query::new(&a, ("Action", "read"), ("Other", "a"))));
}

#[test]
fn a_prepared_request_is_answered_by_the_program_that_is_asked() {
    let programs = [
        program("permit (principal, action, resource) when { resource.owner == \"alice\" };"),
        program(
            "permit (principal in Role::\"clerk\", action, resource) when { resource.owner == \"bob\" };",
        ),
        program("permit (principal in Role::\"boss\", action, resource);"),
    ];
    let order = uid("Order", "42");
    let mut known = Entity::new(order.clone());
    known.attributes = Record::from([("owner".into(), "alice".into())]);
    let mut user = Entity::new(uid("User", "alice"));
    user.parents.insert(uid("Role", "boss"));
    let overlay: Entities = [known, user].into_iter().collect();
    let asked = request(&uid("User", "alice"), &order);
    let mut prepared = Prepared::new(asked.clone(), overlay);
    assert_eq!(prepared.request(), &asked);
    for expected in [true, false, true].into_iter().zip(&programs).cycle().take(12) {
        let (expected, program) = expected;
        for _ in 0..3 {
            assert_eq!(program.rule_prepared(&mut prepared, DENY).is_allow(), expected);
        }
    }
}

#[test]
fn handles_and_prepared_requests_allocate_nothing_once_warm() {
    let program = program(
        r#"permit (principal in Role::"clerk", action, resource) when { [principal, resource].contains(principal) };"#,
    );
    let (alice, order) = (uid("User", "alice"), uid("Order", "42"));
    let handles = [&alice, &uid("Action", "read"), &order].map(|uid| program.handle(uid));
    let mut prepared = Prepared::new(request(&alice, &order), Entities::new());
    let mut scratch = Scratch::new();
    let mut decide = || {
        let [principal, action, resource] = &handles;
        let query = Query::new(principal, action, resource);
        assert!(program.rule(&mut scratch, &query, DENY).is_allow());
        let texts = Query::new(("User", "alice"), ("Action", "read"), ("Order", "43"));
        assert!(program.rule(&mut scratch, &texts, DENY).is_allow());
        assert!(program.rule_prepared(&mut prepared, DENY).is_allow());
    };
    decide();
    let warm = measure(|| (0..100).for_each(|_| decide()));
    assert_eq!((warm.count_total, warm.bytes_total), (0, 0));
}

proptest! {
    #[test]
    fn any_text_is_a_name(kind in ".*", id in ".*") {
        let same = program("permit (principal, action, resource) when { principal == resource };");
        let query = Query::new((&*kind, &*id), ("Action", "read"), (&*kind, &*id));
        prop_assert!(same.rule(&mut Scratch::new(), &query, DENY).is_allow());
    }
}
