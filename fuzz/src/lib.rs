//! An issuer for targets that begin behind a signature: its key is that of RFC 7515, appendix A.3.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::keys::IssuerKeys;

/// d, x, y.
const KEY: [&str; 3] = [
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
];

/// Its public key, named `k`.
pub fn keys() -> IssuerKeys {
    IssuerKeys::fixed(JwkSet::parse(key_set().as_bytes()).expect("keys"))
}

/// The same as JSON.
pub fn key_set() -> String {
    let [_, x, y] = KEY;
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#)
}

/// A token of this type with these claims, whatever they are.
pub fn sign(typ: &str, claims: &[u8]) -> String {
    let [d, x, y] = KEY.map(|text| BASE64URL.decode(text).expect("a key"));
    let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let point = [&[4][..], &x, &y].concat();
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(scheme, &d, &point, &random).expect("a key");
    let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"{typ}"}}"#);
    let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = pair.sign(&random, signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64URL.encode(signature))
}
