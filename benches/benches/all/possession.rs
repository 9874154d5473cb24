//! Proofs of possession beside their signature alone, what was sent before, what was revoked.

use std::cell::{Cell, LazyCell};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde_json::json;
use zt_benches::Scenario;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::sha256;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::{AccessToken, AccessTokenVerifier};
use zt_identity::oidc::keys::IssuerKeys;
use zt_identity::possession::dpop::{DpopVerifier, ProvenRequest};
use zt_identity::possession::replay::{MemoryReplayStore, ReplayStore};
use zt_identity::possession::revocations::{
    MemoryRevocations, Revocation, Revocations, Revoke, TokenNames,
};
use zt_identity::possession::target::PublicBase;
use zt_identity::unadmitted::ReplayId;
use zt_tests::issuer::{AUDIENCE, SigningKey, claims, jwks};

use crate::token::ISSUER;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub fn scenarios() -> Vec<Scenario> {
    vec![dpop(), replay_insert(), revocation_read()]
}

/// A proof by ES256, and the token that it is for.
struct Case {
    proof: String,
    token: String,
    verified: Verified<AccessToken>,
    base: PublicBase,
    point: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(scheme, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let [x, y] = [&point[1..33], &point[33..]].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let thumbprint =
            sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let issuer = SigningKey::es256("2026-11");
        let mut claims = claims(ISSUER, NOW.as_secs() + 600);
        claims["cnf"] = json!({ "jkt": URL_SAFE_NO_PAD.encode(thumbprint) });
        let token = issuer.sign(&claims);
        let verified = AccessTokenVerifier::builder(ISSUER)
            .unwrap()
            .audience(AUDIENCE)
            .keys(IssuerKeys::fixed(JwkSet::parse(jwks(&[&issuer]).as_bytes()).unwrap()))
            .build()
            .unwrap()
            .verify(&token, NOW)
            .unwrap();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let claims = json!({
            "jti": "h3hR5sX0QJ2x8QG0Zq0n3A", "htm": "GET", "htu": "https://api.example.com/orders/42",
            "iat": NOW.as_secs(), "ath": URL_SAFE_NO_PAD.encode(sha256(token.as_bytes())),
        });
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = pair.sign(&random, signed.as_bytes()).unwrap();
        let proof = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let base = PublicBase::parse("https://api.example.com").unwrap();
        Self { proof, token, verified, base, point }
    }
}

fn dpop() -> Scenario {
    let (case, verifier) = (Arc::new(Case::new()), DpopVerifier::default());
    let theirs = Arc::clone(&case);
    let (signed, signature) = case.proof.rsplit_once('.').unwrap();
    let (signed, signature) = (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap());
    let ours = move || {
        let request = ProvenRequest::new("GET", &case.base, "/orders/42")
            .with_token(&case.token, case.verified.confirmation());
        let proof = verifier.verify(black_box(&case.proof), &request, NOW);
        assert!(proof.is_ok());
    };
    let raw = move || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &theirs.point);
        key.verify(black_box(signed.as_bytes()), &signature).unwrap();
    };
    Scenario::new("possession/dpop", ours).peer("ring", raw)
}

/// How many names each thread inserts in one operation.
const NAMES: u64 = 1_000;

/// Inserts names that nobody else inserts, as time goes on.
struct Inserter {
    store: Arc<MemoryReplayStore>,
    seed: u64,
    next: Cell<u64>,
}

impl Inserter {
    fn new(store: &Arc<MemoryReplayStore>, seed: u64) -> Self {
        Self { store: Arc::clone(store), seed, next: Cell::new(0) }
    }

    fn insert(&self) {
        for _ in 0..NAMES {
            let n = self.next.get();
            self.next.set(n + 1);
            let now = NOW.saturating_add(Duration::from_micros(n * 10));
            let until = now.saturating_add(Duration::from_millis(500));
            let inserted = self.store.insert_if_absent(&self.name(n), until, now);
            assert_eq!(inserted.into_ready().unwrap(), Ok(true));
        }
    }

    /// As even as a digest.
    fn name(&self, n: u64) -> ReplayId {
        let mut bytes = [0; 32];
        let mut word = self.seed << 56 | n;
        for chunk in bytes.chunks_exact_mut(8) {
            word = (word ^ word >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word ^= word >> 29;
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        ReplayId::from_bytes(bytes)
    }
}

/// Another thread that inserts when it is told to, and ends with this value.
struct Other {
    begin: Sender<()>,
    done: Receiver<()>,
}

impl Other {
    fn new(store: &Arc<MemoryReplayStore>) -> Self {
        let ((begin, begun), (ends, done)) = (channel(), channel());
        let inserter = Inserter::new(store, 2);
        std::thread::spawn(move || {
            while begun.recv().is_ok() {
                inserter.insert();
                if ends.send(()).is_err() {
                    return;
                }
            }
        });
        Self { begin, done }
    }
}

fn replay_insert() -> Scenario {
    let store = Arc::new(MemoryReplayStore::new(1 << 20));
    let (mine, other) = (Inserter::new(&store, 1), Other::new(&store));
    let alone = Inserter::new(&Arc::new(MemoryReplayStore::new(1 << 20)), 1);
    Scenario::new("possession/replay-insert", move || {
        other.begin.send(()).unwrap();
        mine.insert();
        other.done.recv().unwrap();
    })
    .peer("ours, one thread alone", move || alone.insert())
}

fn revocation_read() -> Scenario {
    // Made when it is first measured: a million digests take a while.
    let revocations = LazyCell::new(|| {
        let revocations = MemoryRevocations::new(2_000_000);
        for n in 0..1_000_000 {
            let session = [Revocation::of_session(ISSUER, &n.to_string())];
            revocations.revoke(&session, NOW).into_ready().unwrap().unwrap();
        }
        assert_eq!(revocations.len(), 1_000_000);
        revocations
    });
    let mut token = TokenNames::new(ISSUER, "alice");
    (token.session, token.id) = (Some("not revoked"), Some("1"));
    token.issued_at = Some(NOW);
    let check = move || assert!(revocations.check(black_box(&token), NOW).is_ok());
    Scenario::new("possession/revocation-read", check)
}
