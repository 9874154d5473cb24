//! What a caller could reach, beside what it is then let do.

use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::{User, Workload};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;

use super::*;
use crate::cedar::data;
use crate::cedar::text::expression;

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn alice() -> Verified<Principal> {
    let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart").unwrap());
    let alice = User::new("https://issuer", "alice").with_roles(["clerk"]);
    danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice))
}

fn reach(policies: &str) -> Reach {
    let set = PolicySet::parse("p", policies).unwrap();
    let context = Context::at(Timestamp::from_secs(60)).with("tenant", "a");
    set.reach(&alice(), &Action::new("read"), &context).unwrap()
}

/// Of the question about the user: the permits, then the forbids, those with conditions marked.
fn of_user(policies: &str) -> (Vec<String>, Vec<String>) {
    let user = reach(policies).user.unwrap();
    let names = |all: &[Named]| {
        let mark = |one: &Named| if one.is_conditional { "?" } else { "" };
        all.iter().map(|one| format!("{}{}", one.policy, mark(one))).collect()
    };
    (names(&user.permits), names(&user.forbids))
}

#[test]
fn policies_for_other_principals_or_actions_are_left_out() {
    let policies = r#"
        @id("a") permit (principal is User, action == Action::"read", resource);
        @id("b") permit (principal == User::"other", action, resource);
        @id("c") permit (principal in Role::"clerk", action in [Action::"x", Action::"read"], resource);
        @id("d") permit (principal is User in Role::"boss", action, resource);
        @id("e") forbid (principal, action == Action::"write", resource);
        @id("f") forbid (principal, action, resource in Folder::"f");
    "#;
    assert_eq!(of_user(policies), (vec!["a".into(), "c".into()], vec!["f".into()]));
    assert_eq!(reach(policies).workload.permits, []);
    assert!(reach(policies).is_empty());
}

#[test]
fn conditions_that_no_resource_changes_are_answered_and_others_are_marked() {
    let policies = r#"
        @id("yes") permit (principal, action, resource) when { context.tenant == "a" };
        @id("no") permit (principal, action, resource) when { context.tenant == "b" && resource.x };
        @id("late") permit (principal, action, resource) when { resource.x && principal.subject == "bob" };
        @id("errs") permit (principal, action, resource) when { context.tennant == "a" };
        @id("open") permit (principal, action, resource) when { resource.owner == principal.subject };
        @id("unless") permit (principal, action, resource) unless { principal in Role::"clerk" };
    "#;
    assert_eq!(of_user(policies).0, ["yes", "open?"]);
}

#[test]
fn a_forbid_is_left_out_only_where_it_can_neither_apply_nor_err() {
    let policies = r#"
        @id("off") forbid (principal, action, resource) when { context.tenant == "b" && resource.x };
        @id("behind") forbid (principal, action, resource) when { resource.x && context.tenant == "b" };
        @id("errs") forbid (principal, action, resource) when { context.tennant == "b" };
        @id("on") forbid (principal, action, resource) when { context.tenant == "a" };
    "#;
    assert_eq!(of_user(policies).1, ["behind?", "errs", "on"]);
}

#[test]
fn what_could_look_at_the_resource_by_another_name_depends_on_it() {
    let asked = Asked {
        request: crate::entity::Request {
            principal: expression_uid(r#"User::"i#alice""#),
            action: expression_uid(r#"Action::"read""#),
            resource: expression_uid(r#"Nothing::"""#),
            context: Arc::default(),
        },
        entities: crate::entity::Entities::new(),
    };
    let caller = Caller::of(&asked);
    let is_independent = |text: &str| caller.is_independent(&expression(text).unwrap());
    for text in [
        "principal.a == context.b",
        "context.a.b.c && context has a",
        "context.workload.x == 1 && context.user.y == 2",
        r#"principal in Folder::"f" && context.user is User in Group::"g""#,
        r#"principal.hasTag("x") && context.time.toDate() == datetime("2026-01-01")"#,
        "context == {a: 1}",
        r#"context.a.b has c || principal has x"#,
    ] {
        assert!(is_independent(text), "{text}");
    }
    for text in [
        "resource.x",
        "principal == resource",
        r#"Order::"1".x"#,
        r#"Order::"1" has x"#,
        r#"Order::"1" in Folder::"f""#,
        "principal.home.x",
        "principal.home in principal.home",
        "principal has home.x",
        "context.workload.home.x",
        "context.user has home.x",
        r#"principal.home.getTag("x")"#,
        "[principal, resource].contains(1)",
        "(if context.a then principal else action).x",
    ] {
        assert!(!is_independent(text), "{text}");
    }
}

fn expression_uid(text: &str) -> EntityUid {
    let expr = expression(text).unwrap();
    let Expr::Literal(crate::expr::Literal::Entity(uid)) = expr else { panic!("{text}") };
    uid
}

#[test]
fn who_is_below_a_resource_could_be_in_more_than_is_known() {
    let base = r#"[{"uid": {"type": "User", "id": "https://issuer#alice"}, "attrs": {},
        "parents": [{"type": "Team", "id": "t"}]}]"#;
    let set = PolicySet::parse(
        "p",
        r#"@id("org") permit (principal in Org::"o", action, resource);
        @id("team") permit (principal in Team::"t", action, resource);
        @id("other") permit (principal == User::"other", action, resource);
        @id("when") forbid (principal, action, resource) when { principal in Org::"o" };"#,
    )
    .unwrap()
    .with_entities(data::entities("base", base).unwrap());
    let context = Context::at(Timestamp::EPOCH);
    let user = set.reach(&alice(), &Action::new("read"), &context).unwrap().user.unwrap();
    let permits: Vec<_> =
        user.permits.iter().map(|one| (&*one.policy, one.is_conditional)).collect();
    assert_eq!(permits, [("org", true), ("team", false)]);
    assert!(user.forbids[0].is_conditional);
}

#[test]
fn the_resources_of_a_caller_whose_permits_name_theirs_are_told() {
    let workload = r#"permit (principal is Workload, action, resource is Order);"#;
    let user = r#"
        permit (principal in Role::"clerk", action, resource == Order::"1");
        permit (principal is User, action, resource == Order::"2") when { resource.open };
        permit (principal == User::"other", action, resource == Order::"3");
    "#;
    let named = |policies: &str| {
        let reach = reach(policies);
        let named = reach.named()?;
        Some(named.iter().map(|uid| uid.id().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(named(&[workload, user].concat()), Some(vec!["1".into(), "2".into()]));
    let narrow = r#"permit (principal is Workload, action, resource == Order::"2");"#;
    assert_eq!(named(&[narrow, user].concat()), Some(vec!["2".into()]));
    assert_eq!(named(workload), Some(vec![]));
    assert_eq!(named("permit (principal, action, resource);"), None);
}

#[test]
fn a_caller_who_cannot_ask_reaches_nothing() {
    let set = PolicySet::parse("p", "permit (principal, action, resource);").unwrap();
    let posing = Context::at(Timestamp::EPOCH).with("user", "root");
    let (caller, read) = (alice(), Action::new("read"));
    assert!(matches!(set.reach(&caller, &read, &posing), Err(Unaskable::TakenName { .. })));
    let order = Resource::new("Order", "1");
    assert!(!set.decide(&Request::new(&caller, &read, &order, &posing)).is_allowed());
}
