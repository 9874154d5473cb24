//! What a decision costs: as many policies as concern it, however many there are; and no more than
//! its limits.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::sync::Arc;

use zt_policy::cedar::{data, text};
use zt_policy::compile::MAX_ANCESTORS;
use zt_policy::decide::{MAX_ITEMS, MAX_OVERLAY, MAX_TEXT, MAX_WORK, Scratch};
use zt_policy::entity::{Entities, Entity, Request};
use zt_policy::evaluate::{OnForbidError, Outcome};
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::program::Program;
use zt_policy::value::{MAX_VALUE_DEPTH, Record, Value};

fn uid(kind: &str, id: impl ToString) -> EntityUid {
    EntityUid::new(EntityType::parse(kind).unwrap(), id.to_string())
}

fn request(principal: usize, context: &str) -> Request {
    Request {
        principal: uid("User", principal),
        action: uid("Action", "read"),
        resource: uid("Doc", principal),
        context: Arc::new(data::context("context", context).unwrap()),
    }
}

fn program(count: usize, policy: impl Fn(usize) -> String) -> Program {
    let text = (0..count).fold(String::new(), |mut all, n| {
        writeln!(all, "@id(\"p{n}\") {};", policy(n)).unwrap();
        all
    });
    let groups: Entities = (0..100)
        .map(|n| {
            let mut user = Entity::new(uid("User", n));
            user.parents.insert(uid("Team", n));
            user
        })
        .chain((0..100).map(|n| {
            let mut team = Entity::new(uid("Team", n));
            team.parents.insert(uid("Team", "all"));
            team
        }))
        .collect();
    Program::compile(&text::policies("p", &text).unwrap(), &groups).unwrap()
}

type Case = (&'static str, fn(usize) -> String, &'static str, usize);

/// Kinds of policies, a context in which the seventh applies, and how many are asked.
const CASES: [Case; 9] = [
    (
        "exact scopes",
        |n| format!("permit (principal == User::\"{n}\", action, resource == Doc::\"{n}\")"),
        "{}",
        1,
    ),
    (
        "in groups",
        |n| format!("permit (principal in Team::\"{n}\", action == Action::\"read\", resource)"),
        "{}",
        1,
    ),
    (
        "one group, many resources",
        |n| format!("permit (principal in Team::\"all\", action, resource == Doc::\"{n}\")"),
        "{}",
        1,
    ),
    (
        "one resource, many actions",
        |n| {
            let action = if n == 7 { String::from("read") } else { n.to_string() };
            format!("permit (principal, action == Action::\"{action}\", resource)")
        },
        "{}",
        1,
    ),
    (
        "tenants",
        |n| format!("permit (principal, action, resource) when {{ context.tenant == \"t{n}\" }}"),
        r#"{"tenant": "t7"}"#,
        1,
    ),
    (
        "one group, many tenants",
        |n| {
            format!(
                "permit (principal in Team::\"all\", action, resource) when {{ principal is User && context.tenant == \"t{n}\" }}"
            )
        },
        r#"{"tenant": "t7"}"#,
        1,
    ),
    (
        "teams asked for in conditions",
        |n| format!("permit (principal, action, resource) when {{ principal in Team::\"{n}\" }}"),
        "{}",
        1,
    ),
    (
        "guarded forbids beside a permit",
        |n| match n {
            7 => "permit (principal, action, resource)".into(),
            _ => format!(
                "forbid (principal, action, resource) when {{ context has tenant && context.tenant == \"t{n}\" }}"
            ),
        },
        "{}",
        1,
    ),
    (
        "lists of plans",
        |n| {
            format!(
                "permit (principal, action, resource) when {{ [\"a{n}\", \"b{n}\"].contains(context.plan.name) }}"
            )
        },
        r#"{"plan": {"name": "b7"}}"#,
        1,
    ),
];

#[test]
fn as_many_policies_are_asked_as_concern_the_request() {
    for (name, policy, context, expected) in CASES {
        let request = request(7, context);
        for count in [100, 2_000] {
            let (program, mut scratch) = (program(count, policy), Scratch::new());
            let outcome =
                program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny);
            assert_eq!(outcome, Outcome::Allow { policy: "p7".into() }, "{name}");
            assert_eq!(scratch.asked(), expected, "{name}, {count}");
        }
    }
}

#[test]
fn a_forbid_that_cannot_be_evaluated_is_found_among_many() {
    let program = program(2_000, |n| match n {
        0 => "permit (principal, action, resource)".into(),
        _ => format!("forbid (principal, action, resource) when {{ context.tenant == \"t{n}\" }}"),
    });
    let decide = |context, mode| {
        program.decide(&mut Scratch::new(), &request(7, context), &Entities::new(), mode)
    };
    let error = Outcome::Error { policy: "p1".into() };
    assert_eq!(decide("{}", OnForbidError::Deny), error);
    assert_eq!(decide("{}", OnForbidError::Skip), Outcome::Allow { policy: "p0".into() });
    let forbidden = Outcome::Forbidden { policy: "p9".into() };
    assert_eq!(decide(r#"{"tenant": "t9"}"#, OnForbidError::Deny), forbidden);
    let allow = Outcome::Allow { policy: "p0".into() };
    assert_eq!(decide(r#"{"tenant": 1}"#, OnForbidError::Deny), allow);
}

fn open() -> Program {
    program(1, |_| "permit (principal, action, resource) unless { context == {} }".into())
}

fn with_context(context: Record) -> Outcome {
    let request = Request { context: Arc::new(context), ..request(7, "{}") };
    open().decide(&mut Scratch::new(), &request, &Entities::new(), OnForbidError::Deny)
}

#[test]
fn a_request_with_too_much_in_it_is_denied() {
    let allow = Outcome::Allow { policy: "p0".into() };
    let numbers = |count: usize| (0..count).map(|n| Value::Long(n.try_into().unwrap())).collect();
    let of = |value: Value| Record::from([(Arc::from("a"), value)]);
    assert_eq!(with_context(of(numbers(MAX_ITEMS))), allow);
    assert_eq!(with_context(of(numbers(MAX_ITEMS + 1))), Outcome::OverLimit);
    assert_eq!(with_context(of("x".repeat(MAX_TEXT - 100).into())), allow);
    assert_eq!(with_context(of("x".repeat(MAX_TEXT).into())), Outcome::OverLimit);
    let fields = |count: usize| (0..count).map(|n| (Arc::from(format!("f{n}")), Value::Long(1)));
    assert_eq!(with_context(fields(MAX_ITEMS - 10).collect()), allow);
    assert_eq!(with_context(fields(MAX_ITEMS + 1).collect()), Outcome::OverLimit);
}

#[test]
fn what_one_policy_makes_leaves_room_for_the_next() {
    let members = |n: usize| {
        let numbers: Vec<_> = (0..40).map(|m| (n * 100 + m).to_string()).collect();
        numbers.join(", ")
    };
    let program = program(2_000, |n| {
        let members = members(if n == 1_999 { 0 } else { n + 1 });
        format!(
            "permit (principal, action, resource) when {{ [context.n, {members}].contains(0) }}"
        )
    });
    let request = request(7, r#"{"n": 1}"#);
    let mut scratch = Scratch::new();
    let outcome = program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny);
    assert_eq!(outcome, Outcome::Allow { policy: "p1999".into() });
    assert!(scratch.asked() * 40 > MAX_ITEMS);
}

#[test]
fn a_request_that_knows_of_too_many_entities_is_denied() {
    let with_overlay = |count: usize| {
        let overlay = (0..count)
            .map(|n| {
                let mut entity = Entity::new(uid("User", n));
                entity.parents.insert(uid("Team", "all"));
                entity
            })
            .collect();
        let program = program(1, |_| "permit (principal, action, resource)".into());
        program.decide(&mut Scratch::new(), &request(7, "{}"), &overlay, OnForbidError::Deny)
    };
    assert_eq!(with_overlay(MAX_OVERLAY), Outcome::Allow { policy: "p0".into() });
    assert_eq!(with_overlay(MAX_OVERLAY + 1), Outcome::OverLimit);
}

#[test]
fn a_request_about_an_entity_with_too_many_ancestors_is_denied() {
    let below = |principal: usize, teams: usize| {
        let mut user = Entity::new(uid("User", principal));
        user.parents = (0..teams).map(|n| uid("Team", n)).collect();
        user
    };
    // An entity counts among those that it is in.
    let users = [below(0, MAX_ANCESTORS), below(1, MAX_ANCESTORS - 1)].into_iter().collect();
    let policies =
        text::policies("p", "@id(\"p0\") permit (principal, action, resource);").unwrap();
    let program = Program::compile(&policies, &users).unwrap();
    let decide = |principal| {
        let request = request(principal, "{}");
        program.decide(&mut Scratch::new(), &request, &Entities::new(), OnForbidError::Deny)
    };
    assert_eq!(decide(0), Outcome::OverLimit);
    assert_eq!(decide(1), Outcome::Allow { policy: "p0".into() });
}

#[test]
fn memory_that_a_large_request_has_used_does_not_change_the_next_answer() {
    let (program, mut scratch) = (open(), Scratch::new());
    let mut decide = |context: Record| {
        let request = Request { context: Arc::new(context), ..request(7, "{}") };
        program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny)
    };
    let large: Value = (0..=MAX_ITEMS).map(|n| Value::from(n.to_string())).collect();
    assert_eq!(decide(Record::from([(Arc::from("a"), large)])), Outcome::OverLimit);
    assert_eq!(decide(Record::new()), Outcome::NotPermitted);
}

/// Ten thousand policies, one for each pair of a team and a project.
fn pairs() -> Program {
    program(10_000, |n| {
        let (team, tenant) = (n % 100, n / 100);
        format!(
            "permit (principal in Team::\"{team}\", action, resource) when {{ context.tenant == \"t{tenant}\" }}"
        )
    })
}

#[test]
fn a_list_that_is_long_under_each_of_its_anchors_is_split_by_a_second() {
    let (program, mut scratch) = (pairs(), Scratch::new());
    let mut decide = |principal, context| {
        let request = request(principal, context);
        let outcome = program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny);
        (outcome, scratch.asked())
    };
    let allow = Outcome::Allow { policy: "p4207".into() };
    assert_eq!(decide(7, r#"{"tenant": "t42"}"#), (allow, 1));
    assert_eq!(decide(7, r#"{"tenant": "t100"}"#), (Outcome::NotPermitted, 0));
    assert_eq!(decide(100, r#"{"tenant": "t42"}"#), (Outcome::NotPermitted, 0));
}

#[test]
fn a_split_list_still_finds_the_forbid_that_errs() {
    let program = program(400, |n| {
        let (team, tenant) = (n % 20, n / 20);
        if n == 399 {
            return "permit (principal, action, resource)".into();
        }
        format!(
            "forbid (principal in Team::\"{team}\", action, resource) when {{ context.tenant == \"t{tenant}\" }}"
        )
    });
    let decide = |principal, context| {
        let request = request(principal, context);
        program.decide(&mut Scratch::new(), &request, &Entities::new(), OnForbidError::Deny)
    };
    assert_eq!(decide(7, "{}"), Outcome::Error { policy: "p7".into() });
    assert_eq!(decide(7, r#"{"tenant": "t3"}"#), Outcome::Forbidden { policy: "p67".into() });
    assert_eq!(decide(7, r#"{"tenant": "x"}"#), Outcome::Allow { policy: "p399".into() });
}

#[test]
fn policies_for_types_are_found_by_the_type() {
    let (program, mut scratch) = (
        program(500, |n| format!("permit (principal, action, resource is Doc{n})")),
        Scratch::new(),
    );
    let asked = Request { resource: uid("Doc7", "x"), ..request(7, "{}") };
    let outcome = program.decide(&mut scratch, &asked, &Entities::new(), OnForbidError::Deny);
    assert_eq!((outcome, scratch.asked()), (Outcome::Allow { policy: "p7".into() }, 1));
}

#[test]
fn a_question_that_would_take_too_much_work_is_denied() {
    // Nothing tells these policies apart, and each looks at a set of the request.
    let work = |members: usize| {
        let program = program(200, |_| {
            "permit (principal, action, resource) when { context.a.containsAny(context.b) }".into()
        });
        let numbers = |from: usize| {
            (from..from + members).map(|n| Value::Long(n.try_into().unwrap())).collect::<Value>()
        };
        let context: Record =
            [(Arc::from("a"), numbers(0)), (Arc::from("b"), numbers(members))].into();
        let request = Request { context: Arc::new(context), ..request(7, "{}") };
        program.decide(&mut Scratch::new(), &request, &Entities::new(), OnForbidError::Deny)
    };
    let most = usize::try_from(MAX_WORK).unwrap() / 200;
    assert_eq!(work(most - 100), Outcome::NotPermitted);
    assert_eq!(work(most), Outcome::OverLimit);
}

#[test]
fn many_policies_that_are_all_asked_are_work_too() {
    let ask = |count| {
        let program = program(count, |_| {
            "permit (principal, action, resource) when { context.t like \"*a*b*c*d*e*f*g*h\" }"
                .into()
        });
        let context = Record::from([(Arc::from("t"), Value::from("a".repeat(16 * 1024)))]);
        let request = Request { context: Arc::new(context), ..request(7, "{}") };
        program.decide(&mut Scratch::new(), &request, &Entities::new(), OnForbidError::Deny)
    };
    assert_eq!(ask(100), Outcome::NotPermitted);
    assert_eq!(ask(500), Outcome::OverLimit);
}

#[test]
fn a_value_that_is_nested_too_deep_is_denied() {
    let nested = |depth: usize| {
        let mut value = Value::Bool(true);
        for _ in 1..depth {
            value = [value].into_iter().collect();
        }
        with_context(Record::from([(Arc::from("a"), value)]))
    };
    assert_eq!(nested(MAX_VALUE_DEPTH), Outcome::Allow { policy: "p0".into() });
    assert_eq!(nested(MAX_VALUE_DEPTH + 1), Outcome::OverLimit);
}

#[test]
fn a_request_with_too_many_parents_is_denied_at_once() {
    let parents = MAX_ITEMS;
    let mut user = Entity::new(uid("User", 7));
    user.parents = (0..parents).map(|n| uid("Team", n)).collect();
    let program = program(1, |_| "permit (principal, action, resource)".into());
    let overlay = Entities::from_iter([user]);
    let outcome =
        program.decide(&mut Scratch::new(), &request(7, "{}"), &overlay, OnForbidError::Deny);
    assert_eq!(outcome, Outcome::OverLimit);
}
