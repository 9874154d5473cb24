//! Rules over SPIFFE IDs answer as the simplest code that could answer does.

#![cfg(test)]

use proptest::prelude::*;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_identity::matcher::{Authorizer, IdPattern};

/// Few names, so that some match, and some that differ by a letter, a case or a dot.
fn domain() -> impl Strategy<Value = String> {
    prop_oneof![Just("td"), Just("td2"), Just("t"), Just("td.x")].prop_map(str::to_owned)
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("A"), Just("ab"), Just("..."), Just("a.b")]
        .prop_map(str::to_owned)
}

fn id() -> impl Strategy<Value = String> {
    (domain(), prop::collection::vec(segment(), 0..5)).prop_map(uri)
}

fn uri((domain, segments): (String, Vec<String>)) -> String {
    segments.iter().fold(format!("spiffe://{domain}"), |uri, segment| uri + "/" + segment)
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![2 => segment(), 1 => Just("*".to_owned())];
    let path = (prop::collection::vec(segment, 0..4), any::<bool>());
    (domain(), path).prop_map(|(domain, (mut segments, more))| {
        if more {
            segments.push("**".into());
        }
        uri((domain, segments))
    })
}

/// A rule, and what it says in plain words about texts.
#[derive(Clone, Debug)]
enum Oracle {
    OneOf(Vec<String>),
    MemberOf(String),
    Within(String),
    Matching(String),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

fn rule() -> impl Strategy<Value = Oracle> {
    let leaf = prop_oneof![
        prop::collection::vec(id(), 0..4).prop_map(Oracle::OneOf),
        domain().prop_map(Oracle::MemberOf),
        id().prop_map(Oracle::Within),
        pattern().prop_map(Oracle::Matching),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            pair.clone().prop_map(|(first, other)| Oracle::And(first, other)),
            pair.prop_map(|(first, other)| Oracle::Or(first, other)),
            inner.prop_map(|rule| Oracle::Not(Box::new(rule))),
        ]
    })
}

impl Oracle {
    fn authorizer(&self) -> Authorizer {
        let id = |uri: &String| SpiffeId::parse(uri).unwrap();
        match self {
            Self::OneOf(ids) => Authorizer::one_of(ids.iter().map(id)),
            Self::MemberOf(name) => Authorizer::member_of(TrustDomain::from_name(name).unwrap()),
            Self::Within(prefix) => Authorizer::within(id(prefix)),
            Self::Matching(pattern) => Authorizer::matching(pattern.parse().unwrap()),
            Self::And(first, other) => first.authorizer().and(other.authorizer()),
            Self::Or(first, other) => first.authorizer().or(other.authorizer()),
            Self::Not(rule) => rule.authorizer().not(),
        }
    }

    fn says(&self, id: &str) -> bool {
        match self {
            Self::OneOf(ids) => ids.iter().any(|known| known == id),
            Self::MemberOf(name) => id.split('/').nth(2) == Some(name),
            Self::Within(prefix) => id == prefix || id.starts_with(&format!("{prefix}/")),
            Self::Matching(pattern) => {
                let split = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
                fits(&split(pattern), &split(id))
            }
            Self::And(first, other) => first.says(id) && other.says(id),
            Self::Or(first, other) => first.says(id) || other.says(id),
            Self::Not(rule) => !rule.says(id),
        }
    }
}

/// From the end: `**` is tried with each number of segments.
fn fits(pattern: &[String], id: &[String]) -> bool {
    match (pattern.split_last(), id.split_last()) {
        (None, None) => true,
        (Some((last, before)), Some((_, others))) if last == "**" => {
            fits(before, others) || fits(pattern, others)
        }
        (Some((last, before)), Some((segment, others))) => {
            (last == "*" || last == segment) && fits(before, others)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_rule_says_what_its_words_say(rule in rule(), id in id()) {
        let asked = SpiffeId::parse(&id).unwrap();
        prop_assert_eq!(rule.authorizer().authorizes(asked.borrowed()), rule.says(&id));
    }

    #[test]
    fn a_pattern_matches_what_it_is_made_of(
        id in id(),
        open in prop::collection::vec(any::<bool>(), 5),
        other in id(),
    ) {
        let mut open = open.into_iter();
        let parts = id.split('/').enumerate().map(|(place, part)| match place {
            0..3 => part,
            _ if open.next() == Some(true) => "*",
            _ => part,
        });
        let text = parts.collect::<Vec<_>>().join("/");
        let pattern = IdPattern::parse(&text).unwrap();
        prop_assert!(pattern.matches(SpiffeId::parse(&id).unwrap().borrowed()));
        let same_length = other.split('/').count() == id.split('/').count();
        let matched = pattern.matches(SpiffeId::parse(&other).unwrap().borrowed());
        prop_assert!(same_length || !matched, "{} {}", text, other);
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in "(spiffe://)?[a-z*./-]{0,40}") {
        if let Ok(pattern) = IdPattern::parse(&text) {
            prop_assert_eq!(pattern.as_str(), &text);
            // What is put in for a star is one segment: the result is an ID that matches.
            let id = text.replace("**", "x/y").replace('*', "x");
            prop_assert!(pattern.matches(SpiffeId::parse(&id).unwrap().borrowed()));
        }
    }
}
