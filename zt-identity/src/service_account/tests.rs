//! Each rule of service account tokens.

use serde_json::{Value as Json, json};
use zt_core::attribute::{Attributes, Value};

use super::*;
use crate::jwk::JwkSet;
use crate::minted;

const CLUSTER: &str = "https://kubernetes.default.svc";
const HEADER: &str = r#"{"alg":"ES256","kid":"k1"}"#;

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn verifier() -> ServiceAccountVerifier {
    let keys = JwkSet::parse(minted::Issuer::p256().jwks().as_bytes()).unwrap();
    let audience = Audience::any(["orders"]).unwrap();
    let issuer = Issuer::parse(CLUSTER).unwrap();
    ServiceAccountVerifier::new(issuer, audience, IssuerKeys::fixed(keys)).unwrap()
}

pub(super) fn claims() -> Json {
    json!({
        "iss": CLUSTER, "aud": ["orders"], "sub": "system:serviceaccount:shop:cart",
        "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_600, "jti": "t1",
        "kubernetes.io": {
            "namespace": "shop", "serviceaccount": {"name": "cart", "uid": "sa-uid"},
            "pod": {"name": "cart-0", "uid": "pod-uid"},
            "node": {"name": "node-1", "uid": "node-uid"},
        },
    })
}

/// The usual claims with the one at this path instead; `null` takes it away.
fn with(path: &str, value: Json) -> Json {
    let mut claims = claims();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.into(), value);
    }
    claims
}

pub(super) fn verify(claims: &Json) -> Result<Verified<ServiceAccountToken>, ServiceAccountError> {
    let token = minted::Issuer::p256().sign(HEADER, claims.to_string());
    verifier().verify(&token, now())
}

#[test]
fn a_token_of_the_cluster_names_its_account_its_pod_and_its_node() {
    let token = verify(&claims()).unwrap();
    assert_eq!((token.namespace(), token.name(), token.uid()), ("shop", "cart", "sa-uid"));
    assert!(matches!(token.bound_to(), Some(BoundTo::Pod(pod)) if pod.uid() == "pod-uid"));
    assert_eq!(token.node().unwrap().name(), "node-1");
    assert_eq!((token.id(), token.warn_after()), (Some("t1"), None));
    let attributes = token.workload().attributes();
    assert_eq!((attributes.get("namespace"), attributes.get("name")), (None, None));
    assert_eq!(token.workload().id().to_string(), "system:serviceaccount:shop:cart");
    assert_eq!(attributes.get("uid"), Some(&"sa-uid".into()));
    let pod = Attributes::new().with("name", "cart-0").with("uid", "pod-uid");
    assert_eq!(attributes.get("pod"), Some(&Value::Record(pod)));
}

#[test]
fn the_algorithm_is_one_that_clusters_sign_with() {
    for alg in ["none", "HS256", "EdDSA", "PS256", "ES512"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"k1"}}"#);
        let token = minted::Issuer::p256().sign(&header, claims().to_string());
        let refused = verifier().verify(&token, now()).unwrap_err();
        assert_eq!(refused.reason(), "token_algorithm", "{alg}");
    }
}

#[test]
fn tokens_of_other_kinds_are_refused() {
    for typ in ["at+jwt", "wit+jwt", "logout+jwt"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        let token = minted::Issuer::p256().sign(&header, claims().to_string());
        let refused = verifier().verify(&token, now()).unwrap_err();
        assert_eq!(refused.reason(), "token_of_another_kind", "{typ}");
    }
}

#[test]
fn a_token_of_a_secret_is_refused() {
    let legacy = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:shop:cart",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "cart-token",
        "kubernetes.io/serviceaccount/service-account.name": "cart",
        "kubernetes.io/serviceaccount/service-account.uid": "sa-uid",
    });
    assert_eq!(verify(&legacy).unwrap_err(), ServiceAccountError::OfSecret);
}

#[test]
fn the_issuer_is_the_cluster_and_the_audience_this_service() {
    let other = verify(&with("/iss", json!("https://other"))).unwrap_err();
    assert_eq!(other, ClaimsError::Issuer { found: "https://other".into() }.into());
    for aud in [Json::Null, json!([]), json!(["https://kubernetes.default.svc"])] {
        assert!(matches!(verify(&with("/aud", aud)), Err(ServiceAccountError::Claims(_))));
    }
}

#[test]
fn a_token_expires() {
    let missing = verify(&with("/exp", Json::Null)).unwrap_err();
    assert_eq!(missing, ClaimsError::Missing { claim: "exp" }.into());
    assert_eq!(verify(&with("/exp", json!(1))).unwrap_err().reason(), "token_expired");
    assert!(verify(&with("/nbf", json!(1_800_000_061))).is_err());
}

#[test]
fn a_token_that_was_prolonged_says_so_and_can_be_refused() {
    let mut prolonged = with("/exp", json!(1_831_536_000));
    prolonged["kubernetes.io"]["warnafter"] = json!(1_800_003_607);
    let token = verify(&prolonged).unwrap();
    assert_eq!(token.warn_after(), Some(Timestamp::from_secs(1_800_003_607)));

    let limited = verifier().with_max_lifetime(Duration::from_secs(7200));
    let token = minted::Issuer::p256().sign(HEADER, prolonged.to_string());
    assert_eq!(limited.verify(&token, now()).unwrap_err().reason(), "token_lives_too_long");
}

#[test]
fn the_subject_is_a_service_account() {
    let refused = verify(&with("/sub", json!("alice"))).unwrap_err();
    assert_eq!(refused, ServiceAccountError::Subject { found: "alice".into() });
}

#[test]
fn the_private_claim_agrees_with_the_subject() {
    for (path, value) in [
        ("/sub", "system:serviceaccount:shop:admin"),
        ("/sub", "system:serviceaccount:kube-system:cart"),
        ("/kubernetes.io/namespace", "kube-system"),
        ("/kubernetes.io/serviceaccount/name", "admin"),
    ] {
        let refused = verify(&with(path, json!(value))).unwrap_err();
        assert_eq!(refused, ServiceAccountError::Disagrees, "{path}");
    }
}

#[test]
fn the_private_claim_is_complete() {
    let missing = verify(&with("/kubernetes.io", Json::Null)).unwrap_err();
    assert_eq!(missing, ClaimsError::Missing { claim: "kubernetes.io" }.into());
    let text = verify(&with("/kubernetes.io", json!("shop"))).unwrap_err();
    assert_eq!(text, ClaimsError::Malformed { claim: "kubernetes.io" }.into());
    for (path, value, member) in [
        ("/kubernetes.io/namespace", Json::Null, "namespace"),
        ("/kubernetes.io/serviceaccount", Json::Null, "serviceaccount"),
        ("/kubernetes.io/serviceaccount/uid", Json::Null, "serviceaccount"),
        ("/kubernetes.io/serviceaccount/uid", json!(""), "serviceaccount"),
        ("/kubernetes.io/pod/uid", json!(1), "pod"),
        ("/kubernetes.io/pod", json!("cart-0"), "pod"),
        ("/kubernetes.io/node/name", Json::Null, "node"),
    ] {
        let refused = verify(&with(path, value)).unwrap_err();
        assert_eq!(refused, ServiceAccountError::Private { member }, "{path}");
    }
    let refused = verify(&with("/kubernetes.io/warnafter", json!("soon"))).unwrap_err();
    assert_eq!(refused, ClaimsError::Malformed { claim: "warnafter" }.into());
}

#[test]
fn a_token_is_bound_to_one_object_at_most() {
    let bound = |objects: &[&str]| {
        let mut claims = claims();
        let private = claims["kubernetes.io"].as_object_mut().unwrap();
        for object in ["pod", "secret", "node"] {
            private.remove(object);
            if objects.contains(&object) {
                private.insert(object.into(), json!({"name": object, "uid": "u"}));
            }
        }
        verify(&claims).map(|token| token.bound_to().cloned())
    };
    assert_eq!(bound(&[]).unwrap(), None);
    assert!(matches!(bound(&["pod"]), Ok(Some(BoundTo::Pod(_)))));
    assert!(matches!(bound(&["pod", "node"]), Ok(Some(BoundTo::Pod(_)))));
    assert!(matches!(bound(&["secret"]), Ok(Some(BoundTo::Secret(_)))));
    assert!(matches!(bound(&["node"]), Ok(Some(BoundTo::Node(_)))));
    for several in [&["pod", "secret"][..], &["secret", "node"], &["pod", "secret", "node"]] {
        assert_eq!(bound(several), Err(ServiceAccountError::BoundToSeveral));
    }
}

#[test]
fn keys_that_are_missing_are_the_authoritys_fault() {
    let keys = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[]}"#).unwrap());
    let audience = Audience::any(["orders"]).unwrap();
    let verifier =
        ServiceAccountVerifier::new(Issuer::parse(CLUSTER).unwrap(), audience, keys).unwrap();
    let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
    assert_eq!(verifier.verify(&token, now()).unwrap_err().fault(), Fault::Authority);
}

#[test]
fn a_token_that_is_remembered_ends_in_its_time_and_with_its_keys() {
    let keys = || JwkSet::parse(minted::Issuer::p256().jwks().as_bytes()).unwrap();
    let at = |secs: i64| Timestamp::from_secs(now().as_secs().saturating_add(secs));
    let (publisher, published) = IssuerKeys::pushed();
    publisher.publish(keys(), at(500));
    let cached_for = |audience| {
        let audience = Audience::any([audience]).unwrap();
        let issuer = Issuer::parse(CLUSTER).unwrap();
        ServiceAccountVerifier::new(issuer, audience, published.clone())
            .unwrap()
            .cached(16)
            .unwrap()
    };
    let (cached, bills) = (cached_for("orders"), cached_for("bills"));
    let token = minted::Issuer::p256().sign(HEADER, claims().to_string());
    assert_eq!(cached.remembered(&token, now()), None);
    let account = cached.verify(&token, now()).unwrap();
    assert_eq!(account.counts_until(), at(660));
    assert_eq!(cached.remembered(&token, at(299)), Some(account));
    // Its verdict is too old, then its keys are, and then it is.
    assert_eq!(cached.remembered(&token, at(300)), None);
    assert!(cached.verify(&token, at(300)).is_ok());
    assert_eq!(cached.remembered(&token, at(501)), None);
    assert_eq!(cached.verify(&token, at(501)).unwrap_err().fault(), Fault::Authority);
    publisher.publish(keys(), Timestamp::MAX);
    assert_eq!(cached.remembered(&token, at(500)), None);
    assert!(cached.verify(&token, at(599)).is_ok());
    assert_eq!(cached.verify(&token, at(660)).unwrap_err().reason(), "token_expired");

    assert_eq!(bills.verify(&token, now()).unwrap_err().reason(), "token_of_another_audience");
    assert_eq!(bills.remembered(&token, now()), None);
    assert!(cached.verify(&token, now()).is_ok());
    let others = format!(r#"{{"keys":[{}]}}"#, minted::Issuer::p256().jwk("k2"));
    publisher.publish(JwkSet::parse(others.as_bytes()).unwrap(), Timestamp::MAX);
    assert_eq!(cached.remembered(&token, now()), None);
    assert_eq!(cached.verify(&token, now()).unwrap_err().reason(), "token_key_unknown");
}
