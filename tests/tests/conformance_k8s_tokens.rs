//! Tokens of Kubernetes service accounts against `conformance/spiffe`: what of it can be judged
//! without the API server.

use serde_json::{Map, Value, json};
use zt_core::principal::{Principal, WorkloadId};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::authority::Issuer;
use zt_identity::claims::Audience;
use zt_identity::possession::binding::Binding;
use zt_identity::service_account::{
    ServiceAccountError, ServiceAccountToken, ServiceAccountVerifier, TokenReview,
    TokenReviewAnswerError,
};
use zt_tests::compact::dated;
use zt_tests::conformance::{Tally, json};

const ISSUER: &str = "https://my-cluster.example.com";

fn verify(
    claims: &Value,
    audience: &str,
    now: i64,
) -> Result<Verified<Principal>, ServiceAccountError> {
    let token = token(claims, audience, now)?;
    Ok(Binding::bearer().service_account(&token).unwrap())
}

fn token(
    claims: &Value,
    audience: &str,
    now: i64,
) -> Result<Verified<ServiceAccountToken>, ServiceAccountError> {
    let now = Timestamp::from_secs(now);
    let cluster = Issuer::new(ISSUER, now).unwrap();
    let token = cluster.mint_as("JWT", claims).unwrap();
    let audience = Audience::any([audience]).unwrap();
    ServiceAccountVerifier::new(cluster.url().clone(), audience, cluster.keys().unwrap())
        .unwrap()
        .verify(&token, now)
}

/// Whether a case is accepted, or refused for this reason.
fn compare<T>(reason: Option<&str>, ours: &Result<T, ServiceAccountError>) -> Result<(), String> {
    match (ours, reason) {
        (Ok(_), None) => Ok(()),
        (Err(error), Some(reason)) if error.reason() == reason => Ok(()),
        (Ok(_), Some(reason)) => Err(format!("accepted, expected {reason}")),
        (Err(error), reason) => Err(format!("refused as {error:?}, expected {reason:?}")),
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
        let ours = verify(&claims, "1", now).map(|caller| caller.workload().id().clone());
        let same = |ours: &WorkloadId| match ours {
            WorkloadId::ServiceAccount { namespace: ns, name, .. } => {
                namespace.as_str() == Some(&**ns) && account.as_str() == Some(&**name)
            }
            _ => false,
        };
        tally.case(
            name,
            match &ours {
                Ok(found) if case.get("error").is_none() && !same(found) => {
                    Err(format!("other names: {found:?}"))
                }
                ours => compare(case.get("error").map(|_| "token_subject"), ours),
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
        let refused = match claims["aud"].as_array() {
            None => Some("token_claims"),
            Some(names) if names.is_empty() => Some("token_of_another_audience"),
            Some(_) => None,
        };
        tally.case(index.to_string(), compare(refused, &verify(&claims, "1", now)));
    }
    let example = &data["doc_example"];
    let at = example["iat"].as_i64().expect("a time");
    let ours = verify(example, "https://my-audience.example.com", at);
    tally.case("the example of the documentation", compare(None, &ours));
    tally.finish();
}

/// What the API server answers about the names, to whoever asks it: the same are refused.
#[test]
fn usernames_in_reviews() {
    let Some(data) = json("spiffe/k8s_token_cases.json") else { return };
    let now = data["now_unix"].as_i64().expect("a time");
    let mut tally = Tally::new("spiffe/k8s_tokens, reviews", &[]);
    for case in data["username_cases"].as_array().expect("cases") {
        let username = case["in"].as_str().expect("a name");
        let mut claims = sound(now);
        if let (Some(namespace), Some(name)) = (case["ns"].as_str(), case["sa"].as_str()) {
            claims["sub"] = username.into();
            claims["kubernetes.io"]["namespace"] = namespace.into();
            claims["kubernetes.io"]["serviceaccount"]["name"] = name.into();
        }
        let answer = json!({
            "apiVersion": data["tokenreview"]["request"]["apiVersion"],
            "kind": data["tokenreview"]["request"]["kind"],
            "status": {
                "authenticated": true, "audiences": ["1"],
                "user": {"username": username, "uid": "mysvcacct-uid", "extra": {
                    "authentication.kubernetes.io/pod-name": ["mypod"],
                    "authentication.kubernetes.io/pod-uid": ["mypod-uid"],
                }},
            },
        });
        let token = token(&claims, "1", now).expect("sound claims");
        let review = TokenReview::from_json(answer.to_string().as_bytes()).expect("an answer");
        let outcome = match review.check(&token, &Audience::any(["1"]).unwrap()) {
            Ok(()) if case.get("error").is_none() => Ok(()),
            Err(TokenReviewAnswerError::Disagrees { member: "username" })
                if case.get("error").is_some() =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        };
        tally.case(username, outcome);
    }
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
        let refused = match name {
            "good" => None,
            "expired (now-1000h)" => {
                claims["exp"] = json!(now - 3_600_000);
                Some("token_expired")
            }
            "not yet valid (nbf now+1000h)" => {
                claims["nbf"] = json!(now + 3_600_000);
                claims["exp"] = json!(now + 7_200_000);
                Some("token_not_yet_valid")
            }
            _ => {
                of_the_database += 1;
                continue;
            }
        };
        assert_eq!(refused.is_none(), case["valid"] == true, "{name}");
        tally.case(name, compare(refused, &verify(&claims, "1", now)));
    }
    assert_eq!(of_the_database, 24);
    tally.finish();
}
