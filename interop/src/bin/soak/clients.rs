//! Six workloads that call, each in five ways.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zt_identity::revocation::Revocation;
use zt_interop::http::{Answer, Connection};
use zt_tls::Connector;
use zt_tls::connection::ClientStream;

use crate::ledger::{Asked, Kind, Ledger};
use crate::outage::{Outages, Verdict};
use crate::servers::{Servers, anyone_known};
use crate::world::{Client, World};

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait after a refusal.
const AFTER_REFUSAL: Duration = Duration::from_millis(200);
/// How long a client keeps a connection that it leaves by itself.
const KEPT: Duration = Duration::from_secs(4);

pub struct Clients(Vec<(String, Connector)>);

impl Clients {
    pub fn start(
        world: &World,
        servers: &Servers,
        ledger: &Arc<Ledger>,
        stopped: &watch::Receiver<()>,
    ) -> Self {
        let mut connectors = Vec::new();
        for (number, client) in world.clients().into_iter().enumerate() {
            let client = Arc::new(client);
            let revocation = [Revocation::IfPresent, Revocation::Required][number % 2];
            let connector = |protocols: &[&str]| {
                let builder = Connector::builder(client.source.clone(), anyone_known());
                let builder = builder.alpn(protocols.iter().copied()).revocation(revocation);
                builder.build().expect("a connector")
            };
            let of_protocols = [connector(&["h2"]), connector(&["http/1.1"]), connector(&[])];
            for (at, kind) in Kind::ALL.into_iter().enumerate() {
                let connector = match kind {
                    Kind::Http2 | Kind::Slow => &of_protocols[0],
                    Kind::Http1 | Kind::Fresh => &of_protocols[1],
                    Kind::Stream => &of_protocols[2],
                };
                let caller = Caller {
                    kind,
                    client: Arc::clone(&client),
                    connector: connector.clone(),
                    to: match kind {
                        Kind::Stream => servers.stream,
                        _ => servers.http[(number + at) % servers.http.len()],
                    },
                    ledger: Arc::clone(ledger),
                };
                tokio::spawn(caller.call(stopped.clone()));
            }
            let of_protocols = of_protocols.into_iter().map(|of| (client.id.clone(), of));
            connectors.extend(of_protocols);
        }
        Self(connectors)
    }

    /// What their ends of connections counted.
    pub fn health(&self) -> String {
        let counted = self.0.iter().map(|(_, connector)| connector.health().counted);
        let sum =
            |of: fn(&zt_tls::events::Counted) -> u64| counted.clone().map(|c| of(&c)).sum::<u64>();
        format!(
            "clients   {} connections, {} of which ended with their lease",
            sum(|counted| counted.admitted),
            sum(|counted| counted.ended)
        )
    }
}

/// One client in one of its ways.
struct Caller {
    kind: Kind,
    client: Arc<Client>,
    connector: Connector,
    to: SocketAddr,
    ledger: Arc<Ledger>,
}

/// A connection that is kept.
enum Kept {
    Http(Connection),
    Stream(Box<ClientStream<TcpStream>>),
}

type Asking<T> = Result<T, String>;

impl Caller {
    async fn call(self, stopped: watch::Receiver<()>) {
        let mut kept: Option<(Kept, Instant)> = None;
        while stopped.has_changed().is_ok_and(|changed| !changed) {
            let leave = match (self.kind, &kept) {
                (_, None) => false,
                (Kind::Fresh, _) => true,
                (Kind::Http1 | Kind::Stream, Some((_, since))) => since.elapsed() > KEPT,
                (Kind::Http2 | Kind::Slow, Some((Kept::Http(http), _))) => http.is_closed(),
                (Kind::Http2 | Kind::Slow, Some(_)) => true,
            };
            if leave {
                kept = None;
            }
            let verdict = self.ask(&mut kept).await;
            sleep(if verdict == Verdict::Answered { self.pause() } else { AFTER_REFUSAL }).await;
        }
    }

    const fn pause(&self) -> Duration {
        Duration::from_millis(match self.kind {
            Kind::Http2 => 50,
            Kind::Slow => 10,
            Kind::Http1 => 25,
            Kind::Fresh => 200,
            Kind::Stream => 20,
        })
    }

    /// Asks, on the connection that is kept if there is one, and enters what became of it.
    async fn ask(&self, kept: &mut Option<(Kept, Instant)>) -> Verdict {
        let from = Instant::now();
        if kept.is_none() {
            match timeout(LIMIT, self.connect())
                .await
                .unwrap_or_else(|_| Err("no connection".into()))
            {
                Ok(connection) => *kept = Some((connection, Instant::now())),
                Err(error) => return self.enter(from, Err(error)),
            }
        }
        let was_there = kept.as_ref().is_some_and(|(_, since)| *since < from);
        let outcomes = match kept {
            Some((Kept::Http(http), _)) if self.kind == Kind::Http2 => {
                let three = (0..3).filter_map(|_| http.share());
                join_all(three.map(|mut http| async move { self.get(&mut http).await })).await
            }
            Some((Kept::Http(http), _)) => vec![self.get(http).await],
            Some((Kept::Stream(stream), _)) => vec![exchange(stream).await.map_err(Failed::from)],
            None => Vec::new(),
        };
        let mut worst = Verdict::Answered;
        for outcome in outcomes {
            let outcome = match outcome {
                // It was never sent, and every client sends it on another connection.
                Err(Failed { unsent: true, .. }) if was_there => {
                    self.ledger.moved(self.kind);
                    *kept = None;
                    self.again().await
                }
                Err(Failed { why, .. }) => Err(why),
                Ok(caller) => Ok(caller),
            };
            if outcome.is_err() {
                *kept = None;
            }
            let verdict = self.enter(from, outcome);
            if verdict != Verdict::Answered {
                worst = verdict;
            }
        }
        worst
    }

    async fn again(&self) -> Asking<String> {
        match self.connect().await? {
            Kept::Http(mut http) => self.get(&mut http).await.map_err(|failed| failed.why),
            Kept::Stream(mut stream) => exchange(&mut stream).await.map_err(|e| e.to_string()),
        }
    }

    /// Whoever is taken for somebody else was not answered.
    fn enter(&self, from: Instant, outcome: Asking<String>) -> Verdict {
        let Client { id, outages, .. } = &*self.client;
        let failed = match outcome {
            Ok(caller) if caller == *id => None,
            Ok(caller) => Some(format!("was taken for {caller}")),
            Err(error) => Some(error),
        };
        let outages: &Outages = outages;
        self.ledger.enter(Asked { kind: self.kind, client: id, from, failed }, outages)
    }

    async fn connect(&self) -> Asking<Kept> {
        let stream = TcpStream::connect(self.to).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let host = ServerName::try_from("localhost").map_err(text)?;
        let stream = self.connector.connect(host, stream).await.map_err(text)?;
        self.ledger.connected(self.kind);
        Ok(match self.kind {
            Kind::Http2 | Kind::Slow => Kept::Http(Connection::http2(stream).await.map_err(text)?),
            Kind::Http1 | Kind::Fresh => Kept::Http(Connection::http1(stream).await.map_err(text)?),
            Kind::Stream => Kept::Stream(Box::new(stream)),
        })
    }

    async fn get(&self, http: &mut Connection) -> Result<String, Failed> {
        let path = if self.kind == Kind::Slow { "/slow" } else { "/" };
        match timeout(LIMIT, http.get(path)).await {
            Ok(Ok(Answer { status, text, .. })) if status.is_success() => Ok(text),
            Ok(Ok(Answer { status, .. })) => Err(Failed { why: status.to_string(), unsent: false }),
            Ok(Err(error)) => Err(Failed { unsent: is_unsent(&error), why: text(error) }),
            Err(_elapsed) => Err(Failed { why: "no answer".into(), unsent: false }),
        }
    }
}

/// Whether the request can be sent again, as the server did not see it: it waited for a connection
/// that closed, or that was closed just before, or had no stream when the server said to go away
/// (RFC 9113 §6.8).
fn is_unsent(error: &hyper::Error) -> bool {
    let of_http2 = error.source().and_then(|error| error.downcast_ref::<h2::Error>());
    let told = of_http2.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    });
    error.is_canceled() || error.is_closed() || told
}

struct Failed {
    why: String,
    unsent: bool,
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self { why: text(error), unsent: false }
    }
}

/// A byte there, and who we are back.
async fn exchange(stream: &mut ClientStream<TcpStream>) -> std::io::Result<String> {
    let exchange = async {
        stream.write_u8(1).await?;
        stream.flush().await?;
        let length = stream.read_u8().await?;
        let mut id = vec![0; usize::from(length)];
        stream.read_exact(&mut id).await?;
        Ok(String::from_utf8_lossy(&id).into_owned())
    };
    timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// An error with its causes.
fn text(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
