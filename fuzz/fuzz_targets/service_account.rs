#![no_main]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use libfuzzer_sys::fuzz_target;
use ring::{rand::SystemRandom, signature};
use zt_core::time::Timestamp;
use zt_identity::oidc::{issuer::Issuer, keys::IssuerKeys};
use zt_identity::{claims::Audience, jwk::JwkSet, service_account::ServiceAccountVerifier};

/// The key of RFC 7515, appendix A.3: d, x, y.
const KEY: [&str; 3] = [
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
];

fuzz_target!(|claims: &[u8]| {
    let [d, x, y] = KEY.map(|text| BASE64URL.decode(text).expect("a key"));
    let (scheme, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let point = [&[4][..], &x, &y].concat();
    let pair =
        signature::EcdsaKeyPair::from_private_key_and_public_key(scheme, &d, &point, &random)
            .expect("a key");
    let keys = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{}","y":"{}"}}]}}"#,
        KEY[1], KEY[2]
    );
    let keys = IssuerKeys::fixed(JwkSet::parse(keys.as_bytes()).expect("keys"));
    let signed = format!(
        "{}.{}",
        BASE64URL.encode(r#"{"alg":"ES256","kid":"k"}"#),
        BASE64URL.encode(claims)
    );
    let token = format!(
        "{signed}.{}",
        BASE64URL.encode(pair.sign(&random, signed.as_bytes()).expect("a signature"))
    );
    let issuer = Issuer::parse("https://my-cluster.example.com").expect("an issuer");
    let audience = Audience::any(["https://my-audience.example.com"]).expect("a name");
    let verifier = ServiceAccountVerifier::new(issuer, audience, keys).expect("its keys");
    if let Ok(token) = verifier.verify(&token, Timestamp::from_secs(1_729_602_000)) {
        assert!(
            !token.namespace().contains(':')
                && !token.name().contains(':')
                && !token.uid().is_empty()
        );
    }
});
