//! Each rule of the model.

use std::net::IpAddr;

use zt_core::danger;
use zt_core::decision::{Answer, Decision, PolicyVersion};
use zt_core::principal::{Authentication, Principal};
use zt_core::request::{Action, Context, Resource, SubjectKind};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::*;
use crate::cedar::text::expression;
use crate::evaluate::expression::evaluate;

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn caller(workload: Workload) -> Verified<Principal> {
    danger::verified(Principal::new(workload))
}

fn cart() -> Workload {
    let id = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    Workload::new(id).with_attributes(Attributes::new().with("tier", 1))
}

fn account(issuer: &str) -> Workload {
    Workload::new(WorkloadId::ServiceAccount {
        issuer: issuer.into(),
        namespace: "shop".into(),
        name: "cart".into(),
    })
}

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn on_behalf(user: User) -> Verified<Principal> {
    let posture = Attributes::new().with("managed", true);
    caller(cart())
        .on_behalf_of(danger::verified(user))
        .from_device(danger::verified(Device::new("laptop", posture)))
}

fn alice() -> User {
    let mut authentication = Authentication::default();
    authentication.acr = Some("gold".into());
    authentication.amr = vec!["pwd".into(), "otp".into()];
    authentication.auth_time = Some(Timestamp::from_secs(60));
    User::new("https://issuer", "alice")
        .with_client("app")
        .with_scopes(["orders"])
        .with_roles(["clerk"])
        .with_groups(["eng"])
        .with_authentication(authentication)
        .with_attributes(Attributes::new().with("department", "sales"))
}

fn order() -> Resource {
    Resource::new("Shop::Order", "42").with("total", 5).with("tags", Fact::strings(["a"]))
}

fn here() -> Context {
    Context::at(Timestamp::from_micros(1_500_999))
        .from_source("::ffff:10.1.2.3".parse::<IpAddr>().unwrap())
        .with("risk", 3)
}

/// What the question about this kind of subject becomes.
fn asked(
    caller: &Verified<Principal>,
    resource: &Resource,
    context: &Context,
    kind: SubjectKind,
) -> Result<Asked, Unaskable> {
    let action = Action::new("read");
    let request = zt_core::request::Request::new(caller, &action, resource, context);
    let mut result = None;
    let decision = Decision::of(&request, PolicyVersion::default(), |question| {
        if question.subject().kind() == kind {
            result = Some(ask(question, &Arc::default()));
        }
        Answer::not_permitted()
    });
    drop(decision);
    result.unwrap()
}

fn holds(asked: &Asked, text: &str) {
    let value = evaluate(&expression(text).unwrap(), &asked.request, &asked.entities);
    assert_eq!(value, Ok(Value::Bool(true)), "{text}");
}

#[test]
fn a_workload_is_below_its_trust_domain_and_each_prefix_of_its_path() {
    let asked = asked(&caller(cart()), &order(), &here(), SubjectKind::Workload).unwrap();
    for text in [
        r#"principal == Workload::"spiffe://example.org/ns/shop/sa/cart""#,
        r#"principal.trust_domain == "example.org" && principal.path == "/ns/shop/sa/cart""#,
        "principal.tier == 1",
        r#"principal in TrustDomain::"example.org""#,
        r#"principal in WorkloadPath::"spiffe://example.org/ns""#,
        r#"principal in WorkloadPath::"spiffe://example.org/ns/shop""#,
        r#"principal in WorkloadPath::"spiffe://example.org/ns/shop/sa""#,
        r#"!(principal in WorkloadPath::"spiffe://example.org/ns/shop/sa/cart")"#,
        r#"!(principal in WorkloadPath::"spiffe://example.org/ns/sho")"#,
        r#"!(principal in WorkloadPath::"spiffe://example.org/")"#,
        r#"action == Action::"read" && resource == Shop::Order::"42""#,
        r#"resource.total == 5 && resource.tags.contains("a")"#,
        "context.workload == principal && !(context has user) && !(context has device)",
    ] {
        holds(&asked, text);
    }
}

#[test]
fn a_service_account_is_below_its_cluster_and_namespace() {
    let asked = asked(&caller(account("https://k8s")), &order(), &here(), SubjectKind::Workload);
    let asked = asked.unwrap();
    for text in [
        r#"principal == Workload::"https://k8s#system:serviceaccount:shop:cart""#,
        r#"principal in KubernetesCluster::"https://k8s""#,
        r#"principal in KubernetesNamespace::"https://k8s#shop""#,
        r#"principal.issuer == "https://k8s" && principal.namespace == "shop" && principal.name == "cart""#,
    ] {
        holds(&asked, text);
    }
}

#[test]
fn a_user_has_what_the_token_proved() {
    let asked = asked(&on_behalf(alice()), &order(), &here(), SubjectKind::User).unwrap();
    for text in [
        r#"principal == User::"https://issuer#alice" && context.user == principal"#,
        r#"principal.issuer == "https://issuer" && principal.subject == "alice""#,
        r#"principal.client == "app" && principal.scopes.contains("orders")"#,
        r#"principal.roles == ["clerk"] && principal.groups == ["eng"]"#,
        r#"principal.acr == "gold" && principal.amr.contains("otp")"#,
        r#"principal.auth_time == datetime("1970-01-01T00:01:00Z")"#,
        r#"principal.department == "sales""#,
        r#"principal in Role::"clerk" && principal in Group::"eng""#,
        r#"context.workload in TrustDomain::"example.org" && context.workload.tier == 1"#,
        r#"context.device.managed && context.device.id == "laptop""#,
    ] {
        holds(&asked, text);
    }
}

#[test]
fn what_is_not_known_of_a_user_is_absent() {
    let user = User::new("https://issuer", "bob");
    let asked = asked(&on_behalf(user), &order(), &here(), SubjectKind::User).unwrap();
    holds(&asked, "principal.roles == [] && principal.amr == []");
    holds(&asked, "!(principal has client || principal has acr || principal has auth_time)");
}

#[test]
fn the_context_tells_when_and_from_where() {
    let asked = asked(&caller(cart()), &order(), &here(), SubjectKind::Workload).unwrap();
    holds(&asked, r#"context.time == datetime("1970-01-01T00:00:01.500Z")"#);
    holds(&asked, r#"context.source.isInRange(ip("10.0.0.0/8")) && context.risk == 3"#);
    let nowhere = Context::at(Timestamp::EPOCH);
    let asked = super::tests::asked(&caller(cart()), &order(), &nowhere, SubjectKind::Workload);
    holds(&asked.unwrap(), "!(context has source)");
}

#[test]
fn a_resource_cannot_pose_as_someone() {
    for kind in OWN_TYPES {
        let resource = Resource::new(kind, "x");
        let refused = asked(&caller(cart()), &resource, &here(), SubjectKind::Workload);
        assert_eq!(refused.unwrap_err(), Unaskable::OwnType { kind: kind.into() });
    }
    for kind in ["", "order item", "Shop::", "in"] {
        let resource = Resource::new(kind, "x");
        let refused = asked(&caller(cart()), &resource, &here(), SubjectKind::Workload);
        assert!(matches!(refused, Err(Unaskable::Kind(_))), "{kind}");
    }
}

#[test]
fn no_attribute_hides_one_of_the_model() {
    let workload = SubjectKind::Workload;
    for name in CONTEXT {
        let context = Context::at(Timestamp::EPOCH).with(name, true);
        let refused = asked(&caller(cart()), &order(), &context, workload);
        assert!(matches!(refused, Err(Unaskable::TakenName { of: "context", .. })), "{name}");
    }
    for name in USER_FACTS {
        let user = User::new("https://i", "a").with_attributes(Attributes::new().with(name, 1));
        let refused = asked(&on_behalf(user), &order(), &here(), workload);
        assert!(matches!(refused, Err(Unaskable::TakenName { of: "user", .. })), "{name}");
    }
    for name in SPIFFE_FACTS {
        let posing = cart().with_attributes(Attributes::new().with(name, "x"));
        let refused = asked(&caller(posing), &order(), &here(), workload);
        assert!(matches!(refused, Err(Unaskable::TakenName { of: "workload", .. })), "{name}");
    }
    for name in ACCOUNT_FACTS {
        let posing = account("https://k").with_attributes(Attributes::new().with(name, "x"));
        let refused = asked(&caller(posing), &order(), &here(), workload);
        assert!(matches!(refused, Err(Unaskable::TakenName { of: "workload", .. })), "{name}");
    }
}

#[test]
fn a_device_cannot_rename_itself() {
    #[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
    let device = danger::verified(Device::new("a", Attributes::new().with("id", "b")));
    let caller = caller(cart()).from_device(device);
    let refused = asked(&caller, &order(), &here(), SubjectKind::Workload);
    assert!(matches!(refused, Err(Unaskable::TakenName { of: "device", .. })));
}

#[test]
fn two_service_accounts_cannot_share_one_name() {
    let [posing, shop] = [("shop:default", "cart"), ("shop", "default:cart")].map(|(n, name)| {
        let (issuer, namespace, name) = ("https://k".into(), n.into(), name.into());
        caller(Workload::new(WorkloadId::ServiceAccount { issuer, namespace, name }))
    });
    let refused = asked(&posing, &order(), &here(), SubjectKind::Workload);
    assert!(matches!(refused, Err(Unaskable::AmbiguousNamespace { .. })));
    assert!(asked(&shop, &order(), &here(), SubjectKind::Workload).is_ok());
}

#[test]
fn two_users_cannot_share_one_name() {
    let user = User::new("https://issuer#a", "b");
    let refused = asked(&on_behalf(user), &order(), &here(), SubjectKind::User);
    assert!(matches!(refused, Err(Unaskable::AmbiguousIssuer { .. })));
    let refused = asked(&caller(account("a#b")), &order(), &here(), SubjectKind::Workload);
    assert!(matches!(refused, Err(Unaskable::AmbiguousIssuer { .. })));
}

#[test]
fn a_resource_lies_in_what_it_is_within() {
    let order = order().within("Shop::Folder", "open").within("Project", "p");
    let asked = asked(&caller(cart()), &order, &here(), SubjectKind::Workload).unwrap();
    holds(&asked, r#"resource in Shop::Folder::"open" && resource in Project::"p""#);
    holds(&asked, r#"!(resource in Project::"q")"#);
    let nowhere = Resource::new("Order", "1").within("no type", "x");
    let refused = super::tests::asked(&caller(cart()), &nowhere, &here(), SubjectKind::Workload);
    assert!(matches!(refused, Err(Unaskable::Kind(_))));
}

#[test]
fn a_route_lies_below_each_prefix_of_its_path() {
    let ask_for = |path: &str| {
        let route = Resource::new("Route", path);
        asked(&caller(cart()), &route, &here(), SubjectKind::Workload)
    };
    let below = ask_for("/shop.Orders/{id}/items").unwrap();
    for text in [
        r#"resource in Route::"/shop.Orders" && resource in Route::"/shop.Orders/{id}""#,
        r#"resource in Route::"/shop.Orders/{id}/items""#,
        r#"!(resource in Route::"/") && !(resource in Route::"") && !(resource in Route::"/shop")"#,
    ] {
        holds(&below, text);
    }
    holds(&ask_for("/orders/").unwrap(), r#"resource in Route::"/orders""#);
    for alone in ["/", "/orders", "orders/x", "", "orders.list"] {
        let asked = ask_for(alone).unwrap();
        let route = asked.entities.get(&asked.request.resource).unwrap();
        assert!(route.parents.is_empty(), "{alone}");
    }
    for twofold in ["/a/../b", "/a/..", "/..", "/.", "/./a", "//", "//a", "/a//b", "/a//"] {
        let refused = ask_for(twofold).unwrap_err();
        assert!(matches!(refused, Unaskable::AmbiguousRoute { .. }), "{twofold}");
    }
    let order = Resource::new("Order", "/a/../b");
    assert!(asked(&caller(cart()), &order, &here(), SubjectKind::Workload).is_ok());
}

#[test]
fn a_value_that_is_nested_too_deep_is_refused() {
    let nested =
        |depth: usize| (1..depth).fold(Fact::Bool(true), |inner, _| Fact::Set([inner].into()));
    let ask_about = |depth| {
        let resource = Resource::new("Order", "1").with("nested", nested(depth));
        asked(&caller(cart()), &resource, &here(), SubjectKind::Workload).map(drop)
    };
    assert_eq!(ask_about(MAX_VALUE_DEPTH), Ok(()));
    assert_eq!(ask_about(MAX_VALUE_DEPTH + 1), Err(Unaskable::TooDeep));
}
