//! Two ends of one trust domain, in memory.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{ManualClock, Timestamp};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::RevocationList;
use zt_identity::source::X509Source;
use zt_tls::connection::{AcceptorBuilder, Client, ClientStream, HandshakeError, ServerStream};
use zt_tls::{Acceptor, Connector};

pub(crate) use crate::gullible::{Presents, plain};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) type Server<P = zt_core::verified::Verified<zt_core::peer::Peer>> =
    Result<ServerStream<DuplexStream, P>, HandshakeError>;

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

pub(crate) fn members() -> Authorizer {
    Authorizer::member_of(domain("example.org"))
}

pub(crate) fn host() -> ServerName<'static> {
    ServerName::try_from("orders.example.org").unwrap()
}

/// A trust domain with a server in it.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) source: X509Source,
    pub(crate) clock: ManualClock,
}

pub(crate) fn world() -> World {
    let authority = Authority::new(domain("example.org"), NOW).unwrap();
    let source = authority.source("/orders").unwrap();
    World { authority, source, clock: ManualClock::at(NOW) }
}

impl World {
    pub(crate) fn acceptor(&self) -> AcceptorBuilder {
        Acceptor::builder(self.source.clone(), members())
            .clock(self.clock.clone())
            .recheck_every(Duration::from_millis(10))
            .grace(Duration::ZERO)
    }

    pub(crate) fn client(&self, path: &str) -> (X509Source, Connector) {
        let source = self.authority.source(path).unwrap();
        let connector = Connector::builder(source.clone(), members())
            .clock(self.clock.clone())
            .recheck_every(Duration::from_millis(10))
            .grace(Duration::ZERO);
        (source, connector.build().unwrap())
    }

    pub(crate) fn replace_lists(&self, lists: impl IntoIterator<Item = RevocationList>) {
        let material = self.source.current();
        let bundles = material.bundles().clone();
        let bundles = bundles.with_revocation_lists(lists.into_iter().collect());
        self.source.replace(material.identity().unwrap().clone(), bundles);
    }

    pub(crate) fn replace_bundles(&self, bundles: BundleSet) {
        self.source.replace(self.source.current().identity().unwrap().clone(), bundles);
    }
}

pub(crate) async fn meet<P: Client>(
    acceptor: &Acceptor<P>,
    connector: &Connector,
) -> (Server<P>, Result<ClientStream<DuplexStream>, HandshakeError>) {
    let (ours, theirs) = duplex(64 * 1024);
    tokio::join!(acceptor.accept(ours), connector.connect(host(), theirs))
}

/// What the server makes of a plain rustls client, which goes on reading so that an alert arrives.
pub(crate) async fn meet_plain<P: Client>(
    acceptor: &Acceptor<P>,
    config: Arc<ClientConfig>,
) -> Server<P> {
    let (ours, theirs) = duplex(256 * 1024);
    let client = async {
        let connector = tokio_rustls::TlsConnector::from(config);
        if let Ok(mut stream) = connector.connect(host(), theirs).await {
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    tokio::select! {
        outcome = acceptor.accept(ours) => outcome,
        () = async { client.await; std::future::pending().await } => unreachable!(),
    }
}

/// Whether bytes that one end writes arrive at the other.
pub(crate) async fn talk(
    from: &mut (impl AsyncWriteExt + Unpin),
    to: &mut (impl AsyncReadExt + Unpin),
) -> bool {
    let talk = async {
        from.write_all(b"x").await?;
        from.flush().await?;
        to.read_exact(&mut [0; 1]).await
    };
    tokio::time::timeout(SOON, talk).await.is_ok_and(|said| said.is_ok())
}
