//! The mesh and those who attack it.

use std::process::Command;
use std::time::Duration;

use http::Method;
use rustls::AlertDescription;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use zt_core::record::RecordQueue;
use zt_core::time::{Clock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_examples::kept::Kept;
use zt_identity::authority::Authority;
use zt_identity::{Authorizer, X509Source};
use zt_tls::Connector;

#[path = "../mesh/mesh.rs"]
mod mesh;
#[path = "../mesh/service.rs"]
mod service;
#[path = "../mesh/shop.rs"]
mod shop;

use mesh::{FRONT, GATEWAY, LEDGER, Mesh, ORDERS, Place, id};
use service::{Next, start};

const SOON: Duration = Duration::from_secs(30);
const INJECTED: &str = "/ns/shop/sa/injected";

async fn status(caller: &Client, place: Place) -> Option<u16> {
    caller.get(place.address, place.path).await.unwrap().status()
}

#[tokio::test]
async fn each_service_is_open_to_the_one_caller_that_its_policy_names() {
    let mesh = Mesh::start().await.unwrap();
    for (path, name, expected) in [
        (GATEWAY, "gateway", [200, 403, 403]),
        (FRONT, "front", [403, 200, 403]),
        (ORDERS, "orders", [403, 403, 200]),
        (LEDGER, "ledger", [403, 403, 403]),
        (INJECTED, "injected", [403, 403, 403]),
        // Names that only begin like one that is admitted.
        ("/ns/edge/sa/gateway/x", "gateway/x", [403, 403, 403]),
        ("/ns/shop/sa/orders2", "orders2", [403, 403, 403]),
    ] {
        let caller = mesh.caller(path, name).unwrap();
        for (place, expected) in mesh.services.into_iter().zip(expected) {
            assert_eq!(status(&caller, place).await, Some(expected), "{name} to {}", place.name);
        }
    }
}

#[tokio::test]
async fn what_the_gateway_reads_went_through_all_three() {
    let mesh = Mesh::start().await.unwrap();
    let gateway = mesh.caller(GATEWAY, "gateway").unwrap();
    let answer = gateway.get(mesh.services[0].address, "/shop/42").await.unwrap();
    assert_eq!(answer.json()["page"], "order 42: \"tea\", paid 1250 cents");
    mesh.queue.close(SOON).unwrap();
    let callers = mesh.records.take().into_iter().map(|record| {
        assert_eq!(record["effect"], "allow");
        record["principal"]["workload"]["id"]["spiffe"].clone()
    });
    let expected = [GATEWAY, FRONT, ORDERS].map(|path| Value::from(id(path).unwrap().as_str()));
    assert_eq!(callers.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_caller_that_is_admitted_gets_what_policy_names_and_nothing_else() {
    let mesh = Mesh::start().await.unwrap();
    let orders = mesh.caller(ORDERS, "orders").unwrap();
    let [.., ledger] = mesh.services;
    for (method, path, expected) in [
        (Method::POST, "/payments/42", 403),
        (Method::DELETE, "/payments/42", 403),
        (Method::GET, "/payments", 403),
        (Method::GET, "/", 403),
        (Method::GET, "//payments/42", 400),
        (Method::GET, "/payments/../payments/42", 400),
        (Method::GET, "/payments/%2e%2e/42", 400),
    ] {
        let answer = orders.call(ledger.address, &method, path, None, None).await.unwrap();
        assert_eq!(answer.status(), Some(expected), "{method} {path}");
    }
}

#[tokio::test]
async fn who_is_not_of_the_trust_domain_gets_no_connection() {
    let mesh = Mesh::start().await.unwrap();
    let domain = mesh.authority.trust_domain().clone();
    let ours = mesh.authority.source(ORDERS).unwrap();
    let members = || Authorizer::member_of(domain.clone());
    let connector = |source| Connector::new(source, members()).unwrap();
    // The right name, signed by an authority of the same name that is not ours.
    let other = Authority::new(domain.clone(), SystemClock.now()).unwrap();
    let bundles = ours.current().bundles().clone();
    let forged = X509Source::new(other.svid(ORDERS).unwrap(), bundles);
    let forger = Client::new("forger", &connector(forged));
    let nobody = Client::without_certificate("nobody", &connector(ours));
    for place in mesh.services {
        for (caller, alert) in [
            (&forger, AlertDescription::CertificateUnknown),
            (&nobody, AlertDescription::CertificateRequired),
        ] {
            let answer = caller.get(place.address, place.path).await.unwrap();
            assert_eq!(answer, Answer::Alert(alert), "{} to {}", caller.name, place.name);
        }
    }
}

#[tokio::test]
async fn a_service_at_the_address_of_another_is_not_believed() {
    let mesh = Mesh::start().await.unwrap();
    let records = RecordQueue::builder().start(Kept::default()).unwrap();
    // Injected where the ledger was, with an identity of the mesh, and glad to serve anyone.
    let injected = mesh.authority.source(INJECTED).unwrap();
    let anyone = "permit (principal, action, resource);";
    let false_ledger = start(injected, anyone, records.clone(), shop::ledger()).await.unwrap();

    let source = mesh.authority.source(ORDERS).unwrap();
    let next = Next::new(source.clone(), false_ledger, id(LEDGER).unwrap()).unwrap();
    let policy = mesh::ORDERS_POLICY;
    let orders = start(source, policy, records, shop::orders(next)).await.unwrap();
    let front = mesh.caller(FRONT, "front").unwrap();
    let answer = front.get(orders, "/orders/42").await.unwrap();
    assert_eq!(answer.status(), Some(502));
}

#[tokio::test]
async fn a_service_that_is_revoked_is_shut_out_on_the_connections_that_it_has() {
    let mesh = Mesh::start().await.unwrap();
    let gateway = mesh.caller(GATEWAY, "gateway").unwrap();
    let [front, orders, _] = mesh.services;
    assert_eq!(status(&gateway, front).await, Some(200));

    // The service of orders learns that the front is not to be believed any more.
    mesh.revoke_front().unwrap();
    let began = Instant::now();
    while status(&gateway, front).await != Some(502) {
        assert!(began.elapsed() < SOON, "the front still gets through");
        sleep(Duration::from_millis(50)).await;
    }
    // A new identity of the same name is another certificate.
    let renewed = mesh.caller(FRONT, "front").unwrap();
    assert_eq!(status(&renewed, orders).await, Some(200));
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_mesh")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (shown, record) = printed.split_once("The ledger's record").unwrap();
    assert!(include_str!("../mesh/README.md").contains(shown.trim()), "{shown}");
    assert!(record.contains("\"reason\":\"not_permitted\""), "{record}");
}
