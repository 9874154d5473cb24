//! Entities, what a request adds to them, and requests, as the JSON that both sides read.

use serde_json::{Map, Value as Json, json};

use crate::choices::Choices;
use crate::expression::{DECIMALS, IDS, KINDS, NAMES, NETS, SPANS, TEXTS, TIMES, TYPED, Type};

/// The place of an entity among all that there could be. Parents have greater ones.
type Place = usize;

/// All entities that there could be.
const PLACES: usize = KINDS.len() * IDS.len();

/// Entities.
#[derive(Debug)]
pub struct World {
    /// Those that every request sees.
    pub base: Json,
    /// What one request knows besides.
    pub overlay: Json,
    /// Both as one.
    pub merged: Json,
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    /// Principal, action and resource, as `{"type": …, "id": …}`.
    pub uids: [Json; 3],
    /// A record.
    pub context: Json,
}

/// An entity that may or may not be known.
pub fn uid(choices: &mut Choices<'_>) -> Json {
    named(choices.below(PLACES))
}

fn named(place: Place) -> Json {
    json!({"type": KINDS[place % KINDS.len()], "id": IDS[place / KINDS.len() % IDS.len()]})
}

fn place(choices: &mut Choices<'_>, kinds: &[&str]) -> Place {
    let kind = choices.of(kinds);
    let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(0);
    choices.below(IDS.len()) * KINDS.len() + kind
}

/// A value that is meant to be of this type.
pub fn value(choices: &mut Choices<'_>, of: Type, depth: usize) -> Json {
    let call =
        |function: &str, argument: &str| json!({"__extn": {"fn": function, "arg": argument}});
    // The first ones are those that extensions make a value of.
    match of {
        Type::Bool => json!(choices.one_in(2)),
        Type::Long => json!(choices.of(&[0, 1, 2, -1, i64::MAX, i64::MIN])),
        Type::Text => json!(choices.of(&TEXTS)),
        Type::Entity => json!({"__entity": uid(choices)}),
        Type::Set => {
            let of = choices.of(&[Type::Long, Type::Text, Type::Entity, Type::Bool]);
            Json::Array(choices.some(3, |choices| value(choices, of, depth)))
        }
        Type::Record if depth == 0 => json!({}),
        Type::Record => Json::Object(record(choices, depth - 1)),
        Type::Decimal => call("decimal", choices.of(&DECIMALS[..6])),
        Type::Ip => call("ip", choices.of(&NETS[..14])),
        Type::DateTime => call("datetime", choices.of(&TIMES[..4])),
        Type::Duration => call("duration", choices.of(&SPANS[..7])),
    }
}

/// Attributes, tags or a context: mostly with the types that expressions expect of them.
pub fn record(choices: &mut Choices<'_>, depth: usize) -> Map<String, Json> {
    let mut record = Map::new();
    for (name, of) in TYPED {
        if choices.one_in(6) {
            continue;
        }
        let other =
            choices.of(&[Type::Ip, Type::Decimal, Type::DateTime, Type::Duration, Type::Set]);
        let of = if choices.one_in(10) { other } else { of };
        record.insert(name.into(), value(choices, of, depth));
    }
    record
}

fn entity(choices: &mut Choices<'_>, place: Place, chained: bool) -> Json {
    let mut parents = choices.some(3, |choices| choices.below(PLACES));
    if chained {
        parents.push(place + 1);
    }
    // Upstream refuses an action below something that is not one.
    let is_action = |place: Place| KINDS[place % KINDS.len()].ends_with("Action");
    let may_hold = |parent: Place| is_action(parent) || !is_action(place);
    parents.retain(|parent| (place + 1..PLACES).contains(parent) && may_hold(*parent));
    parents.sort_unstable();
    parents.dedup();
    let tags = if choices.one_in(2) { record(choices, 1) } else { Map::new() };
    json!({
        "uid": named(place),
        "attrs": record(choices, 2),
        "parents": parents.into_iter().map(named).collect::<Vec<_>>(),
        "tags": tags,
    })
}

impl World {
    /// Some entities, of which a few are deep below others, and up to four that a request knows.
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let mut base: Vec<Option<Json>> = vec![None; PLACES];
        let chained = choices.one_in(3);
        for (place, entity_at) in base.iter_mut().enumerate() {
            if !choices.one_in(if chained { 8 } else { 3 }) {
                *entity_at = Some(entity(choices, place, chained));
            }
        }
        let mut overlay: Vec<Option<Json>> = vec![None; PLACES];
        for place in choices.some(4, |choices| choices.below(PLACES)) {
            overlay[place] = Some(entity(choices, place, false));
        }
        let merged = base.iter().zip(&overlay).filter_map(|both| match both {
            (Some(base), Some(over)) => Some(merge(base, over)),
            (base, over) => over.as_ref().or(base.as_ref()).cloned(),
        });
        Self {
            merged: merged.collect(),
            base: base.into_iter().flatten().collect(),
            overlay: overlay.into_iter().flatten().collect(),
        }
    }
}

/// As `Entities::insert` says: the parents of both, and of attributes and tags the newer ones.
fn merge(base: &Json, over: &Json) -> Json {
    let mut merged = base.clone();
    for field in ["attrs", "tags"] {
        if let (Some(merged), Some(over)) = (merged[field].as_object_mut(), over[field].as_object())
        {
            merged.extend(over.clone());
        }
    }
    if let (Some(merged), Some(over)) =
        (merged["parents"].as_array_mut(), over["parents"].as_array())
    {
        merged.extend(
            over.iter()
                .filter(|parent| {
                    !base["parents"].as_array().into_iter().flatten().any(|p| p == *parent)
                })
                .cloned(),
        );
    }
    merged
}

impl Asked {
    /// A request, mostly about entities that policies and the world know.
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let principal = place(choices, &["User", "Group", "Ns::Team"]);
        let action = place(choices, &["Action", "Ns::Action"]);
        let resource = place(choices, &["Doc", "User", "Group"]);
        let mut uids = [principal, action, resource].map(named);
        if choices.one_in(10) {
            uids[0] = json!({"type": "Nobody", "id": NAMES[choices.below(NAMES.len())]});
        }
        Self { uids, context: Json::Object(record(choices, 2)) }
    }
}
