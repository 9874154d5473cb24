//! The compiled program beside the definition that it has to agree with: policies, entities,
//! overlays and requests that nobody wrote.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test"
)]

use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use zt_core::attribute::{Attributes, Value as Fact};
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, DenyReason, PolicyVersion};
use zt_core::principal::{Device, Principal, User, Workload, WorkloadId};
use zt_core::request::{Action, Context, Request as Asked, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_policy::cedar::{data, text};
use zt_policy::decide::{Prepared, Query, Scratch};
use zt_policy::entity::{Entities, Entity, Request};
use zt_policy::evaluate::default::{DefaultEffect, Side};
use zt_policy::evaluate::{OnForbidError, Outcome, authorize};
use zt_policy::model;
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::policy::{Scope, Target};
use zt_policy::program::Program;
use zt_policy::reach;
use zt_policy::set::PolicySet;
use zt_policy::value::{Record, Value};

const MODES: [OnForbidError; 2] = [OnForbidError::Deny, OnForbidError::Skip];

fn uid(kind: &str, id: impl ToString) -> EntityUid {
    EntityUid::new(EntityType::parse(kind).unwrap(), id.to_string())
}

fn entity_literal() -> impl Strategy<Value = String> {
    (select(&["U", "G", "Action"][..]), 0..6).prop_map(|(kind, id)| format!("{kind}::\"{id}\""))
}

/// Conditions as people write them, which an index may know how to use.
fn conjunct() -> impl Strategy<Value = String> {
    let path = select(
        &[
            "context.t",
            "principal.t",
            "resource.t",
            "context.r.x",
            "principal",
            "resource",
            "context.e",
            "principal.boss.t",
        ][..],
    );
    let literal = prop_oneof![
        select(&["1", "2", "\"a\"", "\"b\"", "true"][..]).prop_map(String::from),
        entity_literal(),
    ];
    (path, literal, entity_literal(), 0..12).prop_map(|(path, literal, entity, form)| match form {
        0 | 1 => format!("{path} == {literal}"),
        2 => format!("{literal} == {path}"),
        3 => format!("[{literal}, {entity}].contains({path})"),
        4 => format!("{path} in {entity}"),
        5 => format!("context has t && context.t == {literal}"),
        9 => format!("context has e && context.t == {literal}"),
        10 => format!("principal has t && context.t == {literal}"),
        11 => format!("context has t && context.t in {entity}"),
        6 => format!("{path} in [{entity}, G::\"1\"]"),
        7 => "principal has t".into(),
        8 => format!("{path} != {literal}"),
        _ => format!("[{literal}].contains({path})"),
    })
}

fn expression() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        3 => select(
            &[
                "principal", "action", "resource", "context", "0", "1", "9223372036854775807",
                "true", "false", "\"a\"", "\"b\"", "context.t", "context.e", "context.r",
                "principal.t", "principal.boss", "resource.t", "resource.set", "principal.boss.t",
                "ip(\"10.0.0.1\")", "decimal(\"1.0\")", "datetime(\"2026-11-21\")", "[]", "{}",
                "decimal(context.s)", "ip(context.s)", "duration(context.s)",
                "principal.getTag(\"a\")", "resource.hasTag(\"a\")", "(context has r.x)",
            ][..]
        )
        .prop_map(String::from),
        1 => entity_literal(),
        2 => conjunct().prop_map(|it| format!("({it})")),
    ];
    atom.prop_recursive(4, 24, 3, |inner| {
        let (a, b, c) = (inner.clone(), inner.clone(), inner);
        (a, b, c, 0..27).prop_map(|(a, b, c, form)| match form {
            0..3 => format!("({a} && {b})"),
            3..5 => format!("({a} || {b})"),
            5 => format!("(!({a}))"),
            6..9 => format!("({a} == {b})"),
            9 => format!("({a} != {b})"),
            10 => format!("({a} < {b})"),
            11 => format!("({a} + {b})"),
            12..14 => format!("({a} in {b})"),
            14 => format!("[{a}, {b}, {c}]"),
            15 => format!("{{t: {a}, x: {b}}}"),
            16 => format!("[{a}, {b}].contains({c})"),
            17 => format!("[{a}].containsAny([{b}, {c}])"),
            18 => format!("[{a}, {c}].containsAll([{b}])"),
            19 => format!("(if {a} then {b} else {c})"),
            20 => format!("(({a}) has t)"),
            21 => format!("(({a}).t)"),
            22 => format!("(({a}) is U in {b})"),
            23 => format!("(({a}) like \"*a\")"),
            24 => format!("({a} in [{b}, {c}])"),
            25 => format!("([{a}, {a}, {b}] == [{b}, {a}])"),
            _ => format!("({a}).isEmpty()"),
        })
    })
}

fn scope(var: &'static str) -> impl Strategy<Value = String> {
    (entity_literal(), 0..6).prop_map(move |(entity, form)| match form {
        0 => format!("{var} == {entity}"),
        1 => format!("{var} in {entity}"),
        2 => format!("{var} is U"),
        3 => format!("{var} is U in {entity}"),
        _ => var.into(),
    })
}

fn action_scope() -> impl Strategy<Value = String> {
    (vec(0..4, 0..3), 0..4).prop_map(|(ids, form)| match (form, ids.first()) {
        (0, Some(id)) => format!("action == Action::\"{id}\""),
        (1, Some(id)) => format!("action in Action::\"{id}\""),
        (2, _) => {
            let ids: Vec<_> = ids.iter().map(|id| format!("Action::\"{id}\"")).collect();
            format!("action in [{}]", ids.join(", "))
        }
        _ => "action".into(),
    })
}

fn condition() -> impl Strategy<Value = String> {
    let when = prop_oneof![
        2 => vec(conjunct(), 1..4).prop_map(|all| all.join(" && ")),
        2 => expression(),
        1 => (conjunct(), expression()).prop_map(|(a, b)| format!("{a} && {b}")),
        1 => (expression(), conjunct()).prop_map(|(a, b)| format!("{a} && {b}")),
    ];
    (when, 0..5).prop_map(|(body, kind)| {
        format!("{} {{ {body} }}", if kind == 0 { "unless" } else { "when" })
    })
}

fn policy() -> impl Strategy<Value = String> {
    let parts =
        (0..3, scope("principal"), action_scope(), scope("resource"), vec(condition(), 0..3));
    parts.prop_map(|(effect, principal, action, resource, conditions)| {
        let effect = if effect == 0 { "forbid" } else { "permit" };
        format!("{effect} ({principal}, {action}, {resource}) {};", conditions.join(" "))
    })
}

/// One of few scopes with one of few conditions, so that many policies share their anchors.
fn crowded_policy() -> impl Strategy<Value = String> {
    let principal = select(&["principal", "principal in G::\"0\"", "principal is U"][..]);
    let resource =
        select(&["resource", "resource in G::\"1\"", "resource == U::\"2\"", "resource is G"][..]);
    let condition = prop_oneof![
        3 => (0..4, 0..3).prop_map(|(t, guard)| match guard {
            0 => format!("when {{ context has t && context.t == {t} }}"),
            _ => format!("when {{ context.t == {t} }}"),
        }),
        1 => conjunct().prop_map(|it| format!("when {{ {it} }}")),
        1 => Just(String::new()),
    ];
    (0..3, principal, action_scope(), resource, condition).prop_map(
        |(effect, principal, action, resource, condition)| {
            let effect = if effect == 0 { "forbid" } else { "permit" };
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0..3_i64).prop_map(Value::from),
        select(&["a", "b", "10.0.0.1", "1.0", "zz", "1h"][..]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (select(&["U", "G"][..]), 0..7).prop_map(|(kind, id)| uid(kind, id).into()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|members| members.into_iter().collect::<Value>()),
            fields(inner).prop_map(Value::from),
        ]
    })
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Record> {
    let name = select(&["t", "x", "e", "r", "s", "boss", "set", "other"][..]);
    vec((name.prop_map(Arc::from), value), 0..6).prop_map(|fields| fields.into_iter().collect())
}

fn named_entity(kind: &'static str) -> impl Strategy<Value = Entity> {
    let above = match kind {
        "Action" => "Action",
        _ => "G",
    };
    let tags = vec((select(&["a", "b"][..]).prop_map(Arc::from), value()), 0..2);
    (0..7, btree_set(0..7, 0..3), fields(value()), tags).prop_map(
        move |(id, parents, attributes, tags)| {
            let mut entity = Entity::new(uid(kind, id));
            entity.parents = parents.into_iter().map(|parent| uid(above, parent)).collect();
            entity.attributes = attributes;
            entity.tags = tags.into_iter().collect();
            entity
        },
    )
}

fn entities(count: usize) -> impl Strategy<Value = Vec<Entity>> {
    let any = prop_oneof![named_entity("U"), named_entity("G"), named_entity("Action")];
    vec(any, 0..count)
}

fn request() -> impl Strategy<Value = Request> {
    let side = || (select(&["U", "U", "G"][..]), 0..7);
    (side(), 0..5, side(), fields(value())).prop_map(|(principal, action, resource, context)| {
        Request {
            principal: uid(principal.0, principal.1),
            action: uid("Action", action),
            resource: uid(resource.0, resource.1),
            context: Arc::new(context),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn a_program_answers_as_the_definition_does(
        policies in vec(policy(), 1..8),
        base in entities(10),
        own in entities(4),
        requests in vec(request(), 1..6),
    ) {
        let policies = text::policies("p", &policies.join("\n")).unwrap();
        let base: Arc<Entities> = Arc::new(base.into_iter().collect());
        let program = Program::compile(&policies, &base).unwrap();
        let open = [Side::Principal, Side::Resource].map(DefaultEffect::AllowUnselected).map(|it| {
            (it, Program::compile_with_default(&policies, &base, it).unwrap())
        });
        let mut known = Entities::over(Arc::clone(&base));
        own.iter().for_each(|entity| known.insert(entity.clone()));
        let own: Entities = own.into_iter().collect();
        let mut scratch = Scratch::new();
        for request in requests {
            let expected = authorize(&policies, &request, &known);
            // An overlay adds, whether it repeats what the base says or not.
            for overlay in [&own, &known] {
                let counted = program.count(&mut scratch, &request, overlay).unwrap();
                let errors: Vec<_> =
                    expected.errors.iter().map(|error| error.policy.clone()).collect();
                prop_assert_eq!(&counted.permits, &expected.permits);
                prop_assert_eq!(&counted.forbids, &expected.forbids);
                prop_assert_eq!(&counted.errors, &errors);
                for mode in MODES {
                    let outcome = program.decide(&mut scratch, &request, overlay, mode);
                    prop_assert_eq!(outcome, expected.outcome(mode));
                    for (default, program) in &open {
                        let expected =
                            default.apply(expected.outcome(mode), &policies, &request, &known);
                        let outcome = program.decide(&mut scratch, &request, overlay, mode);
                        prop_assert_eq!(outcome, expected);
                        prop_assert_eq!(program.default_effect(), *default);
                    }
                }
            }
        }
    }

    #[test]
    fn crowded_policies_are_answered_as_the_definition_does(
        policies in vec(crowded_policy(), 60..120),
        base in entities(10),
        own in entities(3),
        requests in vec(request(), 1..12),
    ) {
        let policies = text::policies("p", &policies.join("\n")).unwrap();
        let base: Arc<Entities> = Arc::new(base.into_iter().collect());
        let program = Program::compile(&policies, &base).unwrap();
        let mut known = Entities::over(Arc::clone(&base));
        own.iter().for_each(|entity| known.insert(entity.clone()));
        let overlay: Entities = own.into_iter().collect();
        let mut scratch = Scratch::new();
        for request in requests {
            let expected = authorize(&policies, &request, &known);
            let [principal, action, resource] = [&request.principal, &request.action, &request.resource]
                .map(|uid| program.handle(uid));
            let query = Query::new(&principal, &action, &resource)
                .with_context(&request.context)
                .with_overlay(&overlay);
            let mut prepared = Prepared::new(request.clone(), overlay.clone());
            for mode in MODES {
                let expected = expected.outcome(mode);
                let outcome = program.decide(&mut scratch, &request, &overlay, mode);
                prop_assert_eq!(&outcome, &expected);
                let by_handles = Outcome::from(program.rule(&mut scratch, &query, mode));
                prop_assert_eq!(&by_handles, &expected);
                let prepared = Outcome::from(program.rule_prepared(&mut prepared, mode));
                prop_assert_eq!(&prepared, &expected);
            }
        }
    }

    #[test]
    fn a_policy_set_answers_as_the_definition_does(
        policies in vec(select(MODEL_POLICIES), 1..12),
        caller in caller(),
        resource in resource(),
        context in context(),
        action in select(&["read", "write"][..]),
    ) {
        let base = data::entities("base", MODEL_BASE).unwrap();
        let policies: Vec<_> = policies
            .iter()
            .enumerate()
            .map(|(n, policy)| format!("@id(\"{n}\") {policy}"))
            .collect();
        let set = PolicySet::parse("p", &policies.join("\n")).unwrap().with_entities(base.clone());
        let base = Arc::new(base);
        let action = Action::new(action);
        let request = Asked::new(&caller, &action, &resource, &context);
        for mode in MODES {
            let set = set.clone().on_forbid_error(mode);
            let decision = set.decide(&request);
            let mut answers = decision.answers();
            let _ = Decision::of(&request, PolicyVersion::default(), |question| {
                let (kind, answer) = answers.next().unwrap();
                assert_eq!(kind, question.subject().kind());
                let expected = model::ask(question, &base).map(|asked| {
                    authorize(&set.policies().collect::<Vec<_>>(), &asked.request, &asked.entities).outcome(mode)
                });
                assert_eq!(set.outcome(question), expected);
                assert_eq!((answer.denied(), answer.policy()), answer_of(expected.as_ref().ok()));
                Answer::not_permitted()
            });
        }
    }

    #[test]
    fn requests_asked_together_are_answered_as_one_by_one(
        policies in vec(select(MODEL_POLICIES), 1..12),
        caller in caller(),
        asked in vec((select(&["read", "write"][..]).prop_map(Action::new), resource()), 0..8),
        context in context(),
    ) {
        let set = model_set(&policies);
        for mode in MODES {
            let set = set.clone().on_forbid_error(mode);
            let alone: Vec<_> = asked
                .iter()
                .map(|(action, resource)| set.decide(&Asked::new(&caller, action, resource, &context)))
                .collect();
            let pairs = asked.iter().map(|(action, resource)| (action, resource));
            let together = set.decide_all(&caller, &context, pairs);
            prop_assert_eq!(together.len(), alone.len());
            for (one, other) in together.iter().zip(&alone) {
                prop_assert!(one.answers().eq(other.answers()));
                prop_assert_eq!(one.version(), other.version());
            }
            let action = Action::new("read");
            let seen = set.search(&caller, &action, &context, asked.iter().map(|(_, it)| it));
            let expected = asked.iter().map(|(_, resource)| resource).filter(|resource| {
                set.decide(&Asked::new(&caller, &action, resource, &context)).is_allowed()
            });
            prop_assert!(seen.iter().map(|permit| permit.resource()).eq(expected));
        }
    }

    #[test]
    fn what_is_allowed_is_within_reach_and_what_no_condition_keeps_out_is_allowed(
        policies in vec(select(MODEL_POLICIES), 1..12),
        caller in caller(),
        resource in resource(),
        context in context(),
        action in select(&["read", "write"][..]),
    ) {
        let set = model_set(&policies);
        let action = Action::new(action);
        let request = Asked::new(&caller, &action, &resource, &context);
        let allowed = set.decide(&request).is_allowed();
        let Ok(reach) = set.reach(&caller, &action, &context) else {
            prop_assert!(!allowed);
            return Ok(());
        };
        let extents: Vec<_> = std::iter::once(&reach.workload).chain(&reach.user).collect();
        let lies_in = |named: &reach::Named| resource_lies_in(&named.resource, &resource, set.entities());
        if allowed {
            prop_assert!(extents.iter().all(|extent| extent.permits.iter().any(lies_in)));
            let uid = uid(resource.kind(), resource.id());
            prop_assert!(reach.named().is_none_or(|named| named.contains(&uid)));
        }
        let is_free = |extent: &&reach::Extent| {
            extent.permits.iter().any(|permit| !permit.is_conditional && lies_in(permit))
                && !extent.forbids.iter().any(lies_in)
        };
        let is_askable = set.explain(&request).iter().all(|(_, explained)| explained.is_ok());
        if is_askable && extents.iter().all(is_free) {
            prop_assert!(allowed);
        }
    }
}

fn model_set(policies: &[&str]) -> PolicySet {
    let named = |(n, policy): (usize, &&str)| format!("@id(\"{n}\") {policy}");
    let text: Vec<_> = policies.iter().enumerate().map(named).collect();
    let base = data::entities("base", MODEL_BASE).unwrap();
    PolicySet::parse("p", &text.join("\n")).unwrap().with_entities(base)
}

fn resource_lies_in(scope: &Scope, resource: &Resource, base: &Entities) -> bool {
    let Ok(kind) = EntityType::parse(resource.kind()) else { return false };
    let uid = EntityUid::new(kind, resource.id());
    let mut entity = Entity::new(uid.clone());
    for (kind, id) in resource.parents() {
        let Ok(kind) = EntityType::parse(kind) else { return false };
        entity.parents.insert(EntityUid::new(kind, id));
    }
    if resource.kind() == "Route" {
        for (slash, _) in resource.id().match_indices('/').skip(1) {
            entity.parents.insert(EntityUid::new(uid.kind().clone(), &resource.id()[..slash]));
        }
    }
    let mut known = Entities::over(Arc::new(base.clone()));
    known.insert(entity);
    let is_in = |target: &Target| {
        let Target::Entity(ancestor) = target else { return false };
        known.is_in(&uid, ancestor)
    };
    if let Scope::Eq(target) = scope {
        return *target == Target::Entity(uid);
    }
    if let Scope::Is(kind) | Scope::IsIn(kind, _) = scope
        && uid.kind() != kind
    {
        return false;
    }
    if let Scope::In(target) | Scope::IsIn(_, target) = scope { is_in(target) } else { true }
}

/// More with `PROPTEST_CASES`.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(512)
}

fn answer_of(outcome: Option<&Outcome>) -> (Option<DenyReason>, Option<&str>) {
    match outcome {
        Some(Outcome::Allow { policy }) => (None, Some(policy)),
        Some(Outcome::Forbidden { policy }) => (Some(DenyReason::Forbidden), Some(policy)),
        Some(Outcome::Error { policy }) => (Some(DenyReason::Error), Some(policy)),
        Some(Outcome::NotPermitted) => (Some(DenyReason::NotPermitted), None),
        None => (Some(DenyReason::Error), None),
        Some(other) => panic!("{other:?}"),
    }
}

const MODEL_BASE: &str = r#"[
    {"uid": {"type": "Role", "id": "clerk"}, "attrs": {}, "parents": [{"type": "Role", "id": "staff"}]},
    {"uid": {"type": "Order", "id": "1"}, "attrs": {"region": "eu", "owner": "bob"}, "parents": [{"type": "Folder", "id": "f"}]},
    {"uid": {"type": "User", "id": "https://i#alice"}, "attrs": {"vip": true}, "parents": [{"type": "Group", "id": "vips"}]},
    {"uid": {"type": "Group", "id": "vips"}, "attrs": {}, "parents": [{"type": "Folder", "id": "2"}]},
    {"uid": {"type": "Action", "id": "read"}, "attrs": {}, "parents": [{"type": "Action", "id": "any"}]}
]"#;

const MODEL_POLICIES: &[&str] = &[
    r#"permit (principal in WorkloadPath::"spiffe://example.org/ns", action, resource is Order);"#,
    r#"permit (principal in WorkloadPath::"spiffe://example.org/ns/shop", action == Action::"read", resource);"#,
    r#"permit (principal in TrustDomain::"example.org", action, resource);"#,
    r#"permit (principal in KubernetesNamespace::"https://k#shop", action, resource);"#,
    r#"permit (principal == Workload::"https://k#system:serviceaccount:shop:cart", action, resource);"#,
    r#"permit (principal in Role::"staff", action in Action::"any", resource);"#,
    r#"permit (principal in Group::"vips", action, resource in Folder::"f");"#,
    r#"permit (principal == User::"https://i#alice", action, resource) when { principal.vip };"#,
    r#"permit (principal is User, action, resource) when { resource.owner == principal.subject };"#,
    r#"permit (principal, action, resource) when { resource.region == "eu" };"#,
    r#"permit (principal, action, resource) when { context.tenant == "a" };"#,
    r#"permit (principal, action, resource) when { context.tenant == "b" };"#,
    r#"permit (principal, action, resource) when { principal.roles.contains("clerk") && principal.amr == ["otp"] };"#,
    r#"permit (principal, action, resource) when { context.workload in TrustDomain::"example.org" && context has user };"#,
    r#"permit (principal, action, resource) when { context.device.managed && context.device == {id: "laptop", managed: true} };"#,
    r#"permit (principal, action, resource) when { context == {time: datetime("1970-01-01"), workload: context.workload, tenant: "a"} };"#,
    r#"permit (principal, action, resource) when { principal.issuer like "https://*" && principal.acr == "gold" };"#,
    r#"permit (principal, action, resource) when { principal.name == "cart" || principal.path like "*/cart" };"#,
    r#"permit (principal, action, resource) when { context.source.isInRange(ip("10.0.0.0/8")) };"#,
    r#"permit (principal, action, resource) when { principal.auth_time <= context.time };"#,
    r#"permit (principal, action, resource) when { resource.tags.containsAny(principal.groups) };"#,
    r#"permit (principal, action, resource) when { resource.nested.deep == {a: [1, 2]} };"#,
    r#"permit (principal is User, action, resource == Order::"1");"#,
    r#"permit (principal, action, resource == Order::"2") when { Order::"2".owner == "alice" };"#,
    r#"permit (principal, action, resource) when { resource has owner && context.workload.tier == 1 };"#,
    r#"permit (principal, action, resource in Folder::"f") when { Order::"1" in resource || true };"#,
    r#"permit (principal is Workload, action, resource is Order);"#,
    r#"permit (principal is Workload, action, resource);"#,
    r#"permit (principal in Folder::"root", action, resource);"#,
    r#"permit (principal in Folder::"2", action, resource);"#,
    r#"permit (principal, action, resource in Folder::"root");"#,
    r#"permit (principal is User, action, resource) when { resource in principal };"#,
    r#"permit (principal, action, resource in Route::"/a");"#,
    r#"permit (principal, action, resource == Route::"/a/b/c") when { resource in Route::"/a/b" };"#,
    r#"forbid (principal is User, action, resource in Route::"/a/b");"#,
    r#"forbid (principal, action, resource in Order::"1") when { !(principal in Folder::"root") };"#,
    r#"forbid (principal, action, resource == Order::"0") when { principal in Role::"staff" };"#,
    r#"forbid (principal, action, resource) when { context.tenant == "a" };"#,
    r#"forbid (principal, action, resource) when { context has tenant && context.tenant == "b" };"#,
    r#"forbid (principal, action, resource) unless { context.device.managed };"#,
    r#"forbid (principal is User, action, resource) when { principal.client == "bad" };"#,
    r#"forbid (principal, action == Action::"write", resource) when { resource.ownr == "x" };"#,
];

fn caller() -> impl Strategy<Value = Verified<Principal>> {
    let spiffe = select(&["/ns/shop/sa/cart", "/ns/shop/sa/other", "/x", ""][..]);
    let workload = prop_oneof![
        spiffe.prop_map(|path| {
            let id = SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap();
            WorkloadId::from(id)
        }),
        (select(&["https://k", "https://k", "https://k#x"][..]), select(&["shop", "shop:x"][..]))
            .prop_map(|(issuer, namespace)| WorkloadId::ServiceAccount {
                issuer: issuer.into(),
                namespace: namespace.into(),
                name: "cart".into(),
            }),
    ];
    let user = (
        select(&["alice", "bob"][..]),
        btree_set(select(&["clerk", "staff", "vips", "x"][..]), 0..3),
        btree_set(select(&["otp", "pwd"][..]), 0..2),
        0..4_i64,
    );
    let device = proptest::option::of(any::<bool>());
    (workload, proptest::option::of(user), device).prop_map(|(workload, user, device)| {
        let mut caller = proven(Principal::new(
            Workload::new(workload).with_attributes(Attributes::new().with("tier", 1)),
        ));
        if let Some((name, roles, amr, form)) = user {
            let mut authentication = zt_core::principal::Authentication::default();
            authentication.amr = amr.into_iter().map(Arc::from).collect();
            let mut user =
                User::new("https://i", name).with_roles(roles.clone()).with_groups(roles);
            if form > 1 {
                authentication.acr = Some("gold".into());
                authentication.auth_time = Some(Timestamp::from_secs(form));
                user = user.with_client(if form == 2 { "bad" } else { "good" });
            }
            if form == 1 {
                user = user.with_attributes(Attributes::new().with("vip", false));
            }
            caller = caller.on_behalf_of(proven(user.with_authentication(authentication)));
        }
        if let Some(managed) = device {
            let posture = Attributes::new().with("managed", managed);
            caller = caller.from_device(proven(Device::new("laptop", posture)));
        }
        caller
    })
}

#[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
fn proven<T>(value: T) -> Verified<T> {
    danger::verified(value)
}

fn resource() -> impl Strategy<Value = Resource> {
    (select(&["Order", "Order", "Folder", "User", "no kind"][..]), 0..3_u32, 0..8_u32).prop_map(
        |(kind, id, form)| {
            let resource = Resource::new(kind, id.to_string());
            match form {
                0 => resource,
                1 => resource.with("owner", "alice").with("tags", Fact::strings(["vips", "q"])),
                2 => {
                    let inner = Attributes::new().with("a", vec![Fact::Long(2), Fact::Long(1)]);
                    resource.with("nested", Attributes::new().with("deep", inner))
                }
                3 => resource.within("Folder", "f").within("Order", "1"),
                4 => resource.within("User", "https://i#alice").within("Folder", "root"),
                5 => resource.within("no kind", "1"),
                6 => Resource::new("Route", ["/a/b", "/a/b/c", "/a/../b", "/b"][at(id)]),
                _ => {
                    let deep = (0..40).fold(Fact::Long(1), |inner, _| Fact::Set([inner].into()));
                    resource.with("unread", deep)
                }
            }
        },
    )
}

fn at(id: u32) -> usize {
    usize::try_from(id).unwrap()
}

fn context() -> impl Strategy<Value = Context> {
    (proptest::option::of(select(&["a", "b", "c"][..])), 0..4).prop_map(|(tenant, form)| {
        let mut context = Context::at(Timestamp::from_secs(if form == 0 { 0 } else { 3 }));
        if let Some(tenant) = tenant {
            context = context.with("tenant", tenant);
        }
        match form {
            1 => context.from_source([10, 0, 0, 1]),
            2 => context.from_source([192, 168, 0, 1]).with("unread", 1),
            3 => context.with("time", 1),
            _ => context,
        }
    })
}
