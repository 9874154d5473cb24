//! Users who sign in at a certified provider, and those who try to sign in as others.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::oidc::login::answer::TokenEndpointError;
use zt_identity::oidc::login::metadata::ProviderError;
use zt_identity::oidc::login::pending::PendingLogin;
use zt_identity::oidc::login::return_path::ReturnPath;
use zt_identity::oidc::login::session::{Session, SignedIn};
use zt_identity::oidc::login::{LoginError, LoginRequest, RelyingParty, RelyingPartyBuilder};
use zt_identity::oidc::refresh::RefreshOptions;
use zt_identity::oidc::step_up::StepUp;
use zt_tests::oidc_provider::{Browser, OidcProvider, is_present};

const MFA: &str = "urn:example:mfa";
const HERE: &str = "http://127.0.0.1:8080/signed-in";
const AFTER: &str = "http://127.0.0.1:8080/signed-out";

/// A provider, a client of it and a browser.
struct Scene {
    runtime: Runtime,
    provider: OidcProvider,
    party: RelyingParty,
    browser: Browser,
    _folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    SystemClock.now()
}

impl Scene {
    fn new() -> Self {
        Self::signed_with("ES256")
    }

    fn signed_with(alg: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let options = json!({"algorithms": [alg], "id_token_alg": alg});
        let provider = OidcProvider::start(&options);
        let party = build(&runtime, client(&provider, "web").client_secret("web-secret"));
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::new(folder.path());
        Self { runtime, provider, party, browser, _folder: folder }
    }

    fn begin(&self, request: &LoginRequest) -> (String, PendingLogin) {
        let begun = self.runtime.block_on(self.party.begin(request, now())).unwrap();
        (begun.redirect, begun.pending)
    }

    fn finish(&self, pending: PendingLogin, query: &str) -> Result<SignedIn, LoginError> {
        self.runtime.block_on(self.party.finish(pending, query, now()))
    }

    fn sign_in(&self, request: &LoginRequest, name: &str) -> Result<Session, LoginError> {
        let (url, pending) = self.begin(request);
        self.finish(pending, &self.browser.sign_in(&url, name)).map(|signed_in| signed_in.session)
    }
}

fn client(provider: &OidcProvider, client_id: &str) -> RelyingPartyBuilder {
    RelyingParty::for_issuer(Issuer::loopback(provider.url()).unwrap(), client_id)
        .redirect_uri(HERE)
        .post_logout_redirect_uri(AFTER)
        .scope("email")
        .fetch(RefreshOptions::default().unknown_key_interval(Duration::from_secs(1)))
}

fn build(runtime: &Runtime, builder: RelyingPartyBuilder) -> RelyingParty {
    runtime.block_on(async { builder.build().unwrap() })
}

fn again(pending: &PendingLogin) -> PendingLogin {
    PendingLogin::from_text(pending.to_text().expose()).unwrap()
}

/// The pending login as somebody would have it who got hold of the store.
fn changed(pending: &PendingLogin, name: &str, value: &str) -> PendingLogin {
    let mut stored: Value = serde_json::from_str(pending.to_text().expose()).unwrap();
    stored[name] = value.into();
    PendingLogin::from_text(&stored.to_string()).unwrap()
}

/// The query or URL without a parameter.
fn without(text: &str, parameter: &str) -> String {
    let (start, query) = text.split_once('?').map_or(("", text), |(url, query)| (url, query));
    let begins = format!("{parameter}=");
    let rest: Vec<_> = query.split('&').filter(|pair| !pair.starts_with(&begins)).collect();
    if start.is_empty() { rest.join("&") } else { format!("{start}?{}", rest.join("&")) }
}

fn parameter<'q>(query: &'q str, name: &str) -> &'q str {
    let begins = format!("{name}=");
    query.split(['?', '&']).find_map(|pair| pair.strip_prefix(&begins)).unwrap()
}

fn invalid_grant(result: Result<SignedIn, LoginError>) {
    match result {
        Err(error @ LoginError::TokenEndpoint(TokenEndpointError::Refused { .. })) => {
            assert_eq!(error.to_string(), r#"the token endpoint says "invalid_grant""#);
            assert_eq!(error.fault(), Fault::Peer);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_signs_in_with_an_id_token_of_every_algorithm() {
    if !is_present() {
        return;
    }
    for alg in ["ES256", "RS256", "PS256", "EdDSA"] {
        let scene = Scene::signed_with(alg);
        let request = LoginRequest::new().return_to(ReturnPath::parse("/orders/42").unwrap());
        let (url, pending) = scene.begin(&request);
        assert_eq!(parameter(&url, "code_challenge_method"), "S256");
        let query = scene.browser.sign_in(&url, "alice");
        let signed_in = scene.finish(pending, &query).unwrap();
        assert_eq!(signed_in.return_to.as_str(), "/orders/42");
        assert_eq!(signed_in.session.subject(), "alice", "{alg}");
        assert_eq!(signed_in.session.id_token().email(), Some("alice@example.com"));
        assert!(signed_in.session.access_token_expires().unwrap() > now());
    }
}

#[test]
fn a_client_without_a_secret_is_protected_by_pkce_alone() {
    if !is_present() {
        return;
    }
    let mut scene = Scene::new();
    scene.party = build(&scene.runtime, client(&scene.provider, "app"));
    let (url, pending) = scene.begin(&LoginRequest::new());
    let query = scene.browser.sign_in(&url, "alice");
    let stranger = changed(&pending, "verifier", &"x".repeat(43));
    invalid_grant(scene.finish(stranger, &query));
    assert_eq!(scene.sign_in(&LoginRequest::new(), "alice").unwrap().subject(), "alice");
}

#[test]
fn a_code_counts_once() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let (url, pending) = scene.begin(&LoginRequest::new());
    let stolen = again(&pending);
    let query = scene.browser.sign_in(&url, "alice");
    assert!(scene.finish(pending, &query).is_ok());
    invalid_grant(scene.finish(stolen, &query));
}

#[test]
fn a_response_ends_the_login_that_it_belongs_to_and_no_other() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let (mallory, _) = scene.begin(&LoginRequest::new());
    let injected = scene.browser.sign_in(&mallory, "mallory");
    let (_, pending) = scene.begin(&LoginRequest::new());
    let state = serde_json::from_str::<Value>(pending.to_text().expose()).unwrap()["state"]
        .as_str()
        .unwrap()
        .to_owned();

    let refused = scene.finish(again(&pending), &injected).unwrap_err();
    assert!(matches!(refused, LoginError::State));
    let refused = scene.finish(again(&pending), &without(&injected, "state")).unwrap_err();
    assert_eq!(refused.to_string(), r#"the response has no parameter "state""#);
    let twice = format!("{injected}&state={state}");
    let refused = scene.finish(again(&pending), &twice).unwrap_err();
    assert_eq!(refused.to_string(), r#"the response has the parameter "state" twice"#);

    // Even who knows the state has a code for another verifier.
    let known = format!("{}&state={state}", without(&injected, "state"));
    invalid_grant(scene.finish(again(&pending), &known));
    // Without a verifier there is nothing to be had either.
    let (url, other) = scene.begin(&LoginRequest::new());
    let query = scene.browser.sign_in(&url, "alice");
    invalid_grant(scene.finish(changed(&other, "verifier", ""), &query));
}

#[test]
fn a_code_of_another_client_is_of_no_use() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let other = client(&scene.provider, "other").client_secret("other-secret");
    let other = build(&scene.runtime, other);
    let begun = scene.runtime.block_on(other.begin(&LoginRequest::new(), now())).unwrap();
    let query = scene.browser.sign_in(&begun.redirect, "alice");
    let refused = scene.finish(again(&begun.pending), &query).unwrap_err();
    assert!(matches!(refused, LoginError::AnotherClient));
    invalid_grant(scene.finish(changed(&begun.pending, "client_id", "web"), &query));
}

#[test]
fn a_login_ends_in_time() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let (url, pending) = scene.begin(&LoginRequest::new());
    let query = scene.browser.sign_in(&url, "alice");
    let late = pending.until().saturating_add(Duration::from_micros(1));
    let refused = scene.runtime.block_on(scene.party.finish(pending, &query, late)).unwrap_err();
    assert!(matches!(refused, LoginError::TooLate { .. }));
}

#[test]
fn a_response_comes_from_the_provider_that_was_asked() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let (url, pending) = scene.begin(&LoginRequest::new());
    let query = scene.browser.sign_in(&url, "alice");
    let evil = format!("{}&iss=https%3A%2F%2Fevil.example", without(&query, "iss"));
    let refused = scene.finish(again(&pending), &evil).unwrap_err();
    assert_eq!(refused.to_string(), r#"the response is of the issuer "https://evil.example""#);
    // This provider says of itself that it always says who it is.
    let refused = scene.finish(again(&pending), &without(&query, "iss")).unwrap_err();
    assert_eq!(refused.to_string(), r#"the response is of the issuer """#);
    assert!(scene.finish(pending, &query).is_ok());

    // A login that was begun at another provider is none of this one's.
    let elsewhere = Scene::new();
    let (_, pending) = elsewhere.begin(&LoginRequest::new());
    let refused = scene.finish(pending, &query).unwrap_err();
    assert!(matches!(refused, LoginError::AnotherClient));
}

#[test]
fn who_is_refused_by_the_provider_is_not_signed_in() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let refused = scene.sign_in(&LoginRequest::new(), "nobody").unwrap_err();
    assert_eq!(refused.to_string(), r#"the provider says "access_denied""#);
    assert_eq!(refused.fault(), Fault::Peer);
}

#[test]
fn a_step_up_is_done_by_the_same_user_or_not_at_all() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let mfa = StepUp::new([MFA], None).unwrap();
    let session = scene.sign_in(&LoginRequest::new(), "alice").unwrap();
    assert!(!session.meets(&mfa, now()));

    let request = LoginRequest::new().step_up(mfa.clone()).same_user(&session);
    let (url, pending) = scene.begin(&request);
    assert!(scene.browser.is_asked(&url));
    let shortcut = scene.browser.sign_in(&without(&url, "acr_values"), "alice");
    let refused = scene.finish(again(&pending), &shortcut).unwrap_err();
    assert!(matches!(refused, LoginError::StepUpNotMet), "{refused:?}");
    let raised = scene.finish(pending, &scene.browser.sign_in(&url, "alice")).unwrap().session;
    assert!(raised.meets(&mfa, now()));
    assert_eq!(raised.subject(), session.subject());

    // Somebody else at the same browser, whom the hint does not stop.
    let folder = tempfile::tempdir().unwrap();
    let (url, pending) = scene.begin(&request);
    let query = Browser::new(folder.path()).sign_in(&without(&url, "id_token_hint"), "mallory");
    let refused = scene.finish(pending, &query).unwrap_err();
    assert!(matches!(refused, LoginError::AnotherUser), "{refused:?}");
}

#[test]
fn an_authentication_that_is_too_old_is_asked_for_again() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let session = scene.sign_in(&LoginRequest::new(), "alice").unwrap();
    let recent = StepUp::new([], Some(Duration::from_secs(300))).unwrap();
    let request = LoginRequest::new().step_up(recent.clone());
    let (url, pending) = scene.begin(&request);
    assert_eq!(parameter(&url, "max_age"), "300");
    let raised = scene.finish(pending, &scene.browser.sign_in(&url, "alice")).unwrap().session;
    assert!(raised.meets(&recent, now()));

    let later = now().saturating_add(Duration::from_secs(400));
    assert!(!session.meets(&recent, later));
    let begun = scene.runtime.block_on(scene.party.begin(&request, later)).unwrap();
    let query = scene.browser.sign_in(&begun.redirect, "alice");
    let refused = scene.runtime.block_on(scene.party.finish(begun.pending, &query, later));
    assert_eq!(refused.unwrap_err().reason(), "authentication_too_old");
}

#[test]
fn a_session_is_refreshed_and_a_refresh_token_that_was_used_ends_it() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let session = scene.sign_in(&LoginRequest::new(), "alice").unwrap();
    assert!(session.is_refreshable());
    let refresh = |session| scene.runtime.block_on(scene.party.refresh(session, now()));
    let new = refresh(&session).unwrap();
    assert_ne!(new.access_token().expose(), session.access_token().expose());
    assert_eq!(new.subject(), "alice");
    assert_eq!(new.authentication(), session.authentication());
    let newer = refresh(&new).unwrap();
    for used in [&session, &new] {
        let refused = refresh(used).unwrap_err();
        assert_eq!(refused.fault(), Fault::Peer, "{refused:?}");
    }
    // The provider saw a refresh token twice, so somebody else may have one.
    assert!(refresh(&newer).is_err());
}

#[test]
fn who_signs_out_is_signed_out_at_the_provider_too() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let session = scene.sign_in(&LoginRequest::new(), "alice").unwrap();
    let (url, _) = scene.begin(&LoginRequest::new());
    assert!(!scene.browser.is_asked(&url), "signed in there already");

    let sign_out = scene.runtime.block_on(scene.party.sign_out(&session, now())).unwrap();
    let query = scene.browser.sign_out(&sign_out.redirect);
    sign_out.pending.unwrap().finish(&query).unwrap();
    let (url, _) = scene.begin(&LoginRequest::new());
    assert!(scene.browser.is_asked(&url));
}

#[test]
fn a_login_goes_on_when_the_provider_changes_its_keys() {
    if !is_present() {
        return;
    }
    let mut scene = Scene::new();
    assert!(scene.sign_in(&LoginRequest::new(), "alice").is_ok());
    scene.provider.rotate();
    assert_eq!(scene.sign_in(&LoginRequest::new(), "alice").unwrap().subject(), "alice");
}

#[test]
fn without_a_provider_nobody_signs_in_and_it_is_not_their_fault() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let Scene { runtime, provider, browser: _, party, _folder } = scene;
    drop(provider);
    let refused = runtime.block_on(party.begin(&LoginRequest::new(), now())).unwrap_err();
    assert!(matches!(refused, LoginError::Provider(ProviderError::Discovery(_))));
    assert_eq!(refused.fault(), Fault::Authority);
}
