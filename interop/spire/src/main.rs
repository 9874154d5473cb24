//! `zt-interop-spire FOLDER`: what we and the SPIRE whose programs are in that folder make of each other.

mod federation;
mod server;
mod spire;
mod table;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::spire::Spire;
use crate::table::{Outcome, Table};

fn main() -> ExitCode {
    let Some(programs) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("which folder are spire-server and spire-agent in?");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(steps(programs)) {
        Ok((rows, 0)) => {
            println!("\n{rows} steps, all as expected");
            ExitCode::SUCCESS
        }
        Ok((rows, failed)) => {
            println!("\n{rows} steps, {failed} of them otherwise");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

async fn steps(programs: PathBuf) -> Outcome<(usize, usize)> {
    let folder = tempfile::tempdir().map_err(spire::text)?;
    println!("| step | outcome | found |\n|---|---|---|");
    let mut table = Table::default();
    let partner = Spire::start(&programs, folder.path(), "b.test").await?;
    let ours = federation::Ours::new()?;
    let _federation = federation::steps(&mut table, &partner, &ours).await;
    let mut home = Spire::start(&programs, folder.path(), "a.test").await?;
    home.start_agent().await?;
    workload::steps(&mut table, &mut home, &partner).await;
    server::steps(&mut table, &programs, folder.path()).await;
    Ok(table.end())
}
