//! Decisions with their reasons and errors: those of the definition and of the compiled program
//! beside upstream's, and those that fail closed explained.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy as theirs;
use serde_json::Value as Json;
use zt_policy::cedar::{data, est, text};
use zt_policy::decide::Scratch;
use zt_policy::entity::{Entities, Request};
use zt_policy::evaluate::{OnForbidError, Outcome, Response, authorize};
use zt_policy::name::{EntityType, EntityUid};
use zt_policy::policy::{Effect, Policy};
use zt_policy::program::Program;

use crate::choices::Choices;
use crate::policy::{Written, policies};
use crate::world::{Asked, World, uid};
use crate::{Agreed, same};

/// Policies, entities and three requests made of these bytes, decided by both: the answers that
/// fail closed.
///
/// # Errors
///
/// Where the two disagree.
pub fn of_bytes(bytes: &[u8]) -> Agreed<Vec<Outcome>> {
    let choices = &mut Choices::new(bytes);
    let written = policies(choices, 6);
    let links = links(choices, &written);
    let all_asked = [Asked::new(choices), Asked::new(choices), Asked::new(choices)];
    let world = World::new(choices);
    let text: Vec<&str> = written.iter().map(|policy| &*policy.text).collect();
    let text = text.join("\n");
    let (ours, theirs) = both_sets(&text, &links).map_err(|error| format!("{text}\n{error}"))?;
    let decide = |asked: &Asked| {
        let sides = sides(&world, asked)?;
        same_decision(&ours, &theirs, &sides).map_err(|error| {
            let Sides { request, base, overlay, .. } = sides;
            format!("{text}\n{links:?}\n{request:?}\nbase {base:?}\noverlay {overlay:?}\n{error}")
        })
    };
    all_asked.iter().map(decide).collect()
}

/// A policy that a template becomes.
#[derive(Debug)]
struct Link {
    template: usize,
    principal: Option<Json>,
    resource: Option<Json>,
}

fn links(choices: &mut Choices<'_>, written: &[Written]) -> Vec<Link> {
    let mut links = Vec::new();
    for (template, policy) in written.iter().enumerate() {
        if !policy.principal_slot && !policy.resource_slot {
            continue;
        }
        links.extend(choices.some(2, |choices| Link {
            template,
            principal: policy.principal_slot.then(|| uid(choices)),
            resource: policy.resource_slot.then(|| uid(choices)),
        }));
    }
    links
}

/// The policies on both sides. Upstream's, as JSON, are ours.
fn both_sets(source: &str, links: &[Link]) -> Result<(Vec<Policy>, theirs::PolicySet), String> {
    let read = text::policies("p", source).map_err(|refused| refused.to_string())?;
    let read: Vec<Policy> = (0..)
        .zip(read)
        .map(|(n, policy)| Policy { id: format!("policy{n}").into(), ..policy })
        .collect();
    let mut their_set = theirs::PolicySet::from_str(source).map_err(|e| format!("{e:?}"))?;
    let mut ours: Vec<Policy> =
        read.iter().filter(|policy| !policy.is_template()).cloned().collect();
    for (n, link) in links.iter().enumerate() {
        let name = format!("link{n}");
        let [principal, resource] = [&link.principal, &link.resource];
        let mut values = HashMap::new();
        for (slot, entity) in
            [(theirs::SlotId::principal(), principal), (theirs::SlotId::resource(), resource)]
        {
            if let Some(entity) = entity {
                values.insert(slot, their_uid(entity)?);
            }
        }
        let template = theirs::PolicyId::new(format!("policy{}", link.template));
        their_set
            .link(template, theirs::PolicyId::new(&name), values)
            .map_err(|error| error.to_string())?;
        let entities = [principal, resource].map(|entity| entity.as_ref().map(our_uid));
        let [principal, resource] = entities;
        let linked = read[link.template].link(name, principal, resource);
        ours.push(linked.map_err(|error| error.to_string())?);
    }
    let json = their_set.clone().to_json().map_err(|error| error.to_string())?;
    let mut from_json =
        est::policy_set("s", &json.to_string()).map_err(|e| format!("{json}: {e}"))?;
    let mut sorted = ours.clone();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    from_json.sort_by(|a, b| a.id.cmp(&b.id));
    same("the set in JSON", &sorted, &from_json)?;
    Ok((ours, their_set))
}

/// One request and what is known, on both sides.
#[derive(Debug)]
pub struct Sides {
    /// The request.
    pub request: Request,
    /// What every request sees.
    pub base: Entities,
    /// What this one knows besides.
    pub overlay: Entities,
    /// Both.
    pub entities: Entities,
    /// The request, for upstream.
    pub their_request: theirs::Request,
    /// All entities, for upstream.
    pub their_entities: theirs::Entities,
}

/// A request and its world, on both sides.
///
/// # Errors
///
/// Where one of the two refuses them.
pub fn sides(world: &World, asked: &Asked) -> Result<Sides, String> {
    let read = |name: &str, json: &Json| {
        data::entities(name, &json.to_string()).map_err(|refused| refused.to_string())
    };
    let (base, overlay) = (read("base", &world.base)?, read("overlay", &world.overlay)?);
    let mut entities = Entities::over(Arc::new(base.clone()));
    overlay.own().for_each(|entity| entities.insert(entity.clone()));
    let context =
        data::context("context", &asked.context.to_string()).map_err(|e| e.to_string())?;
    let [principal, action, resource] = &asked.uids;
    let request = Request {
        principal: our_uid(principal),
        action: our_uid(action),
        resource: our_uid(resource),
        context: context.into(),
    };
    let their_entities = theirs::Entities::from_json_value(world.merged.clone(), None);
    let their_context = theirs::Context::from_json_value(asked.context.clone(), None);
    let their_context = their_context.map_err(|error| format!("{error:?}"))?;
    let [principal, action, resource] =
        [their_uid(principal)?, their_uid(action)?, their_uid(resource)?];
    let their_request = theirs::Request::new(principal, action, resource, their_context, None);
    Ok(Sides {
        request,
        base,
        overlay,
        entities,
        their_request: their_request.map_err(|error| format!("{error:?}"))?,
        their_entities: their_entities.map_err(|error| format!("{error:?}"))?,
    })
}

fn our_uid(json: &Json) -> EntityUid {
    let kind = EntityType::parse(json["type"].as_str().unwrap_or_default());
    EntityUid::new(kind.expect("a type"), json["id"].as_str().unwrap_or_default())
}

fn their_uid(json: &Json) -> Result<theirs::EntityUid, String> {
    theirs::EntityUid::from_json(json.clone()).map_err(|error| format!("{error:?}"))
}

fn same_decision(
    policies: &[Policy],
    their_set: &theirs::PolicySet,
    sides: &Sides,
) -> Agreed<Outcome> {
    let Sides { request, base, overlay, entities, their_request, their_entities } = sides;
    let response = authorize(policies, request, entities);
    let theirs = theirs::Authorizer::new().is_authorized(their_request, their_set, their_entities);
    as_upstream(&response, &theirs)?;
    fails_closed(&response)?;

    let program = Program::compile(policies, base).map_err(|error| error.to_string())?;
    let mut scratch = Scratch::new();
    let counted = program.count(&mut scratch, request, overlay).ok_or("over a limit")?;
    let errors: Vec<_> = response.errors.iter().map(|error| error.policy.clone()).collect();
    same("permits, compiled", &counted.permits, &response.permits)?;
    same("forbids, compiled", &counted.forbids, &response.forbids)?;
    same("errors, compiled", &counted.errors, &errors)?;
    for mode in [OnForbidError::Deny, OnForbidError::Skip] {
        let decided = program.decide(&mut scratch, request, overlay, mode);
        same(&format!("compiled, {mode:?}"), &decided, &response.outcome(mode))?;
    }
    Ok(response.outcome(OnForbidError::Deny))
}

/// Decision, determining policies and policies that erred, as upstream has them.
fn as_upstream(response: &Response, theirs: &theirs::Response) -> Agreed {
    let allowed = matches!(response.outcome(OnForbidError::Skip), Outcome::Allow { .. });
    let reasons: BTreeSet<String> = response.reasons().iter().map(ToString::to_string).collect();
    let errors: BTreeSet<String> =
        response.errors.iter().map(|error| error.policy.to_string()).collect();
    let diagnostics = theirs.diagnostics();
    let their_errors = diagnostics.errors().map(|error| {
        let theirs::AuthorizationError::PolicyEvaluationError(error) = error;
        error.policy_id().to_string()
    });
    same("the decision", &allowed, &(theirs.decision() == theirs::Decision::Allow))?;
    same("the reasons", &reasons, &diagnostics.reason().map(ToString::to_string).collect())?;
    same("the errors", &errors, &their_errors.collect())
}

/// Failing closed changes an answer where a forbid erred, to an error, and nowhere else.
fn fails_closed(response: &Response) -> Agreed {
    let (strict, skipping) =
        (response.outcome(OnForbidError::Deny), response.outcome(OnForbidError::Skip));
    let erred = response.errors.iter().find(|error| error.effect == Effect::Forbid);
    let expected = match erred {
        Some(error) if response.forbids.is_empty() => {
            Outcome::Error { policy: error.policy.clone() }
        }
        _ => skipping,
    };
    same("failing closed", &strict, &expected)
}
