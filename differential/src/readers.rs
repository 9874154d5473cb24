//! The readers of text and JSON: what upstream accepts is read as the same, and what it refuses is
//! refused, within the published limits.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy as theirs;
use zt_policy::cedar::refusal::{NotCedar, Problem};
use zt_policy::cedar::{est, text};
use zt_policy::name::MAX_TYPE_LEN;
use zt_policy::policy::Policy;

use crate::{Agreed, same};

/// A text of policies and templates.
///
/// # Errors
///
/// Where the two disagree.
pub fn policies(source: &str) -> Agreed {
    match (text::policies("p", source), theirs::PolicySet::from_str(source)) {
        (Err(_), Err(_)) => Ok(()),
        (Err(refused), Ok(_)) if is_limit(&refused) => Ok(()),
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
            Ok(())
        }
    }
}

/// The JSON of all policies and templates of a set, by their names.
fn jsons_of(set: &theirs::PolicySet) -> Result<BTreeMap<String, serde_json::Value>, String> {
    let policies = set.policies().map(|policy| (policy.id().to_string(), policy.to_json()));
    let templates = set.templates().map(|policy| (policy.id().to_string(), policy.to_json()));
    policies.chain(templates).map(|(id, json)| Ok((id, json.map_err(|e| e.to_string())?))).collect()
}

/// Whether a policy is the one of a JSON of upstream's, and what is printed of it is so too.
fn same_as_json(policy: &Policy, json: &serde_json::Value) -> Agreed {
    let from_json = est::policy(&policy.id, &json.to_string());
    let from_json = match from_json {
        // JSON nests deeper than the text that it came from.
        Err(refused) if is_limit(&refused) => policy.clone(),
        other => other.map_err(|refused| format!("upstream's JSON {json}: {refused}"))?,
    };
    same("the policy", policy, &from_json)?;
    let printed = policy.to_string();
    let again = theirs::Policy::parse(None, &printed).map(|policy| policy.to_json());
    let again = again.or_else(|_| theirs::Template::parse(None, &printed).map(|t| t.to_json()));
    let again = again
        .map_err(|refused| format!("upstream refuses what is printed: {printed}: {refused:?}"))?;
    let again = again.map_err(|error| error.to_string())?;
    same(&format!("what is printed: {printed}"), &again, json)
}

/// One expression. Upstream shows no JSON of it: see [`policies`]. It reads a slot, which is
/// refused here as it is in every policy: nothing could fill it.
///
/// # Errors
///
/// Where the two disagree.
pub fn expression(source: &str) -> Agreed {
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

/// Whether it is refused for a limit of ours alone. They are listed where `zt_policy` begins.
fn is_limit(refused: &NotCedar) -> bool {
    refused.refusals.iter().all(|refusal| match &refusal.problem {
        Problem::TooLong { .. } | Problem::TooDeep { .. } => true,
        Problem::NotAnEntityType(name) => name.text.len() >= 64 && MAX_TYPE_LEN > 64,
        _ => false,
    })
}
