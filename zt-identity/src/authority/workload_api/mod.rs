//! A Workload API for development and tests, in this process.
//!
//! A [`WorkloadApiServer`] answers whoever connects: it attests nobody. It has all calls of the public
//! service but those of WIT-SVIDs, and streams what it is told to serve, again whenever that changes.
//! For tests it denies, fails, cuts streams and sends messages with one [`MessageDefect`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use zt_core::spiffe::TrustDomain;
//! use zt_core::time::{Clock, SystemClock};
//! use zt_identity::authority::{Authority, WorkloadApiServer};
//! use zt_identity::workload_api::WorkloadApi;
//!
//! let domain = TrustDomain::from_name("example.org")?;
//! let authority = Arc::new(Authority::new(domain, SystemClock.now())?);
//! let server = WorkloadApiServer::on_tcp(Arc::clone(&authority)).await?;
//! server.serve([authority.svid("/ns/shop/sa/cart")?]);
//!
//! let feed = WorkloadApi::at(server.address().clone()).x509()?;
//! let source = feed.ready(Duration::from_secs(30)).await?;
//! assert_eq!(source.load().identity()?.id().path(), "/ns/shop/sa/cart");
//! # Ok(())
//! # }
//! ```

mod answer;
mod scene;
mod service;
#[cfg(unix)]
mod socket;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
#[cfg(unix)]
use tonic::codegen::tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::transport::Server;
use zt_core::spiffe::TrustDomainRef;
use zt_core::time::{Clock, SystemClock};

use self::scene::Scene;
pub use self::scene::{AgentFault, MessageDefect};
use self::service::Service;
#[cfg(unix)]
use self::socket::Named;
use super::Authority;
use crate::workload_api::EndpointAddress;
use crate::workload_api::proto::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use crate::x509_identity::X509Identity;

/// A Workload API that serves what it is told to, until it is dropped.
#[derive(Debug)]
pub struct WorkloadApiServer {
    address: EndpointAddress,
    scene: watch::Sender<Scene>,
    asked: Arc<AtomicU64>,
    task: AbortHandle,
    socket: Option<PathBuf>,
}

impl WorkloadApiServer {
    /// Listens on a Unix socket, which is removed with the server. Whoever may open it is served.
    ///
    /// # Errors
    ///
    /// When there is a file at `path`, or one cannot be made.
    #[cfg(unix)]
    pub async fn on_unix(authority: Arc<Authority>, path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::on_unix_by(authority, path, SystemClock).await
    }

    /// Listens on a Unix socket, and issues JWT-SVIDs by this clock.
    ///
    /// # Errors
    ///
    /// When there is a file at `path`, or one cannot be made.
    #[cfg(unix)]
    #[expect(clippy::unused_async, reason = "as every server; there has to be a runtime")]
    pub async fn on_unix_by(
        authority: Arc<Authority>,
        path: impl Into<PathBuf>,
        clock: impl Clock + 'static,
    ) -> io::Result<Self> {
        let path = path.into();
        let address = EndpointAddress::unix(&path).map_err(io::Error::other)?;
        let incoming = UnixListenerStream::new(UnixListener::bind(&path)?);
        let named = path.clone();
        let incoming = incoming.map(move |stream| stream.map(|stream| Named::new(stream, &named)));
        let (service, scene, asked) = parts(authority, clock);
        let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
        let task = tokio::spawn(serving).abort_handle();
        Ok(Self { address, scene, asked, task, socket: Some(path) })
    }

    /// Listens on a TCP port of this machine. Whoever is on it is served.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub async fn on_tcp(authority: Arc<Authority>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = EndpointAddress::Tcp(listener.local_addr()?);
        let incoming = TcpListenerStream::new(listener);
        let (service, scene, asked) = parts(authority, SystemClock);
        let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
        let task = tokio::spawn(serving).abort_handle();
        Ok(Self { address, scene, asked, task, socket: None })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &EndpointAddress {
        &self.address
    }

    /// Serves these identities from here on, the first one as the default, and nothing else.
    pub fn serve(&self, identities: impl IntoIterator<Item = X509Identity>) {
        self.serve_hinted(identities.into_iter().map(|identity| (String::new(), identity)));
    }

    /// Serves these identities from here on, each with a hint.
    pub fn serve_hinted(
        &self,
        identities: impl IntoIterator<Item = (impl Into<String>, X509Identity)>,
    ) {
        let identities = identities.into_iter().map(|(hint, identity)| (hint.into(), identity));
        let identities = identities.collect();
        self.scene.send_modify(|scene| scene.identities = identities);
    }

    /// Serves the bundles of another trust domain beside its own.
    pub fn federate(&self, other: &Authority) {
        self.scene.send_modify(|scene| scene.federate(other));
    }

    /// Serves the bundles of this trust domain no more.
    pub fn unfederate(&self, trust_domain: TrustDomainRef<'_>) {
        self.scene.send_modify(|scene| {
            scene.federated.remove(trust_domain.as_str());
        });
    }

    /// Serves these revocation lists, in DER.
    pub fn serve_lists(&self, lists: impl IntoIterator<Item = Vec<u8>>) {
        let lists = lists.into_iter().collect();
        self.scene.send_modify(|scene| scene.lists = lists);
    }

    /// Ends streams that are open with this fault, and answers every call with it from here on;
    /// with none it answers again.
    pub fn fail(&self, fault: Option<AgentFault>) {
        self.scene.send_modify(|scene| scene.fault = fault);
    }

    /// Sends messages with this defect from here on; with none sound ones again.
    pub fn spoil(&self, defect: Option<MessageDefect>) {
        self.scene.send_modify(|scene| scene.defect = defect);
    }

    /// Ends the streams that are open, once.
    pub fn cut(&self) {
        self.scene.send_modify(|scene| scene.cuts = scene.cuts.saturating_add(1));
    }

    /// How many calls there were, answered or not.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn parts(
    authority: Arc<Authority>,
    clock: impl Clock + 'static,
) -> (SpiffeWorkloadApiServer<Service>, watch::Sender<Scene>, Arc<AtomicU64>) {
    let (scene, seen) = watch::channel(Scene::default());
    let asked = Arc::new(AtomicU64::new(0));
    let service = Service::new(authority, Arc::new(clock), seen, Arc::clone(&asked));
    (SpiffeWorkloadApiServer::new(service), scene, asked)
}

impl Drop for WorkloadApiServer {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}
