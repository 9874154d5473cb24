//! SPIFFE bundles and bundle maps against `conformance/spiffe/bundles`: what the standard says where
//! it speaks.

use serde_json::Value;
use zt_core::spiffe::TrustDomain;
use zt_identity::bundle::{BundleMap, BundleMapError, SpiffeBundle, SpiffeBundleError};
use zt_identity::json::JsonError;
use zt_identity::jwk::JwkError;
use zt_identity::jwt_bundle::JwtBundle;
use zt_identity::wit_svid::WitBundle;
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

/// The rule that a document breaks which the standard refuses: the data has no name for most.
fn broken_in(file: &str) -> &'static str {
    match file {
        "bundles/go-spiffebundle_no_keys.json"
        | "bundles/spire-empty-object.json"
        | "bundles/spec-keys-not-array.json" => "no keys",
        "bundles/spec-empty-file.json" => "not JSON",
        "bundles/spec-sequence-negative.json" | "bundles/spec-sequence-string.json" => "sequence",
        "bundles/map-missing-key.json" => "no trust domains",
        "bundles/map-duplicate-escaped.json" => "duplicate",
        "bundles/map-bad-domain.json" => "trust domain",
        other => panic!("{other} is not known to break a rule"),
    }
}

fn kind(error: &SpiffeBundleError) -> &'static str {
    match error {
        SpiffeBundleError::NoKeys => "no keys",
        SpiffeBundleError::Json(_) => "not JSON",
        SpiffeBundleError::Sequence => "sequence",
        other => panic!("no document is known to break this: {other:?}"),
    }
}

fn map_kind(error: &BundleMapError) -> &'static str {
    match error {
        BundleMapError::NoTrustDomains => "no trust domains",
        BundleMapError::Json(JsonError::Duplicate { .. }) => "duplicate",
        BundleMapError::TrustDomain { .. } => "trust domain",
        other => panic!("no document is known to break this: {other:?}"),
    }
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
            Err(error) if !valid && kind(&error) == broken_in(name) => Ok(()),
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
        let (spec, name) = (&file["spec"], file["file"].as_str().expect("a file"));
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
            (Err(error), Value::Bool(false)) if map_kind(&error) == broken_in(name) => Ok(()),
            (other, _) => Err(format!("{other:?}, expected {spec}")),
        };
        tally.case(file["file"].as_str().expect("a file"), outcome);
    }
    tally.finish();
}

/// The names of the keys of a document, and how many keys there are.
fn kids(document: &[u8]) -> (Vec<String>, usize) {
    let document: Value = serde_json::from_slice(document).expect("JSON");
    let keys = document["keys"].as_array().expect("keys");
    let kids = keys.iter().filter_map(|key| key["kid"].as_str()).filter(|kid| !kid.is_empty());
    (kids.map(str::to_owned).collect(), keys.len())
}

/// The name that the tests of others have for what is wrong with a key.
fn skipped(reason: &JwkError) -> &'static str {
    match reason {
        JwkError::NoKid => "missing_kid",
        JwkError::KeyType { .. } => "unsupported_kty",
        JwkError::Member { .. } | JwkError::Key(_) => "bad_jwk",
        JwkError::Private { .. } => "private",
        other => panic!("the data has no name for {other:?}"),
    }
}

const PRIVATE: &str = "its keys are private: whoever reads them could sign with them";

/// Where others refuse the document, we leave out the key.
#[test]
fn key_sets_of_the_workload_api() {
    let Some(index) = json("spiffe/bundles/index.json") else { return };
    let mut tally = Tally::new(
        "spiffe/bundles of the Workload API",
        &[
            ("bundles/java-jwks_valid_RSA_1.json", PRIVATE),
            ("bundles/java-jwks_valid_RSA_EC.json", PRIVATE),
            (
                "bundles/java-jwks_invalid_keytype.json",
                "the type is known, and the key is none of it",
            ),
        ],
    );
    let domain = || TrustDomain::from_name("example.org").expect("a trust domain");
    for file in index["files"].as_array().expect("files") {
        let (name, document) = (file["file"].as_str().expect("a file"), document(file));
        let stated = &file["asserted"][0];
        let valid = stated["valid"].as_bool();
        let outcome = match file["kind"].as_str().expect("a kind").split('(').next() {
            Some("jwt_bundle") => {
                let ours = JwtBundle::from_jwks(domain(), &document).expect("a key set");
                let taken = kids(&document).0.iter().all(|kid| ours.key(kid).is_some())
                    || matches!(valid, Some(false));
                let reasons: Vec<_> =
                    ours.skipped().iter().map(|key| skipped(&key.reason)).collect();
                match valid {
                    Some(true) => stated["keys"] == ours.len() && reasons.is_empty() && taken,
                    _ => reasons == [stated["error_kind"].as_str().expect("a kind")] && taken,
                }
                .then_some(())
                .ok_or_else(|| format!("{ours:?}, expected {stated}"))
            }
            Some("wit_bundle") => {
                let ours = WitBundle::from_jwks(domain(), &document).expect("a key set");
                let (named, all) = kids(&document);
                let taken = named.iter().all(|kid| ours.key(kid).is_some());
                let same = taken && (valid == Some(true)) == (named.len() == all);
                same.then_some(()).ok_or_else(|| format!("{ours:?}, expected {stated}"))
            }
            _ => continue,
        };
        tally.case(name, outcome);
    }
    tally.finish();
}
