//! SPIFFE bundles and bundle maps against `conformance/spiffe/bundles`: what the standard says where
//! it speaks.

use serde_json::Value;
use zt_identity::bundle::{BundleMap, SpiffeBundle};
use zt_tests::conformance::{Tally, json, path};

fn document(file: &Value) -> Vec<u8> {
    let name = file["file"].as_str().expect("a file");
    std::fs::read(path(&format!("spiffe/{name}")).expect("there, as its index is"))
        .expect("readable")
}

fn counts(bundle: &SpiffeBundle) -> [(&'static str, Value); 5] {
    [
        ("x509", bundle.x509_certificates().len().into()),
        ("jwt", bundle.jwt_keys().len().into()),
        ("wit", bundle.wit_keys().len().into()),
        ("refresh_hint_s", bundle.refresh_hint().as_secs().into()),
        ("sequence", bundle.sequence().into()),
    ]
}

/// Whether a bundle has as much of everything as is stated.
fn has(bundle: &SpiffeBundle, stated: &Value) -> Result<(), String> {
    for (what, ours) in counts(bundle) {
        match stated.get(what) {
            Some(theirs) if *theirs != ours => {
                return Err(format!("{what} is {ours} and not {theirs}: {bundle:?}"));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// What the standard says, in the cases where the data says it in words.
fn in_words(file: &str) -> Option<Value> {
    let spec = match file {
        // Nobody's sequence is below nothing, and no sequence is text.
        "bundles/spec-sequence-negative.json" | "bundles/spec-sequence-string.json" => {
            serde_json::json!({"valid": false})
        }
        // The entry is unusable, and the document is one.
        "bundles/go-spiffebundle_missing_kid.json" => {
            serde_json::json!({"valid": true, "x509": 1, "jwt": 0})
        }
        "bundles/spec-x5c-base64url.json" => serde_json::json!({"valid": true, "x509": 0}),
        "bundles/spec-jwk-private-key.json"
        | "bundles/spire-jwt-no-kid.json"
        | "bundles/spire-wit-no-kid.json" => {
            serde_json::json!({"valid": true, "x509": 0, "jwt": 0, "wit": 0})
        }
        // Which of them is meant is for whoever looks a key up by its name.
        "bundles/spec-duplicate-jwt-kid.json" => serde_json::json!({"valid": true, "jwt": 2}),
        _ => return None,
    };
    Some(spec)
}

#[test]
fn bundles_hold_what_the_standard_says() {
    let Some(index) = json("spiffe/bundles/index.json") else { return };
    let mut tally = Tally::new("spiffe/bundles", &[]);
    for file in index["files"].as_array().expect("files") {
        if file["kind"] != "spiffe_bundle" {
            continue;
        }
        let name = file["file"].as_str().expect("a file");
        let spec = in_words(name).unwrap_or_else(|| file["spec"].clone());
        let valid = spec["valid"].as_bool().unwrap_or_else(|| panic!("{name}: {spec}"));
        let outcome = match SpiffeBundle::from_json(&document(file)) {
            Ok(bundle) if valid => has(&bundle, &spec),
            Err(_) if !valid => Ok(()),
            other => Err(format!("{other:?}, expected {spec}")),
        };
        tally.case(name, outcome);
    }
    tally.finish();
}

#[test]
fn what_was_read_is_published_and_read_again() {
    let Some(index) = json("spiffe/bundles/index.json") else { return };
    let mut tally = Tally::new("spiffe/bundles published", &[]);
    for file in index["files"].as_array().expect("files") {
        let Ok(bundle) = SpiffeBundle::from_json(&document(file)) else { continue };
        let again = SpiffeBundle::from_json(bundle.to_json().as_bytes());
        let outcome = match &again {
            Ok(again) if counts(again) == counts(&bundle) => Ok(()),
            other => Err(format!("{other:?}, expected {bundle:?}")),
        };
        tally.case(file["file"].as_str().expect("a file"), outcome);
    }
    tally.finish();
}

#[test]
fn bundle_maps_hold_what_the_standard_says() {
    let Some(index) = json("spiffe/bundles/index.json") else { return };
    let mut tally = Tally::new("spiffe/bundle maps", &[]);
    for file in index["files"].as_array().expect("files") {
        if file["kind"] != "bundle_map" {
            continue;
        }
        let spec = &file["spec"];
        let outcome = match (BundleMap::from_json(&document(file)), &spec["valid"]) {
            (Ok(map), Value::Bool(true)) => {
                let domains = spec["domains"].as_object().expect("domains");
                let stated =
                    map.iter().map(|(domain, bundle)| match domains.get(domain.as_str()) {
                        Some(stated) => has(bundle, stated),
                        None => Err(format!("{domain} is not expected")),
                    });
                let outcome = stated.collect::<Result<Vec<()>, String>>();
                outcome.and_then(|all| {
                    if all.len() == domains.len() { Ok(()) } else { Err(format!("{map:?}")) }
                })
            }
            (Err(_), Value::Bool(false)) => Ok(()),
            (other, _) => Err(format!("{other:?}, expected {spec}")),
        };
        tally.case(file["file"].as_str().expect("a file"), outcome);
    }
    tally.finish();
}
