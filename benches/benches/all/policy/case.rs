//! What is asked of whom: policies, entities and one request, as texts.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use zt_policy::cedar::data;
use zt_policy::decide::{Query, Scratch};
use zt_policy::entity::Request;
use zt_policy::evaluate::OnForbidError;
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::program::Program;
use zt_policy::set::PolicySet;
use zt_policy::value::Record;

use super::CART;

/// Policies, entities and a request.
#[derive(Clone)]
pub struct Case {
    pub policies: String,
    pub entities: Json,
    pub principal: [String; 2],
    pub action: String,
    pub resource: [String; 2],
    pub context: Vec<(&'static str, String)>,
    pub is_allowed: bool,
    pub casbin: Result<Casbin, &'static str>,
    pub rego: Result<Rego, &'static str>,
    pub floor: Option<Vec<[String; 3]>>,
}

/// The same for casbin: what it takes for a request, a rule and a role; matched how.
#[derive(Clone)]
pub struct Casbin {
    pub request: &'static str,
    pub rule: &'static str,
    pub matcher: String,
    pub rules: Vec<Vec<String>>,
    pub roles: Vec<Vec<String>>,
    pub asked: Vec<String>,
}

/// The same for Rego.
#[derive(Clone)]
pub struct Rego {
    pub module: String,
    pub data: Json,
    pub input: Vec<(&'static str, String)>,
    /// Why it does not become a program of the machine, if it does not.
    pub machine: Result<(), &'static str>,
}

const RBAC: &str = r#"
    @id("readers-read") permit (principal in Role::"reader", action == Action::"read", resource is Order);
    @id("clerks-read") permit (principal in Role::"clerk", action == Action::"read", resource is Order);
    @id("clerks-write") permit (principal in Role::"clerk", action == Action::"write", resource is Order);
    @id("managers-cancel") permit (principal in Role::"manager", action == Action::"cancel", resource is Order);
    @id("admins") permit (principal in Role::"admin", action, resource);
"#;

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(String::from).into()
}

fn entity(kind: &str, id: &str, parents: &[[&str; 2]], attributes: Json) -> Json {
    let parents: Vec<_> =
        parents.iter().map(|[kind, id]| json!({"type": kind, "id": id})).collect();
    json!({"uid": {"type": kind, "id": id}, "attrs": attributes, "parents": parents})
}

/// Who has which role, and how roles are ordered.
pub fn roles() -> Json {
    json!([
        entity("Workload", CART, &[["Role", "clerk"]], json!({})),
        entity("Role", "clerk", &[["Role", "reader"]], json!({})),
        entity("Role", "manager", &[["Role", "clerk"]], json!({})),
    ])
}

/// Five policies over roles.
pub fn rbac() -> Case {
    let grants = [
        ["reader", "Order", "read"],
        ["clerk", "Order", "read"],
        ["clerk", "Order", "write"],
        ["manager", "Order", "cancel"],
        ["admin", "*", "*"],
    ];
    let bodies: String = grants[..4]
        .iter()
        .map(|[role, kind, action]| {
            format!(
                "allow if {{ data.roles[input.principal][{role:?}]; input.kind == {kind:?}; input.action == {action:?} }}\n"
            )
        })
        .collect();
    Case {
        policies: RBAC.into(),
        entities: roles(),
        principal: ["Workload".into(), CART.into()],
        action: "read".into(),
        resource: ["Order".into(), "42".into()],
        context: vec![],
        is_allowed: true,
        casbin: Ok(Casbin {
            request: "sub, obj, act",
            rule: "sub, obj, act",
            matcher: "g(r.sub, p.sub) && (p.obj == \"*\" || r.obj == p.obj) && (p.act == \"*\" || r.act == p.act)".into(),
            rules: grants.map(texts).into(),
            roles: vec![texts([CART, "clerk"]), texts(["clerk", "reader"]), texts(["manager", "clerk"])],
            asked: texts([CART, "Order", "read"]),
        }),
        rego: Ok(Rego {
            module: format!(
                "package zt\nimport rego.v1\ndefault allow := false\n{bodies}allow if {{ data.roles[input.principal][\"admin\"] }}\n"
            ),
            data: json!({"roles": {CART: {"clerk": true, "reader": true}}}),
            input: vec![
                ("principal", CART.into()),
                ("action", "read".into()),
                ("kind", "Order".into()),
                ("resource", "42".into()),
            ],
            machine: Ok(()),
        }),
        floor: Some(vec![[CART.into(), "read".into(), "42".into()]]),
    }
}

/// The decision of the map that Rego is best at.
const MAP: &str = "package zt\nimport rego.v1\ndefault allow := false\nallow if { data.grants[input.principal][input.resource] }\n";

/// A policy for each workload and its order; the last of them is asked for.
pub fn exact(count: usize) -> Case {
    let name = |n: usize| format!("{CART}-{n}");
    let policy = |n| {
        format!(
            "permit (principal == Workload::{:?}, action, resource == Order::\"{n}\");",
            name(n)
        )
    };
    let grants = (1..=count).map(|n| (name(n), json!({n.to_string(): true})));
    let (last, order) = (name(count), count.to_string());
    Case {
        policies: (1..=count).map(policy).collect(),
        entities: json!([]),
        principal: ["Workload".into(), last.clone()],
        resource: ["Order".into(), order.clone()],
        casbin: Ok(Casbin {
            request: "sub, obj, act",
            rule: "sub, obj",
            matcher: "r.sub == p.sub && r.obj == p.obj".into(),
            rules: (1..=count).map(|n| vec![name(n), n.to_string()]).collect(),
            roles: vec![],
            asked: vec![last.clone(), order.clone(), "read".into()],
        }),
        rego: Ok(Rego {
            module: MAP.into(),
            data: json!({"grants": Json::Object(grants.collect())}),
            input: vec![("principal", last), ("action", "read".into()), ("resource", order)],
            machine: Ok(()),
        }),
        floor: Some((1..=count).map(|n| [name(n), "read".into(), n.to_string()]).collect()),
        ..rbac()
    }
}

/// A policy for each group and its order; the user asked for is in the last of them.
pub fn group(count: usize) -> Case {
    let name = |n: usize| format!("group-{n}");
    let policy = |n| {
        format!("permit (principal in Group::{:?}, action, resource == Order::\"{n}\");", name(n))
    };
    let exact = exact(count);
    let (last, order) = (name(count), count.to_string());
    let grants = (1..=count).map(|n| (name(n), json!({n.to_string(): true})));
    Case {
        policies: (1..=count).map(policy).collect(),
        entities: json!([
            entity("User", "alice", &[["Group", &last], ["Group", "staff"]], json!({})),
            entity("Group", "staff", &[["Group", "all"]], json!({})),
        ]),
        principal: ["User".into(), "alice".into()],
        casbin: exact.casbin.map(|casbin| Casbin {
            matcher: "g(r.sub, p.sub) && r.obj == p.obj".into(),
            rules: (1..=count).map(|n| vec![name(n), n.to_string()]).collect(),
            roles: vec![vec!["alice".into(), last.clone()], texts(["alice", "staff"]), texts(["staff", "all"])],
            asked: texts(["alice", &order, "read"]),
            ..casbin
        }),
        rego: exact.rego.map(|rego| Rego {
            module: "package zt\nimport rego.v1\ndefault allow := false\nallow if { some group in data.groups[input.principal]; data.grants[group][input.resource] }\n".into(),
            data: json!({"grants": Json::Object(grants.collect()), "groups": {"alice": [last, "staff", "all"]}}),
            input: vec![("principal", "alice".into()), ("action", "read".into()), ("resource", order.clone())],
            ..rego
        }),
        floor: exact.floor.map(|_| (1..=count).map(|n| ["alice".into(), "read".into(), n.to_string()]).collect()),
        ..exact
    }
}

/// A policy for each tenant, whoever asks.
pub fn tenant(count: usize) -> Case {
    let policy =
        |n| format!("permit (principal, action, resource) when {{ context.tenant == \"t{n}\" }};");
    let last = format!("t{count}");
    let bodies: String =
        (1..=count).map(|n| format!("allow if {{ input.tenant == \"t{n}\" }}\n")).collect();
    Case {
        policies: (1..=count).map(policy).collect(),
        context: vec![("tenant", last.clone())],
        entities: json!([]),
        casbin: Ok(Casbin {
            request: "sub, obj, act, tenant",
            rule: "tenant",
            matcher: "r.tenant == p.tenant".into(),
            rules: (1..=count).map(|n| vec![format!("t{n}")]).collect(),
            roles: vec![],
            asked: texts([CART, "42", "read", &last]),
        }),
        rego: Ok(Rego {
            module: format!("package zt\nimport rego.v1\ndefault allow := false\n{bodies}"),
            data: json!({}),
            input: vec![
                ("principal", CART.into()),
                ("action", "read".into()),
                ("resource", "42".into()),
                ("tenant", last),
            ],
            machine: if count > 1_000 {
                Err("it does not compile ten thousand rule bodies")
            } else {
                Ok(())
            },
        }),
        floor: None,
        ..rbac()
    }
}

/// A hundred policies over 50 groups, 10 types and 5 actions that compare attributes; 500 users in
/// groups, groups in companies, one document.
pub fn abac() -> Case {
    let policy = |n: usize| {
        let (group, kind, action) = (n % 50, n % 10, n % 5);
        format!(
            "permit (principal in Group::\"g{group}\", action == Action::\"a{action}\", resource is Doc{kind}) \
             when {{ principal.department == resource.department && resource.level <= principal.level }};"
        )
    };
    let body = |n: usize| {
        let (group, kind, action) = (n % 50, n % 10, n % 5);
        format!(
            "allow if {{ user := data.users[input.principal]; user.groups[\"g{group}\"]; \
             input.action == \"a{action}\"; input.kind == \"Doc{kind}\"; \
             document := data.documents[input.resource]; \
             user.department == document.department; document.level <= user.level }}\n"
        )
    };
    let bodies: String = (0..100).map(body).collect();
    let users = (0..500).map(|n| {
        let (group, department) = (format!("g{}", n % 50), format!("d{}", n % 7));
        entity(
            "User",
            &format!("u{n}"),
            &[["Group", &group]],
            json!({"department": department, "level": 5}),
        )
    });
    let groups = (0..50).map(|n| {
        entity("Group", &format!("g{n}"), &[["Company", &format!("c{}", n % 10)]], json!({}))
    });
    let companies = (0..10).map(|n| entity("Company", &format!("c{n}"), &[], json!({})));
    let document = entity("Doc7", "1", &[], json!({"department": "d6", "level": 3}));
    Case {
        policies: (0..100).map(policy).collect(),
        entities: users.chain(groups).chain(companies).chain([document]).collect(),
        principal: ["User".into(), "u97".into()],
        action: "a2".into(),
        resource: ["Doc7".into(), "1".into()],
        casbin: Err("a condition for each rule is a text that it parses for every request (eval)"),
        rego: Ok(Rego {
            module: format!("package zt\nimport rego.v1\ndefault allow := false\n{bodies}"),
            data: json!({
                "users": {"u97": {"groups": {"g47": true, "c7": true}, "department": "d6", "level": 5}},
                "documents": {"1": {"department": "d6", "level": 3}},
            }),
            input: vec![
                ("principal", "u97".into()),
                ("action", "a2".into()),
                ("kind", "Doc7".into()),
                ("resource", "1".into()),
            ],
            machine: Ok(()),
        }),
        floor: None,
        ..rbac()
    }
}

/// A hundred policies all of which concern the request and compare attributes.
pub fn abac_all() -> Case {
    let policy = |n: usize| {
        format!(
            "permit (principal, action == Action::\"read\", resource is Order) when {{ \
             resource.owner == context.tenant && resource.level > {n} && context.tenant != \"t{n}\" }};"
        )
    };
    let body = |n: usize| {
        format!(
            "allow if {{ order := data.orders[input.resource]; input.action == \"read\"; \
             order.owner == input.tenant; order.level > {n}; input.tenant != \"t{n}\" }}\n"
        )
    };
    let bodies: String = (1..=100).map(body).collect();
    Case {
        policies: (1..=100).map(policy).collect(),
        entities: json!([entity("Order", "42", &[], json!({"owner": "t100", "level": 100}))]),
        context: vec![("tenant", "t100".into())],
        casbin: abac().casbin,
        rego: Ok(Rego {
            module: format!("package zt\nimport rego.v1\ndefault allow := false\n{bodies}"),
            data: json!({"orders": {"42": {"owner": "t100", "level": 100}}}),
            input: vec![
                ("principal", CART.into()),
                ("action", "read".into()),
                ("resource", "42".into()),
                ("tenant", "t100".into()),
            ],
            machine: Ok(()),
        }),
        floor: None,
        ..rbac()
    }
}

impl Case {
    /// The same, asked for what nothing permits.
    pub fn missed(mut self) -> Self {
        self.is_allowed = false;
        self.resource[1] = "none".into();
        self.action = "none".into();
        if let Ok(casbin) = &mut self.casbin {
            casbin.asked[1] = "none".into();
            casbin.asked[2] = "none".into();
        }
        if let Ok(rego) = &mut self.rego {
            let of = |name: &str| ["action", "resource"].contains(&name);
            rego.input
                .iter_mut()
                .filter(|(name, _)| of(name))
                .for_each(|(_, it)| *it = "none".into());
        }
        self
    }

    pub fn set(&self) -> PolicySet {
        let entities = data::entities("entities", &self.entities.to_string()).unwrap();
        PolicySet::parse("policies", &self.policies).unwrap().with_entities(entities)
    }

    pub fn program(&self) -> Program {
        self.set().program().unwrap().clone()
    }

    pub fn request(&self) -> Request {
        let [principal, resource] =
            [&self.principal, &self.resource].map(|[kind, id]| uid(kind, id));
        let action = uid("Action", &self.action);
        Request { principal, action, resource, context: Arc::new(self.record()) }
    }

    fn record(&self) -> Record {
        self.context.iter().map(|(name, text)| ((*name).into(), text.as_str().into())).collect()
    }

    /// Decides from strings.
    pub fn decide(&self, program: &Program, scratch: &mut Scratch) -> bool {
        let context = if self.context.is_empty() { Record::new() } else { self.record() };
        let query = Query::new(
            (self.principal[0].as_str(), self.principal[1].as_str()),
            ("Action", self.action.as_str()),
            (self.resource[0].as_str(), self.resource[1].as_str()),
        );
        let query = query.with_context(&context);
        program.rule(scratch, &query, OnForbidError::Deny).is_allow()
    }
}

pub fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::new(EntityType::parse(kind).unwrap(), id)
}
