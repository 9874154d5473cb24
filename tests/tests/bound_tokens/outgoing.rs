//! Requests of our own, with tokens that a certified provider binds to our key, sent by curl.

use std::process::Command;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::oidc::introspection::IntrospectionVerifier;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::outgoing::{Answered, Destination, OutgoingRequest, OutgoingTokens, UserToken};
use zt_tests::oidc_provider::Browser;
use zt_tests::peers::try_run;

use crate::service::{World, is_present, orders};

type Headers = Vec<(HeaderName, HeaderValue)>;

fn now() -> Timestamp {
    SystemClock.now()
}

impl World {
    fn issuer(&self) -> Issuer {
        Issuer::loopback(self.provider.url()).unwrap()
    }

    fn uri(&self, case: &str) -> Uri {
        let service = self.setting["service"].as_str().unwrap();
        format!("{service}/dpop?case={case}").parse().unwrap()
    }

    fn tokens(&self, destination: impl Fn(&str) -> Destination) -> OutgoingTokens {
        OutgoingTokens::for_issuer(self.issuer())
            .token_endpoint(&format!("{}/token", self.provider.url()))
            .client(orders())
            .destination(destination(self.setting["service"].as_str().unwrap()))
            .build()
            .unwrap()
    }

    /// The token of a user who has signed in, as text and verified.
    fn user(&self, name: &str) -> (String, UserToken) {
        // Each has a browser of their own.
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let resource = "https://orders.example/opaque";
        let answer = self.provider.tokens_of_user(&Browser::new(&folder), name, resource);
        let text = answer["access_token"].as_str().unwrap();
        let tokens = IntrospectionVerifier::for_issuer(self.issuer())
            .endpoint(&format!("{}/token/introspection", self.provider.url()))
            .client(orders())
            .audience("orders")
            .build()
            .unwrap();
        let token = self.runtime.block_on(tokens.verify(text, now())).unwrap();
        (text.to_owned(), UserToken::new(text, token))
    }

    /// Sends a request over the connection of cart.
    fn curl(&self, method: &Method, uri: &Uri, headers: &Headers) -> (StatusCode, HeaderMap) {
        let file = |of: &str, kind: &str| self.setting[of][kind].as_str().unwrap();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--http1.1", "-X", method.as_str()]);
        curl.args(["--cacert", self.setting["ca"].as_str().unwrap()]);
        curl.args(["--cert", file("cart", "cert"), "--key", file("cart", "key")]);
        for (name, value) in headers {
            curl.arg("-H").arg(format!("{name}: {}", value.to_str().unwrap()));
        }
        let output = try_run(curl.arg(uri.to_string()), "");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.split("\r\n\r\n").next().unwrap().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        });
        (status.parse().unwrap(), headers.collect())
    }

    /// As a client does: once more where the answer is worth it. Returns how often that was, and what
    /// was sent last.
    fn send(
        &self,
        tokens: &OutgoingTokens,
        to: (&Method, &Uri),
        user: Option<&UserToken>,
    ) -> (usize, Headers) {
        let request = OutgoingRequest::new(to.0, to.1);
        let request = user.map_or(request, |user| request.for_user(user));
        for attempt in 1..=2 {
            let headers = self.runtime.block_on(tokens.headers(&request, now())).unwrap();
            let (status, answer) = self.curl(to.0, to.1, &headers);
            if tokens.answered(&request, status, &answer) != Answered::Again {
                assert_eq!(status, StatusCode::OK, "{answer:?}");
                return (attempt, headers);
            }
        }
        panic!("a nonce is asked for twice");
    }
}

#[test]
fn our_own_bound_tokens_open_a_service_that_demands_proofs_once_each() {
    if !is_present() {
        return;
    }
    let world = World::start();
    let resource = "https://orders.example/es256";
    let own = world.tokens(|origin| {
        Destination::of_service(origin).unwrap().resource(resource).scope("orders:read").dpop()
    });
    let of_user = world.tokens(|origin| {
        Destination::of_user(origin).unwrap().resource(resource).scope("orders:read").dpop()
    });

    // The nonce that the service wants is taken from its answer, and kept.
    let (get, post, uri) = (Method::GET, Method::POST, world.uri("own"));
    let (attempts, sent) = world.send(&own, (&get, &uri), None);
    assert_eq!(attempts, 2);
    assert_eq!(world.send(&own, (&post, &uri), None).0, 1);
    // What was sent once is of no use again, for another method, or for anyone who saw it.
    for method in [&get, &post] {
        let (status, answer) = world.curl(method, &uri, &sent);
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(answer["www-authenticate"].to_str().unwrap().contains("invalid_dpop_proof"));
    }

    // A user's token, exchanged by the provider for one that is bound to our key.
    let (alice, bob) = (world.user("alice").1, world.user("bob").1);
    let uri = world.uri("user");
    for user in [&alice, &bob] {
        world.send(&of_user, (&get, &uri), Some(user));
    }
    let request = OutgoingRequest::new(&get, &uri);
    assert!(world.runtime.block_on(of_user.headers(&request, now())).is_err());

    let served = world.served.lock().unwrap().clone();
    let users: Vec<_> =
        served.iter().map(|(case, user, _)| (case.as_str(), user.as_str())).collect();
    let expected = [
        ("case=own", "orders"),
        ("case=own", "orders"),
        ("case=user", "alice"),
        ("case=user", "bob"),
    ];
    assert_eq!(users, expected);
    assert!(served.iter().all(|(.., by)| by.ends_with("/sa/cart")));

    // What the provider has revoked is exchanged for nothing.
    let (text, carol) = world.user("carol");
    world.provider.revoke(&text);
    let refused = world.runtime.block_on(of_user.headers(&request.for_user(&carol), now()));
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), r#"the token endpoint says "invalid_grant""#);
    assert_eq!(refused.fault(), Fault::Peer);
}
