//! The corpus of Cedar: its hand-written cases, its generated cases, and its expressions.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use flate2::read::GzDecoder;
use serde_json::Value as Json;
use zt_policy::cedar::{data, est, text};
use zt_policy::decide::Scratch;
use zt_policy::entity::{Entities, Request};
use zt_policy::evaluate::expression::evaluate;
use zt_policy::evaluate::{OnForbidError, Outcome, Response, authorize};
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::policy::{Effect, Policy};
use zt_policy::program::Program;
use zt_policy::value::Value;
use zt_tests::conformance::{Tally, json, path};

#[test]
fn every_handwritten_request_is_answered_as_cedar_answers_it() {
    let Some(path) = path("policy/cedar/handwritten.jsonl") else {
        return;
    };
    answer_all(Tally::new("cedar, hand-written", &[]), File::open(path).unwrap());
}

#[test]
fn every_generated_request_is_answered_as_cedar_answers_it() {
    let Some(path) = path("policy/cedar/full.jsonl.gz") else {
        return;
    };
    answer_all(Tally::new("cedar, generated", &[]), GzDecoder::new(File::open(path).unwrap()));
}

fn answer_all(mut tally: Tally, cases: impl Read) {
    let open_door =
        text::policies("open", "permit (principal, action, resource);").unwrap().remove(0);
    let (mut closed, mut compiled, mut scratch) = (0, 0, Scratch::new());
    for line in BufReader::new(cases).lines() {
        let case: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let id = case["id"].as_str().unwrap();
        let policies = est::policy_set(id, &case["policies_est"].to_string()).unwrap();
        tally.case(format!("{id} text"), same_as_text(&policies, &case));
        let entities = data::entities(id, &case["entities"].to_string()).unwrap();
        let program = Program::compile(&policies, &entities).unwrap();
        let beside: Vec<_> = policies.iter().chain([&open_door]).cloned().collect();
        let beside = Program::compile(&beside, &entities).unwrap();
        for (n, asked) in case["requests"].as_array().unwrap().iter().enumerate() {
            let request = request(asked);
            let response = authorize(&policies, &request, &entities);
            let with_open_door =
                authorize(policies.iter().chain([&open_door]), &request, &entities);
            let expected = behind_open_door(&policies, asked);
            closed += usize::from(expected == ("error", "allow"));
            let outcome = as_upstream(&response, asked)
                .and_then(|()| fails_closed(&response))
                .and_then(|()| same(both_outcomes(&with_open_door), expected))
                .and_then(|()| compiles_to(&program, &mut scratch, &request, &response))
                .and_then(|()| compiles_to(&beside, &mut scratch, &request, &with_open_door));
            compiled += usize::from(outcome.is_ok());
            tally.case(format!("{id} request {n}"), outcome);
        }
    }
    println!("beside a permit for everything, a forbid that erred denies {closed} requests");
    println!(
        "the compiled program gives {compiled} requests the same decision, reasons and errors"
    );
    tally.finish();
}

/// The compiled program names the policies that apply and err, and answers in both modes, as the
/// definition does.
fn compiles_to(
    program: &Program,
    scratch: &mut Scratch,
    request: &Request,
    response: &Response,
) -> Result<(), String> {
    let none = Entities::new();
    let counted = program.count(scratch, request, &none).ok_or("over a limit")?;
    let errors: Vec<_> = response.errors.iter().map(|error| error.policy.clone()).collect();
    same((&counted.permits, &counted.forbids), (&response.permits, &response.forbids))?;
    same(&counted.errors, &errors)?;
    for mode in [OnForbidError::Deny, OnForbidError::Skip] {
        same(program.decide(scratch, request, &none, mode), response.outcome(mode))?;
    }
    Ok(())
}

/// What the two modes answer beside a permit for everything, as far as the data tells: where a
/// forbid applied upstream names it as the reason of a denial.
fn behind_open_door(policies: &[Policy], asked: &Json) -> (&'static str, &'static str) {
    let is_forbid = |id: &Json| {
        policies.iter().any(|policy| id == &*policy.id && policy.effect == Effect::Forbid)
    };
    let any_forbid = |key: &str| asked[key].as_array().unwrap().iter().any(is_forbid);
    match (any_forbid("reason"), any_forbid("errors")) {
        (true, _) => ("forbidden", "forbidden"),
        (false, true) => ("error", "allow"),
        (false, false) => ("allow", "allow"),
    }
}

fn both_outcomes(response: &Response) -> (&'static str, &'static str) {
    let name = |mode| match response.outcome(mode) {
        Outcome::Allow { .. } => "allow",
        Outcome::Forbidden { .. } => "forbidden",
        Outcome::Error { .. } => "error",
        other => panic!("{other:?}"),
    };
    (name(OnForbidError::Deny), name(OnForbidError::Skip))
}

fn same<T: PartialEq + std::fmt::Debug>(ours: T, expected: T) -> Result<(), String> {
    if ours == expected { Ok(()) } else { Err(format!("{ours:?}, expected {expected:?}")) }
}

/// The text of a case has the policies of its JSON, which are named by their place; printed, they
/// are read back as they were.
fn same_as_text(policies: &[Policy], case: &Json) -> Result<(), String> {
    let text = case["policies_cedar"].as_str().unwrap();
    let read = text::policies("case", text).map_err(|error| error.to_string())?;
    let mut read: Vec<Policy> = read
        .into_iter()
        .enumerate()
        .map(|(n, policy)| Policy { id: format!("policy{n}").into(), ..policy })
        .collect();
    read.sort_by(|a, b| a.id.cmp(&b.id));
    if read != policies {
        return Err(format!("text {read:?}, JSON {policies:?}"));
    }
    for policy in policies {
        let printed = text::policies("printed", &policy.to_string()).map_err(|e| e.to_string())?;
        let same = printed.into_iter().map(|read| Policy { id: policy.id.clone(), ..read });
        if same.ne([policy.clone()]) {
            return Err(format!("printed {policy}"));
        }
    }
    Ok(())
}

fn request(asked: &Json) -> Request {
    Request {
        principal: uid(&asked["principal"]),
        action: uid(&asked["action"]),
        resource: uid(&asked["resource"]),
        context: data::context("context", &asked["context"].to_string()).unwrap().into(),
    }
}

fn uid(json: &Json) -> EntityUid {
    let kind = EntityType::parse(json["type"].as_str().unwrap()).unwrap();
    EntityUid::new(kind, json["id"].as_str().unwrap())
}

fn as_upstream(response: &Response, asked: &Json) -> Result<(), String> {
    let names = |key: &str| -> BTreeSet<String> {
        asked[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap().into()).collect()
    };
    let allowed = matches!(response.outcome(OnForbidError::Skip), Outcome::Allow { .. });
    let reasons = response.reasons().iter().map(ToString::to_string).collect();
    let errors = response.errors.iter().map(|error| error.policy.to_string()).collect();
    let ours = (if allowed { "allow" } else { "deny" }, reasons, errors);
    let theirs = (asked["decision"].as_str().unwrap(), names("reason"), names("errors"));
    same(ours, theirs)
}

/// Failing closed changes an answer where a forbid erred, to an error, and nowhere else.
fn fails_closed(response: &Response) -> Result<(), String> {
    let strict = response.outcome(OnForbidError::Deny);
    let skipping = response.outcome(OnForbidError::Skip);
    if strict == skipping {
        return Ok(());
    }
    let Outcome::Error { policy } = &strict else {
        return Err(format!("{strict:?} instead of {skipping:?}"));
    };
    let erred = response.errors.iter().any(|e| e.effect == Effect::Forbid && e.policy == *policy);
    let explained = erred && response.forbids.is_empty();
    if explained { Ok(()) } else { Err(format!("{strict:?} is not explained: {response:?}")) }
}

#[test]
fn every_expression_has_the_value_that_cedar_gives_it() {
    let Some(cases) = json("policy/cedar/expr-semantics.json") else {
        return;
    };
    let mut tally = Tally::new("cedar, expressions", &[]);
    let world = &cases["world"];
    let entities = data::entities("world", &world["entities"].to_string()).unwrap();
    let request = request(world);
    for case in cases["cases"].as_array().unwrap() {
        let source = case["expr"].as_str().unwrap();
        let outcome = match text::expression(source) {
            Err(_) => expect("parse_error", case),
            Ok(expr) => {
                let from_json = est::expression(&case["est"].to_string());
                match evaluate(&expr, &request, &entities) {
                    _ if from_json.as_ref() != Ok(&expr) => {
                        Err(format!("text {expr:?}, JSON {from_json:?}"))
                    }
                    Ok(Value::Bool(true)) => expect("true", case),
                    Ok(Value::Bool(false)) => expect("false", case),
                    Ok(_) => expect("value", case),
                    Err(_) => expect("error", case),
                }
            }
        };
        tally.case(source, outcome.and_then(|()| compiled_expression(case, &request, &entities)));
    }
    tally.finish();
}

/// As the condition of a policy it applies where it is true, does not where it is false, and errs
/// where it is something else.
fn compiled_expression(case: &Json, request: &Request, entities: &Entities) -> Result<(), String> {
    let source = case["expr"].as_str().unwrap();
    let policy = format!("permit (principal, action, resource) when {{ {source} }};");
    let Ok(policies) = text::policies("case", &policy) else {
        return expect("parse_error", case);
    };
    let program = Program::compile(&policies, entities).unwrap();
    let counted = program.count(&mut Scratch::new(), request, &Entities::new()).unwrap();
    let ours = match (counted.permits.len(), counted.errors.len()) {
        (1, 0) => "true",
        (0, 0) => "false",
        _ => "error",
    };
    let expected = case["result"].as_str().unwrap();
    same(ours, if expected == "value" { "error" } else { expected })
}

fn expect(ours: &str, case: &Json) -> Result<(), String> {
    same(ours, case["result"].as_str().unwrap())
}
