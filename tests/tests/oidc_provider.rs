//! Access tokens of a certified provider, with the keys that it publishes, changes and withholds.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::claims::ClaimsError;
use zt_identity::oidc::access_token::{AccessTokenError, AccessTokenVerifier};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::keys::{IssuerKeys, KeysUnavailable};
use zt_identity::oidc::refresh::RefreshOptions;
use zt_tests::oidc_provider::{OidcProvider, is_present};

const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];
const SOON: Duration = Duration::from_secs(10);

fn verifier(provider: &OidcProvider, audience: &str, keys: &IssuerKeys) -> AccessTokenVerifier {
    AccessTokenVerifier::for_issuer(Issuer::loopback(provider.url()).unwrap())
        .audience(audience)
        .keys(keys.clone())
        .build()
        .unwrap()
}

fn keys(runtime: &Runtime, provider: &OidcProvider, options: RefreshOptions) -> IssuerKeys {
    let issuer = Issuer::loopback(provider.url()).unwrap();
    runtime.block_on(async {
        let keys = IssuerKeys::discover(issuer, options).unwrap();
        keys.ready(SOON).await.unwrap();
        keys
    })
}

fn now() -> Timestamp {
    SystemClock.now()
}

#[test]
fn tokens_of_every_algorithm_verify_with_the_keys_that_the_provider_publishes() {
    if !is_present() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let provider = OidcProvider::start(&json!({}));
    let keys = keys(&runtime, &provider, RefreshOptions::default());
    let orders = verifier(&provider, "orders", &keys);
    for alg in ALGORITHMS {
        let token = orders.verify(&provider.access_token(alg), now()).unwrap();
        assert_eq!(token.subject(), "web", "{alg}");
    }

    let token = provider.access_token("ES256");
    let refused = verifier(&provider, "bills", &keys).verify(&token, now()).unwrap_err();
    assert_eq!(refused, ClaimsError::Audience.into());
    let late = now().saturating_add(Duration::from_secs(600 + 61));
    let refused = orders.verify(&token, late).unwrap_err();
    assert!(matches!(refused, AccessTokenError::Claims(ClaimsError::Expired { .. })));
    let early = now().saturating_sub(Duration::from_secs(65));
    let refused = orders.verify(&token, early).unwrap_err();
    assert!(matches!(refused, AccessTokenError::Claims(ClaimsError::IssuedInFuture { .. })));

    // The same claims, signed by a provider that is not this one.
    let impostor = OidcProvider::start(&json!({}));
    let refused = orders.verify(&impostor.access_token("ES256"), now()).unwrap_err();
    assert_eq!(refused.reason(), "token_bad_signature");
}

#[test]
fn new_keys_of_the_provider_are_found_and_its_old_ones_forgotten() {
    if !is_present() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let mut provider = OidcProvider::start(&json!({}));
    let interval = Duration::from_secs(1);
    let begun = Instant::now();
    let options = RefreshOptions::default().unknown_key_interval(interval);
    let keys = keys(&runtime, &provider, options);
    let orders = verifier(&provider, "orders", &keys);
    let old = provider.access_token("ES256");
    assert!(orders.verify(&old, now()).is_ok());

    provider.rotate();
    let new = provider.access_token("ES256");
    let refused = orders.verify(&new, now());
    if begun.elapsed() < interval {
        assert!(matches!(refused, Err(AccessTokenError::UnknownKey { .. })), "{refused:?}");
    }
    while orders.verify(&new, now()).is_err() {
        assert!(begun.elapsed() < SOON, "{:?}", keys.last_failure());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() >= interval, "two fetches are an interval apart");
    for alg in ALGORITHMS {
        assert!(orders.verify(&provider.access_token(alg), now()).is_ok(), "{alg}");
    }
    let refused = orders.verify(&old, now()).unwrap_err();
    assert!(matches!(refused, AccessTokenError::UnknownKey { .. }));
}

#[test]
fn tokens_count_while_the_provider_is_gone_and_not_for_ever() {
    if !is_present() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let provider = OidcProvider::start(&json!({}));
    let options = RefreshOptions::default()
        .time_to_live(Duration::from_secs(1))
        .stale_if_error(Duration::from_secs(300));
    let keys = keys(&runtime, &provider, options);
    let orders = verifier(&provider, "orders", &keys);
    let tokens = ALGORITHMS.map(|alg| provider.access_token(alg));

    drop(provider);
    let begun = Instant::now();
    while keys.last_failure().is_none() {
        assert!(begun.elapsed() < SOON, "no failure");
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = |secs| now().saturating_add(Duration::from_secs(secs));
    for token in &tokens {
        assert!(orders.verify(token, now()).is_ok());
        assert!(orders.verify(token, after(280)).is_ok());
        let refused = orders.verify(token, after(302)).unwrap_err();
        assert!(matches!(refused, AccessTokenError::Keys(KeysUnavailable::Stale { .. })));
        assert_eq!(refused.fault(), Fault::Authority);
    }
}
