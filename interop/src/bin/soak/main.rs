//! Clients and servers under load while everything that they rest on changes every second.
//!
//! ```text
//! cargo run --release -p zt-interop --bin soak -- --minutes 20
//! ```
//!
//! It ends with 0 when no request failed that should not have, none succeeded that should not have,
//! and nothing grew; README.md says what that means.

mod ledger;
mod outage;
mod world;
mod servers;
mod clients;
mod usage;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clients::Clients;
use crate::ledger::Ledger;
use crate::servers::Servers;
use crate::usage::{Samples, Usage};
use crate::world::World;

/// How long connections may take to close once their clients are gone: the longest grace, twice.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Some(lasts) = lasts(std::env::args().skip(1)) else {
        eprintln!("usage: soak [--minutes N | --seconds N]");
        return ExitCode::from(2);
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().worker_threads(2).build().expect("a runtime");
    let findings = runtime.block_on(soak(lasts));
    for finding in &findings {
        println!("FAILED: {finding}");
    }
    if findings.is_empty() {
        println!("PASSED");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

fn lasts(arguments: impl Iterator<Item = String>) -> Option<Duration> {
    let arguments: Vec<_> = arguments.collect();
    let parse = |number: &str| number.parse::<u64>().ok();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(Duration::from_secs(60)),
        ["--minutes", minutes] => Some(Duration::from_secs(60 * parse(minutes)?)),
        ["--seconds", seconds] => Some(Duration::from_secs(parse(seconds)?)),
        _ => None,
    }
}

/// Everything that went wrong.
async fn soak(lasts: Duration) -> Vec<String> {
    let ledger = Arc::new(Ledger::default());
    let mut world = World::new();
    let servers = Servers::start(&world).await;
    let rest = Usage::now();
    let (stop, stopped) = watch::channel(());
    let clients = Clients::start(&world, &servers, &ledger, &stopped);
    drop(stopped);

    let began = Instant::now();
    let mut samples = Samples::new(lasts);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    println!("{}", samples.heading());
    while began.elapsed() < lasts {
        seconds.tick().await;
        world.tick();
        if let Some(line) = samples.take(began.elapsed(), &ledger) {
            println!("{line}");
        }
    }
    let _ = stop.send(());
    stop.closed().await;
    let open = clients.health();
    drop(clients);
    // Clients hang up, and servers notice.
    let drained = Instant::now();
    while (servers.open() > 0 || Usage::now().grew_over(&rest)) && drained.elapsed() < DRAIN {
        sleep(Duration::from_millis(50)).await;
    }
    let left = Usage::now();

    let mut findings = ledger.findings();
    findings.extend(world.findings());
    findings.extend(samples.findings());
    if servers.open() > 0 {
        findings.push(format!("{} connections of servers are still open", servers.open()));
    }
    if left.grew_over(&rest) {
        findings.push(format!("at rest there were {rest}, and after all clients left {left}"));
    }
    println!("\n{}", ledger.report());
    println!("{}", world.report());
    println!("{}", samples.report(began.elapsed()));
    println!("at rest   before {rest}; after {left}");
    println!("{}", servers.report());
    println!("{open}");
    findings
}
