//! Many questions of one caller, and a shadow beside what is in force.

use std::hint::black_box;

use zt_benches::{Scenario, Works};
use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::User;
use zt_core::request::{Request, Resource};
use zt_policy::set::PolicySet;
use zt_policy::shadow::Shadowed;

use super::case::{self, Case};
use super::peers::Cedar;
use super::{Asked, CART};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::of("policy/search-1k", || search(policies())),
        Scenario::of("policy/batch-1k", batch),
        Scenario::of("policy/shadow", shadow),
    ]
}

fn orders() -> Vec<Resource> {
    (0..1_000).map(|n| Resource::new("Order", format!("{n}"))).collect()
}

/// A user in five groups, on whose behalf the workload asks: of what a caller brings, requests that
/// are asked together share the numbering.
#[expect(clippy::disallowed_methods, reason = "stands for a token that was verified")]
fn asked() -> Asked {
    let groups = (0..5).map(|n| format!("group-{n}"));
    let user = User::new("https://login.example.com", "alice").with_groups(groups);
    let asked = Asked::new(CART, "read", "42");
    Asked { principal: asked.principal.on_behalf_of(danger::verified(user)), ..asked }
}

/// The policies over roles, and one for users.
fn policies() -> Case {
    let users = r#"permit (principal is User, action == Action::"read", resource is Order);"#;
    let case = case::rbac();
    Case { policies: format!("{}{users}", case.policies), ..case }
}

fn one_by_one(set: PolicySet) -> impl FnMut() -> usize {
    let (asked, orders) = (asked(), orders());
    let allows = move |order: &Resource| {
        let request = Request::new(&asked.principal, &asked.action, order, &asked.context);
        set.decide(&request).permit().is_ok()
    };
    move || black_box(&orders).iter().filter(|order| allows(order)).count()
}

/// Which of a thousand orders a caller may read. Upstream is asked about the workload alone.
fn search(case: Case) -> Works {
    let (set, asked, orders) = (case.set(), asked(), orders());
    let ours = move || {
        set.search(&asked.principal, &asked.action, &asked.context, black_box(&orders)).len()
    };
    let theirs: Vec<Cedar> = (0..1_000)
        .map(|n| Cedar::new(&Case { resource: ["Order".into(), n.to_string()], ..case.clone() }))
        .collect();
    Works::new(ours)
        .peer("ours, one by one", one_by_one(case.set()))
        .peer("cedar-policy", move || {
            black_box(&theirs).iter().filter(|cedar| cedar.decide()).count()
        })
}

/// A thousand decisions for one caller, each kept.
fn batch() -> Works {
    let (set, asked, orders) = (policies().set(), asked(), orders());
    Works::new(move || {
        let each = black_box(&orders).iter().map(|order| (&asked.action, order));
        set.decide_all(&asked.principal, &asked.context, each).len()
    })
    .peer("ours, one by one", one_by_one(policies().set()))
}

/// A decision with a shadow that agrees.
fn shadow() -> Works {
    let (request, alone, other) = (asked(), policies().set(), asked());
    let both = Shadowed::new(policies().set(), Some(policies().set()));
    let decide = |policies: &dyn Decide, asked: &Asked| {
        let asked = black_box(asked);
        let request =
            Request::new(&asked.principal, &asked.action, &asked.resource, &asked.context);
        policies.decide(&request).permit().is_ok()
    };
    assert!(decide(&both, &request));
    Works::new(move || decide(&both, &request)).peer("ours alone", move || decide(&alone, &other))
}
