//! Sets of policies that nobody wrote: with scopes that an index posts, conditions that it can use,
//! templates and links.

use crate::choices::Choices;
use crate::expression::{self, IDS, KINDS, NAMES, TEXTS, Type, entity, leaf, quoted};

/// A policy or a template.
#[derive(Debug)]
pub struct Written {
    /// Its text.
    pub text: String,
    /// Whether it has `?principal`.
    pub principal_slot: bool,
    /// Whether it has `?resource`.
    pub resource_slot: bool,
}

/// Up to `most` policies, one at least.
pub fn policies(choices: &mut Choices<'_>, most: usize) -> Vec<Written> {
    let count = 1 + choices.below(most);
    (0..count).map(|_| policy(choices)).collect()
}

/// One policy or template.
pub fn policy(choices: &mut Choices<'_>) -> Written {
    let effect = if choices.one_in(3) { "forbid" } else { "permit" };
    let template = choices.one_in(5);
    let mut annotations = String::new();
    for name in ["id", "note", "if"] {
        if choices.one_in(6) {
            annotations += &match choices.one_in(3) {
                true => format!("@{name}\n"),
                false => format!("@{name}({})\n", quoted(choices.of(&TEXTS))),
            };
        }
    }
    let (principal, principal_slot) = scope(choices, "principal", template);
    let (resource, resource_slot) = scope(choices, "resource", template);
    let action = action(choices);
    let mut conditions = String::new();
    for _ in 0..choices.below(3) {
        let kind = if choices.one_in(4) { "unless" } else { "when" };
        conditions += &format!("\n{kind} {{ {} }}", condition(choices));
    }
    let text = format!("{annotations}{effect} ({principal}, {action}, {resource}){conditions};");
    Written { text, principal_slot, resource_slot }
}

fn scope(choices: &mut Choices<'_>, var: &str, template: bool) -> (String, bool) {
    let slot = template && choices.one_in(2);
    let target = if slot { format!("?{var}") } else { entity(choices) };
    let kind = choices.of(&KINDS);
    match choices.below(12) {
        0..6 if !slot => (var.into(), false),
        6 | 7 if !slot => (format!("{var} is {kind}"), false),
        8 => (format!("{var} is {kind} in {target}"), slot),
        9 | 10 => (format!("{var} in {target}"), slot),
        _ => (format!("{var} == {target}"), slot),
    }
}

fn action(choices: &mut Choices<'_>) -> String {
    let one = |choices: &mut Choices<'_>| {
        format!("{}::{}", choices.of(&["Action", "Ns::Action"]), quoted(choices.of(&IDS)))
    };
    match choices.below(9) {
        0..6 => "action".into(),
        6 => format!("action == {}", one(choices)),
        7 => format!("action in {}", one(choices)),
        _ => format!("action in [{}]", choices.some(3, one).join(", ")),
    }
}

/// A condition: one to four operands, of which an index can use most.
pub fn condition(choices: &mut Choices<'_>) -> String {
    let count = 1 + choices.below(3);
    let operands: Vec<String> = (0..count).map(|_| operand(choices)).collect();
    operands.join(" && ")
}

fn operand(choices: &mut Choices<'_>) -> String {
    let of = choices.of(&[Type::Long, Type::Text, Type::Bool, Type::Entity]);
    let path = match choices.below(8) {
        0 => choices.of(&["principal", "resource", "action"]).into(),
        _ => plain_path(choices, of),
    };
    let literal = leaf(choices, of);
    match choices.below(16) {
        0 | 1 => format!("{path} == {literal}"),
        2 => format!("{literal} == {path}"),
        3 => {
            let more = choices.some(3, |choices| leaf(choices, of));
            format!("[{}].contains({path})", [vec![literal], more].concat().join(", "))
        }
        4 => format!("{} in {}", plain_path(choices, Type::Entity), entity(choices)),
        5 => {
            let all = choices.some(3, entity).join(", ");
            format!("{} in [{all}]", plain_path(choices, Type::Entity))
        }
        6 | 7 => {
            let root = choices.of(&["principal", "resource", "context", "action"]);
            let name = choices.of(&NAMES[..5]);
            let other = if choices.one_in(4) { choices.of(&NAMES[..5]) } else { name };
            format!("{root} has {name} && {root}.{other} == {literal}")
        }
        8 => {
            let var = choices.of(&["principal", "resource"]);
            format!("{var} is {}", choices.of(&KINDS))
        }
        9 => format!("{path} != {literal}"),
        10 => format!("!({path} == {literal})"),
        11 => {
            format!("({path} == {literal} || {})", expression::expression(choices, Type::Bool, 2))
        }
        12 => format!("(if {path} == {literal} then {literal} == {path} else true)"),
        _ => expression::expression(choices, Type::Bool, 4),
    }
}

fn plain_path(choices: &mut Choices<'_>, of: Type) -> String {
    let typed = expression::TYPED.iter().find(|(_, kind)| *kind == of).map(|(name, _)| *name);
    let name = if choices.one_in(8) { choices.of(&NAMES[..5]) } else { typed.unwrap_or("a") };
    let root =
        choices.of(&["context", "principal", "resource", "context.r", "principal.e", "context.e"]);
    format!("{root}.{name}")
}
