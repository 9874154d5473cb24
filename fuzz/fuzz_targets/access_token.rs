#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::{access_token::AccessTokenVerifier, keys::IssuerKeys};

const KEYS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fuzz_target!(|token: &str| {
    let keys = IssuerKeys::fixed(JwkSet::parse(KEYS).expect("keys"));
    let verifier = AccessTokenVerifier::builder("https://login.example.com").expect("an issuer");
    let verifier = verifier.audience("orders").keys(keys).build().expect("a verifier");
    assert!(verifier.verify(token, Timestamp::from_secs(0)).is_err(), "nobody has its key");
});
