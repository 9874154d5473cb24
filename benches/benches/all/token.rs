//! Access tokens, beside the signature alone and beside `jsonwebtoken`.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Value, json};
use zt_benches::Scenario;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::json::MAX_TOKEN_VALUES;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::claim_mapping::ClaimMapping;
use zt_identity::oidc::issuers::Issuers;
use zt_identity::oidc::keys::IssuerKeys;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};

pub const ISSUER: &str = "https://login.example.com";

/// What a service reads of a token.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read costs, used or not")]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub client_id: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    pub scope: String,
    pub roles: Vec<String>,
    pub groups: Vec<String>,
}

/// A token, and all that it takes to verify it.
pub struct Case {
    pub token: String,
    pub verifier: AccessTokenVerifier,
    pub now: Timestamp,
    pub decoding: DecodingKey,
    pub validation: Validation,
    jwk: Value,
}

impl Case {
    pub fn new(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => SigningKey::rsa("2026-11", algorithm),
            Algorithm::EdDSA => SigningKey::eddsa("2026-11"),
            _ => SigningKey::es256("2026-11"),
        };
        let now = SystemClock.now();
        // A day: the peer looks at the clock of the machine.
        let mut claims = claims(ISSUER, now.as_secs() + 86_400);
        claims["iat"] = now.as_secs().into();
        claims["roles"] = json!(["clerk", "auditor"]);
        claims["groups"] = json!(["eu", "night-shift", "warehouse"]);
        // A kilobyte, as with providers that say all they know.
        claims["permissions"] = json!(["orders:read", "orders:write", "invoices:read"].repeat(6));
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let jwk = key.jwk(json!({}));
        let case = Self {
            token: key.sign(&claims),
            verifier: AccessTokenVerifier::builder(ISSUER)
                .unwrap()
                .audience(AUDIENCE)
                .keys(IssuerKeys::fixed(JwkSet::parse(jwks(&[&key]).as_bytes()).unwrap()))
                .build()
                .unwrap(),
            now,
            decoding: DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap(),
            validation,
            jwk,
        };
        assert!(case.verifier.verify(&case.token, now).is_ok());
        assert!(decode::<Claims>(&case.token, &case.decoding, &case.validation).is_ok());
        case
    }

    fn verify(&self) -> bool {
        self.verifier.verify(black_box(&self.token), self.now).is_ok()
    }

    fn decode(&self) -> bool {
        decode::<Claims>(black_box(&self.token), &self.decoding, &self.validation).is_ok()
    }

    fn member(&self, name: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.jwk[name].as_str().unwrap()).unwrap()
    }

    /// What is signed, and the signature, decoded.
    fn signed(&self) -> (Vec<u8>, Vec<u8>) {
        let (signed, signature) = self.token.rsplit_once('.').unwrap();
        (signed.into(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }
}

/// Each algorithm, ours beside this backend of `jsonwebtoken`.
#[allow(dead_code, reason = "one bench has these alone")]
pub fn beside_jsonwebtoken(peer: &'static str) -> Vec<Scenario> {
    ALGORITHMS
        .map(|(name, algorithm)| {
            let (ours, theirs) = (Case::new(algorithm), Case::new(algorithm));
            Scenario::new(name, move || ours.verify()).peer(peer, move || theirs.decode())
        })
        .into()
}

#[allow(dead_code, reason = "one bench has all of them, the other has those of each algorithm")]
pub fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<_> =
        ALGORITHMS.map(|(name, algorithm)| scenario(name, algorithm)).into();
    scenarios.extend([cached(), several(), keyset_read()]);
    scenarios.extend(garbage());
    scenarios
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("token/es256", Algorithm::ES256),
    ("token/rs256", Algorithm::RS256),
    ("token/ps256", Algorithm::PS256),
    ("token/eddsa", Algorithm::EdDSA),
];

fn scenario(name: &'static str, algorithm: Algorithm) -> Scenario {
    let (ours, theirs) = (Case::new(algorithm), Case::new(algorithm));
    let raw = raw(algorithm, &ours);
    Scenario::new(name, move || ours.verify())
        .peer("ring", raw)
        .peer("jsonwebtoken", move || theirs.decode())
}

fn cached() -> Scenario {
    let (case, again) = (Case::new(Algorithm::RS256), Case::new(Algorithm::RS256));
    let tokens = case.verifier.clone().cached(1_000).unwrap();
    Scenario::new("token/cached", move || tokens.verify(black_box(&case.token), case.now).is_ok())
        .peer("verified-anew", move || again.verify())
        .peer_cannot("jsonwebtoken", "remembers nothing")
}

/// Sixteen issuers, of which the token chooses one, beside that one alone.
fn several() -> Scenario {
    let (case, alone) = (Case::new(Algorithm::ES256), Case::new(Algorithm::ES256));
    let issuers = issuers(&case);
    Scenario::new("token/several-issuers", move || {
        issuers.verify(black_box(&case.token), case.now).is_ok()
    })
    .peer("one-issuer", move || alone.verify())
}

fn issuers(case: &Case) -> Issuers {
    let others = (0..15).map(|n| {
        AccessTokenVerifier::builder(&format!("https://login-{n}.example.com"))
            .unwrap()
            .audience(AUDIENCE)
            .keys(case.verifier.keys().clone())
            .mapping(ClaimMapping::subject_only())
            .build()
            .unwrap()
    });
    Issuers::new(others.chain([case.verifier.clone()])).unwrap()
}

/// A key looked up while the key set is replaced all the time, beside one that nobody replaces.
fn keyset_read() -> Scenario {
    let set = || {
        let keys = [SigningKey::es256("2026-10"), SigningKey::es256("2026-11")];
        JwkSet::parse(jwks(&[&keys[0], &keys[1]]).as_bytes()).unwrap()
    };
    let now = SystemClock.now();
    let (publisher, keys) = IssuerKeys::pushed();
    publisher.publish(set(), Timestamp::MAX);
    let at_rest = IssuerKeys::fixed(set());
    let reads = Arc::new(AtomicU64::new(0));
    // Publishes only while somebody reads, so that no other scenario has it beside it.
    thread::spawn({
        let (reads, next) = (Arc::clone(&reads), set());
        move || {
            let mut seen = 0;
            loop {
                let now = reads.load(Ordering::Relaxed);
                if now != seen {
                    publisher.publish(next.clone(), Timestamp::MAX);
                }
                seen = now;
                thread::sleep(Duration::from_micros(100));
            }
        }
    });
    let read = move |keys: &IssuerKeys| {
        keys.current(black_box(now)).is_ok_and(|set| set.key("2026-11").is_some())
    };
    Scenario::new("token/keyset-read-under-refresh", move || {
        reads.fetch_add(1, Ordering::Relaxed);
        read(&keys)
    })
    .peer("at-rest", move || read(&at_rest))
}

/// What nobody signed, refused by several issuers, which look at the claims first; beside the
/// cheapest check of a signature that could have been forced instead.
fn garbage() -> Vec<Scenario> {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = encoded(r#"{"alg":"ES256","typ":"at+jwt","kid":"2026-11"}"#);
    let claims =
        |claims: &str| format!("{header}.{}.{}", encoded(claims), encoded(&"x".repeat(64)));
    let deep = |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let members = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""{n:x}":0"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    [
        ("token/garbage-base64", format!("{0}.{0}.{0}", "Zm9v".repeat(1_360))),
        ("token/garbage-1mb", "a".repeat(1 << 20)),
        ("token/garbage-deep-json", claims(&deep(1_500))),
        ("token/garbage-20k-members", claims(&members(20_000))),
        ("token/garbage-most-members", claims(&members(MAX_TOKEN_VALUES))),
    ]
    .map(|(name, token)| {
        let case = Case::new(Algorithm::ES256);
        let (issuers, now) = (issuers(&case), case.now);
        assert!(issuers.verify(&token, now).is_err());
        let refuse = move || issuers.verify(black_box(&token), now).is_err();
        Scenario::new(name, refuse)
            .peer("ring", raw(Algorithm::EdDSA, &Case::new(Algorithm::EdDSA)))
    })
    .into()
}

/// How long an ES256 signature takes here, by ring: the median of so many.
#[allow(dead_code, reason = "one bench asks how fast the machine is")]
pub fn raw_es256(times: usize) -> Duration {
    let mut verify = raw(Algorithm::ES256, &Case::new(Algorithm::ES256));
    let mut all: Vec<_> = (0..times)
        .map(|_| {
            let began = Instant::now();
            assert!(verify());
            began.elapsed()
        })
        .collect();
    all.sort();
    all[times / 2]
}

/// The signature alone: what no verifier can be faster than.
fn raw(algorithm: Algorithm, case: &Case) -> Box<dyn FnMut() -> bool> {
    let (signed, signature) = case.signed();
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => {
            let parameters = match algorithm {
                Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
                _ => &RSA_PKCS1_2048_8192_SHA256,
            };
            let key = RsaPublicKeyComponents { n: case.member("n"), e: case.member("e") };
            Box::new(move || key.verify(parameters, &signed, &signature).is_ok())
        }
        Algorithm::EdDSA => {
            let key = UnparsedPublicKey::new(&ED25519, case.member("x"));
            Box::new(move || key.verify(&signed, &signature).is_ok())
        }
        _ => {
            let point = [vec![4], case.member("x"), case.member("y")].concat();
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            Box::new(move || key.verify(&signed, &signature).is_ok())
        }
    }
}
