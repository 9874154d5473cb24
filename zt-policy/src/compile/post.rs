//! Where each policy is posted.
//!
//! A policy can be posted under any of the choices that its scope and its conditions offer. It is
//! posted under that which it shares with the fewest others. Where still [`MANY`] or more stand
//! under one anchor and action, each of these is also posted under another of its choices, again
//! that which it shares with the fewest, as long as that at least halves what one request asks.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::hoist::Choice;
use crate::index::{Anchor, Posting, RuleNo};
use crate::program::{ActionTest, Code, Rule, ScopeTest};
use crate::symbol::{EntityNo, Mix, at};

/// From how many policies on a list is split.
const MANY: usize = 16;

type Crowds = HashMap<Anchor, usize, BuildHasherDefault<Mix>>;

/// The entities that the scopes of a policy name.
pub(super) fn scope_choices(principal: ScopeTest, resource: ScopeTest) -> Vec<Choice> {
    let entities =
        [principal.anchor().map(Anchor::Principal), resource.anchor().map(Anchor::Resource)];
    entities.into_iter().flatten().map(|anchor| vec![anchor]).collect()
}

/// The types that they name.
pub(super) fn kind_choices(principal: ScopeTest, resource: ScopeTest) -> Vec<Choice> {
    let kinds =
        [principal.kind().map(Anchor::PrincipalKind), resource.kind().map(Anchor::ResourceKind)];
    kinds.into_iter().flatten().map(|anchor| vec![anchor]).collect()
}

/// Posts each policy, once for each action that it names.
pub(super) fn post(rules: &[Rule], choices: &[Vec<Choice>], code: &Code) -> Vec<Posting> {
    let crowds = crowds(choices.iter().flatten());
    let mut postings = Vec::with_capacity(rules.len());
    for ((rule, choices), no) in rules.iter().zip(choices).zip(0..) {
        match least_crowded(choices.iter(), &crowds) {
            None => post_under(Anchor::Everywhere, rule, no, code, &mut postings),
            Some((chosen, _)) => {
                chosen.iter().for_each(|anchor| post_under(*anchor, rule, no, code, &mut postings));
            }
        }
    }
    postings.sort_unstable();
    postings.dedup();
    let mut split = Vec::with_capacity(postings.len());
    for list in postings.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        match seconds(list, choices) {
            Some(seconds) => split.extend(seconds),
            None => split.extend_from_slice(list),
        }
    }
    split
}

fn post_under(anchor: Anchor, rule: &Rule, no: RuleNo, code: &Code, postings: &mut Vec<Posting>) {
    let mut under = |action: Option<EntityNo>| postings.push((anchor, action, None, no));
    match rule.action(code) {
        ActionTest::Any => under(None),
        ActionTest::Eq(action) => under(Some(action)),
        ActionTest::InAny(groups) => {
            groups.of(&code.entities).iter().for_each(|group| under(Some(*group)));
        }
    }
}

/// How many choices an anchor is in.
fn crowds<'c>(choices: impl Iterator<Item = &'c Choice>) -> Crowds {
    let mut crowds = Crowds::default();
    for anchor in choices.flatten() {
        let crowd = crowds.entry(*anchor).or_default();
        *crowd = crowd.saturating_add(1);
    }
    crowds
}

/// The first choice whose largest crowd is the smallest, and this crowd.
fn least_crowded<'c>(
    choices: impl Iterator<Item = &'c Choice>,
    crowds: &Crowds,
) -> Option<(&'c Choice, usize)> {
    let crowd = |choice: &Choice| choice.iter().filter_map(|anchor| crowds.get(anchor)).max();
    choices
        .map(|choice| (choice, crowd(choice).copied().unwrap_or(0)))
        .min_by_key(|(_, crowd)| *crowd)
}

/// A list split by second anchors, where that is of use.
fn seconds(list: &[Posting], choices: &[Vec<Choice>]) -> Option<Vec<Posting>> {
    let (first, ..) = *list.first().filter(|_| list.len() >= MANY)?;
    let others = |no: RuleNo| {
        let choices = choices.get(at(no)).map(Vec::as_slice).unwrap_or_default();
        choices.iter().filter(|choice| !choice.contains(&first))
    };
    let crowds = crowds(list.iter().flat_map(|(.., no)| others(*no)));
    let (mut split, mut unsplit, mut largest) = (Vec::with_capacity(list.len()), 0_usize, 0_usize);
    for (first, action, _, no) in list {
        match least_crowded(others(*no), &crowds) {
            None => {
                unsplit = unsplit.saturating_add(1);
                split.push((*first, *action, None, *no));
            }
            Some((second, crowd)) => {
                largest = largest.max(crowd);
                split.extend(second.iter().map(|second| (*first, *action, Some(*second), *no)));
            }
        }
    }
    (unsplit.saturating_add(largest) <= list.len() / 2).then_some(split)
}
