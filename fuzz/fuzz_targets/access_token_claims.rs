#![no_main]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use libfuzzer_sys::fuzz_target;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zt_core::time::Timestamp;
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::{access_token::AccessTokenVerifier, keys::IssuerKeys};

fuzz_target!(|claims: &[u8]| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let (header, x) =
        (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#, BASE64URL.encode(pair.public_key()));
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    let keys = IssuerKeys::fixed(JwkSet::parse(keys.as_bytes()).expect("keys"));
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let token = format!("{signed}.{}", BASE64URL.encode(pair.sign(signed.as_bytes())));
    let verifier = AccessTokenVerifier::builder("https://login.example.com").expect("an issuer");
    let verifier = verifier.audience("orders").keys(keys).build().expect("a verifier");
    if let Ok(token) = verifier.verify(&token, Timestamp::from_secs(1_800_000_000)) {
        assert!(!token.subject().is_empty() && token.expires().as_secs() > 1_799_999_939);
    }
});
