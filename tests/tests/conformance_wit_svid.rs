//! WIT-SVIDs against `conformance/spiffe`. The cases say what a token is like; it is minted here.

use serde_json::{Value, json};
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::claims::{Audience, ClaimsError};
use zt_identity::jws::JwsError;
use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::wit_svid::{WitBundle, WitBundleSet, WitSvidError, WitSvidVerifier};
use zt_tests::compact::{RawKey, dated};
use zt_tests::conformance::{Tally, json};

const NOW: i64 = 1_800_000_000;

/// The key that the words of a case stand for.
fn confirmation(jwk: &Value) -> Value {
    let key = RawKey::for_algorithm("ES256");
    match jwk.as_str() {
        Some("<EC P-256 public JWK with alg ES256>") => key.jwk(json!({"alg": "ES256"})),
        Some("<missing alg>") => key.jwk(json!({})),
        Some("<alg a number>") => key.jwk(json!({"alg": 256})),
        Some("<alg HS256>") => key.jwk(json!({"alg": "HS256"})),
        Some("<private key>") => key.jwk(json!({"alg": "ES256", "d": "AAAA"})),
        _ => jwk.clone(),
    }
}

fn bundles(name: &str, key: &RawKey) -> WitBundleSet {
    let trust_domain = match name {
        "no bundle for trust domain" => "example.com",
        _ => "example.org",
    };
    let (kid, key) = match name {
        "no authority for kid" => ("key-2", key.jwk(json!({}))),
        "signature mismatch" => ("key-1", RawKey::for_algorithm("ES256").jwk(json!({}))),
        _ => ("key-1", key.jwk(json!({}))),
    };
    let mut key = key;
    key["kid"] = kid.into();
    let document = json!({"keys": [key]}).to_string();
    let trust_domain = TrustDomain::from_name(trust_domain).unwrap();
    WitBundleSet::new().with(WitBundle::from_jwks(trust_domain, document.as_bytes()).unwrap())
}

fn kind(error: &WitSvidError) -> &'static str {
    match error {
        WitSvidError::Jws(JwsError::Algorithm(_)) => "unsupported_alg",
        WitSvidError::Jws(JwsError::Type { .. }) => "bad_typ",
        WitSvidError::Jws(JwsError::NotSigned(_)) => "bad_signature",
        WitSvidError::Jws(_) => "malformed",
        WitSvidError::NoKid => "missing_kid",
        WitSvidError::UnknownKey { .. } => "unknown_kid",
        WitSvidError::NoBundle { .. } => "no_bundle",
        WitSvidError::Subject(_) => "bad_sub",
        WitSvidError::ForAnAudience => "forbidden_aud",
        WitSvidError::Claims(error) => match error {
            ClaimsError::Missing { claim: "sub" } => "missing_sub",
            ClaimsError::Missing { claim: "exp" } => "missing_exp",
            ClaimsError::Missing { claim: "cnf" } => "missing_cnf",
            ClaimsError::Malformed { claim: "cnf" } => "bad_cnf",
            ClaimsError::Expired { .. } => "expired",
            ClaimsError::NotYetValid { .. } => "not_yet_valid",
            _ => "another",
        },
        WitSvidError::ConfirmationKey(_) | WitSvidError::ConfirmationAlgorithm => "bad_cnf",
        _ => "another",
    }
}

fn compare(case: &Value) -> Result<(), String> {
    let name = case["name"].as_str().expect("a name");
    let key = RawKey::for_algorithm("ES256");
    let token = match case["token"].as_str() {
        Some(token) => token.to_owned(),
        None => {
            let mut claims = dated(&case["claims"], NOW);
            if let Some(jwk) = claims.pointer_mut("/cnf/jwk") {
                *jwk = confirmation(jwk);
            }
            key.sign(&case["header"].to_string(), &claims.to_string())
        }
    };
    if name.starts_with("presented as") {
        // What a route takes as a bearer's workload is a JWT-SVID, and this is none.
        let document = json!({"keys": [key.jwk(json!({"kid": "key-1"}))]}).to_string();
        let domain = TrustDomain::from_name("example.org").unwrap();
        let bundle = JwtBundle::from_jwks(domain, document.as_bytes()).unwrap();
        let refused = JwtSvidVerifier::new(Audience::any(["orders"]).unwrap()).verify(
            &token,
            &JwtBundleSet::new().with(bundle),
            Timestamp::from_secs(NOW),
        );
        return match refused {
            Err(error) if error.reason() == "token_of_another_kind" => Ok(()),
            other => Err(format!("{other:?}")),
        };
    }
    let bundles = bundles(name, &key);
    let ours = WitSvidVerifier::new().verify(&token, &bundles, Timestamp::from_secs(NOW));
    if name.starts_with("standard Appendix A") {
        // Its issuer's key is not published: it gets as far as the question for one.
        return match ours {
            Err(WitSvidError::NoBundle { trust_domain })
                if trust_domain.as_str() == "example.com" =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        };
    }
    match (ours, case["error_kind"].as_str()) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(_)) => Err("accepted, expected a refusal".into()),
        (Err(error), Some(expected)) if kind(&error) == expected => Ok(()),
        (Err(error), expected) => Err(format!("refused as {error:?}, expected {expected:?}")),
    }
}

#[test]
fn wit_svids() {
    let Some(data) = json("spiffe/wit_svid_cases.json") else { return };
    let mut tally = Tally::new("spiffe/wit_svid", &[]);
    for case in data["cases"].as_array().expect("cases") {
        tally.case(case["name"].as_str().expect("a name"), compare(case));
    }
    tally.finish();
}
