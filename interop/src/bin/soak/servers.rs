//! Two servers of HTTP and one of streams.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::service_fn;
use zt_core::spiffe::TrustDomain;
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::Revocation;
use zt_interop::http::who_calls;
use zt_tls::Acceptor;
use zt_tls::connection::ServerStream;
use zt_tls::serve::Server;

use crate::world::{DOMAINS, World};

/// The greatest age of a connection, so that many reach it.
const MAX_AGE: Duration = Duration::from_secs(8);
/// What requests under way have left when their connection ends: two slow ones.
const GRACE: Duration = Duration::from_secs(3);
/// What a stream has left. With the second in which its end is found, this is its bound.
const STREAM_GRACE: Duration = Duration::from_secs(1);

pub struct Servers {
    /// Of HTTP.
    pub http: Vec<SocketAddr>,
    /// Of streams.
    pub stream: SocketAddr,
    acceptors: Vec<(&'static str, Acceptor)>,
}

pub fn anyone_known() -> Authorizer {
    let domain = |name| Authorizer::member_of(TrustDomain::from_name(name).expect("a name"));
    domain(DOMAINS[0]).or(domain(DOMAINS[1]))
}

impl Servers {
    pub async fn start(world: &World) -> Self {
        let (mut http, mut acceptors) = (Vec::new(), Vec::new());
        for (path, revocation) in
            [("/orders", Revocation::IfPresent), ("/billing", Revocation::Required)]
        {
            let acceptor = Acceptor::builder(world.server(path), anyone_known())
                .max_age(MAX_AGE)
                .grace(GRACE)
                .revocation(revocation)
                .alpn(["h2", "http/1.1"])
                .build()
                .expect("an acceptor");
            let (listener, address) = listen().await;
            let server = Server::new(acceptor.clone());
            tokio::spawn(server.serve(listener, service_fn(who_calls), std::future::pending()));
            http.push(address);
            acceptors.push((path, acceptor));
        }
        let acceptor = Acceptor::builder(world.server("/ledger"), anyone_known())
            .max_age(MAX_AGE)
            .grace(STREAM_GRACE)
            .build()
            .expect("an acceptor");
        let (listener, stream) = listen().await;
        tokio::spawn(echo(listener, acceptor.clone()));
        acceptors.push(("/ledger", acceptor));
        Self { http, stream, acceptors }
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.acceptors.iter().map(|(_, acceptor)| acceptor.health().counted.open).sum()
    }

    pub fn report(&self) -> String {
        let lines = self.acceptors.iter().map(|(path, acceptor)| {
            let counted = acceptor.health().counted;
            format!("{path:<9} {counted:?}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn echo(listener: TcpListener, acceptor: Acceptor) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = answer(stream).await;
            }
        });
    }
}

/// Answers a byte with the caller's ID and its length before it. It never asks the lease: the
/// stream has to break by itself.
async fn answer(mut stream: ServerStream<TcpStream>) -> std::io::Result<()> {
    let id = stream.peer().id().as_str().as_bytes().to_vec();
    let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
    let answer = [&[length], &*id].concat();
    loop {
        stream.read_u8().await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}
