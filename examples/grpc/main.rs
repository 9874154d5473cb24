//! gRPC on tonic, with streams that end when what let them begin does. The program starts the
//! service with an authority and an issuer of its own, plays calls, and shows what came of them.

mod api;
mod service;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use api::orders_client::OrdersClient;
use api::{Order, PlaceRequest, WatchRequest};
use serde_json::json;
use stage::{Stage, WEB, on_behalf_of};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use zt_examples::{Outcome, chain};

#[tokio::main]
async fn main() -> ExitCode {
    match play().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("grpc: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn play() -> Outcome<()> {
    let stage = Stage::set().await?;
    let identity = stage.authority.svid(WEB)?;
    let web = stage.client(identity.clone()).await?;
    let mailer = stage.client(stage.authority.svid("/ns/mail/sa/mailer")?).await?;
    let alice = stage.token("alice", json!({}))?;
    let carl = stage.token("carl", json!({ "roles": ["clerk"] }))?;
    let dora = stage.token("dora", json!({ "roles": ["clerk"] }))?;

    show("web for alice", "Place", place(&web, &alice).await?);
    show("mailer for alice", "Place", place(&mailer, &alice).await?);
    show("web for alice", "Watch", watch(&web, &alice).await?.map(|_| String::new()));
    println!();

    let mut orders = begin("web for carl", &web, &carl, &web, &alice).await?;
    stage.sign_out("carl").await?;
    show("web for carl", "signed out", end(&mut orders).await);
    println!();

    let mut orders = begin("web for dora", &web, &dora, &web, &alice).await?;
    stage.edit(|policies| policies.replace("Role::\"clerk\"", "Role::\"auditor\"")).await?;
    show("web for dora", "policies edited", end(&mut orders).await);
    stage.edit(str::to_owned).await?;
    println!();

    let mut orders = begin("web for dora", &web, &dora, &web, &alice).await?;
    stage.revoke(&identity)?;
    show("web for dora", "web is revoked", end(&mut orders).await);

    stage.queue.close(Duration::from_secs(10))?;
    let records = stage.records.take();
    let ended = records.iter().find(|record| {
        record["effect"] == "deny" && record["principal"]["user"]["subject"] == "dora"
    });
    let ended = ended.ok_or("nothing was recorded")?;
    println!("\nThe record that ended the stream when policies were edited\n  {ended}");
    Ok(())
}

/// Watches, and sees one order.
async fn begin(
    caller: &str,
    by: &OrdersClient<Channel>,
    token: &str,
    other: &OrdersClient<Channel>,
    customer: &str,
) -> Outcome<Streaming<Order>> {
    let mut orders = watch(by, token).await??;
    place(other, customer).await??;
    let order = orders.message().await?.ok_or("the stream is over")?;
    show(caller, "Watch", Ok(told(&order)));
    Ok(orders)
}

async fn place(by: &OrdersClient<Channel>, token: &str) -> Outcome<Result<String, Status>> {
    let order = PlaceRequest { item: "tea".into(), cents: 1250 };
    let answer = by.clone().place(on_behalf_of(token, order)?).await;
    Ok(answer.map(|order| told(order.get_ref())))
}

async fn watch(
    by: &OrdersClient<Channel>,
    token: &str,
) -> Outcome<Result<Streaming<Order>, Status>> {
    let answer = by.clone().watch(on_behalf_of(token, WatchRequest {})?).await;
    Ok(answer.map(tonic::Response::into_inner))
}

/// How a stream ends on which nobody says anything any more.
async fn end(orders: &mut Streaming<Order>) -> Result<String, Status> {
    match orders.message().await? {
        Some(order) => Ok(told(&order)),
        None => Ok("the stream is over".into()),
    }
}

fn told(order: &Order) -> String {
    format!("order {} of {}: {}", order.id, order.owner, order.item)
}

fn show(caller: &str, what: &str, answer: Result<String, Status>) {
    let told = answer.unwrap_or_else(|status| format!("{:?}", status.code()));
    println!("{caller:<18}{what:<17}{told}");
}
