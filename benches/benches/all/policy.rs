//! Decisions, beside those who decide the same.

mod case;
mod growth;
mod peers;
mod together;

use std::hint::black_box;
use std::str::FromStr;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, PolicySet as CedarPolicies};
use zt_benches::{Scenario, Works};
use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::{Principal, Workload};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_policy::decide::{Prepared, Query, Scratch};
use zt_policy::entity::Entities;
use zt_policy::evaluate::OnForbidError;
use zt_policy::set::PolicySet;

use self::case::Case;
use self::peers::{Cedar, casbin, floor, interpreter, machine};

const CART: &str = "spiffe://example.org/ns/shop/sa/cart";

pub fn scenarios() -> Vec<Scenario> {
    let mut all = vec![
        Scenario::of("policy/rbac-5", || strings(case::rbac())),
        Scenario::of("policy/rbac-5-interned", || interned(case::rbac())),
        Scenario::of("policy/rbac-5-prepared", || prepared(case::rbac())),
        Scenario::of("policy/rbac-5-miss", || strings(case::rbac().missed())),
        Scenario::of("policy/rbac-5-request", requested),
        Scenario::of("policy/rbac-5-prebuilt", prebuilt),
        Scenario::of("policy/rbac-5-threads", threads),
        Scenario::of("policy/abac-100", || strings(case::abac())),
        Scenario::of("policy/abac-100-interned", || interned(case::abac())),
        Scenario::of("policy/abac-100-all", || strings(case::abac_all())),
        Scenario::of("policy/abac-100-all-prepared", || prepared(case::abac_all())),
        Scenario::of("policy/overlay-2", overlay),
        Scenario::of("policy/load-100k", load),
        Scenario::of("policy/memory-100k", memory),
    ];
    type Make = fn(usize) -> Case;
    let sizes = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)];
    let areas: [(&str, Make, usize); 3] =
        [("exact", case::exact, 3), ("group", case::group, 3), ("tenant", case::tenant, 2)];
    for (area, make, count) in areas {
        for (size, n) in sizes.into_iter().take(count) {
            let name =
                |suffix: &str| -> &'static str { format!("policy/{area}-{size}{suffix}").leak() };
            all.push(Scenario::of(name(""), move || strings(make(n))));
            if area == "tenant" {
                all.push(Scenario::of(name("-prepared"), move || prepared(make(n))));
            } else {
                all.push(Scenario::of(name("-interned"), move || interned(make(n))));
                all.push(Scenario::of(name("-miss"), move || strings(make(n).missed())));
            }
        }
        let large = sizes[count - 1].1;
        let name = format!("policy/{area}-flat").leak();
        all.push(Scenario::of(name, move || {
            Works::new(ours(&make(large))).peer("ours at 1k", ours(&make(1_000)))
        }));
    }
    all.extend(growth::scenarios());
    all.extend(together::scenarios());
    all
}

/// Decides from strings.
fn ours(case: &Case) -> impl FnMut() -> bool + use<> {
    let (program, mut scratch) = (case.program(), Scratch::new());
    let case = Case { policies: String::new(), entities: serde_json::Value::Null, ..case.clone() };
    assert_eq!(case.decide(&program, &mut scratch), case.is_allowed);
    move || black_box(&case).decide(&program, &mut scratch)
}

fn strings(case: Case) -> Works {
    let cedar = Cedar::new(&case);
    let works = Works::new(ours(&case)).peer("cedar-policy", move || black_box(&cedar).decide());
    beside_others(works, &case, false)
}

/// Ours from handles; the peers' from whatever they let one prepare.
fn interned(case: Case) -> Works {
    let (program, mut scratch, asked) = (case.program(), Scratch::new(), case.request());
    let [principal, action, resource] =
        [&asked.principal, &asked.action, &asked.resource].map(|uid| program.handle(uid));
    let mut decide = move || {
        let query = Query::new(black_box(&principal), black_box(&action), black_box(&resource));
        program.rule(&mut scratch, &query, OnForbidError::Deny).is_allow()
    };
    assert_eq!(decide(), case.is_allowed);
    beside_others(beside_cedar(Works::new(decide), &case), &case, true)
}

/// Ours from a request that is numbered already; the peers' from whatever they let one prepare.
fn prepared(case: Case) -> Works {
    let (program, mut prepared) = (case.program(), Prepared::new(case.request(), Entities::new()));
    let mut decide =
        move || program.rule_prepared(black_box(&mut prepared), OnForbidError::Deny).is_allow();
    assert_eq!(decide(), case.is_allowed);
    beside_others(beside_cedar(Works::new(decide), &case), &case, true)
}

fn beside_cedar(works: Works, case: &Case) -> Works {
    let cedar = Cedar::new(case);
    let request = cedar.request();
    works.peer("cedar-policy", move || cedar.decide_over(black_box(&request), &cedar.entities))
}

fn beside_others(mut works: Works, case: &Case, prebuilt: bool) -> Works {
    works = match casbin(case) {
        Ok(decide) => works.peer("casbin", decide),
        Err(reason) => works.peer_cannot("casbin", reason),
    };
    works = match machine(case, prebuilt) {
        Ok(decide) => works.peer("regorus", decide),
        Err(reason) => works.peer_cannot("regorus", reason),
    };
    works = match interpreter(case, prebuilt) {
        Ok(decide) => works.peer("regorus, interpreted", decide),
        Err(reason) => works.peer_cannot("regorus, interpreted", reason),
    };
    match floor(case) {
        Some(decide) => works.peer("a hash map", decide),
        None => works,
    }
}

/// A request of services, owned.
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

/// The whole of what a service does: its nouns are made, the SPIFFE ID is checked, the model is
/// asked, the decision keeps who asked and yields a permit. Upstream does less.
fn requested() -> Works {
    let (ours, cedar) = (case::rbac().set(), Cedar::new(&case::rbac()));
    assert!(Asked::new(CART, "read", "42").is_allowed_by(&ours));
    Works::new(move || {
        Asked::new(black_box(CART), black_box("read"), black_box("42")).is_allowed_by(&ours)
    })
    .peer("cedar-policy", move || black_box(&cedar).decide())
}

/// As `requested`, of a request that exists.
fn prebuilt() -> Works {
    let (ours, asked) = (case::rbac().set(), Asked::new(CART, "read", "42"));
    beside_cedar(Works::new(move || black_box(&asked).is_allowed_by(&ours)), &case::rbac())
}

/// 10,000 decisions on each of two threads, beside 20,000 on one: twice as long would be no gain
/// lost.
fn threads() -> Works {
    let case = case::rbac();
    let decide = |program: &zt_policy::program::Program, case: &Case, times: usize| {
        let mut scratch = Scratch::new();
        (0..times).filter(|_| black_box(case).decide(program, &mut scratch)).count()
    };
    let (program, cedar) = (case.program(), Cedar::new(&case));
    let (two, one) = ((program.clone(), case.clone()), (program, case));
    let cedar_two = cedar.clone();
    let theirs = |cedar: &Cedar, times: usize| (0..times).filter(|_| cedar.decide()).count();
    Works::new(move || on_two(|| decide(&two.0, &two.1, 10_000)))
        .peer("ours on one thread", move || decide(&one.0, &one.1, 20_000))
        .peer("cedar-policy", move || on_two(|| theirs(&cedar_two, 10_000)))
        .peer("cedar-policy on one", move || theirs(&cedar, 20_000))
}

fn on_two(work: impl Fn() -> usize + Sync) -> usize {
    std::thread::scope(|scope| {
        let other = scope.spawn(&work);
        work() + other.join().unwrap()
    })
}

/// A request that brings two entities, a user in a group and a document, to 561 that are known.
fn overlay() -> Works {
    let mut case = case::abac();
    case.principal[1] = "new".into();
    case.resource[1] = "new".into();
    let brought = serde_json::json!([
        {"uid": {"type": "User", "id": "new"}, "attrs": {"department": "d6", "level": 5},
         "parents": [{"type": "Group", "id": "g47"}]},
        {"uid": {"type": "Doc7", "id": "new"}, "attrs": {"department": "d6", "level": 3}, "parents": []},
    ]);
    let overlay = zt_policy::cedar::data::entities("brought", &brought.to_string()).unwrap();
    let (program, mut scratch, request) = (case.program(), Scratch::new(), case.request());
    let mut decide = move || {
        let query = Query::of(black_box(&request)).with_overlay(black_box(&overlay));
        program.rule(&mut scratch, &query, OnForbidError::Deny).is_allow()
    };
    assert!(decide());
    let cedar = Cedar::new(&Case { is_allowed: false, ..case });
    let request = cedar.request();
    let parsed = cedar_policy::Entities::from_json_value(brought, None).unwrap();
    let brought: Vec<Entity> = parsed.into_iter().collect();
    let theirs = move || {
        let entities = cedar.entities.clone().add_entities(brought.clone(), None).unwrap();
        cedar.decide_over(&request, &entities)
    };
    assert!(theirs());
    let no_entities = "it knows no entities to which a request could add some";
    Works::new(decide)
        .peer("cedar-policy", theirs)
        .peer_cannot("casbin", no_entities)
        .peer_cannot("regorus", no_entities)
}

/// Text to what decides.
fn load() -> Works {
    let text: &'static str = case::exact(100_000).policies.leak();
    Works::new(move || PolicySet::parse("policies", black_box(text)).unwrap())
        .peer("cedar-policy", move || CedarPolicies::from_str(black_box(text)).unwrap())
        .peer_cannot("casbin", "it reads no policies of one text")
        .peer_cannot("regorus", "its map is data, which no policy has to be compiled for")
}

/// All that is kept of 100,000 policies: to decide and to explain, and to decide alone.
fn memory() -> Works {
    let text: &'static str = case::exact(100_000).policies.leak();
    let set = move || PolicySet::parse("policies", text).unwrap();
    Works::memory(set)
        .peer("cedar-policy", move || CedarPolicies::from_str(text).unwrap())
        .peer("ours, to decide alone", move || set().program().unwrap().clone())
        .peer("casbin", move || casbin(&case::exact(100_000)).unwrap())
}

pub fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind).unwrap(), EntityId::new(id))
}

pub fn entity(kind: &str, id: &str, parents: impl IntoIterator<Item = EntityUid>) -> Entity {
    Entity::new_no_attrs(uid(kind, id), parents.into_iter().collect())
}
