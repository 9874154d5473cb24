//! What nobody wrote, on both sides.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use zt_differential::{Agreed, decisions, values};
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
        3_000,
        400,
        |bytes| values::of_bytes(bytes).map(|value| vec![value]),
        |value| value.as_ref().map_or("error", Value::type_name),
    );
    let errors = seen["error"];
    assert!(seen.len() == 11 && errors < 2_000, "what is asked is too much alike: {seen:?}");
}

#[test]
fn a_request_is_decided_as_upstream_decides_it() {
    let seen = agree(1_500, 1_500, decisions::of_bytes, |outcome| match outcome {
        Outcome::Allow { .. } => "allow",
        Outcome::Forbidden { .. } => "forbidden",
        Outcome::Error { .. } => "error",
        Outcome::NotPermitted => "not permitted",
        _ => "over a limit",
    });
    let all_often = seen.len() == 4 && seen.values().all(|count| *count > 150);
    assert!(all_often, "what is asked is too much alike: {seen:?}");
}
