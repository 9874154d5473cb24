#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use zt_core::time::Timestamp;
use zt_fuzz::{keys, sign};
use zt_identity::AccessTokenVerifier;
use zt_identity::oidc::claim_mapping::{ClaimMapping, UserField};
use zt_identity::oidc::issuers::Issuers;

fuzz_target!(|claims: &[u8]| {
    let verifier = |url: &str, prefix: &str| {
        let mapping = ClaimMapping::subject_only()
            .username("email", prefix)
            .groups(["realm", "groups"], prefix)
            .roles("roles", prefix)
            .scopes("scp")
            .extra("tenant", "tid")
            .require_claim("hd", "example.com")
            .refuse_user(UserField::Groups, "b:system");
        let builder = AccessTokenVerifier::builder(url).expect("an issuer").mapping(mapping);
        builder.audience("orders").keys(keys()).build().expect("a verifier")
    };
    let issuers =
        Issuers::new([verifier("https://a.test", "a:"), verifier("https://b.test", "b:")]);
    let token = sign("at+jwt", claims);
    let now = Timestamp::from_secs(1_800_000_000);
    if let Ok(verified) = issuers.expect("issuers").verify(&token, now) {
        let prefix = if verified.issuer() == "https://a.test" { "a:" } else { "b:" };
        assert!(verified.subject().starts_with(prefix));
        assert!(verified.groups().iter().chain(verified.roles()).all(|it| it.starts_with(prefix)));
        let own: Value = verified.claims().expect("what is strict JSON is JSON");
        assert_eq!(own["iss"], verified.issuer());
    }
});
