//! Each rule of sets.

use zt_core::decision::DenyReason;
use zt_core::principal::{Principal, User, Workload};
use zt_core::request::{Action, Context, Resource, SubjectKind};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::*;
use crate::explain::Part;

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn cart() -> Verified<Principal> {
    let id = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    danger::verified(Principal::new(Workload::new(id)))
}

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn alice() -> Verified<Principal> {
    let alice = User::new("https://issuer", "alice").with_roles(["clerk"]);
    cart().on_behalf_of(danger::verified(alice))
}

fn decide(set: &PolicySet, caller: &Verified<Principal>, resource: &Resource) -> Decision {
    let (action, context) = (Action::new("read"), Context::at(Timestamp::EPOCH));
    set.decide(&Request::new(caller, &action, resource, &context))
}

fn order() -> Resource {
    Resource::new("Order", "42").with("owner", "alice")
}

fn denied(decision: &Decision) -> Option<(SubjectKind, DenyReason)> {
    decision.denial().map(|denied| (denied.subject, denied.reason))
}

const SHOP: &str = r#"
    @id("shop") permit (principal in WorkloadPath::"spiffe://example.org/ns/shop", action, resource is Order);
"#;
const CLERKS: &str = r#"
    @id("clerks") permit (principal in Role::"clerk", action == Action::"read", resource)
    when { resource.owner == principal.subject && context.workload in TrustDomain::"example.org" };
"#;

#[test]
fn both_questions_are_asked_and_name_their_policies() {
    let set = PolicySet::parse("p", &[SHOP, CLERKS].concat()).unwrap().with_generation(7);
    let decision = decide(&set, &alice(), &order());
    let policies: Vec<_> = decision.answers().map(|(_, answer)| answer.policy()).collect();
    assert_eq!(policies, [Some("shop"), Some("clerks")]);
    assert_eq!(decision.version().generation, 7);
    let permit = decision.permit().unwrap();
    assert!(permit.covers(&Action::new("read"), &order()).is_ok());
}

#[test]
fn what_no_policy_permits_is_denied() {
    let set = PolicySet::parse("p", SHOP).unwrap();
    assert_eq!(denied(&decide(&set, &cart(), &order())), None);
    let decision = decide(&set, &alice(), &order());
    assert_eq!(denied(&decision), Some((SubjectKind::User, DenyReason::NotPermitted)));
}

#[test]
fn each_question_is_explained() {
    let set = PolicySet::parse("p", SHOP).unwrap();
    let (action, context) = (Action::new("read"), Context::at(Timestamp::EPOCH));
    let explained = set.explain(&Request::new(&alice(), &action, &order(), &context));
    let [(SubjectKind::Workload, Ok(workload)), (SubjectKind::User, Ok(user))] = &*explained else {
        panic!("{explained:?}")
    };
    assert_eq!(workload.permits, ["shop".into()]);
    assert_eq!(user.nearest[0].failed.part, Part::Principal);
    let root = Resource::new("User", "root");
    let refused = set.explain(&Request::new(&cart(), &action, &root, &context));
    assert!(matches!(&*refused, [(SubjectKind::Workload, Err(Unaskable::OwnType { .. }))]));
}

#[test]
fn a_forbid_that_errs_denies_unless_it_is_told_not_to() {
    let typo = r#"@id("typo") forbid (principal, action, resource) when { resource.ownr == "x" };"#;
    let set = PolicySet::parse("p", &[SHOP, typo].concat()).unwrap();
    let decision = decide(&set, &cart(), &order());
    assert_eq!(denied(&decision), Some((SubjectKind::Workload, DenyReason::Error)));
    assert_eq!(decision.answers().next().unwrap().1.policy(), Some("typo"));
    let as_upstream = set.on_forbid_error(OnForbidError::Skip);
    assert_eq!(denied(&decide(&as_upstream, &cart(), &order())), None);
}

#[test]
fn a_forbid_that_applies_wins_over_permits_and_errors() {
    let forbid = r#"@id("no") forbid (principal, action, resource);"#;
    let typo = "forbid (principal, action, resource) when { 1 };";
    let set = PolicySet::parse("p", &[SHOP, typo, forbid].concat()).unwrap();
    let decision = decide(&set, &cart(), &order());
    assert_eq!(denied(&decision), Some((SubjectKind::Workload, DenyReason::Forbidden)));
}

#[test]
fn a_question_that_cannot_be_put_is_denied_as_an_error() {
    let set = PolicySet::parse("p", "permit (principal, action, resource);").unwrap();
    let decision = decide(&set, &cart(), &Resource::new("User", "root"));
    assert_eq!(denied(&decision), Some((SubjectKind::Workload, DenyReason::Error)));
}

#[test]
fn a_hierarchy_of_roles_and_actions_comes_with_the_set() {
    let entities = r#"[
        {"uid": {"type": "Role", "id": "clerk"}, "attrs": {}, "parents": [{"type": "Role", "id": "staff"}]},
        {"uid": {"type": "Action", "id": "read"}, "attrs": {}, "parents": [{"type": "Action", "id": "any"}]}
    ]"#;
    let staff = r#"permit (principal in Role::"staff", action in Action::"any", resource);"#;
    let set = PolicySet::parse("p", &[SHOP, staff].concat()).unwrap();
    assert!(denied(&decide(&set, &alice(), &order())).is_some());
    let set = set.with_entities(crate::cedar::data::entities("e", entities).unwrap());
    assert_eq!(denied(&decide(&set, &alice(), &order())), None);
}

#[test]
fn a_role_is_known_whatever_its_length_and_another_of_its_length_is_not() {
    let named: Vec<_> = [0, 1, 5, 63, 64, 65, 69, 128, 500].map(|len| "r".repeat(len)).into();
    let text = named
        .iter()
        .map(|role| format!(r#"permit (principal in Role::"{role}", action, resource);"#));
    let set = PolicySet::parse("p", &text.chain([SHOP.to_owned()]).collect::<String>()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
    let caller = |role: &str| {
        cart().on_behalf_of(danger::verified(User::new("https://issuer", "u").with_roles([role])))
    };
    for role in &named {
        assert_eq!(denied(&decide(&set, &caller(role), &order())), None, "{}", role.len());
        let other = "s".repeat(role.len());
        assert_eq!(decide(&set, &caller(&other), &order()).is_allowed(), other.is_empty());
    }
    assert!(!decide(&set, &caller("rr"), &order()).is_allowed());
}

#[test]
fn a_set_is_read_from_json_too() {
    let json = r#"{"staticPolicies": {"all": {
        "effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"},
        "resource": {"op": "All"}, "conditions": []
    }}, "templates": {}, "templateLinks": []}"#;
    let set = PolicySet::from_json("p", json).unwrap();
    assert_eq!(denied(&decide(&set, &cart(), &order())), None);
    let none = r#"{"staticPolicies": {}, "templates": {}, "templateLinks": []}"#;
    assert!(matches!(PolicySet::from_json("p", none), Err(LoadError::Empty)));
}

#[test]
fn a_set_without_policies_or_with_a_template_is_refused() {
    let refused = |text| PolicySet::parse("p", text).unwrap_err();
    assert!(matches!(refused(""), LoadError::Empty));
    let template = refused("permit (principal == ?principal, action, resource);");
    assert!(matches!(template, LoadError::Template { .. }));
    let unnamed = refused(r#"@id("") permit (principal, action, resource);"#);
    assert!(matches!(unnamed, LoadError::EmptyName));
    let twice = r#"@id("a") permit (principal, action, resource);"#.repeat(2);
    assert!(matches!(refused(&twice), LoadError::DuplicateName { .. }));
}

#[test]
fn an_expression_made_too_deep_elsewhere_is_refused() {
    use crate::expr::{Expr, Literal};
    let mut set =
        text::policies("p", "permit (principal, action, resource) when { true };").unwrap();
    for _ in 0..MAX_DEPTH {
        let body = &mut set[0].conditions[0].body;
        *body = Expr::Not(Box::new(std::mem::replace(body, Expr::Literal(Literal::Bool(true)))));
    }
    assert!(matches!(PolicySet::new(set, [0; 32]), Err(LoadError::TooDeep { .. })));
}

#[test]
fn what_no_policy_selects_is_allowed_where_the_set_says_so_and_by_a_name_of_its_own() {
    use crate::evaluate::default::Side;
    let set = PolicySet::parse("p", r#"permit (principal, action, resource == Order::"1");"#);
    let set = set.unwrap();
    assert!(denied(&decide(&set, &alice(), &order())).is_some());
    let open = set.with_default(DefaultEffect::AllowUnselected(Side::Resource));
    let decision = decide(&open, &alice(), &order());
    let policies: Vec<_> = decision.answers().map(|(_, answer)| answer.policy()).collect();
    assert_eq!(policies, [Some(ALLOWED_BY_DEFAULT); 2]);
    // What cannot be asked is no more allowed than before.
    assert!(denied(&decide(&open, &alice(), &Resource::new("User", "root"))).is_some());
    let posing = format!("@id({ALLOWED_BY_DEFAULT:?}) permit (principal, action, resource);");
    assert!(matches!(PolicySet::parse("p", &posing), Err(LoadError::ReservedName)));
}

#[test]
fn the_digest_tells_every_source_apart() {
    let digest = |sources: &[(&str, &str)]| {
        let sources: Vec<_> = sources.iter().map(|(name, text)| Source { name, text }).collect();
        super::digest(&sources)
    };
    let one = digest(&[("a", "b"), ("c", "d")]);
    assert_eq!(one, digest(&[("a", "b"), ("c", "d")]));
    for other in [&[("a", "bc"), ("", "d")][..], &[("c", "d"), ("a", "b")], &[("a", "b")]] {
        assert_ne!(one, digest(other));
    }
}
