//! Access tokens that an issuer signed, through the whole layer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use zt_core::principal::User;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::claim_mapping::ClaimMapping;
use zt_identity::oidc::issuers::Issuers;
use zt_identity::oidc::keys::IssuerKeys;
use zt_tower::access_tokens::AccessTokens;
use zt_tower::caller::Caller;
use zt_tower::zero_trust::ZeroTrust;

use crate::support::{BATCH, CART, Inner, NOW, Policy, Sink, clock, from, peer, send, told};

pub(crate) const ISSUER: &str = "https://login.example.com";
const INVALID: &str = "Bearer realm=\"zero-trust\", error=\"invalid_token\"";

/// An issuer with one key.
pub(crate) struct Issuer(Ed25519KeyPair);

impl Issuer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub(crate) fn verifier(&self) -> AccessTokenVerifier {
        self.verifier_for(ISSUER, ClaimMapping::default())
    }

    fn verifier_for(&self, url: &str, mapping: ClaimMapping) -> AccessTokenVerifier {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
        AccessTokenVerifier::builder(url)
            .unwrap()
            .audience("orders")
            .mapping(mapping)
            .keys(IssuerKeys::fixed(JwkSet::parse(set.to_string().as_bytes()).unwrap()))
            .build()
            .unwrap()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as("at+jwt", claims)
    }

    pub(crate) fn sign_as(&self, typ: &str, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = json!({ "alg": "EdDSA", "typ": typ, "kid": "k" });
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

pub(crate) fn claims(more: &Value) -> Value {
    let (now, later) = (NOW, NOW.saturating_add(Duration::from_secs(300)));
    let mut claims = json!({
        "iss": ISSUER, "sub": "alice", "aud": "orders", "iat": now.as_secs(), "exp": later.as_secs(),
        "client_id": "shop", "jti": "1",
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// Bound to the certificate that the peers of these tests present.
pub(crate) fn bound() -> Value {
    let thumbprint = digest(&SHA256, peer(CART).leaf());
    claims(&json!({ "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint) } }))
}

pub(crate) fn bound_to_another() -> Value {
    claims(&json!({ "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) } }))
}

async fn answers(tokens: AccessTokens, bearers: &[String]) -> (Vec<u16>, Vec<Value>) {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.queue();
    let layer = ZeroTrust::builder()
        .tokens(tokens)
        .policy(Policy::default())
        .records(queue.clone())
        .clock(clock())
        .build();
    let mut statuses = Vec::new();
    for token in bearers {
        let request = from(CART).header(AUTHORIZATION, format!("Bearer {token}"));
        let response = send(&layer, &inner, request).await;
        let (status, challenge) = told(&response);
        assert_eq!(challenge, (status == 401).then_some(INVALID));
        statuses.push(status);
    }
    let mut reasons = sink.records(&queue);
    reasons.retain(|record| record["event"] == "refusal");
    (statuses, reasons.iter().map(|record| record["reason"].clone()).collect())
}

#[tokio::test]
async fn a_bearer_token_opens_a_route_that_says_bearer_and_a_bound_one_does_not() {
    let issuer = Issuer::new(1);
    let bearers = [issuer.sign(&claims(&json!({}))), issuer.sign(&bound())];
    let (statuses, reasons) = answers(AccessTokens::bearer(issuer.verifier()), &bearers).await;
    assert_eq!(statuses, [200, 401]);
    assert_eq!(reasons, ["token_bound"]);
}

#[tokio::test]
async fn where_possession_is_demanded_only_a_token_for_this_certificate_opens() {
    let issuer = Issuer::new(1);
    let jkt = claims(&json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }));
    let bearers =
        [bound(), claims(&json!({})), bound_to_another(), jkt].map(|claims| issuer.sign(&claims));
    let (statuses, reasons) =
        answers(AccessTokens::certificate_bound(issuer.verifier()), &bearers).await;
    assert_eq!(statuses, [200, 401, 401, 401]);
    assert_eq!(reasons, ["token_unbound", "token_of_another_connection", "token_key_not_proven"]);
}

#[tokio::test]
async fn a_remembered_token_still_has_to_belong_to_its_sender() {
    let issuer = Issuer::new(1);
    let (good, other) = (issuer.sign(&bound()), issuer.sign(&bound_to_another()));
    let bearers = [&good, &good, &other, &other, &good].map(Clone::clone);
    let tokens = AccessTokens::certificate_bound(issuer.verifier()).cached(16).unwrap();
    let (statuses, reasons) = answers(tokens, &bearers).await;
    assert_eq!(statuses, [200, 200, 401, 401, 200]);
    assert_eq!(reasons, ["token_of_another_connection"; 2]);
}

#[tokio::test]
async fn each_of_several_issuers_vouches_for_its_own_users_and_for_no_others() {
    const OTHER: &str = "https://partners.example.com";
    let (staff, partners) = (Issuer::new(1), Issuer::new(2));
    let of = |url: &str| claims(&json!({ "iss": url, "groups": ["admins"] }));
    let prefixed = |prefix: &str| ClaimMapping::subject_only().groups("groups", prefix);
    let issuers = Issuers::new([
        staff.verifier_for(ISSUER, prefixed("staff:")),
        partners.verifier_for(OTHER, prefixed("partner:")),
    ])
    .unwrap();
    let bearers = [
        staff.sign(&of(ISSUER)),
        partners.sign(&of(OTHER)),
        staff.sign(&of(OTHER)),
        partners.sign(&of(ISSUER)),
        staff.sign(&of("https://evil.example.com")),
    ];
    for tokens in [
        AccessTokens::bearer(issuers.clone()),
        AccessTokens::bearer(issuers.clone()).cached(16).unwrap(),
    ] {
        let again = [bearers.as_slice(), &bearers].concat();
        let (statuses, reasons) = answers(tokens, &again).await;
        assert_eq!(statuses, [[200, 200, 401, 401, 401]; 2].concat());
        let refused = ["token_bad_signature", "token_bad_signature", "token_of_another_issuer"];
        assert_eq!(reasons, [refused; 2].concat());
    }
    let (statuses, _) = answers(
        AccessTokens::certificate_bound(issuers),
        &[bound(), of(OTHER)].map(|claims| staff.sign(&claims)),
    )
    .await;
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn every_kind_of_bad_token_is_401_and_has_its_reason_in_the_record() {
    let issuer = Issuer::new(1);
    let sign = |more| issuer.sign(&claims(&more));
    let good = sign(json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let others = Issuer::new(2).sign(&claims(&json!({})));
    let (_, signature_of_another) = others.rsplit_once('.').unwrap();
    let bearers = [
        "not-a-token".to_owned(),
        format!("{signed}.{signature_of_another}"),
        sign(json!({ "exp": NOW.saturating_sub(Duration::from_secs(61)).as_secs() })),
        sign(json!({ "aud": "invoices" })),
        sign(json!({ "iss": "https://evil.example.com" })),
        sign(json!({ "scope": ["orders.read"] })),
    ];
    let (statuses, reasons) = answers(AccessTokens::bearer(issuer.verifier()), &bearers).await;
    assert_eq!(statuses, [401; 6]);
    assert_eq!(
        reasons,
        [
            "token_malformed",
            "token_bad_signature",
            "token_expired",
            "token_of_another_audience",
            "token_of_another_issuer",
            "token_claims",
        ]
    );
}

#[tokio::test]
async fn an_issuer_without_keys_is_503_and_never_401() {
    let none = JwkSet::parse(br#"{"keys":[]}"#).unwrap();
    let verifier = AccessTokenVerifier::builder(ISSUER)
        .unwrap()
        .audience("orders")
        .keys(IssuerKeys::fixed(none))
        .build()
        .unwrap();
    let bearers = [Issuer::new(1).sign(&claims(&json!({})))];
    let (statuses, reasons) = answers(AccessTokens::bearer(verifier), &bearers).await;
    assert_eq!((statuses, reasons), (vec![503], vec!["keys_unavailable".into()]));
}

#[tokio::test]
async fn the_user_of_a_good_token_calls_through_the_workload_that_sent_it() {
    let issuer = Issuer::new(1);
    let layer = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(issuer.verifier()))
        .policy(Policy::default())
        .without_records()
        .clock(clock())
        .build();
    let inner = Inner::default();
    let token = issuer.sign(&claims(&json!({ "scope": "orders.read" })));
    let request = |id| from(id).header(AUTHORIZATION, format!("Bearer {token}"));
    assert_eq!(send(&layer, &inner, request(BATCH)).await.status(), 403);
    assert_eq!(send(&layer, &inner, request(CART)).await.status(), 200);
    let parts = inner.last();
    let caller = parts.extensions.get::<Caller>().unwrap();
    assert_eq!(caller.workload().id().to_string(), CART);
    assert_eq!(caller.user().map(User::subject), Some("alice"));
    assert_eq!(caller.user().unwrap().scopes(), ["orders.read"].map(std::sync::Arc::<str>::from));
}
