//! Addresses of the Workload API against `conformance/spiffe`.

#![cfg(test)]

use serde_json::Value;
use zt_identity::workload_api::EndpointAddress;
use zt_tests::conformance::{Tally, json};

#[test]
fn addresses_of_the_workload_api_are_those_of_the_standard() {
    let Some(data) = json("spiffe/endpoint_addr_cases.json") else { return };
    let mut tally = Tally::new("endpoint addresses", &[]);
    for case in data["cases"].as_array().expect("cases") {
        let input = case["input"].as_str().expect("every case has an input");
        let expected = case.get("strict").unwrap_or(case)["valid"].as_bool().expect("an answer");
        let ours = EndpointAddress::parse(input);
        let outcome = match (&ours, expected) {
            (Ok(_), true) | (Err(_), false) => same_place(case, &ours),
            _ => {
                Err(format!("{ours:?}, expected {}", if expected { "an address" } else { "none" }))
            }
        };
        tally.case(input, outcome);
    }
    tally.finish();
}

/// Where Go's library tells host and port, ours are the same.
fn same_place<E>(case: &Value, ours: &Result<EndpointAddress, E>) -> Result<(), String> {
    let theirs = case["observed"]["go-spiffe 2.8.1"]["parsed"].as_str();
    let (Ok(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
    let theirs = theirs.strip_prefix("unix://").or(theirs.strip_prefix("unix:")).unwrap_or(theirs);
    let shown = ours.to_string();
    let same = shown.strip_prefix("unix://").or(shown.strip_prefix("tcp://")) == Some(theirs);
    if same { Ok(()) } else { Err(format!("{shown}, expected {theirs}")) }
}
