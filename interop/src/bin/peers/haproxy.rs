//! HAProxy, which knows authorities and lists, and names by a look at the certificate.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::ours::plain_get;
use crate::peer::{Asked, Cannot, Client, End, Outcome, Peer, Server};
use crate::process::{LIMIT, Process, free_port};
use crate::setup::{Setup, replace};

pub struct Haproxy(pub PathBuf);

/// How often a port that was free a moment ago may be taken.
const TRIES: usize = 3;

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        "HAProxy"
    }

    fn cannot(&self, _end: End) -> &'static [Cannot] {
        &[]
    }

    fn serve<'a>(&'a self, setup: &'a Setup) -> BoxFuture<'a, Outcome<Box<dyn Server>>> {
        let tls = format!(
            "ssl crt {}/identity.pem {} alpn http/1.1",
            setup.folder.display(),
            verify(setup)
        );
        let rules = format!(
            "http-request deny unless {{ ssl_c_der,hex -m sub {} }}\n  http-request return status \
             200 content-type text/plain hdr x-resumed %[ssl_fc_is_resumed] string fine",
            name_in_der(setup)
        );
        async move {
            let running =
                self.start(setup, |at| format!("frontend ours\n  bind {at} {tls}\n  {rules}\n"));
            Ok(Box::new(running.await?) as Box<dyn Server>)
        }
        .boxed()
    }

    fn client<'a>(
        &'a self,
        setup: &'a Setup,
        to: SocketAddr,
    ) -> BoxFuture<'a, Outcome<Box<dyn Client>>> {
        let folder = setup.folder.display();
        let own = match &setup.presents {
            Some(_) => format!("crt {folder}/identity.pem"),
            None => String::new(),
        };
        let backend = format!(
            "backend ours\n  http-reuse never\n  http-response deny unless {{ ssl_s_der,hex -m sub {} \
             }}\n  http-response set-header x-resumed %[ssl_bc_is_resumed]\n  server ours {to} ssl \
             {own} {} alpn http/1.1 sni str(localhost)\n",
            name_in_der(setup),
            verify(setup)
        );
        async move {
            let running = self.start(setup, |at| {
                format!("frontend theirs\n  bind {at}\n  default_backend ours\n{backend}")
            });
            Ok(Box::new(running.await?) as Box<dyn Client>)
        }
        .boxed()
    }
}

fn verify(setup: &Setup) -> String {
    let folder = setup.folder.display();
    let list = match setup.list {
        Some(_) => format!("crl-file {folder}/crl.pem"),
        None => String::new(),
    };
    format!("ca-file {folder}/roots.pem {list} verify required ssl-min-ver TLSv1.3")
}

/// The URI with its tag and length, so that a longer one is another.
fn name_in_der(setup: &Setup) -> String {
    let id = setup.admits.as_str().as_bytes();
    let mut hex = format!("86{:02X}", id.len());
    for byte in id {
        let _ = write!(hex, "{byte:02X}");
    }
    hex
}

impl Haproxy {
    async fn start(
        &self,
        setup: &Setup,
        sections: impl Fn(SocketAddr) -> String,
    ) -> Outcome<Running> {
        let mut outcome = Err(String::new());
        for _ in 0..TRIES {
            let address = free_port()?;
            outcome = self.start_at(setup, address, &sections(address)).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn start_at(
        &self,
        setup: &Setup,
        address: SocketAddr,
        sections: &str,
    ) -> Outcome<Running> {
        let admin = setup.folder.join("admin.sock");
        let config = format!(
            "global\n  nbthread 1\n  stats socket {} level admin\ndefaults\n  mode http\n  retries \
             0\n  timeout connect 10s\n  timeout client 10s\n  timeout server 10s\n{sections}",
            admin.display()
        );
        let path = setup.folder.join("haproxy.cfg");
        replace(&path, &config);
        let arguments = ["-W", "-db", "-f", &path.display().to_string()].map(str::to_owned);
        let mut process = Process::start(&self.0, arguments, &setup.folder)?;
        process.listens(address).await?;
        Ok(Running { process, address, admin })
    }
}

struct Running {
    process: Process,
    address: SocketAddr,
    admin: PathBuf,
}

impl Running {
    /// Has it start a new worker on new files. Its commands that replace files one by one are of no
    /// use here: in 2.6 a certificate that is replaced after a file of authorities was has no effect.
    async fn renew(&mut self, setup: &Setup) -> Outcome<()> {
        let before = self.worker().await?;
        setup.write();
        self.signal("USR2")?;
        let began = Instant::now();
        while self.worker().await.map_or(true, |worker| worker == before) {
            self.process.goes_on(began, "start another worker")?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The number of the worker that answers.
    async fn worker(&self) -> Outcome<String> {
        let said = self.command("show info\n").await?;
        let id = said.lines().find_map(|line| line.strip_prefix("Pid: "));
        id.map(str::to_owned).ok_or_else(|| format!("no worker: {said}"))
    }

    fn signal(&self, name: &str) -> Outcome<()> {
        let id = self.process.id()?.to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &id]).status();
        sent.map(drop).map_err(|error| error.to_string())
    }

    async fn command(&self, command: &str) -> Outcome<String> {
        let talk = async {
            let mut stream = UnixStream::connect(&self.admin).await?;
            stream.write_all(command.as_bytes()).await?;
            stream.shutdown().await?;
            let mut said = String::new();
            stream.read_to_string(&mut said).await?;
            Ok::<_, std::io::Error>(said)
        };
        let said = timeout(LIMIT, talk).await.map_err(|_| "no answer to a command")?;
        said.map_err(|error| error.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its workers end with it when it is asked to.
        let _ = self.signal("TERM");
    }
}

impl Server for Running {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn resumed<'a>(&'a mut self, headers: &'a HeaderMap) -> BoxFuture<'a, Outcome<bool>> {
        ready(Ok(headers.get("x-resumed").is_some_and(|resumed| resumed == "1"))).boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        self.renew(setup).boxed()
    }
}

impl Client for Running {
    fn ask(&mut self) -> BoxFuture<'_, Outcome<Asked>> {
        async {
            let answer = plain_get(self.address).await?;
            if !answer.status.is_success() {
                return Err(answer.status.to_string());
            }
            let resumed = answer.headers.get("x-resumed").is_some_and(|resumed| resumed == "1");
            Ok(Asked { text: answer.text, resumed })
        }
        .boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        self.renew(setup).boxed()
    }
}
