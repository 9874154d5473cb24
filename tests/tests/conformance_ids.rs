//! SPIFFE IDs, trust domains, path segments and operations on IDs against `conformance/spiffe`.

use serde_json::Value;
use zt_core::spiffe::{SpiffeId, SpiffeIdError, TrustDomain, check_segment};
use zt_tests::conformance::{Tally, json};

/// The name that the data has for an error of ours.
fn kind(error: &SpiffeIdError) -> &'static str {
    match error {
        SpiffeIdError::Empty => "empty",
        SpiffeIdError::WrongScheme => "wrong_scheme",
        SpiffeIdError::MissingTrustDomain => "missing_trust_domain",
        SpiffeIdError::BadTrustDomainChar { .. } => "bad_trust_domain_char",
        SpiffeIdError::NoLeadingSlash => "no_leading_slash",
        SpiffeIdError::BadPathSegmentChar { .. } => "bad_path_segment_char",
        SpiffeIdError::EmptySegment { .. } => "empty_segment",
        SpiffeIdError::DotSegment { .. } => "dot_segment",
        SpiffeIdError::TrailingSlash => "trailing_slash",
        SpiffeIdError::TooLong { .. } => "too_long",
        SpiffeIdError::TrustDomainTooLong { .. } => "trust_domain_too_long",
        other => panic!("the data has no name for {other:?}"),
    }
}

fn text<'a>(case: &'a Value, field: &str) -> Option<&'a str> {
    case.get(field).and_then(Value::as_str)
}

/// Compares with the case, or with its `strict` answer where implementations differ.
fn compare(case: &Value, ours: Result<Vec<(&str, String)>, SpiffeIdError>) -> Result<(), String> {
    let expected = case.get("strict").unwrap_or(case);
    let valid = expected["valid"].as_bool().expect("every case says whether it is valid");
    match ours {
        Ok(parts) if valid => parts.into_iter().try_for_each(|(field, value)| {
            match text(expected, field).or_else(|| text(case, field)) {
                Some(wanted) if wanted != value => {
                    Err(format!("{field} is {value:?}, expected {wanted:?}"))
                }
                _ => Ok(()),
            }
        }),
        Err(error) if !valid => match text(expected, "error_kind") {
            Some(wanted) if wanted != kind(&error) => {
                Err(format!("refused as {}, expected {wanted}", kind(&error)))
            }
            _ => Ok(()),
        },
        Ok(_) => Err("accepted, expected a refusal".into()),
        Err(error) => Err(format!("refused: {error}")),
    }
}

fn run<'v>(
    set: &'static str,
    file: &str,
    deviations: &'static [(&'static str, &'static str)],
    parse: impl Fn(&str) -> Result<Vec<(&'v str, String)>, SpiffeIdError>,
) {
    let Some(data) = json(file) else { return };
    let mut tally = Tally::new(set, deviations);
    for case in data["cases"].as_array().expect("cases") {
        let input = case["input"].as_str().expect("input");
        let outcome = compare(case, parse(input));
        tally.case(case["n"].to_string(), outcome.map_err(|why| format!("{why}: {input:?}")));
    }
    tally.finish();
}

const LONGER_THAN_2048: &[(&str, &str)] = &[(
    "825",
    "4,096 bytes: SPIFFE-ID §2.3 demands support of 2,048, and whatever a peer sends has a cap",
)];

#[test]
fn spiffe_ids() {
    run("spiffe/ids", "spiffe/spiffe_id_cases.json", LONGER_THAN_2048, |input| {
        let id = SpiffeId::parse(input)?;
        Ok(vec![("trust_domain", id.trust_domain().to_string()), ("path", id.path().to_owned())])
    });
}

#[test]
fn trust_domains() {
    run("spiffe/trust-domains", "spiffe/trust_domain_cases.json", &[], |input| {
        Ok(vec![("trust_domain", TrustDomain::parse(input)?.to_string())])
    });
}

#[test]
fn path_segments() {
    run("spiffe/path-segments", "spiffe/path_segment_cases.json", &[], |input| {
        check_segment(input).map(|()| Vec::new())
    });
}

#[test]
fn building_ids() {
    let Some(data) = json("spiffe/id_ops_cases.json") else { return };
    let mut tally = Tally::new("spiffe/id-operations", &[]);
    for (n, case) in data["cases"].as_array().expect("cases").iter().enumerate() {
        let domain = TrustDomain::from_name(text(case, "trust_domain").expect("domain")).unwrap();
        let segments = || case["arg"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let path = text(case, "arg").unwrap_or_default();
        let start =
            SpiffeId::from_path(domain.borrowed(), text(case, "start_path").unwrap_or_default())
                .expect("start");
        let op = text(case, "op").expect("op");
        let ours = match op {
            "from_path" => SpiffeId::from_path(domain.borrowed(), path),
            "from_segments" => SpiffeId::from_segments(domain.borrowed(), segments()),
            "replace_path" => start.replace_path(path),
            "replace_segments" => start.replace_segments(segments()),
            "append_path" => start.append_path(path),
            "append_segments" => start.append_segments(segments()),
            other => panic!("unknown operation {other}"),
        };
        let outcome = match (ours, text(case, "id"), text(case, "error_kind")) {
            (Ok(id), Some(wanted), None) if id.as_str() == wanted => Ok(()),
            (Err(error), None, Some(wanted)) if kind(&error) == wanted => Ok(()),
            (ours, ..) => Err(format!("{ours:?}, expected {case}")),
        };
        tally.case(format!("{n} {op}"), outcome);
    }
    tally.finish();
}
