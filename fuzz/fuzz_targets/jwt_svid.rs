#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::{spiffe::TrustDomain, time::Timestamp};
use zt_identity::claims::Audience;
use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
use zt_identity::jwt_svid::JwtSvidVerifier;

const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fuzz_target!(|token: &str| {
    let ours = TrustDomain::from_name("example.org").expect("a trust domain");
    let bundles = JwtBundleSet::new().with(JwtBundle::from_jwks(ours, KEYS).expect("keys"));
    let verifier = JwtSvidVerifier::new(Audience::any(["orders"]).expect("a name"));
    assert!(verifier.verify(token, &bundles, Timestamp::EPOCH).is_err(), "nobody here has its key");
});
