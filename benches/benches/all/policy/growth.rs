//! What a decision costs as it has more to look at. Nothing is beside it but ours at the smallest.

use std::hint::black_box;

use serde_json::json;
use zt_benches::{Scenario, Works};
use zt_policy::cedar::data;
use zt_policy::decide::{Query, Scratch};
use zt_policy::evaluate::OnForbidError;
use zt_policy::set::PolicySet;

use super::case::uid;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::of("policy/ancestors-64", || beside(ancestors, 64, 1)),
        Scenario::of("policy/ancestors-1k", || beside(ancestors, 1_000, 1)),
        Scenario::of("policy/actions-64", || beside(actions, 64, 1)),
        Scenario::of("policy/hot-1k", || beside(hot, 1_000, 10)),
        Scenario::of("policy/hot-10k", || beside(hot, 10_000, 10)),
        Scenario::of("policy/hot-1k-unsplit", || beside(unsplit, 1_000, 10)),
    ]
}

fn beside<W: FnMut() -> bool + 'static>(make: fn(usize) -> W, large: usize, small: usize) -> Works {
    let name = format!("ours at {small}").leak();
    Works::new(make(large)).peer(name, make(small))
}

fn decide(policies: String, entities: serde_json::Value) -> impl FnMut() -> bool {
    let entities = data::entities("entities", &entities.to_string()).unwrap();
    let set = PolicySet::parse("policies", &policies).unwrap().with_entities(entities);
    let (program, mut scratch) = (set.program().unwrap().clone(), Scratch::new());
    let [user, read, order] = [uid("User", "alice"), uid("Action", "read"), uid("Order", "42")]
        .map(|uid| program.handle(&uid));
    let mut decide = move || {
        let query = Query::new(black_box(&user), black_box(&read), black_box(&order));
        program.rule(&mut scratch, &query, OnForbidError::Deny).is_allow()
    };
    assert!(decide());
    decide
}

fn in_groups(kind: &str, id: &str, group: &str, count: usize) -> serde_json::Value {
    let parents: Vec<_> =
        (0..count).map(|n| json!({"type": group, "id": format!("g{n}")})).collect();
    json!({"uid": {"type": kind, "id": id}, "attrs": {}, "parents": parents})
}

/// A user in so many groups, each of which has a policy, of which the last applies.
fn ancestors(count: usize) -> impl FnMut() -> bool + 'static {
    let policy = |n| {
        let order = if n + 1 == count { 42 } else { 0 };
        format!("permit (principal in Group::\"g{n}\", action, resource == Order::\"{order}\");")
    };
    decide((0..count).map(policy).collect(), json!([in_groups("User", "alice", "Group", count)]))
}

/// An action in so many groups, one of which is permitted.
fn actions(count: usize) -> impl FnMut() -> bool + 'static {
    let policy = format!(
        "permit (principal == User::\"alice\", action in Action::\"g{}\", resource);",
        count - 1
    );
    decide(policy, json!([in_groups("Action", "read", "Action", count)]))
}

/// So many policies for one user, each for one order.
fn hot(count: usize) -> impl FnMut() -> bool + 'static {
    let policy = |n: usize| {
        // Each pair of a team and a project has a policy, so that either alone finds many.
        let side = count.isqrt().max(1);
        let (team, project) = (n % side, n / side);
        format!(
            "permit (principal in Team::\"{team}\", action, resource in Project::\"{project}\");"
        )
    };
    let entities = json!([
        {"uid": {"type": "User", "id": "alice"}, "attrs": {}, "parents": [{"type": "Team", "id": "1"}]},
        {"uid": {"type": "Order", "id": "42"}, "attrs": {}, "parents": [{"type": "Project", "id": "1"}]},
    ]);
    decide((0..count).map(policy).collect(), entities)
}

/// So many policies for everyone, which nothing tells apart before they are asked.
fn unsplit(count: usize) -> impl FnMut() -> bool + 'static {
    let policy = |n: usize| {
        let wanted = n + 1 == count;
        format!("permit (principal, action, resource) when {{ {n} < 0 || {wanted} }};")
    };
    decide((0..count).map(policy).collect(), json!([]))
}
