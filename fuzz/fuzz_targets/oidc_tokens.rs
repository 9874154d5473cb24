#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_core::time::Timestamp;
use zt_fuzz::{keys, sign};
use zt_identity::claims::Audience;
use zt_identity::oidc::id_token::{IdTokenVerifier, Login};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::logout_token::LogoutTokenVerifier;
use zt_identity::oidc::security_event_token::SecurityEventTokenVerifier;

fuzz_target!(|claims: &[u8]| {
    let (now, issuer) =
        (Timestamp::from_secs(1_800_000_000), || Issuer::parse("https://i.test").unwrap());
    let ids = IdTokenVerifier::new(issuer(), "c", keys()).unwrap();
    let _ = ids.verify(&sign("JWT", claims), &Login::with_nonce("n"), now);
    let logouts = LogoutTokenVerifier::new(issuer(), "c", keys()).unwrap();
    let _ = logouts.verify(&sign("logout+jwt", claims), now);
    let events = SecurityEventTokenVerifier::new(issuer(), Audience::any(["c"]).unwrap(), keys());
    let _ = events.unwrap().verify(&sign("secevent+jwt", claims), now);
});
