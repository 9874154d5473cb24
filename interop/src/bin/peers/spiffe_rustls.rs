//! The crates `spiffe` and `spiffe-rustls`, with a Workload API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::HeaderMap;
use spiffe::X509Source;
use spiffe_rustls::{LocalOnly, TlsStatus, authorizer, mtls_client, mtls_server};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};
use zt_interop::workload_api::WorkloadApi;

use crate::ours::{OurServer, visit};
use crate::peer::{Asked, Cannot, Client, End, Outcome, Peer, Server};
use crate::process::LIMIT;
use crate::setup::{DOMAIN, Setup, Who};

pub struct SpiffeRustls;

impl Peer for SpiffeRustls {
    fn name(&self) -> &'static str {
        "spiffe-rustls"
    }

    fn cannot(&self, end: End) -> &'static [Cannot] {
        // It knows no lists, takes no SVID that has expired from its source, and resumes nothing.
        match end {
            End::Server => {
                &[Cannot::Refuse(Who::Revoked), Cannot::Be(Who::Expired), Cannot::Resume]
            }
            End::Client => &[
                Cannot::Refuse(Who::Revoked),
                Cannot::Be(Who::Expired),
                Cannot::Be(Who::Nobody),
                Cannot::Resume,
            ],
        }
    }

    fn serve<'a>(&'a self, setup: &'a Setup) -> BoxFuture<'a, Outcome<Box<dyn Server>>> {
        async {
            let (api, source) = source(setup).await?;
            let admits = authorizer::exact([setup.admits.as_str()]).map_err(text)?;
            let server = mtls_server(source.clone())
                .authorize(admits)
                .trust_domain_policy(LocalOnly(domain()?))
                .with_alpn_protocols([b"http/1.1"])
                .build_with_status();
            let (server, status) = server.map_err(text)?;
            let server = OurServer::on_theirs(server).await;
            Ok(Box::new(TheirServer { api, source, status, server }) as Box<dyn Server>)
        }
        .boxed()
    }

    fn client<'a>(
        &'a self,
        setup: &'a Setup,
        to: SocketAddr,
    ) -> BoxFuture<'a, Outcome<Box<dyn Client>>> {
        async move {
            let (api, source) = source(setup).await?;
            let admits = authorizer::exact([setup.admits.as_str()]).map_err(text)?;
            let client = mtls_client(source.clone())
                .authorize(admits)
                .trust_domain_policy(LocalOnly(domain()?))
                .with_alpn_protocols([b"http/1.1"])
                .build_with_status();
            let (client, status) = client.map_err(text)?;
            let config = Arc::new(client);
            Ok(Box::new(TheirClient { api, source, status, config, to }) as Box<dyn Client>)
        }
        .boxed()
    }
}

async fn source(setup: &Setup) -> Outcome<(WorkloadApi, X509Source)> {
    let own = setup.presents.as_ref().ok_or("it always presents something")?;
    let api = WorkloadApi::serve(&setup.folder, own, &setup.believes);
    let building = X509Source::builder().endpoint(api.endpoint()).build();
    let source = timeout(LIMIT, building).await.map_err(|_| "it finds no identity")?;
    Ok((api, source.map_err(text)?))
}

/// Publishes something new and waits until it counts: until then it refuses everybody.
async fn renew(
    api: &WorkloadApi,
    source: &X509Source,
    status: &TlsStatus,
    setup: &Setup,
) -> Outcome<()> {
    let own = setup.presents.as_ref().ok_or("it always presents something")?;
    let mut updates = source.updated();
    api.publish(own, &setup.believes);
    let updated = timeout(LIMIT, updates.changed()).await.map_err(|_| "no update arrives")?;
    updated.map_err(text)?;
    let counts = async {
        while !status.current().available {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, counts).await.map_err(|_| "the update does not count".into())
}

fn domain() -> Outcome<spiffe::TrustDomain> {
    spiffe::TrustDomain::new(DOMAIN).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct TheirServer {
    api: WorkloadApi,
    source: X509Source,
    status: TlsStatus,
    server: OurServer,
}

impl Server for TheirServer {
    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn resumed<'a>(&'a mut self, _headers: &'a HeaderMap) -> BoxFuture<'a, Outcome<bool>> {
        ready(Ok(self.server.last_kind() == Some(HandshakeKind::Resumed))).boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        renew(&self.api, &self.source, &self.status, setup).boxed()
    }
}

struct TheirClient {
    api: WorkloadApi,
    source: X509Source,
    status: TlsStatus,
    config: Arc<ClientConfig>,
    to: SocketAddr,
}

impl Client for TheirClient {
    fn ask(&mut self) -> BoxFuture<'_, Outcome<Asked>> {
        async {
            let visit = visit(&self.config, self.to).await?;
            if !visit.answer.status.is_success() {
                return Err(visit.answer.status.to_string());
            }
            let resumed = visit.kind == Some(HandshakeKind::Resumed);
            Ok(Asked { text: visit.answer.text, resumed })
        }
        .boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        renew(&self.api, &self.source, &self.status, setup).boxed()
    }
}
