//! Rules over SPIFFE IDs against `conformance/spiffe/id_matcher_cases.json`.

use serde_json::Value;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_identity::matcher::Authorizer;
use zt_tests::conformance::{Tally, json};

const NO_ZERO: &str = "there is no empty ID here: Go's zero value matches, ours cannot be made";

/// The rule of a case; an ID or trust domain that cannot be made is one that nothing matches.
fn rule(case: &Value) -> Result<Authorizer, String> {
    let arg = &case["arg"];
    let text = arg.as_str().unwrap_or_default();
    let id = |uri: &str| SpiffeId::parse(uri).map_err(|error| error.to_string());
    Ok(match case["matcher"].as_str().expect("a matcher") {
        "any" => Authorizer::any_in_bundles(),
        "id" => Authorizer::id(id(text)?),
        "one_of" => {
            let ids = arg.as_array().expect("IDs").iter();
            let ids: Result<Vec<_>, _> = ids.map(|uri| id(uri.as_str().expect("text"))).collect();
            Authorizer::one_of(ids?)
        }
        "member_of" => {
            Authorizer::member_of(TrustDomain::parse(text).map_err(|error| error.to_string())?)
        }
        "id_prefix" => Authorizer::within(id(text)?),
        unknown => panic!("no matcher is called {unknown:?}"),
    })
}

#[test]
fn rules_answer_as_those_of_go_spiffe() {
    let Some(data) = json("spiffe/id_matcher_cases.json") else { return };
    let mut tally =
        Tally::new("spiffe/matchers", &[("0 any zero", NO_ZERO), ("18 member_of zero", NO_ZERO)]);
    for (n, case) in data["cases"].as_array().expect("cases").iter().enumerate() {
        let id = SpiffeId::parse(case["id"].as_str().expect("an ID"));
        let ours = match (rule(case), id) {
            (Ok(rule), Ok(id)) => rule.authorizes(id.borrowed()),
            (Err(_), _) | (_, Err(_)) => false,
        };
        let same = ours == case["match"].as_bool().expect("an answer");
        let name = case["id_name"].as_str().unwrap_or("-");
        let name = format!("{n} {} {name}", case["matcher"].as_str().expect("a matcher"));
        tally.case(name, same.then_some(()).ok_or_else(|| format!("we say {ours}")));
    }
    tally.finish();
}
