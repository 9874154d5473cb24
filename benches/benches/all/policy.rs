//! Decisions, beside upstream Cedar.

use std::hint::black_box;
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context as CedarContext, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet as CedarPolicies, Request as CedarRequest, RestrictedExpression,
};
use zt_benches::Scenario;
use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::{Principal, Workload};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_policy::cedar::data;
use zt_policy::set::PolicySet;

const CART: &str = "spiffe://example.org/ns/shop/sa/cart";

const RBAC: &str = r#"
    @id("readers-read") permit (principal in Role::"reader", action == Action::"read", resource is Order);
    @id("clerks-read") permit (principal in Role::"clerk", action == Action::"read", resource is Order);
    @id("clerks-write") permit (principal in Role::"clerk", action == Action::"write", resource is Order);
    @id("managers-cancel") permit (principal in Role::"manager", action == Action::"cancel", resource is Order);
    @id("admins") permit (principal in Role::"admin", action, resource);
"#;

/// What both sides know before the request: who has which role, and that roles are ordered.
const ROLES: &str = r#"[
    {"uid": {"type": "Workload", "id": "spiffe://example.org/ns/shop/sa/cart"}, "attrs": {},
     "parents": [{"type": "Role", "id": "clerk"}]},
    {"uid": {"type": "Role", "id": "clerk"}, "attrs": {}, "parents": [{"type": "Role", "id": "reader"}]},
    {"uid": {"type": "Role", "id": "manager"}, "attrs": {}, "parents": [{"type": "Role", "id": "clerk"}]}
]"#;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        rbac_from_strings(),
        rbac_prebuilt(),
        many("policy/exact-1k", 1_000, true, exact),
        many("policy/exact-10k", 10_000, true, exact),
        many("policy/exact-100k", 100_000, false, exact),
        many("policy/tenant-1k", 1_000, true, tenant),
        many("policy/tenant-10k", 10_000, true, tenant),
        many("policy/abac-100", 100, true, abac),
    ]
}

/// A policy for one workload and one order.
fn exact(n: usize) -> String {
    let workload = format!("{CART}-{n}");
    format!("permit (principal == Workload::{workload:?}, action, resource == Order::\"{n}\");")
}

/// A policy for one tenant, whoever asks.
fn tenant(n: usize) -> String {
    format!("permit (principal, action, resource) when {{ context.tenant == \"t{n}\" }};")
}

/// A policy that compares what is known of the order with what is known of the request.
fn abac(n: usize) -> String {
    format!(
        "permit (principal, action == Action::\"read\", resource is Order) when {{ \
         resource.owner == context.tenant && resource.level > {n} && context.tenant != \"t{n}\" }};"
    )
}

/// A request that the policy of the last number allows, prebuilt on both sides.
fn many(name: &'static str, count: usize, peer: bool, policy: fn(usize) -> String) -> Scenario {
    let text: String = (1..=count).map(policy).collect();
    let ours = PolicySet::parse("many", &text).unwrap();
    let last = format!("{CART}-{count}");
    let asked = Asked::new(&last, "read", &count.to_string());
    let tenant = format!("t{count}");
    let level = i64::try_from(count).unwrap();
    let (context, resource) = (asked.context.with("tenant", &*tenant), asked.resource);
    let resource = resource.with("owner", &*tenant).with("level", level);
    let asked = Asked { context, resource, ..asked };
    let expected = asked.is_allowed_by(&ours);
    let scenario = Scenario::new(name, move || black_box(&asked).is_allowed_by(&ours));
    if !peer {
        return scenario.peer_cannot("cedar-policy", "it asks all 100,000 policies");
    }
    let order = Entity::new(
        uid("Order", &count.to_string()),
        [
            ("owner".into(), RestrictedExpression::new_string(tenant.clone())),
            ("level".into(), RestrictedExpression::new_long(level)),
        ]
        .into(),
        [].into(),
    );
    let context = [("tenant".into(), RestrictedExpression::new_string(tenant))];
    let request = CedarRequest::new(
        uid("Workload", &last),
        uid("Action", "read"),
        uid("Order", &count.to_string()),
        CedarContext::from_pairs(context).unwrap(),
        None,
    );
    let (request, cedar) = (
        request.unwrap(),
        Cedar {
            authorizer: Authorizer::new(),
            policies: CedarPolicies::from_str(&text).unwrap(),
            entities: Entities::from_entities([order.unwrap()], None).unwrap(),
        },
    );
    assert_eq!(cedar.allows(&request), expected, "{name}");
    scenario.peer("cedar-policy", move || cedar.allows(black_box(&request)))
}

fn ours() -> PolicySet {
    let roles = data::entities("roles", ROLES).unwrap();
    PolicySet::parse("rbac", RBAC).unwrap().with_entities(roles)
}

/// A request, owned.
struct Asked {
    principal: Verified<Principal>,
    action: Action,
    resource: Resource,
    context: Context,
}

impl Asked {
    #[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
    fn new(workload: &str, action: &str, order: &str) -> Self {
        let id = SpiffeId::parse(workload).unwrap();
        Self {
            principal: danger::verified(Principal::new(Workload::new(id))),
            action: Action::new(action),
            resource: Resource::new("Order", order),
            context: Context::at(Timestamp::from_secs(1_800_000_000)),
        }
    }

    fn is_allowed_by(&self, policies: &PolicySet) -> bool {
        let (action, resource) = (&self.action, &self.resource);
        let request = Request::new(&self.principal, action, resource, &self.context);
        policies.decide(&request).permit().is_ok()
    }
}

/// Cedar with everything prepared that it lets one prepare.
struct Cedar {
    authorizer: Authorizer,
    policies: CedarPolicies,
    entities: Entities,
}

impl Cedar {
    fn new() -> Self {
        let policies = CedarPolicies::from_str(RBAC).unwrap();
        let entities = Entities::from_json_str(ROLES, None).unwrap();
        Self { authorizer: Authorizer::new(), policies, entities }
    }

    fn allows(&self, request: &CedarRequest) -> bool {
        let answer = self.authorizer.is_authorized(request, &self.policies, &self.entities);
        answer.decision() == Decision::Allow
    }
}

pub fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).unwrap(), EntityId::new(id))
}

pub fn entity(kind: &str, id: &str, parents: impl IntoIterator<Item = EntityUid>) -> Entity {
    Entity::new_no_attrs(uid(kind, id), parents.into_iter().collect())
}

fn cedar_request(workload: &str, action: &str, order: &str) -> CedarRequest {
    CedarRequest::new(
        uid("Workload", workload),
        uid("Action", action),
        uid("Order", order),
        CedarContext::empty(),
        None,
    )
    .unwrap()
}

fn rbac_from_strings() -> Scenario {
    let (ours, cedar) = (ours(), Cedar::new());
    assert!(Asked::new(CART, "read", "42").is_allowed_by(&ours));
    assert!(cedar.allows(&cedar_request(CART, "read", "42")));
    Scenario::new("policy/rbac-5", move || {
        Asked::new(black_box(CART), black_box("read"), black_box("42")).is_allowed_by(&ours)
    })
    .peer("cedar-policy", move || {
        cedar.allows(&cedar_request(black_box(CART), black_box("read"), black_box("42")))
    })
}

fn rbac_prebuilt() -> Scenario {
    let (ours, cedar) = (ours(), Cedar::new());
    let (asked, request) = (Asked::new(CART, "read", "42"), cedar_request(CART, "read", "42"));
    Scenario::new("policy/rbac-5-prebuilt", move || black_box(&asked).is_allowed_by(&ours))
        .peer("cedar-policy", move || cedar.allows(black_box(&request)))
}
