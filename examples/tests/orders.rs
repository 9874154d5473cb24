//! The service of orders, with allowed and refused requests over real sockets.

use std::process::Command;
use std::time::Duration;

use http::Method;
use rustls::AlertDescription;
use serde_json::{Value, json};
use zt_core::time::{Clock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_identity::authority::Issuer;

#[path = "../orders/service.rs"]
mod service;
#[path = "../orders/stage.rs"]
mod stage;
#[path = "../orders/store.rs"]
mod store;

use stage::{Stage, WEB};

const SOON: Duration = Duration::from_secs(30);

struct Scene {
    stage: Stage,
    web: Client,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await.unwrap();
        let web = stage.caller(WEB, "web").unwrap();
        Self { stage, web }
    }

    fn token(&self, user: &str, claims: Value) -> String {
        self.stage.token(user, claims).unwrap()
    }

    async fn call(&self, token: &str, request: &str, body: Option<Value>) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let token = Some(token).filter(|token| !token.is_empty());
        self.web.call(self.stage.address, &method, path, token, body.as_ref()).await.unwrap()
    }

    async fn status(&self, token: &str, request: &str, body: Option<Value>) -> u16 {
        self.call(token, request, body).await.status().unwrap()
    }

    /// What was recorded.
    fn records(&self) -> Vec<Value> {
        self.stage.queue.close(SOON).unwrap();
        self.stage.records.take()
    }
}

/// A manager who has used a second factor so many seconds ago.
fn manager(seconds: u64) -> Value {
    let then = SystemClock.now().as_secs() - i64::try_from(seconds).unwrap();
    json!({ "roles": ["manager"], "acr": "mfa", "auth_time": then })
}

fn spoons() -> Option<Value> {
    Some(json!({ "item": "spoons" }))
}

fn ids(answer: &Answer) -> Vec<u64> {
    answer.json().as_array().unwrap().iter().map(|order| order["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn users_read_and_edit_their_own_orders_and_nobody_elses() {
    let scene = Scene::set().await;
    let (alice, bob) = (scene.token("alice", json!({})), scene.token("bob", json!({})));
    assert_eq!(scene.status(&alice, "GET /orders/42", None).await, 200);
    assert_eq!(scene.call(&alice, "PUT /orders/42", spoons()).await.json()["item"], "spoons");
    for request in ["GET /orders/42", "PUT /orders/42"] {
        assert_eq!(scene.status(&bob, request, spoons()).await, 403, "{request}");
    }
    // Refused, and not done either.
    assert_eq!(scene.call(&alice, "GET /orders/42", None).await.json()["item"], "spoons");
    assert_eq!(scene.status(&bob, "PUT /orders/43", spoons()).await, 200);
}

#[tokio::test]
async fn a_list_has_what_its_reader_may_read_and_every_item_was_decided() {
    let scene = Scene::set().await;
    for (user, claims, expected) in [
        ("alice", json!({}), vec![41, 42]),
        ("bob", json!({}), vec![43, 44]),
        ("carl", json!({ "roles": ["clerk"] }), vec![41, 42, 43, 44]),
        ("eve", json!({}), vec![]),
        // What only looks like a role is none.
        ("eve", json!({ "roles": ["clerks", "Clerk"], "groups": ["clerk"] }), vec![]),
    ] {
        let answer = scene.call(&scene.token(user, claims), "GET /orders", None).await;
        assert_eq!(ids(&answer), expected, "{user}");
    }
    let records = scene.records();
    let of = |kind: &str| records.iter().filter(|r| r["resource"]["type"] == kind).count();
    assert_eq!((of("Route"), of("Order")), (5, 5 * 4));
}

#[tokio::test]
async fn who_may_not_read_an_order_does_not_learn_whether_there_is_one() {
    let scene = Scene::set().await;
    let alice = scene.token("alice", json!({}));
    let there = scene.call(&alice, "GET /orders/43", None).await;
    let nowhere = scene.call(&alice, "GET /orders/99", None).await;
    assert_eq!(there, nowhere);
    assert_eq!(there.status(), Some(403));
    let clerk = scene.token("carl", json!({ "roles": ["clerk"] }));
    assert_eq!(scene.status(&clerk, "GET /orders/99", None).await, 404);
}

#[tokio::test]
async fn a_refund_asks_for_a_second_factor_and_says_how_to_get_there() {
    let scene = Scene::set().await;
    let refund = "POST /orders/43/refund";
    for claims in [
        json!({ "roles": ["manager"] }),
        json!({ "roles": ["manager"], "acr": "pwd", "auth_time": SystemClock.now().as_secs() }),
        json!({ "roles": ["manager"], "acr": "mfa" }),
        manager(301),
    ] {
        let answer = scene.call(&scene.token("meg", claims.clone()), refund, None).await;
        let Answer::Http { status, challenge: Some(challenge), .. } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(status, 401, "{claims}");
        for part in [
            r#"error="insufficient_user_authentication""#,
            r#"acr_values="mfa""#,
            r#"max_age="300""#,
        ] {
            assert!(challenge.contains(part), "{challenge}");
        }
    }
    let meg = scene.token("meg", manager(0));
    assert_eq!(scene.call(&meg, refund, None).await.json()["refunded"], true);
    // Once.
    assert_eq!(scene.status(&meg, refund, None).await, 403);
}

#[tokio::test]
async fn a_second_factor_alone_refunds_nothing() {
    let scene = Scene::set().await;
    for (user, role, id) in [
        ("carl", "clerk", 43),
        // More than a manager may give back.
        ("meg", "manager", 44),
        // To oneself.
        ("bob", "manager", 43),
    ] {
        let mut claims = manager(0);
        claims["roles"] = json!([role]);
        let request = format!("POST /orders/{id}/refund");
        assert_eq!(scene.status(&scene.token(user, claims), &request, None).await, 403, "{user}");
    }
    let reasons: Vec<_> = scene
        .records()
        .into_iter()
        .filter(|record| record["resource"]["type"] == "Order")
        .map(|record| record["answers"]["user"]["reason"].clone())
        .collect();
    assert_eq!(reasons, ["not_permitted", "not_permitted", "forbidden"]);
}

#[tokio::test]
async fn what_is_shipped_is_edited_by_nobody() {
    let scene = Scene::set().await;
    let alice = scene.token("alice", json!({}));
    assert_eq!(scene.status(&alice, "GET /orders/41", None).await, 200);
    assert_eq!(scene.status(&alice, "PUT /orders/41", spoons()).await, 403);
}

#[tokio::test]
async fn the_right_user_behind_the_wrong_workload_is_refused_and_both_answers_are_recorded() {
    let scene = Scene::set().await;
    let alice = scene.token("alice", json!({}));
    for path in ["/ns/mail/sa/mailer", "/ns/shop/sa/web2", "/ns/shop/sa/orders"] {
        let caller = scene.stage.caller(path, "another").unwrap();
        let get = &Method::GET;
        let answer = caller.call(scene.stage.address, get, "/orders/42", Some(&alice), None).await;
        assert_eq!(answer.unwrap().status(), Some(403), "{path}");
    }
    for record in scene.records() {
        assert_eq!(record["answers"]["workload"]["effect"], "deny");
        assert_eq!(record["answers"]["user"]["effect"], "allow");
    }
}

#[tokio::test]
async fn tokens_that_are_not_for_this_service_are_nobodys() {
    let scene = Scene::set().await;
    let elsewhere = Issuer::new("https://login.example.com", SystemClock.now()).unwrap();
    let claims = r#"{"sub": "alice", "aud": "orders", "client_id": "shop", "jti": "1"}"#;
    let good = scene.token("alice", json!({}));
    let (_, signature) = good.rsplit_once('.').unwrap();
    let bobs = scene.token("bob", json!({}));
    let (bobs_claims, _) = bobs.rsplit_once('.').unwrap();
    for token in [
        String::new(),
        "token".into(),
        elsewhere.mint(claims).unwrap(),
        scene.token("alice", json!({ "aud": "billing" })),
        scene.token("alice", json!({ "exp": SystemClock.now().as_secs() - 120 })),
        scene.token("alice", json!({ "iss": "https://login.example.org" })),
        format!("{bobs_claims}.{signature}"),
    ] {
        assert_eq!(scene.status(&token, "GET /orders/42", None).await, 401, "{token}");
    }
    let nobody = zt_tls::Connector::new(
        scene.stage.authority.source(WEB).unwrap(),
        zt_identity::Authorizer::any_in_bundles(),
    );
    let nobody = Client::without_certificate("nobody", &nobody.unwrap());
    let get = &Method::GET;
    let answer = nobody.call(scene.stage.address, get, "/orders/42", Some(&good), None).await;
    assert_eq!(answer.unwrap(), Answer::Alert(AlertDescription::CertificateRequired));
}

#[tokio::test]
async fn paths_and_methods_that_nobody_routes_open_nothing() {
    let scene = Scene::set().await;
    let (alice, meg) = (scene.token("alice", json!({})), scene.token("meg", manager(0)));
    let nobody = String::new();
    for (token, request, expected) in [
        (&alice, "GET /orders/42/refund", 401),
        (&alice, "POST /orders/42%2Frefund", 400),
        (&alice, "POST /orders/42/./refund", 400),
        (&meg, "GET /orders/43/refund", 405),
        (&alice, "DELETE /orders/42", 405),
        (&alice, "GET /orders/x", 400),
        (&nobody, "GET /admin", 401),
        (&alice, "GET /admin", 404),
    ] {
        assert_eq!(scene.status(token, request, None).await, expected, "{request}");
    }
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_orders")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (shown, record) = printed.split_once("The last one").unwrap();
    assert!(include_str!("../orders/README.md").contains(shown.trim()), "{shown}");
    assert!(record.contains("\"not_permitted\""), "{record}");
}
