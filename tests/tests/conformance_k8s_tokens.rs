//! Tokens of Kubernetes service accounts against `conformance/spiffe`: what of it can be judged
//! without the API server.

use serde_json::{Map, Value, json};
use zt_core::principal::Principal;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::authority::Issuer;
use zt_identity::claims::Audience;
use zt_identity::possession::binding::Binding;
use zt_identity::service_account::{ServiceAccountError, ServiceAccountVerifier};
use zt_tests::compact::dated;
use zt_tests::conformance::{Tally, json};

const ISSUER: &str = "https://my-cluster.example.com";

fn verify(
    claims: &Value,
    audience: &str,
    now: i64,
) -> Result<Verified<Principal>, ServiceAccountError> {
    let now = Timestamp::from_secs(now);
    let cluster = Issuer::new(ISSUER, now).unwrap();
    let token = cluster.mint_as("JWT", claims).unwrap();
    let audience = Audience::any([audience]).unwrap();
    ServiceAccountVerifier::new(cluster.url().clone(), audience, cluster.keys().unwrap())
        .unwrap()
        .verify(&token, now)
        .map(|token| Binding::bearer().service_account(&token).unwrap())
}

fn compare<T, E: std::fmt::Debug>(expected: bool, ours: Result<T, E>) -> Result<(), String> {
    match ours {
        Ok(_) if !expected => Err("accepted, expected a refusal".into()),
        Err(error) if expected => Err(format!("refused: {error:?}")),
        _ => Ok(()),
    }
}

/// A token that nothing is wrong with, at `now` of the data.
fn sound(now: i64) -> Value {
    json!({
        "aud": ["1"], "sub": "system:serviceaccount:myns:mysvcacct",
        "iat": now, "nbf": now, "exp": now + 100,
        "kubernetes.io": {
            "namespace": "myns",
            "serviceaccount": {"name": "mysvcacct", "uid": "mysvcacct-uid"},
            "pod": {"name": "mypod", "uid": "mypod-uid"},
        },
    })
}

#[test]
fn usernames() {
    let Some(data) = json("spiffe/k8s_token_cases.json") else { return };
    let now = data["now_unix"].as_i64().expect("a time");
    let mut tally = Tally::new("spiffe/k8s_tokens, usernames", &[]);
    for case in data["username_cases"].as_array().expect("cases") {
        let name = case["in"].as_str().expect("a name");
        let (namespace, account) = (&case["ns"], &case["sa"]);
        let mut claims = sound(now);
        claims["sub"] = name.into();
        // Where the name is to be refused, nothing else is there to refuse it.
        let parts: Vec<_> = name.splitn(4, ':').collect();
        claims["kubernetes.io"]["namespace"] = parts.get(2).copied().unwrap_or("ns").into();
        claims["kubernetes.io"]["serviceaccount"]["name"] =
            parts.get(3).filter(|name| !name.is_empty()).copied().unwrap_or("sa").into();
        let ours = verify(&claims, "1", now).map(|caller| caller.workload().attributes().clone());
        let same = |ours: &zt_core::attribute::Attributes| {
            ours.get("namespace") == namespace.as_str().map(Into::into).as_ref()
                && ours.get("name") == account.as_str().map(Into::into).as_ref()
        };
        tally.case(
            name,
            match &ours {
                Ok(found) if case.get("error").is_none() && !same(found) => {
                    Err(format!("other names: {found:?}"))
                }
                Err(error) if !matches!(error, ServiceAccountError::Subject { .. }) => {
                    Err(format!("refused as {error:?}"))
                }
                ours => compare(case.get("error").is_none(), ours.as_ref()),
            },
        );
    }
    tally.finish();
}

/// What the API server puts into a token verifies, as soon as it has an audience.
#[test]
fn claims_of_the_api_server() {
    let Some(data) = json("spiffe/k8s_token_cases.json") else { return };
    let now = data["now_unix"].as_i64().expect("a time");
    let mut tally = Tally::new("spiffe/k8s_tokens, claims", &[]);
    for (index, case) in data["claims_cases"].as_array().expect("cases").iter().enumerate() {
        let mut claims = sound(now);
        let private = claims["kubernetes.io"].as_object_mut().unwrap();
        private.remove("pod");
        for object in ["pod", "secret"] {
            if case[object] == true {
                let reference =
                    json!({"name": format!("my{object}"), "uid": format!("my{object}-uid")});
                private.insert(object.into(), reference);
            }
        }
        let mut times = Map::new();
        times.insert("exp".into(), case["exp"].clone());
        if let Some(warn_after) = case.get("warnafter") {
            times.insert("warnafter".into(), warn_after.clone());
        }
        let times = dated(&times.into(), now);
        claims["exp"] = times["exp"].clone();
        if let Some(warn_after) = times.get("warnafter") {
            claims["kubernetes.io"]["warnafter"] = warn_after.clone();
        }
        if let Some(given) = case.get("claims") {
            claims["kubernetes.io"] = given.clone();
        }
        // The last case says nothing about audiences.
        if let Some(aud) = case.get("aud") {
            claims["aud"] = aud.clone();
        }
        let for_someone = claims["aud"].as_array().is_some_and(|names| !names.is_empty());
        tally.case(index.to_string(), compare(for_someone, verify(&claims, "1", now)));
    }
    let example = &data["doc_example"];
    let at = example["iat"].as_i64().expect("a time");
    let ours = verify(example, "https://my-audience.example.com", at);
    tally.case("the example of the documentation", compare(true, ours));
    tally.finish();
}

/// Of what the API server validates, its times. Whether objects still exist only it knows: those
/// 24 cases ask for its database.
#[test]
fn times() {
    let Some(data) = json("spiffe/k8s_token_cases.json") else { return };
    let now = data["now_unix"].as_i64().expect("a time");
    let mut tally = Tally::new("spiffe/k8s_tokens, validation", &[]);
    let mut of_the_database = 0;
    for case in data["validate_cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let mut claims = sound(now);
        match name {
            "good" => {}
            "expired (now-1000h)" => claims["exp"] = json!(now - 3_600_000),
            "not yet valid (nbf now+1000h)" => {
                claims["nbf"] = json!(now + 3_600_000);
                claims["exp"] = json!(now + 7_200_000);
            }
            _ => {
                of_the_database += 1;
                continue;
            }
        }
        tally.case(name, compare(case["valid"] == true, verify(&claims, "1", now)));
    }
    assert_eq!(of_the_database, 24);
    tally.finish();
}
