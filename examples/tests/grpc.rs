//! The gRPC service: who may call what, and streams that end when what let them begin does.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::stream::unfold;
use http::Method;
use rustls::AlertDescription;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use zt_core::time::{Clock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_identity::Authorizer;
use zt_identity::authority::Issuer;
use zt_identity::x509_identity::X509Identity;
use zt_tls::Connector;

#[path = "../grpc/api.rs"]
mod api;
#[path = "../grpc/service.rs"]
mod service;
#[path = "../grpc/stage.rs"]
mod stage;

use api::orders_client::OrdersClient;
use api::{Order, PlaceRequest, WatchRequest};
use stage::{Stage, WEB, on_behalf_of};

const SOON: Duration = Duration::from_secs(30);
const TILL: &str = "/ns/shop/sa/till";

struct Scene {
    stage: Stage,
    identity: X509Identity,
    web: OrdersClient<Channel>,
    alice: String,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await.unwrap();
        let identity = stage.authority.svid(WEB).unwrap();
        let web = stage.client(identity.clone()).await.unwrap();
        let alice = stage.token("alice", json!({})).unwrap();
        Self { stage, identity, web, alice }
    }

    async fn caller(&self, path: &str) -> OrdersClient<Channel> {
        self.stage.client(self.stage.authority.svid(path).unwrap()).await.unwrap()
    }

    fn clerk(&self, name: &str, claims: Value) -> String {
        let mut all = json!({ "roles": ["clerk"] });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.stage.token(name, all).unwrap()
    }

    async fn place(&self, item: &str) -> Result<Order, Status> {
        let order = PlaceRequest { item: item.into(), cents: 1 };
        let placed = self.web.clone().place(on_behalf_of(&self.alice, order).unwrap()).await;
        placed.map(tonic::Response::into_inner)
    }

    /// A stream that has told of an order.
    async fn watching(&self, token: &str) -> Streaming<Order> {
        let mut orders = watch(&self.web, token).await.unwrap();
        self.place("tea").await.unwrap();
        assert_eq!(orders.message().await.unwrap().unwrap().item, "tea");
        orders
    }
}

async fn watch(by: &OrdersClient<Channel>, token: &str) -> Result<Streaming<Order>, Status> {
    let request = on_behalf_of(token, WatchRequest {}).unwrap();
    by.clone().watch(request).await.map(tonic::Response::into_inner)
}

/// How a stream ends on which nobody says anything any more.
async fn end(orders: &mut Streaming<Order>) -> Code {
    let message = timeout(SOON, orders.message()).await.expect("the stream goes on");
    message.expect_err("the stream says more").code()
}

#[tokio::test]
async fn a_clerk_who_watches_is_told_what_customers_place() {
    let scene = Scene::set().await;
    let mut orders = watch(&scene.web, &scene.clerk("carl", json!({}))).await.unwrap();
    for item in ["tea", "cups"] {
        let placed = scene.place(item).await.unwrap();
        assert_eq!((&*placed.owner, &*placed.item), ("alice", item));
        assert_eq!(orders.message().await.unwrap(), Some(placed));
    }
}

#[tokio::test]
async fn each_method_is_open_to_the_workloads_and_users_that_policies_name() {
    let scene = Scene::set().await;
    let (carl, alice) = (scene.clerk("carl", json!({})), scene.alice.clone());
    let (till, mailer) = (scene.caller(TILL).await, scene.caller("/ns/mail/sa/mailer").await);
    let code =
        |answer: Result<(), Status>| answer.map_or_else(|status| status.code(), |()| Code::Ok);
    for (by, name, token, expected) in [
        // Place, Watch, Import.
        (
            &scene.web,
            "web for alice",
            &alice,
            [Code::Ok, Code::PermissionDenied, Code::PermissionDenied],
        ),
        (&scene.web, "web for carl", &carl, [Code::Ok, Code::Ok, Code::PermissionDenied]),
        (&till, "till for carl", &carl, [Code::PermissionDenied, Code::PermissionDenied, Code::Ok]),
        (&till, "till for alice", &alice, [Code::PermissionDenied; 3]),
        (&mailer, "mailer for carl", &carl, [Code::PermissionDenied; 3]),
    ] {
        let order = || PlaceRequest { item: "tea".into(), cents: 1 };
        let mut by = by.clone();
        let place = by.place(on_behalf_of(token, order()).unwrap()).await.map(drop);
        let watch = watch(&by, token).await.map(drop);
        let orders = futures_util::stream::iter([order(), order()]);
        let import = by.import(on_behalf_of(token, orders).unwrap()).await.map(drop);
        assert_eq!([code(place), code(watch), code(import)], expected, "{name}");
    }
}

#[tokio::test]
async fn a_call_without_a_good_token_is_nobodys() {
    let scene = Scene::set().await;
    let elsewhere = Issuer::new("https://login.example.com", SystemClock.now()).unwrap();
    let claims =
        r#"{"sub": "carl", "aud": "orders", "client_id": "shop", "jti": "1", "roles": ["clerk"]}"#;
    for token in [
        "token".to_owned(),
        elsewhere.mint(claims).unwrap(),
        scene.clerk("carl", json!({ "aud": "billing" })),
        scene.clerk("carl", json!({ "exp": SystemClock.now().as_secs() - 120 })),
    ] {
        let refused = watch(&scene.web, &token).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
        assert_eq!(refused.message(), "unauthenticated");
    }
    let refused = scene.web.clone().watch(Request::new(WatchRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_ends_when_its_user_signs_out() {
    let scene = Scene::set().await;
    let carl = scene.clerk("carl", json!({}));
    let (mut his, mut hers) = (
        scene.watching(&carl).await,
        watch(&scene.web, &scene.clerk("dora", json!({}))).await.unwrap(),
    );
    scene.stage.sign_out("carl").await.unwrap();
    assert_eq!(end(&mut his).await, Code::Unauthenticated);
    assert_eq!(watch(&scene.web, &carl).await.unwrap_err().code(), Code::Unauthenticated);
    // That of another, on the same connection, goes on.
    scene.place("cups").await.unwrap();
    assert_eq!(hers.message().await.unwrap().unwrap().item, "cups");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let scene = Scene::set().await;
    // Within the leeway of a minute.
    let almost_over = json!({ "exp": SystemClock.now().as_secs() - 55 });
    let mut orders = scene.watching(&scene.clerk("carl", almost_over)).await;
    assert_eq!(end(&mut orders).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_ends_when_policy_does_not_allow_its_call_any_more() {
    let scene = Scene::set().await;
    let mut orders = scene.watching(&scene.clerk("carl", json!({}))).await;
    scene.stage.edit(|policies| policies.replace("\"clerk\"", "\"auditor\"")).await.unwrap();
    assert_eq!(end(&mut orders).await, Code::PermissionDenied);
    scene.stage.queue.close(SOON).unwrap();
    let last = scene.stage.records.take().pop().unwrap();
    assert_eq!(
        (&last["effect"], &last["action"]),
        (&json!("deny"), &json!("/shop.v1.Orders/Watch"))
    );
}

#[tokio::test]
async fn nothing_is_told_in_the_moment_between_an_edit_and_the_end_of_a_stream() {
    let scene = Scene::set().await;
    let mut orders = scene.watching(&scene.clerk("carl", json!({}))).await;
    scene.stage.edit(|policies| policies.replace("\"clerk\"", "\"auditor\"")).await.unwrap();
    // Before the lease is looked at again, as a rule.
    scene.place("secret").await.unwrap();
    assert_eq!(end(&mut orders).await, Code::PermissionDenied);
}

#[tokio::test]
async fn a_stream_ends_with_its_connection_when_the_workload_is_revoked() {
    let scene = Scene::set().await;
    let mut orders = scene.watching(&scene.clerk("carl", json!({}))).await;
    scene.stage.revoke(&scene.identity).unwrap();
    assert_eq!(end(&mut orders).await, Code::Unauthenticated);
    assert!(timeout(SOON, scene.place("tea")).await.unwrap().is_err());
}

#[tokio::test]
async fn an_import_ends_in_the_middle_when_its_user_signs_out() {
    let scene = Scene::set().await;
    let (carl, dora) = (scene.clerk("carl", json!({})), scene.clerk("dora", json!({})));
    let mut placed = watch(&scene.web, &dora).await.unwrap();
    let (send, orders) = mpsc::channel::<PlaceRequest>(1);
    let orders = unfold(orders, |mut orders| async { Some((orders.recv().await?, orders)) });
    let mut till = scene.caller(TILL).await;
    let import =
        tokio::spawn(async move { till.import(on_behalf_of(&carl, orders).unwrap()).await });
    let order = |item: &str| PlaceRequest { item: item.into(), cents: 1 };
    send.send(order("tea")).await.unwrap();
    assert_eq!(placed.message().await.unwrap().unwrap().item, "tea");

    scene.stage.sign_out("carl").await.unwrap();
    let _ = send.send(order("cups")).await;
    let refused = timeout(SOON, import).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // What came after it was not placed.
    scene.place("kettle").await.unwrap();
    assert_eq!(placed.message().await.unwrap().unwrap().item, "kettle");
}

#[tokio::test]
async fn who_has_no_certificate_gets_no_connection_and_who_speaks_http_1_no_answer() {
    let scene = Scene::set().await;
    let source = scene.stage.authority.source(WEB).unwrap();
    let members = Authorizer::member_of(scene.stage.authority.trust_domain().clone());
    let connector = Connector::new(source, members).unwrap();
    let call = |client: Client| {
        let (path, address, alice) = ("/shop.v1.Orders/Place", scene.stage.address, &scene.alice);
        async move { client.call(address, &Method::POST, path, Some(alice), None).await }
    };
    let nobody = Client::without_certificate("nobody", &connector);
    assert_eq!(call(nobody).await.unwrap(), Answer::Alert(AlertDescription::CertificateRequired));
    call(Client::new("web", &connector)).await.unwrap_err();
}

/// `ZT_REGENERATE=1` writes it anew.
#[test]
fn the_code_of_the_api_is_what_its_proto_file_says() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("grpc");
    let files = protox::compile(["shop/v1/orders.proto"], [example.join("proto")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        // A `connect` would speak without TLS.
        .build_transport(false)
        .out_dir(folder.path())
        .compile_fds(files)
        .unwrap();
    let generated = fs::read_to_string(folder.path().join("shop.v1.rs")).unwrap();
    let committed = example.join("generated/shop.v1.rs");
    if std::env::var_os("ZT_REGENERATE").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    let committed = fs::read_to_string(committed).unwrap();
    assert!(generated == committed, "ZT_REGENERATE=1 writes it anew");
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_grpc")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (shown, record) = printed.split_once("The record").unwrap();
    assert!(include_str!("../grpc/README.md").contains(shown.trim()), "{shown}");
    assert!(record.contains("\"not_permitted\""), "{record}");
}
