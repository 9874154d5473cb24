#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{client, keys, says, sign, waited};
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::introspection::IntrospectionVerifier;

fuzz_target!(|answer: &[u8]| {
    let now = Timestamp::from_secs(1_800_000_000);
    let tokens = IntrospectionVerifier::builder("https://i.test").unwrap().audience("c");
    let tokens = tokens.endpoint("https://i.test/").client(client()).capacity(4);
    let tokens = tokens.transport(says(answer)).build().unwrap();
    let Ok(token) = waited(tokens.verify("t", now)) else { return };
    // Whatever is taken of an answer is taken of a token that is signed, too.
    let signed = AccessTokenVerifier::builder("https://i.test").unwrap().audience("c");
    let signed = signed.admit_jwt_type().keys(keys()).build().unwrap();
    let signed = signed.verify(&sign("JWT", answer), now).unwrap();
    assert_eq!(signed.subject(), token.subject());
    assert_eq!(signed.confirmation(), token.confirmation());
});
