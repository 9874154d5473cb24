//! Three services that call each other, each open to the callers that its policy names and to
//! nobody else. The program starts them, lets everyone call everyone, and shows what came of it.

mod mesh;
mod service;
mod shop;

use std::process::ExitCode;
use std::time::Duration;

use mesh::{FRONT, GATEWAY, LEDGER, Mesh, ORDERS};
use tokio::time::sleep;
use zt_examples::{Outcome, chain};

#[tokio::main]
async fn main() -> ExitCode {
    match show().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn show() -> Outcome<()> {
    let mesh = Mesh::start().await?;
    let gateway = mesh.caller(GATEWAY, "gateway")?;
    let [front, orders, ledger] = mesh.services;
    let page = gateway.get(front.address, front.path).await?;
    println!("gateway -> front -> orders -> ledger");
    println!("  {}\n", page.json()["page"].as_str().ok_or("there is no page")?);

    println!("may call{:>17}{:>9}{:>9}", front.name, orders.name, ledger.name);
    for (path, name) in [
        (GATEWAY, "gateway"),
        (FRONT, "front"),
        (ORDERS, "orders"),
        (LEDGER, "ledger"),
        ("/ns/shop/sa/injected", "injected"),
    ] {
        let caller = mesh.caller(path, name)?;
        let mut row = format!("  {name:<14}");
        for service in mesh.services {
            let answer = caller.get(service.address, service.path).await?;
            row.push_str(&format!("{:>9}", answer.status().unwrap_or_default()));
        }
        println!("{row}");
    }

    mesh.revoke_front()?;
    while gateway.get(front.address, front.path).await?.status() == Some(200) {
        sleep(Duration::from_millis(10)).await;
    }
    println!("\nThe front is revoked, and its open connection ended");
    let page = gateway.get(front.address, front.path).await?;
    println!("  gateway -> front: {}", page.status().unwrap_or_default());

    mesh.queue.close(Duration::from_secs(10))?;
    let records = mesh.records.take();
    let mut injected = records.iter().filter(|record| record.to_string().contains("/injected"));
    let last = injected.next_back().ok_or("nothing was recorded")?;
    println!("\nThe ledger's record of the injected one\n  {last}");
    Ok(())
}
