#![no_main]

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use url::Url;
use zt_core::time::Timestamp;
use zt_fuzz::keys;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::login::RelyingParty;
use zt_identity::oidc::login::pending::PendingLogin;
use zt_identity::oidc::login::return_path::ReturnPath;

static PARTY: LazyLock<RelyingParty> = LazyLock::new(|| {
    let issuer = Issuer::loopback("http://localhost:1").unwrap();
    let party = RelyingParty::for_issuer(issuer, "c").keys(keys());
    party.redirect_uri("http://localhost:2/").build().unwrap()
});

/// A login whose state nobody guesses.
const PENDING: &str = r#"{"issuer":"http://localhost:1","client_id":"c",
    "state":"pJ8Zr0vC5xk2Wm1eUq7Yd3Lh9Tn4Bs6A","nonce":"n","verifier":"v","until":1,"return_to":"/","acr_values":[],"max_age":null,
    "subject":null}"#;

fuzz_target!(|input: &str| {
    if let Ok(path) = ReturnPath::parse(input) {
        let here = Url::parse("https://app.test/signed-in?code=1").unwrap();
        assert_eq!(here.join(path.as_str()).unwrap().origin(), here.origin());
    }
    if let Ok(pending) = PendingLogin::from_text(input) {
        let text = pending.to_text();
        let again = PendingLogin::from_text(text.expose()).unwrap();
        assert_eq!(again.to_text().expose(), text.expose());
    }
    let pending = PendingLogin::from_text(PENDING).unwrap();
    let finish = pin!(PARTY.finish(pending, input, Timestamp::EPOCH));
    let outcome = finish.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Err(_))));
});
