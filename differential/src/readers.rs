//! The readers of text and JSON: what upstream accepts is read as the same, and what it refuses is
//! refused, within the published limits.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy as theirs;
use serde_json::Value as Json;
use zt_policy::cedar::refusal::{NotCedar, Problem};
use zt_policy::cedar::{data, est, text};
use zt_policy::entity::{Entities, Entity};
use zt_policy::name::MAX_TYPE_LEN;
use zt_policy::policy::Policy;

use crate::{Agreed, same};

/// A text of policies and templates: whether both read it.
///
/// # Errors
///
/// Where the two disagree.
pub fn policies(source: &str) -> Agreed<bool> {
    if is_deep(source) {
        return Ok(false);
    }
    match (text::policies("p", source), theirs::PolicySet::from_str(source)) {
        (Err(_), Err(_)) => Ok(false),
        (Err(refused), Ok(_)) if is_limit(&refused) => Ok(false),
        (Err(refused), Ok(_)) => Err(format!("only we refuse it: {refused}")),
        (Ok(_), Err(refused)) => Err(format!("only upstream refuses it: {refused:?}")),
        (Ok(read), Ok(set)) => {
            let jsons = jsons_of(&set)?;
            same("the number of policies", &read.len(), &jsons.len())?;
            for (n, policy) in read.into_iter().enumerate() {
                let id = format!("policy{n}");
                let json = jsons.get(&id).ok_or(format!("upstream has no {id}"))?;
                same_as_json(&Policy { id: id.into(), ..policy }, json)?;
            }
            Ok(true)
        }
    }
}

/// Whether it is nested deeper than upstream is asked: its limits are those of serde_json, and of
/// the stack, which it overflows.
fn is_deep(source: &str) -> bool {
    let opens = |c: char| matches!(c, '(' | '[' | '{');
    let closes = |c: char| matches!(c, ')' | ']' | '}');
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in source.chars() {
        depth = if closes(c) { depth.saturating_sub(1) } else { depth + usize::from(opens(c)) };
        deepest = deepest.max(depth);
    }
    deepest + source.matches("if").count() > 100
}

/// The JSON of all policies and templates of a set, by their names.
fn jsons_of(set: &theirs::PolicySet) -> Result<BTreeMap<String, Json>, String> {
    let policies = set.policies().map(|policy| (policy.id().to_string(), policy.to_json()));
    let templates = set.templates().map(|policy| (policy.id().to_string(), policy.to_json()));
    policies.chain(templates).map(|(id, json)| Ok((id, json.map_err(|e| e.to_string())?))).collect()
}

/// Whether a policy is the one of a JSON of upstream's, and what is printed of it is so too.
fn same_as_json(policy: &Policy, json: &Json) -> Agreed {
    let from_json = est::policy(&policy.id, &json.to_string());
    let from_json = match from_json {
        // JSON nests deeper than the text that it came from.
        Err(refused) if is_limit(&refused) => policy.clone(),
        other => other.map_err(|refused| format!("upstream's JSON {json}: {refused}"))?,
    };
    same("the policy", policy, &from_json)?;
    let printed = policy.to_string();
    let again = their_json(&printed).map_err(|error| format!("{printed}: {error}"))?;
    same(&format!("what is printed: {printed}"), &again, json)
}

/// One expression. Upstream shows no JSON of it: see [`policies`]. It reads a slot, which is
/// refused here as it is in every policy: nothing could fill it.
///
/// # Errors
///
/// Where the two disagree.
pub fn expression(source: &str) -> Agreed {
    if is_deep(source) {
        return Ok(());
    }
    match (text::expression(source), theirs::Expression::from_str(source)) {
        (Err(_), Err(_)) | (Ok(_), Ok(_)) => Ok(()),
        (Err(refused), Ok(_)) if is_limit(&refused) || is_slot(&refused) => Ok(()),
        (Err(refused), Ok(_)) => Err(format!("only we refuse it: {refused}")),
        (Ok(_), Err(refused)) => Err(format!("only upstream refuses it: {refused:?}")),
    }
}

fn is_slot(refused: &NotCedar) -> bool {
    let is_slot = |problem: &Problem| matches!(problem, Problem::MisplacedSlot { .. });
    refused.refusals.iter().all(|refusal| is_slot(&refusal.problem))
}

/// A policy or a template in JSON: whether both read it.
///
/// # Errors
///
/// Where the two disagree.
pub fn policy_json(source: &str) -> Agreed<bool> {
    if is_deep(source) {
        return Ok(false);
    }
    let Ok(json) = serde_json::from_str::<Json>(source) else {
        // Upstream reads with serde_json what it is given as JSON.
        return match est::policy("p", source) {
            Ok(_) => Err(String::from("only we read it")),
            Err(_) => Ok(false),
        };
    };
    match (est::policy("p", source), their_text(&json)) {
        (Err(_), Err(_)) => Ok(false),
        (Err(refused), Ok(_)) if is_limit(&refused) || is_stricter(&refused, source) => Ok(false),
        (Err(refused), Ok(_)) => Err(format!("only we refuse it: {refused}")),
        (Ok(_), Err(refused)) => Err(format!("only upstream refuses it: {refused}")),
        (Ok(policy), Ok(theirs)) => {
            let printed = policy.to_string();
            let again = their_json(&printed).map_err(|error| format!("{printed}: {error}"))?;
            same("what upstream makes of it", &their_text(&again)?, &theirs).map(|()| true)
        }
    }
}

/// The text that upstream prints of what it makes of a JSON.
fn their_text(json: &Json) -> Result<String, String> {
    match theirs::Policy::from_json(None, json.clone()) {
        Ok(policy) => policy.to_cedar().ok_or(String::from("a link")),
        Err(refused) => match theirs::Template::from_json(None, json.clone()) {
            Ok(template) => Ok(template.to_cedar()),
            Err(_) => Err(format!("{refused:?}")),
        },
    }
}

/// The JSON that upstream makes of the text of a policy or a template.
///
/// # Errors
///
/// Why it makes none.
pub fn their_json(text: &str) -> Result<Json, String> {
    let json = match theirs::Policy::parse(None, text) {
        Ok(policy) => policy.to_json(),
        Err(refused) => match theirs::Template::parse(None, text) {
            Ok(template) => template.to_json(),
            Err(_) => return Err(format!("upstream refuses what is printed: {refused:?}")),
        },
    };
    json.map_err(|error| error.to_string())
}

/// Entities in JSON: whether both read them.
///
/// # Errors
///
/// Where the two disagree.
pub fn entities(source: &str) -> Agreed<bool> {
    if is_deep(source) {
        return Ok(false);
    }
    match (data::entities("e", source), theirs::Entities::from_json_str(source, None)) {
        (Err(_), Err(_)) => Ok(false),
        (Err(refused), Ok(_)) if is_limit(&refused) || is_stricter(&refused, source) => Ok(false),
        (Err(refused), Ok(_)) => Err(format!("only we refuse it: {refused}")),
        (Ok(_), Err(refused)) => Err(format!("only upstream refuses it: {refused:?}")),
        (Ok(ours), Ok(theirs)) => {
            let json = theirs.to_json_value().map_err(|error| format!("{error:?}"))?.to_string();
            let theirs = data::entities("e", &json).map_err(|error| format!("{json}: {error}"))?;
            same("the number of entities", &ours.iter().count(), &theirs.iter().count())?;
            for entity in ours.iter() {
                let their = theirs.get(&entity.uid);
                let facts = |entity: &Entity| (entity.attributes.clone(), entity.tags.clone());
                same("what is known", &Some(facts(entity)), &their.map(facts))?;
                for other in ours.iter() {
                    let is_in = |all: &Entities| all.is_in(&entity.uid, &other.uid);
                    same("what is in what", &is_in(&ours), &is_in(&theirs))?;
                }
            }
            Ok(true)
        }
    }
}

/// A context in JSON: whether both read it.
///
/// # Errors
///
/// Where the two disagree.
pub fn context(source: &str) -> Agreed<bool> {
    if is_deep(source) {
        return Ok(false);
    }
    match (data::context("c", source), theirs::Context::from_json_str(source, None)) {
        (Err(_), Err(_)) => Ok(false),
        (Err(refused), Ok(_)) if is_limit(&refused) || is_stricter(&refused, source) => Ok(false),
        (Err(refused), Ok(_)) => Err(format!("only we refuse it: {refused}")),
        (Ok(_), Err(refused)) => Err(format!("only upstream refuses it: {refused:?}")),
        (Ok(ours), Ok(theirs)) => {
            let json = theirs.to_json_value().map_err(|error| format!("{error:?}"))?.to_string();
            let theirs = data::context("c", &json).map_err(|error| format!("{json}: {error}"))?;
            same("the context", &ours, &theirs).map(|()| true)
        }
    }
}

/// Whether it is refused because the reader of JSON is stricter than upstream's: it never drops
/// what it does not know, in which upstream allows any number, never chooses between two, and takes
/// an escape that it cannot follow for a mistake and not for a record.
fn is_stricter(refused: &NotCedar, source: &str) -> bool {
    let json: Option<Json> = serde_json::from_str(source).ok();
    if json.is_some_and(|json| has_bad_escape(&json)) {
        return true;
    }
    let is_stricter = |problem: &Problem| match problem {
        Problem::UnknownField { .. }
        | Problem::Duplicate { .. }
        | Problem::NumberTooLarge { .. } => true,
        Problem::Expected { expected, .. } => expected == "a whole number",
        // A method without a receiver, which no text can say and which always errs.
        Problem::Arity { found: 0, .. } => true,
        _ => false,
    };
    refused.refusals.iter().all(|refusal| is_stricter(&refusal.problem))
}

fn has_bad_escape(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_bad_escape),
        Json::Object(fields) => {
            let is_text = |json: &Json, key: &str| json[key].is_string();
            let is_good = |(key, value): (&String, &Json)| match &**key {
                "__entity" => is_text(value, "type") && is_text(value, "id"),
                "__extn" => {
                    let given = value["args"].is_array() || value.get("arg").is_some();
                    is_text(value, "fn") && given
                }
                _ => key != "__expr",
            };
            let alone = fields.len() == 1 || !fields.keys().any(|key| key.starts_with("__"));
            !alone || !fields.iter().all(is_good) || fields.values().any(has_bad_escape)
        }
        _ => false,
    }
}

/// Whether it is refused for a limit of ours alone. They are listed where `zt_policy` begins.
fn is_limit(refused: &NotCedar) -> bool {
    refused.refusals.iter().all(|refusal| match &refusal.problem {
        Problem::TooLong { .. } | Problem::TooDeep { .. } => true,
        Problem::NotAnEntityType(name) => name.text.len() >= 64 && MAX_TYPE_LEN > 64,
        _ => false,
    })
}
