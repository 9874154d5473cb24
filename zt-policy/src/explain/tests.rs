//! Each rule of explanations.

use serde_json::json;

use super::*;
use crate::cedar::{data, text};
use crate::evaluate::default::Side;
use crate::name::{EntityType, EntityUid};

fn uid(kind: &str) -> EntityUid {
    EntityUid::new(EntityType::parse(kind).unwrap(), "x")
}

fn explained_with(policies: &str, context: &str, manner: &Manner) -> Explanation {
    let request = Request {
        principal: uid("User"),
        action: uid("Action"),
        resource: uid("Doc"),
        context: data::context("context", context).unwrap().into(),
    };
    let world = r#"[{"uid": {"type": "Doc", "id": "x"}, "parents": [],
        "attrs": {"owner": "bob", "tags": ["a", "b"], "apiKey": "k-123"}, "tags": {"t": 1}}]"#;
    let entities = data::entities("world", world).unwrap();
    let policies = text::policies("p", policies).unwrap();
    Explanation::of(&policies, &request, &entities, manner)
}

fn explained(policies: &str) -> Explanation {
    explained_with(policies, "{}", &Manner::default())
}

#[test]
fn every_policy_that_applies_or_errs_is_listed_in_its_order() {
    let all = explained(
        r#"@id("a") permit (principal, action, resource);
        @id("b") forbid (principal, action, resource) when { context.x };
        @id("c") permit (principal, action, resource) when { 1 };
        @id("d") forbid (principal, action, resource);
        @id("e") permit (principal == User::"y", action, resource);
        @id("f") permit (principal, action, resource);"#,
    );
    assert_eq!(all.permits, ["a".into(), "f".into()]);
    assert_eq!(all.forbids, ["d".into()]);
    let errors: Vec<_> = all.errors.iter().map(|error| &*error.policy).collect();
    assert_eq!(errors, ["b", "c"]);
    assert_eq!(all.outcome, Outcome::Forbidden { policy: "d".into() });
    assert_eq!(all.nearest, []);
    let applied: Vec<_> = all.applied.iter().map(|applied| &*applied.policy).collect();
    assert_eq!(applied, ["d"]);
}

#[test]
fn the_nearest_permit_is_shown_with_the_clause_that_failed() {
    let near = |policies: &str| {
        let explained = explained(policies);
        let miss = explained.nearest.first().unwrap();
        let shown = miss.to_string();
        let failed = shown.lines().next().unwrap().split_once(" it: ").unwrap().1.to_owned();
        (miss.policy.to_string(), failed)
    };
    let far = r#"@id("far") permit (principal == User::"y", action, resource == Doc::"y");"#;
    let expected = |failed: &str| (String::from("near"), String::from(failed));
    assert_eq!(
        near(&format!(r#"{far} @id("near") permit (principal, action == Action::"y", resource);"#)),
        expected(r#"action == Action::"y" is false"#)
    );
    assert_eq!(
        near(&format!(
            r#"{far} @id("near") permit (principal, action, resource)
            when {{ principal is User && resource == Doc::"z" && context.y }};"#
        )),
        expected(r#"when { resource == Doc::"z" } is false"#)
    );
    assert_eq!(
        near(&format!(
            r#"{far} @id("near") permit (principal, action, resource) unless {{ principal is User }};"#
        )),
        expected("unless { principal is User } is true")
    );
    assert_eq!(
        near(r#"@id("near") permit (principal, action, resource) when { context.y };"#),
        expected(r#"when { context.y } errs: the record has no attribute "y""#)
    );
    assert_eq!(explained("forbid (principal, action, resource);").nearest, []);
}

#[test]
fn a_few_permits_are_shown_the_nearest_first_and_of_equals_the_first() {
    let all = explained(
        r#"@id("two") permit (principal == User::"y", action, resource);
        @id("none") permit (principal == User::"y", action == Action::"y", resource == Doc::"y");
        @id("three") permit (principal, action, resource) when { context.x };
        @id("also-two") permit (principal, action, resource == Doc::"y");
        @id("four") permit (principal, action, resource) when { true && context.x };
        @id("third-two") permit (principal, action == Action::"y", resource);"#,
    );
    let names: Vec<_> = all.nearest.iter().map(|miss| &*miss.policy).collect();
    assert_eq!(names, ["four", "three", "two"]);
    assert_eq!(names.len(), MAX_NEAREST);
}

#[test]
fn a_clause_is_shown_with_what_it_saw() {
    let policies = r#"@id("a") permit (principal is User, action, resource == Doc::"x")
        when { resource.owner == "bob" && resource.tags.contains(resource.getTag("t")) == false }
        unless { context has device.managed || context.n > 3 || resource == principal };"#;
    let all = explained_with(policies, r#"{"n": 2}"#, &Manner::default());
    assert_eq!(
        all.to_string(),
        r#"allowed
"a" permits it
  principal is User
    principal is User::"x"
  resource == Doc::"x"
    resource is Doc::"x"
  when { resource.owner == "bob" }
    resource.owner is "bob"
  when { resource.tags.contains(resource.getTag("t")) == false }
    resource.tags is ["a", "b"]
    resource.getTag("t") is 1
  unless { (context has device.managed) || (context.n > 3) || (resource == principal) }
    context.device.managed is absent
    context.n is 2
    resource is Doc::"x"
    principal is User::"x""#
    );
}

#[test]
fn no_secret_is_shown_by_value_by_text_or_by_error() {
    const SECRET: &str = "k-123";
    let context = r#"{"token": "k-123", "s": {"Pass_Word": "k-123", "n": 1, "iban": "k-123"}}"#;
    let redaction = Redaction::default().with("IBAN");
    let manner = Manner { redaction, ..Manner::default() };
    for condition in [
        r#"!(resource.apiKey == "k-123")"#,
        r#"context.token == "k-1234""#,
        "context.s == {}",
        "context == {}",
        r#"!(context.s.iban like "k-123*")"#,
        "decimal(context.token) == decimal(\"1.0\")",
        "ip(context.s.Pass_Word).isIpv4()",
        "resource.getTag(context.token) == 1",
        "context.token.k == 1",
        r#"{"a": context.token} == {"a": 1}"#,
        "resource.tags.contains(context.token)",
    ] {
        let policy = format!("permit (principal, action, resource) when {{ {condition} }};");
        let all = explained_with(&policy, context, &manner);
        assert_eq!(all.outcome, Outcome::NotPermitted);
        let shown = [all.to_string(), serde_json::to_string(&all).unwrap(), format!("{all:?}")];
        for shown in shown {
            assert!(!shown.contains(SECRET), "{condition}: {shown}");
        }
        assert!(all.to_string().contains(REDACTED), "{condition}: {all}");
    }
    // The record that holds one is shown without it.
    let policy = "permit (principal, action, resource) when { context.s == {} };";
    let all = explained_with(policy, context, &manner);
    let expected = r#"{"Pass_Word": [redacted], "iban": [redacted], "n": 1}"#;
    assert_eq!(all.nearest[0].failed.seen[0].value, expected);
}

#[test]
fn what_is_long_is_cut() {
    let long = "é".repeat(MAX_SHOWN * 2);
    let policy = "permit (principal, action, resource) when { context.a == 1 };";
    for context in [format!("{{\"a\": {long:?}}}"), format!("{{\"a\": [{long:?}, 1]}}")] {
        let all = explained_with(policy, &context, &Manner::default());
        let value = &all.nearest[0].failed.seen[0].value;
        assert_eq!(value.chars().count(), MAX_SHOWN + 1);
        assert!(value.ends_with('…'));
    }
    let many: Vec<String> = (0..MAX_SEEN * 2).map(|n| format!("context.a{n} == 1")).collect();
    let many = many.join(" || ");
    let policy = format!("permit (principal, action, resource) unless {{ {many} }};");
    assert_eq!(explained(&policy).nearest[0].failed.seen.len(), MAX_SEEN);
}

#[test]
fn a_default_that_allows_is_told_whatever_the_answer() {
    let manner = Manner {
        default_effect: DefaultEffect::AllowUnselected(Side::Resource),
        ..Manner::default()
    };
    let told = "a request whose resource no policy selects is allowed by default";
    let open = r#"permit (principal, action, resource == Doc::"y");"#;
    let all = explained_with(open, "{}", &manner);
    assert_eq!(all.outcome, Outcome::AllowByDefault);
    assert!(all.to_string().starts_with(&format!("allowed by default\n{told}")), "{all}");
    assert_eq!(serde_json::to_value(&all).unwrap()["default"], "allow unselected resource");
    let selected = r#"permit (principal == User::"y", action, resource);"#;
    let all = explained_with(selected, "{}", &manner);
    assert_eq!(all.outcome, Outcome::NotPermitted);
    assert!(all.to_string().contains(told));
}

#[test]
fn an_explanation_is_text() {
    let text = explained(
        r#"@id("a") permit (principal == User::"y", action, resource);
        @id("b") permit (principal, action, resource) when { context.y };"#,
    )
    .to_string();
    assert_eq!(
        text,
        r#"denied: not permitted
"b", a permit, errs: the record has no attribute "y"
"b" came nearest to permitting it: when { context.y } errs: the record has no attribute "y"
    context.y is absent
"a" came nearest to permitting it: principal == User::"y" is false
    principal is User::"x""#
    );
}

#[test]
fn an_explanation_is_json() {
    let explained = explained(
        r#"@id("a") permit (principal == User::"y", action, resource);
        @id("b") forbid (principal, action, resource) when { resource.owner == "bob" };
        @id("c") permit (principal, action, resource) when { context.y };"#,
    );
    let seen = |path: &str, value: &str| json!([{"path": path, "value": value}]);
    assert_eq!(
        serde_json::to_value(&explained).unwrap(),
        json!({
            "outcome": "denied: forbidden",
            "permits": [],
            "forbids": ["b"],
            "errors": [{
                "policy": "c", "effect": "permit",
                "error": "the record has no attribute \"y\"",
            }],
            "applied": [{"policy": "b", "clauses": [{
                "part": "when", "text": "resource.owner == \"bob\"",
                "seen": seen("resource.owner", "\"bob\""),
            }]}],
            "nearest": [
                {"policy": "c", "failed": {
                    "part": "when", "text": "context.y",
                    "error": "the record has no attribute \"y\"",
                    "seen": seen("context.y", "absent"),
                }},
                {"policy": "a", "failed": {
                    "part": "principal", "text": "principal == User::\"y\"",
                    "seen": seen("principal", "User::\"x\""),
                }},
            ],
        })
    );
}
