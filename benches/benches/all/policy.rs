//! Decisions, beside upstream Cedar.

use std::hint::black_box;
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context as CedarContext, Decision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet as CedarPolicies, Request as CedarRequest,
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
    vec![rbac_from_strings(), rbac_prebuilt()]
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
