//! Tokens that say nothing by themselves, of a certified provider that is asked about them.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::oidc::access_token::AccessToken;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::introspection::{
    DEFAULT_MAX_AGE, DEFAULT_REFUSAL_AGE, IntrospectionError, IntrospectionVerifier,
    IntrospectionVerifierBuilder,
};
use zt_identity::oidc::issuer::Issuer;
use zt_identity::possession::binding::Binding;
use zt_tests::oidc_provider::{Browser, OidcProvider, is_present};

const ORDERS: &str = "https://orders.example/opaque";

/// A provider, and a runtime to ask it in.
struct Scene {
    runtime: Runtime,
    provider: OidcProvider,
    browser: Browser,
    now: Timestamp,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            runtime: Runtime::new().unwrap(),
            provider: OidcProvider::start(&json!({})),
            browser: Browser::new(folder.path()),
            now: SystemClock.now(),
            _folder: folder,
        }
    }

    /// As this service asks, with this secret.
    fn asking_as(&self, client: &str, secret: &str) -> IntrospectionVerifierBuilder {
        let secret = Secret::new(secret.to_owned());
        IntrospectionVerifier::for_issuer(Issuer::loopback(self.provider.url()).unwrap())
            .endpoint(&format!("{}/token/introspection", self.provider.url()))
            .client(ClientAuthentication::client_secret_basic(client, secret).unwrap())
            .audience("orders")
            .clients_as_subjects("client:")
    }

    fn orders(&self) -> IntrospectionVerifier {
        self.asking_as("orders", "orders-secret").build().unwrap()
    }

    /// At so many seconds from the beginning.
    fn verify(
        &self,
        tokens: &IntrospectionVerifier,
        token: &str,
        secs: u64,
    ) -> Result<Verified<AccessToken>, IntrospectionError> {
        let now = self.now.saturating_add(Duration::from_secs(secs));
        self.runtime.block_on(tokens.verify(token, now))
    }

    fn refusal(
        &self,
        tokens: &IntrospectionVerifier,
        token: &str,
        secs: u64,
    ) -> (&'static str, Fault) {
        let refused = self.verify(tokens, token, secs).unwrap_err();
        (refused.reason(), refused.fault())
    }
}

#[test]
fn what_a_provider_knows_of_a_token_makes_a_user_of_its_bearer() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let answer = scene.provider.tokens_of_user(&scene.browser, "alice", ORDERS);
    let opaque = answer["access_token"].as_str().unwrap();
    assert!(!opaque.contains('.'), "{opaque}");

    let tokens = scene.orders();
    let token = scene.verify(&tokens, opaque, 0).unwrap();
    assert_eq!((token.issuer(), token.subject()), (scene.provider.url(), "alice"));
    assert_eq!((token.client_id(), token.confirmation()), (Some("web"), None));
    assert_eq!(token.scopes().iter().map(|scope| &**scope).collect::<Vec<_>>(), ["orders:read"]);
    let user = Binding::bearer().user(&token).unwrap();
    assert_eq!(user.subject(), "alice");

    // A client that asks for itself, which the provider gives no subject.
    let own = scene.provider.token_for(ORDERS);
    assert_eq!(scene.verify(&tokens, &own, 0).unwrap().subject(), "client:web");
}

#[test]
fn a_token_that_its_provider_revoked_counts_no_longer_than_the_bound() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let (opaque, other) = (scene.provider.token_for(ORDERS), scene.provider.token_for(ORDERS));
    let remembering = scene.orders();
    let asking = scene.asking_as("orders", "orders-secret").max_age(Duration::ZERO);
    let asking = asking.build().unwrap();
    for tokens in [&remembering, &asking] {
        assert!(scene.verify(tokens, &opaque, 0).is_ok());
        assert!(scene.verify(tokens, &other, 0).is_ok());
    }

    scene.provider.revoke(&opaque);
    assert!(scene.verify(&remembering, &opaque, DEFAULT_MAX_AGE.as_secs() - 1).is_ok());
    let not_active = ("token_not_active", Fault::Peer);
    let after = DEFAULT_MAX_AGE.as_secs() + 1;
    assert_eq!(scene.refusal(&remembering, &opaque, after), not_active);
    assert_eq!(scene.refusal(&asking, &opaque, 0), not_active);
    for (tokens, at) in [(&remembering, after), (&asking, 0)] {
        assert!(scene.verify(tokens, &other, at).is_ok());
    }
}

#[test]
fn tokens_for_others_and_what_is_no_access_token_open_nothing() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let tokens = scene.orders();
    let bills = scene.provider.token_for("https://bills.example/opaque");
    assert_eq!(scene.refusal(&tokens, &bills, 0), ("token_of_another_audience", Fault::Peer));

    let answer = scene.provider.tokens_of_user(&scene.browser, "alice", ORDERS);
    let refresh = answer["refresh_token"].as_str().unwrap();
    assert_eq!(scene.refusal(&tokens, refresh, 0).1, Fault::Peer);
    for made_up in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x", "a b&token=c"] {
        assert_eq!(scene.refusal(&tokens, made_up, 0), ("token_not_active", Fault::Peer));
    }
    // Tokens of another provider, which this one has not heard of.
    let another = OidcProvider::start(&json!({}));
    let foreign = another.token_for(ORDERS);
    assert_eq!(scene.refusal(&tokens, &foreign, 0), ("token_not_active", Fault::Peer));
    // It is asked about these alone that have no signature to be judged by.
    let signed = scene.provider.access_token("ES256");
    let unsupported = ("token_type_not_introspected", Fault::Peer);
    assert_eq!(scene.refusal(&tokens, &signed, 0), unsupported);
    let id_token = answer["id_token"].as_str().unwrap();
    assert_eq!(scene.refusal(&tokens, id_token, 0).1, Fault::Peer);
}

#[test]
fn a_service_that_the_provider_does_not_answer_lets_nobody_in() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let opaque = scene.provider.token_for(ORDERS);
    // A client that the token was not issued to, and that may not ask about it.
    let nosy = scene.asking_as("other", "other-secret").build().unwrap();
    assert_eq!(scene.refusal(&nosy, &opaque, 0), ("token_not_active", Fault::Peer));

    // One that does not show who it is, or shows it wrongly, is no fault of the token's.
    let unavailable = ("introspection_unavailable", Fault::Authority);
    for (client, secret) in [("orders", "guessed"), ("nobody", "orders-secret")] {
        let tokens = scene.asking_as(client, secret).build().unwrap();
        assert_eq!(scene.refusal(&tokens, &opaque, 0), unavailable);
    }
    let tokens = scene.orders();
    assert!(scene.verify(&tokens, &opaque, 0).is_ok());
    let another = scene.provider.token_for(ORDERS);
    let Scene { runtime, provider, now, .. } = scene;
    drop(provider);
    // What is known counts on, within its bound, and nothing else does.
    let at = |secs| now.saturating_add(Duration::from_secs(secs));
    assert!(runtime.block_on(tokens.verify(&opaque, at(DEFAULT_MAX_AGE.as_secs() - 1))).is_ok());
    for (token, secs) in [(&opaque, DEFAULT_MAX_AGE.as_secs() + 1), (&another, 0)] {
        let refused = runtime.block_on(tokens.verify(token, at(secs))).unwrap_err();
        assert_eq!((refused.reason(), refused.fault()), unavailable);
    }
}

#[test]
fn a_refusal_is_remembered_no_longer_than_its_bound() {
    if !is_present() {
        return;
    }
    let scene = Scene::new();
    let tokens = scene.orders();
    // At a time before it was issued, by more than clocks may be apart.
    let opaque = scene.provider.token_for(ORDERS);
    let early = scene.now.saturating_sub(Duration::from_secs(120));
    let refused = scene.runtime.block_on(tokens.verify(&opaque, early)).unwrap_err();
    assert_eq!(refused.fault(), Fault::Peer);
    let soon = early.saturating_add(DEFAULT_REFUSAL_AGE.saturating_sub(Duration::from_secs(1)));
    assert!(scene.runtime.block_on(tokens.verify(&opaque, soon)).is_err());
    assert!(scene.verify(&tokens, &opaque, 0).is_ok());
}
