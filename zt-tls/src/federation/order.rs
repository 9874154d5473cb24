//! Which of two bundles is the later one.

use std::collections::BTreeSet;

use zt_identity::bundle::SpiffeBundle;

/// What a bundle is to the latest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It says the same.
    Same,
    /// It takes its place.
    Later,
    /// It is older, or not what its sequence says (Trust Domain and Bundle §4.1.1, B-04): refused.
    Earlier,
}

/// A sequence that is the same is that of the same keys, whatever their order. None is less than any:
/// an endpoint that counted goes on counting.
pub(super) fn order(latest: &SpiffeBundle, next: &SpiffeBundle) -> Order {
    let same = keys(latest) == keys(next);
    match (latest.sequence(), next.sequence()) {
        (None, None) if same => Order::Same,
        (Some(latest), Some(next)) if latest == next && same => Order::Same,
        (None, _) => Order::Later,
        (Some(latest), Some(next)) if next > latest => Order::Later,
        (Some(_), _) => Order::Earlier,
    }
}

fn keys(bundle: &SpiffeBundle) -> [BTreeSet<&[u8]>; 3] {
    [
        bundle.x509_certificates().iter().map(|certificate| certificate.as_ref()).collect(),
        bundle.jwt_keys().iter().map(String::as_bytes).collect(),
        bundle.wit_keys().iter().map(String::as_bytes).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(sequence: Option<u64>, keys: &[&str]) -> SpiffeBundle {
        let sequence = sequence
            .map(|sequence| format!(r#""spiffe_sequence":{sequence},"#))
            .unwrap_or_default();
        let keys: Vec<_> = keys
            .iter()
            .map(|kid| format!(r#"{{"use":"jwt-svid","kty":"EC","kid":"{kid}"}}"#))
            .collect();
        let json = format!(r#"{{{sequence}"keys":[{}]}}"#, keys.join(","));
        SpiffeBundle::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_bundle_follows_another_by_its_sequence_and_never_changes_under_one() {
        let (a, ba, ab): (&[_], &[_], &[_]) = (&["a"], &["b", "a"], &["a", "b"]);
        for (latest, next, expected) in [
            ((Some(7), a), (Some(7), a), Order::Same),
            ((Some(7), ab), (Some(7), ba), Order::Same),
            ((Some(7), a), (Some(8), a), Order::Later),
            ((Some(7), a), (Some(8), ab), Order::Later),
            ((Some(7), a), (Some(u64::MAX), &[]), Order::Later),
            ((Some(7), a), (Some(7), ab), Order::Earlier),
            ((Some(7), ab), (Some(7), a), Order::Earlier),
            ((Some(7), a), (Some(6), a), Order::Earlier),
            ((Some(7), a), (Some(6), ab), Order::Earlier),
            ((Some(7), a), (Some(0), ab), Order::Earlier),
            ((Some(7), a), (None, a), Order::Earlier),
            ((Some(7), a), (None, ab), Order::Earlier),
            ((None, a), (None, a), Order::Same),
            ((None, a), (None, ab), Order::Later),
            ((None, a), (Some(0), a), Order::Later),
        ] {
            let found = order(&bundle(latest.0, latest.1), &bundle(next.0, next.1));
            assert_eq!(found, expected, "{latest:?} {next:?}");
        }
    }
}
