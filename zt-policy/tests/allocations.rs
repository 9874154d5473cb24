//! A warm decision allocates nothing.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;

use allocation_counter::measure;
use zt_core::attribute::{Attributes, Value};
use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::{Authentication, Device, Principal, User, Workload, WorkloadId};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_policy::cedar::data;
use zt_policy::evaluate::OnForbidError;
use zt_policy::set::PolicySet;

/// Every operator and function, with texts, sets and records that no policy knows.
const POLICIES: &str = r#"
    @id("shop") permit (principal in WorkloadPath::"spiffe://example.org/ns/shop", action, resource is Order);
    @id("k8s") permit (principal in KubernetesNamespace::"https://k#shop", action, resource);
    @id("clerks") permit (principal in Role::"staff", action in Action::"any", resource)
    when { resource.owner == principal.subject && context.workload in TrustDomain::"example.org" };
    @id("sets") permit (principal, action, resource)
    when { [principal.subject, resource.owner].containsAny(principal.roles) || principal.roles.contains("x") };
    @id("records") permit (principal, action, resource)
    when { {who: principal, what: {of: resource.owner}} == {who: principal, what: {of: "nobody"}} };
    @id("texts") permit (principal, action, resource)
    when { resource.price like "*.5*" && decimal(resource.price).lessThan(decimal("1.0")) };
    @id("bad") permit (principal, action, resource)
    when { duration(resource.price) > duration("1h") };
    @id("bad-ip") permit (principal, action, resource) when { ip(resource.owner).isIpv4() };
    @id("bad-date") permit (principal, action, resource)
    when { datetime(resource.owner).toDate() == datetime("2026-11-21") };
    @id("bad-decimal") permit (principal, action, resource)
    when { decimal(resource.owner).lessThan(decimal("1.0")) };
    @id("time") permit (principal, action, resource)
    when { context.time.toTime() > duration("25h") && context.source.isInRange(ip("10.0.0.0/8")) };
    @id("tenant") permit (principal, action, resource) when { context.tenant == "blue" };
    @id("whole") permit (principal, action, resource) when { context == {tenant: "red"} };
    @id("device") forbid (principal, action, resource)
    when { context has device && !context.device.managed && context.device == {id: "x"} };
    @id("typo") forbid (principal, action == Action::"typo", resource) when { resource.ownr == 1 };
"#;

const ROLES: &str = r#"[
    {"uid": {"type": "Role", "id": "clerk"}, "attrs": {}, "parents": [{"type": "Role", "id": "staff"}]},
    {"uid": {"type": "Action", "id": "read"}, "attrs": {}, "parents": [{"type": "Action", "id": "any"}]}
]"#;

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn proven<T>(value: T) -> Verified<T> {
    danger::verified(value)
}

fn callers() -> Vec<Verified<Principal>> {
    let cart = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    let attributes = Attributes::new().with("tier", 1).with("zone", "b");
    let account = WorkloadId::ServiceAccount {
        issuer: "https://k".into(),
        namespace: "shop".into(),
        name: "cart".into(),
    };
    let mut authentication = Authentication::default();
    authentication.acr = Some("gold".into());
    authentication.amr = vec!["otp".into(), "pwd".into()];
    authentication.auth_time = Some(Timestamp::from_secs(7));
    let alice = User::new("https://issuer", "alice")
        .with_roles(["clerk", "unknown"])
        .with_groups(["one", "two"])
        .with_client("app")
        .with_authentication(authentication);
    let laptop = Device::new("laptop", Attributes::new().with("managed", true));
    let workload = || Workload::new(cart.clone()).with_attributes(attributes.clone());
    vec![
        proven(Principal::new(workload())),
        proven(Principal::new(Workload::new(account))),
        proven(Principal::new(workload())).on_behalf_of(proven(alice)).from_device(proven(laptop)),
    ]
}

#[test]
fn a_warm_decision_allocates_nothing() {
    let roles = data::entities("roles", ROLES).unwrap();
    let set = PolicySet::parse("p", POLICIES).unwrap().with_entities(roles);
    let resources = [
        Resource::new("Order", "42"),
        Resource::new("Order", "43").with("owner", "alice").with("price", "0.55"),
        Resource::new("Order", "44").with("owner", "bob").with("price", "free"),
        Resource::new("Order", "45").with("tags", Value::strings(["a", "b"])).with("owner", 1),
        Resource::new("User", "not askable"),
        Resource::new("no kind", "not askable"),
    ];
    let here = Context::at(Timestamp::from_secs(1_800_000_000))
        .from_source("::ffff:10.1.2.3".parse::<IpAddr>().unwrap());
    let contexts = [
        here.clone(),
        here.clone().with("tenant", "green").with("risk", Value::strings(["x", "y"])),
        here.with("nested", Attributes::new().with("a", Attributes::new().with("b", 1))),
    ];
    let actions = ["read", "write", "typo"].map(Action::new);
    let callers = callers();
    let modes =
        [OnForbidError::Deny, OnForbidError::Skip].map(|mode| set.clone().on_forbid_error(mode));
    let mut decided = 0;
    let mut decide_all = || {
        for set in &modes {
            for caller in &callers {
                for action in &actions {
                    for resource in &resources {
                        for context in &contexts {
                            let request = Request::new(caller, action, resource, context);
                            decided += usize::from(!set.decide(&request).is_allowed());
                        }
                    }
                }
            }
        }
    };
    let cold = measure(&mut decide_all);
    assert!(cold.count_total > 0, "the counter counts");
    let warm = measure(&mut decide_all);
    assert_eq!((warm.count_total, warm.bytes_total), (0, 0));
    assert!(decided > 0 && decided < 2 * 2 * 3 * 3 * 6 * 3, "{decided} denied");
}

#[test]
fn a_warm_search_that_finds_nothing_allocates_nothing() {
    let policies = r#"permit (principal, action, resource) when { resource.owner == "nobody" };"#;
    let set = PolicySet::parse("p", policies).unwrap();
    let orders: Vec<_> =
        (0..100).map(|id| Resource::new("Order", id.to_string()).with("owner", "alice")).collect();
    let (read, context) = (Action::new("read"), Context::at(Timestamp::EPOCH));
    let callers = callers();
    let search = || {
        for caller in &callers {
            assert!(set.search(caller, &read, &context, &orders).is_empty());
        }
    };
    assert!(measure(search).count_total > 0, "the counter counts");
    assert_eq!(measure(search).count_total, 0);
}
