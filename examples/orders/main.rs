//! Orders over REST, with decisions about each order. The program starts the service with an
//! authority and an issuer of its own, plays requests, and shows what came of them and why.

mod service;
mod stage;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use stage::{Stage, WEB};
use zt_core::time::{Clock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_examples::{Outcome, chain};

#[tokio::main]
async fn main() -> ExitCode {
    match play().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orders: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn play() -> Outcome<()> {
    let stage = Stage::set().await?;
    let web = stage.caller(WEB, "web")?;
    let mailer = stage.caller("/ns/mail/sa/mailer", "mailer")?;
    let now = SystemClock.now().as_secs();
    let manager = json!({ "roles": ["manager"] });
    let stepped_up = json!({ "roles": ["manager"], "acr": service::MFA, "auth_time": now });
    let alice = &stage.token("alice", json!({}))?;
    let (carl, meg) =
        (&stage.token("carl", json!({ "roles": ["clerk"] }))?, &stage.token("meg", manager)?);
    let meg_mfa = &stage.token("meg", stepped_up)?;

    let (get, put, post) = (&Method::GET, &Method::PUT, &Method::POST);
    let spoons = &json!({ "item": "spoons" });
    for (by, user, token, method, path, body) in [
        (&web, "alice", alice, get, "/orders", None),
        (&web, "carl, a clerk", carl, get, "/orders", None),
        (&web, "alice", alice, get, "/orders/42", None),
        (&web, "alice", alice, put, "/orders/42", Some(spoons)),
        (&web, "alice", alice, put, "/orders/41", Some(spoons)),
        (&web, "alice", alice, get, "/orders/43", None),
        (&web, "alice", alice, get, "/orders/99", None),
        (&web, "carl, a clerk", carl, get, "/orders/99", None),
        (&mailer, "alice", alice, get, "/orders/42", None),
        (&web, "meg, a manager", meg, post, "/orders/43/refund", None),
        (&web, "meg, with MFA", meg_mfa, post, "/orders/43/refund", None),
        (&web, "meg, with MFA", meg_mfa, post, "/orders/44/refund", None),
    ] {
        let answer = by.call(stage.address, method, path, Some(token), body).await?;
        show(by, user, method, path, &answer);
    }

    stage.queue.close(Duration::from_secs(10))?;
    let records = stage.records.take();
    let last = records.last().ok_or("nothing was recorded")?;
    println!("\n{} records. The last one\n  {last}", records.len());
    Ok(())
}

fn show(by: &Client, user: &str, method: &Method, path: &str, answer: &Answer) {
    let caller = format!("{} for {user}", by.name);
    let request = format!("{method} {path}");
    let status = answer.status().unwrap_or_default();
    let line = format!("{caller:<24}{request:<23}{status}  {}", said(answer));
    println!("{}", line.trim_end());
}

/// What the caller is told, in short.
fn said(answer: &Answer) -> String {
    let order =
        |order: &Value| format!("{} {}", order["id"], order["item"].as_str().unwrap_or("?"));
    match (answer, answer.json()) {
        (_, Value::Array(orders)) => orders.iter().map(order).collect::<Vec<_>>().join(", "),
        (_, one) if one["refunded"] == true => format!("{}, refunded", order(&one)),
        (_, one) if one["id"].is_u64() => order(&one),
        (Answer::Http { challenge: Some(challenge), .. }, _) => challenge.clone(),
        _ => String::new(),
    }
}
