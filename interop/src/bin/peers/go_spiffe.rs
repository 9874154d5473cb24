//! go-spiffe, through the program in `go/`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::HeaderMap;
use serde_json::Value;

use crate::peer::{Asked, Cannot, Client, End, Outcome, Peer, Server};
use crate::process::Process;
use crate::setup::{Setup, Who};

pub struct GoSpiffe(pub PathBuf);

impl Peer for GoSpiffe {
    fn name(&self) -> &'static str {
        "go-spiffe"
    }

    fn cannot(&self, _end: End) -> &'static [Cannot] {
        // It knows no lists.
        &[Cannot::Refuse(Who::Revoked)]
    }

    fn serve<'a>(&'a self, setup: &'a Setup) -> BoxFuture<'a, Outcome<Box<dyn Server>>> {
        async {
            let mut process = start(&self.0, "server", setup, &[])?;
            let said = parse(&process.line().await?)?;
            let address = said["address"].as_str().unwrap_or_default().parse();
            let address = address.map_err(|_| format!("no address: {said}"))?;
            Ok(Box::new(Running { process, address }) as Box<dyn Server>)
        }
        .boxed()
    }

    fn client<'a>(
        &'a self,
        setup: &'a Setup,
        to: SocketAddr,
    ) -> BoxFuture<'a, Outcome<Box<dyn Client>>> {
        let process = start(&self.0, "client", setup, &["--to", &to.to_string()]);
        let client = process.map(|process| Box::new(Running { process, address: to }) as _);
        ready(client).boxed()
    }
}

fn start(program: &Path, role: &str, setup: &Setup, more: &[&str]) -> Outcome<Process> {
    let folder = setup.folder.to_string_lossy();
    let arguments = [role, "--folder", &folder, "--admit", setup.admits.as_str()];
    Process::start(program, arguments.iter().chain(more), &setup.folder)
}

fn parse(line: &str) -> Outcome<Value> {
    serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))
}

struct Running {
    process: Process,
    address: SocketAddr,
}

impl Server for Running {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn resumed<'a>(&'a mut self, headers: &'a HeaderMap) -> BoxFuture<'a, Outcome<bool>> {
        ready(Ok(headers.get("x-resumed").is_some_and(|resumed| resumed == "true"))).boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        // It reads the files for each handshake.
        setup.write();
        ready(Ok(())).boxed()
    }
}

impl Client for Running {
    fn ask(&mut self) -> BoxFuture<'_, Outcome<Asked>> {
        async {
            self.process.nudge().await?;
            let said = parse(&self.process.line().await?)?;
            match (&said["body"], &said["resumed"]) {
                (Value::String(text), Value::Bool(resumed)) if said["status"] == 200 => {
                    Ok(Asked { text: text.clone(), resumed: *resumed })
                }
                _ => Err(said.to_string()),
            }
        }
        .boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        setup.write();
        ready(Ok(())).boxed()
    }
}
