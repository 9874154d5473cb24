//! zt beside other implementations, both ways; `run.sh` installs them and starts this.
//!
//! ```text
//! peers [--haproxy PATH] [--envoy PATH] [--go-spiffe PATH] [--spiffe-rustls]
//! ```
//!
//! It ends with 0 when every case came out as expected.

mod setup;
mod peer;
mod process;
mod ours;
mod table;
mod haproxy;
mod envoy;
mod go_spiffe;
mod spiffe_rustls;
mod cases;
mod documents;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::envoy::{Envoy, Trust};
use crate::go_spiffe::GoSpiffe;
use crate::haproxy::Haproxy;
use crate::peer::Peer;
use crate::spiffe_rustls::SpiffeRustls;
use crate::table::Table;

fn main() -> ExitCode {
    let Some((peers, go)) = peers(std::env::args().skip(1)) else {
        eprintln!(
            "usage: peers [--haproxy PATH] [--envoy PATH] [--go-spiffe PATH] [--spiffe-rustls]"
        );
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all_well = runtime.block_on(async {
        tokio::select! {
            all_well = run(peers, go) => all_well,
            // The programs that run are killed as they are dropped.
            () = told_to_end() => false,
        }
    });
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn told_to_end() {
    let mut asked = signal(SignalKind::terminate()).expect("signals");
    tokio::select! {
        _ = asked.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

type Peers = Vec<Box<dyn Peer>>;

fn peers(mut arguments: impl Iterator<Item = String>) -> Option<(Peers, Option<PathBuf>)> {
    let (mut peers, mut go): (Peers, _) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        let mut program = || arguments.next().map(PathBuf::from).filter(|path| path.is_file());
        match argument.as_str() {
            "--haproxy" => peers.push(Box::new(Haproxy(program()?))),
            "--envoy" => {
                let program = program()?;
                for trust in [Trust::Secret, Trust::BundleMap] {
                    peers.push(Box::new(Envoy { program: program.clone(), trust }));
                }
            }
            "--go-spiffe" => {
                let program = program()?;
                go = Some(program.clone());
                peers.push(Box::new(GoSpiffe(program)));
            }
            "--spiffe-rustls" => peers.push(Box::new(SpiffeRustls)),
            _ => return None,
        }
    }
    (!peers.is_empty()).then_some((peers, go))
}

async fn run(peers: Peers, go: Option<PathBuf>) -> bool {
    let mut table = Table::default();
    table.heading();
    for peer in peers {
        cases::run(&*peer, &mut table).await;
    }
    if let Some(go) = go {
        documents::run(&go, &mut table).await;
    }
    table.end()
}
