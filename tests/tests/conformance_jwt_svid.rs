//! JWT-SVIDs against `conformance/spiffe`. The cases say what a token is like; it is minted here.

use serde_json::{Value, json};
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::claims::{Audience, ClaimsError};
use zt_identity::jws::JwsError;
use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
use zt_identity::jwt_svid::{JwtSvidError, JwtSvidVerifier};
use zt_tests::compact::{RawKey, dated};
use zt_tests::conformance::{Tally, json};

const NOW: i64 = 1_800_000_000;
const P521: &str = "ES512, and ring has no P-521";

/// A token and the bundles that it is verified with.
struct Case {
    token: String,
    bundles: JwtBundleSet,
}

fn bundles(trust_domain: &str, keys: &[Value]) -> JwtBundleSet {
    let document = json!({"keys": keys}).to_string();
    let trust_domain = TrustDomain::from_name(trust_domain).unwrap();
    let bundle = JwtBundle::from_jwks(trust_domain, document.as_bytes()).unwrap();
    JwtBundleSet::new().with(bundle)
}

/// The name of a trust domain in front of the keys of a bundle.
fn trust_domain(bundle: &str) -> &str {
    bundle.split_once(":{").map_or("trustdomain", |(name, _)| name)
}

/// Mints the token of a case that is described, and the bundle that its words stand for.
fn described(case: &Value) -> Case {
    let bundle = case["bundle"].as_str().unwrap_or_default();
    let (ec, rsa) = (RawKey::for_algorithm("ES384"), RawKey::for_algorithm("RS256"));
    let mut keys =
        vec![ec.jwk(json!({"kid": "authority1"})), rsa.jwk(json!({"kid": "authority2"}))];
    let Some(header) = case.get("header") else {
        let token = case["token"].as_str().expect("a token").to_owned();
        return Case { token, bundles: bundles("trustdomain", &keys) };
    };
    let claims = dated(&case["claims"], NOW).to_string();
    let signer = match case["signed_with"].as_str().expect("a signer") {
        "EC-P384 key1" => ec,
        "RSA-2048 key2" => rsa,
        alg => RawKey::for_algorithm(alg),
    };
    // A key that fits the signature stands under the name that the token gives, so that nothing
    // but the rule of the case can refuse it.
    let named = match bundle {
        "kid -> RSA JWK of RFC 7517 A.1" => RawKey::for_algorithm("RS256").jwk(json!({})),
        "kid -> oct JWK" => json!({"kty": "oct", "k": "c2VjcmV0"}),
        "JWK with use=jwt-svid, alg=ES256" => {
            signer.jwk(json!({"use": "jwt-svid", "alg": "ES256"}))
        }
        // Without AWS-LC there is no key of P-521, and the case is a deviation.
        bundle if bundle.contains("{authority1:P521,") => signer.jwk(json!({})),
        _ if case["name"].as_str().is_some_and(|name| name.starts_with("alg ")) => {
            signer.jwk(json!({}))
        }
        _ => keys[0].clone(),
    };
    keys[0] = named;
    keys[0]["kid"] = "authority1".into();
    let token = signer.sign(&header.to_string(), &claims);
    Case { token, bundles: bundles(trust_domain(bundle), &keys) }
}

/// Signs header and claims as they were written down: what can be parsed has to verify too.
fn written(case: &Value) -> Case {
    let Some(header) = case.get("header_json") else { return described(case) };
    let (header, claims) = (header.as_str().unwrap(), case["claims_json"].as_str().unwrap());
    let alg: Value = serde_json::from_str(header).unwrap();
    let key = RawKey::for_algorithm(alg["alg"].as_str().unwrap());
    let keys = [key.jwk(json!({"kid": "k1"}))];
    Case { token: key.sign(header, claims), bundles: bundles("example.org", &keys) }
}

/// For whom the validator of a case takes itself.
fn expected_audience(case: &Value) -> Vec<String> {
    let names = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    match case.get("expected_audience") {
        Some(names_of_case) => names(names_of_case),
        None => vec!["aud1".into(), "a".into()],
    }
}

/// What the data calls an error of ours; some have two names there.
fn kinds(error: &JwtSvidError) -> &'static [&'static str] {
    match error {
        JwtSvidError::Jws(JwsError::Algorithm(_) | JwsError::NotText { name: "alg" }) => {
            &["unsupported_alg"]
        }
        JwtSvidError::Jws(JwsError::Extension { .. } | JwsError::ForeignHeader { .. }) => {
            &["forbidden_header"]
        }
        JwtSvidError::Jws(JwsError::Type { .. }) => &["bad_typ"],
        JwtSvidError::Jws(JwsError::NotSigned(_)) => &["bad_signature", "key_alg_mismatch"],
        JwtSvidError::Jws(_) => &["malformed"],
        JwtSvidError::NoKid => &["missing_kid"],
        JwtSvidError::UnknownKey { kid } if kid.trim().is_empty() => &["missing_kid"],
        // A key that is no public key is never found.
        JwtSvidError::UnknownKey { .. } => &["unknown_kid", "key_alg_mismatch"],
        JwtSvidError::Payload(_) => &["bad_json"],
        JwtSvidError::Claims(error) => match error {
            ClaimsError::Missing { claim: "sub" } => &["missing_sub"],
            ClaimsError::Missing { claim: "exp" } => &["missing_exp"],
            ClaimsError::Missing { claim: "aud" } => &["missing_aud"],
            ClaimsError::Malformed { claim: "exp" } => &["bad_exp"],
            ClaimsError::Malformed { .. } => &["bad_claims"],
            ClaimsError::Audience => &["bad_audience", "missing_aud"],
            ClaimsError::Expired { .. } => &["expired"],
            ClaimsError::NotYetValid { .. } => &["not_yet_valid"],
            _ => &[],
        },
        JwtSvidError::Subject(_) => &["bad_sub"],
        JwtSvidError::NoBundle { .. } => &["no_bundle"],
        JwtSvidError::TooManyAudiences { .. } => &["too_many_audiences"],
        _ => &[],
    }
}

fn compare(case: &Value) -> Result<(), String> {
    // Where the standard contradicts whoever wrote the test, the standard is right.
    let spec = case["spec"].as_str().unwrap_or_default();
    let valid = case["valid"] == true && !spec.starts_with("invalid");
    let Case { token, bundles } = written(case);
    let Ok(audience) = Audience::any(expected_audience(case)) else {
        return if valid { Err("the verifier cannot be built".into()) } else { Ok(()) };
    };
    let ours = JwtSvidVerifier::new(audience).verify(&token, &bundles, Timestamp::from_secs(NOW));
    match (ours, case["error_kind"].as_str()) {
        (Ok(_), _) if valid => Ok(()),
        (Ok(_), _) => Err("accepted, expected a refusal".into()),
        (Err(error), _) if valid => Err(format!("refused: {error}")),
        (Err(error), Some(kind)) if kinds(&error).contains(&kind) => Ok(()),
        (Err(error), kind) => Err(format!("refused as {error:?}, expected {kind:?}")),
    }
}

#[test]
fn jwt_svids() {
    let Some(data) = json("spiffe/jwt_svid_cases.json") else { return };
    let deviations: &[_] = if cfg!(feature = "aws-lc-rs") {
        &[]
    } else {
        &[("P-521 signature typ JOSE", P521), ("ES512", P521), ("alg ES512", P521)]
    };
    let mut tally = Tally::new("spiffe/jwt_svid", deviations);
    for case in data["cases"].as_array().expect("cases") {
        tally.case(case["name"].as_str().expect("a name"), compare(case));
    }
    tally.finish();
}
