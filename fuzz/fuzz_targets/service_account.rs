#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{keys, sign};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::{claims::Audience, service_account::ServiceAccountVerifier};

fuzz_target!(|claims: &[u8]| {
    let issuer = Issuer::parse("https://my-cluster.example.com").expect("an issuer");
    let audience = Audience::any(["https://my-audience.example.com"]).expect("a name");
    let verifier = ServiceAccountVerifier::new(issuer, audience, keys()).expect("its keys");
    let verified = verifier.verify(&sign("JWT", claims), Timestamp::from_secs(1_729_602_000));
    if let Ok(token) = verified {
        assert!(!token.namespace().contains(':') && !token.name().contains(':'));
        assert!(!token.uid().is_empty());
    }
});
