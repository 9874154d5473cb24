//! What nobody wrote, on both sides.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use zt_differential::choices::Choices;
use zt_differential::world::{Asked, World};
use zt_differential::{Agreed, decisions, mutation, policy, readers, values};
use zt_policy::evaluate::Outcome;
use zt_policy::value::Value;

/// Asks both about `cases` random lots of bytes, and counts what came out.
fn agree<T>(
    cases: u32,
    len: usize,
    of_bytes: fn(&[u8]) -> Agreed<Vec<T>>,
    name: fn(&T) -> &'static str,
) -> BTreeMap<&'static str, u32> {
    let counts = RefCell::new(BTreeMap::new());
    // For a longer look than every build can take.
    let times = std::env::var("ZT_DIFFERENTIAL_TIMES").ok().and_then(|times| times.parse().ok());
    let cases = cases * times.unwrap_or(1);
    let config = ProptestConfig {
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let agreed = TestRunner::new(config).run(&vec(any::<u8>(), 0..len), |bytes| {
        for seen in of_bytes(&bytes).map_err(TestCaseError::fail)? {
            *counts.borrow_mut().entry(name(&seen)).or_default() += 1;
        }
        Ok(())
    });
    if let Err(disagreed) = agreed {
        panic!("{disagreed}");
    }
    println!("{:?}", counts.borrow());
    counts.into_inner()
}

#[test]
fn an_expression_has_the_value_that_upstream_gives_it() {
    let seen = agree(
        1_500,
        400,
        |bytes| values::of_bytes(bytes).map(|value| vec![value]),
        |value| value.as_ref().map_or("error", Value::type_name),
    );
    let errors = seen["error"];
    assert!(seen.len() == 11 && errors < 1_000, "what is asked is too much alike: {seen:?}");
}

#[test]
fn a_request_is_decided_as_upstream_decides_it() {
    let seen = agree(600, 1_500, decisions::of_bytes, |outcome| match outcome {
        Outcome::Allow { .. } => "allow",
        Outcome::Forbidden { .. } => "forbidden",
        Outcome::Error { .. } => "error",
        Outcome::NotPermitted => "not permitted",
        _ => "over a limit",
    });
    let all_often = seen.len() == 4 && seen.values().all(|count| *count > 10);
    assert!(all_often, "what is asked is too much alike: {seen:?}");
}

/// Whether it was read.
fn read_or_refused(seen: &bool) -> &'static str {
    if *seen { "read" } else { "refused" }
}

fn enough_of_both(seen: &BTreeMap<&str, u32>) {
    assert!(seen.len() == 2 && seen.values().all(|n| *n > 100), "too much alike: {seen:?}");
}

#[test]
fn a_text_is_read_as_upstream_reads_it() {
    let seen = agree(
        1_000,
        500,
        |bytes| {
            let choices = &mut Choices::new(bytes);
            let text = if choices.one_in(8) {
                mutation::soup(choices)
            } else {
                let written = policy::policies(choices, 2);
                let texts: Vec<String> = written.into_iter().map(|policy| policy.text).collect();
                mutation::text(choices, &texts.join("\n"))
            };
            let agreed = readers::policies(&text).and_then(|read| {
                readers::expression(&text)?;
                Ok(vec![read])
            });
            agreed.map_err(|error| format!("{text}\n{error}"))
        },
        read_or_refused,
    );
    enough_of_both(&seen);
}

#[test]
fn a_policy_in_json_is_read_as_upstream_reads_it() {
    let seen = agree(
        1_000,
        500,
        |bytes| {
            let (first, rest) = bytes.split_at(bytes.len().min(60));
            let mut json = readers::their_json(&policy::policy(&mut Choices::new(rest)).text)?;
            mutation::json(&mut Choices::new(first), &mut json);
            let read = readers::policy_json(&json.to_string());
            read.map(|read| vec![read]).map_err(|error| format!("{json}\n{error}"))
        },
        read_or_refused,
    );
    enough_of_both(&seen);
}

#[test]
fn entities_and_contexts_are_read_as_upstream_reads_them() {
    let seen = agree(
        500,
        800,
        |bytes| {
            let (first, rest) = bytes.split_at(bytes.len().min(60));
            let choices = &mut Choices::new(rest);
            let (mut asked, mut world) = (Asked::new(choices), World::new(choices));
            let choices = &mut Choices::new(first);
            mutation::json(choices, &mut asked.context);
            mutation::json(choices, &mut world.overlay);
            let (context, overlay) = (asked.context.to_string(), world.overlay.to_string());
            let context =
                readers::context(&context).map_err(|error| format!("{context}\n{error}"))?;
            let entities =
                readers::entities(&overlay).map_err(|error| format!("{overlay}\n{error}"))?;
            Ok(vec![context, entities])
        },
        read_or_refused,
    );
    enough_of_both(&seen);
}
