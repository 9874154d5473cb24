//! What many policies keep.

#![expect(clippy::unwrap_used, reason = "a test")]

use allocation_counter::measure;
use zt_policy::set::PolicySet;

const COUNT: u32 = 100_000;

/// Bytes for each policy that a set of them keeps, to decide and to explain.
fn kept(policy: impl Fn(u32) -> String) -> i64 {
    let text: String = (0..COUNT).map(policy).collect();
    let mut set = None;
    let counted = measure(|| set = Some(PolicySet::parse("policies", &text).unwrap()));
    assert_eq!(u32::try_from(set.unwrap().policies().count()), Ok(COUNT));
    counted.bytes_current.checked_div(i64::from(COUNT)).unwrap()
}

#[test]
fn exact_scopes_keep_little_more_than_their_texts() {
    let bench = kept(|n| {
        format!(
            "permit (principal == Workload::\"spiffe://example.org/ns/shop/sa/cart-{n}\", action, \
             resource == Order::\"{n}\");"
        )
    });
    let named = kept(|n| {
        format!(
            "@id(\"grant-{n}\") permit (principal == User::\"user-{n}\", action == Action::\"read\", \
             resource == Doc::\"{n}\");"
        )
    });
    assert!(bench <= 189 && named <= 170, "{bench} and {named} bytes a policy");
}
