//! What can be set, and what comes of it.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::version::TLS13;
use rustls::{ClientConfig, KeyLog, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tempfile::TempDir;
use zt_core::peer::Peer;
use zt_core::verified::Verified;
use zt_identity::authority::{Authority, Defect, SvidRequest};
use zt_tls::connection::{BuildError, Client, HandshakeError};
use zt_tls::web::{WebIdentity, WebIdentityError};
use zt_tls::{Acceptor, Connector, provider};

use crate::support::{HOUR, NOW, World, domain, meet, meet_plain, members, plain, world};

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(identity: Option<Identity>) -> Arc<ClientConfig> {
    Arc::new(plain(provider::ring(), &[&TLS13], identity))
}

#[tokio::test]
async fn where_clients_are_optional_one_that_presents_nothing_is_nobody() {
    let world = world();
    let acceptor = world.acceptor().optional_clients().build().unwrap();
    let stream = meet_plain(&acceptor, client(None)).await.unwrap();
    let nobody: &Option<Verified<Peer>> = stream.peer();
    assert!(nobody.is_none() && nobody.proven().is_none());
}

#[tokio::test]
async fn where_clients_are_optional_one_that_presents_a_certificate_proves_it() {
    let world = world();
    let acceptor = world.acceptor().optional_clients().build().unwrap();
    let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
    let server = server.unwrap();
    assert_eq!(server.peer().as_ref().unwrap().id().as_str(), "spiffe://example.org/cart");

    let stranger = Authority::new(domain("evil.test"), NOW).unwrap().request("/cart").issue();
    let refused = meet_plain(&acceptor, client(Some(stranger.unwrap()))).await.unwrap_err();
    assert!(refused.refused().is_some(), "{refused:?}");
    let spoilt = world.authority.request("/cart").with_defect(Defect::LeafIsCa).issue().unwrap();
    assert!(meet_plain(&acceptor, client(Some(spoilt))).await.is_err());
}

/// A certificate for a host and its key, as files.
struct Files(TempDir);

impl Files {
    fn new(world: &World) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(world.authority.request("/web"));
        files
    }

    fn write(&self, request: SvidRequest<'_>) {
        request.for_host("orders.example.org").write_to_folder(&self.0).unwrap();
    }

    fn chain(&self) -> PathBuf {
        self.0.path().join("svid.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn open(&self) -> Result<WebIdentity, WebIdentityError> {
        WebIdentity::from_pem_files(self.chain(), self.key(), NOW)
    }
}

/// A client as a browser is: it knows roots and the name of the host, and the time is `NOW`.
fn browser(world: &World) -> Arc<ClientConfig> {
    #[derive(Debug)]
    struct Then;
    impl rustls::time_provider::TimeProvider for Then {
        fn current_time(&self) -> Option<UnixTime> {
            let secs = u64::try_from(NOW.as_secs()).unwrap();
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs)))
        }
    }
    let mut roots = RootCertStore::empty();
    for root in world.authority.bundle().roots() {
        roots.add(root.certificate().clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_details(provider::ring(), Arc::new(Then));
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn a_server_for_anyone_presents_its_web_identity_and_asks_for_no_certificate() {
    let world = world();
    let files = Files::new(&world);
    let acceptor =
        Acceptor::for_anyone(files.open().unwrap()).clock(world.clock.clone()).build().unwrap();
    // One that would present a certificate if it was asked.
    let identity = world.authority.request("/cart").issue().unwrap();
    let stream = meet_plain(&acceptor, client(Some(identity))).await.unwrap();
    assert!(stream.peer().is_none());
    // And one that believes hosts by their names.
    assert!(meet_plain(&acceptor, browser(&world)).await.is_ok());
}

#[tokio::test]
async fn a_web_identity_stands_beside_clients_with_svids() {
    let world = world();
    let files = Files::new(&world);
    let identity = files.open().unwrap();
    let acceptor = world.acceptor().web_identity(identity.clone()).build().unwrap();
    assert!(meet_plain(&acceptor, client(None)).await.is_err());
    let cart = world.authority.request("/cart").issue().unwrap();
    let stream = meet_plain(&acceptor, client(Some(cart))).await.unwrap();
    assert_eq!(stream.peer().id().as_str(), "spiffe://example.org/cart");
    assert_eq!(acceptor.health().identity, HOUR);
}

#[tokio::test]
async fn a_web_identity_is_read_again_and_what_does_not_load_leaves_the_old_one() {
    let world = world();
    let files = Files::new(&world);
    let identity = files.open().unwrap();
    assert_eq!(identity.reload(NOW).unwrap(), 1);

    files.write(world.authority.request("/web"));
    assert_eq!(identity.reload(NOW).unwrap(), 2);

    let other = Files::new(&world);
    std::fs::copy(other.key(), files.key()).unwrap();
    assert!(matches!(identity.reload(NOW), Err(WebIdentityError::Key(_))));
    files.write(world.authority.request("/web").with_defect(Defect::Expired));
    assert!(matches!(identity.reload(NOW), Err(WebIdentityError::Validity(_))));
    for broken in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        std::fs::write(files.chain(), broken).unwrap();
        assert!(identity.reload(NOW).is_err(), "{broken:?}");
    }
    std::fs::write(files.chain(), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    assert!(matches!(identity.reload(NOW), Err(WebIdentityError::FileTooLong { .. })));
    std::fs::remove_file(files.chain()).unwrap();
    assert!(matches!(identity.reload(NOW), Err(WebIdentityError::File { .. })));
    assert_eq!(identity.generation(), 2);

    // What stays is presented until it expires, and then nothing is.
    let acceptor = Acceptor::for_anyone(identity).clock(world.clock.clone()).build().unwrap();
    assert!(meet_plain(&acceptor, client(None)).await.is_ok());
    world.clock.advance(2 * HOUR);
    assert!(meet_plain(&acceptor, client(None)).await.is_err());
}

#[tokio::test]
async fn a_web_identity_is_watched() {
    let world = world();
    let files = Files::new(&world);
    let identity = files.open().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let _watch = identity
        .watch(world.clock.clone(), move |outcome| tell.send(outcome.is_ok()).unwrap())
        .unwrap();
    assert!(told.recv_timeout(crate::support::SOON).unwrap());
    std::fs::write(files.chain(), "nonsense").unwrap();
    assert!(!told.recv_timeout(crate::support::SOON).unwrap());
}

#[test]
fn fips_is_required_of_the_finished_config() {
    let world = world();
    let built = world.acceptor().require_fips().build();
    assert!(matches!(built, Err(BuildError::NotFips)), "{built:?}");
    let built = Connector::builder(world.source.clone(), members()).require_fips().build();
    assert!(matches!(built, Err(BuildError::NotFips)), "{built:?}");
}

#[derive(Debug, Default)]
struct Log(AtomicUsize, Mutex<Vec<String>>);

impl KeyLog for Log {
    fn log(&self, label: &str, _client_random: &[u8], _secret: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.lock().unwrap().push(label.to_owned());
    }
}

#[tokio::test]
async fn secrets_are_logged_where_a_log_is_handed_over_and_nowhere_else() {
    let world = world();
    let log = Arc::new(Log::default());
    let acceptor = world.acceptor().key_log(log.clone()).build().unwrap();
    let (_, connector) = world.client("/cart");
    assert!(meet(&acceptor, &connector).await.0.is_ok());
    assert!(log.0.load(Ordering::Relaxed) > 0);
    for log in [&world.acceptor().build().unwrap().config().key_log, &connector.config().key_log] {
        assert!(!log.will_log("CLIENT_TRAFFIC_SECRET_0"));
    }
}

#[tokio::test]
async fn both_ends_of_a_connection_have_one_channel_binding_and_no_other_has_it() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let (_, connector) = world.client("/cart");
    let (server, client) = meet(&acceptor, &connector).await;
    let (other, _client) = meet(&acceptor, &connector).await;
    let binding = server.unwrap().channel_binding().unwrap();
    assert_eq!(binding, client.unwrap().channel_binding().unwrap());
    assert_ne!(binding, other.unwrap().channel_binding().unwrap());
    assert_eq!(format!("{binding:?}"), "ChannelBinding { .. }");
}

#[tokio::test]
async fn a_server_that_accepts_anyone_has_another_type_and_the_usual_one_demands_a_certificate() {
    let world = world();
    let acceptor = world.acceptor().build().unwrap();
    let refused = meet_plain(&acceptor, client(None)).await.unwrap_err();
    assert_eq!(refused.reason(), zt_tls::events::Reason::NoCertificate);
    assert!(matches!(refused, HandshakeError::Tls(_)));
}

#[cfg(feature = "tls12")]
mod tls12 {
    use rustls::client::Resumption;
    use rustls::version::TLS12;
    use rustls::{HandshakeKind, ProtocolVersion};
    use tokio::io::duplex;

    use super::*;
    use crate::support::host;

    fn old(world: &World) -> ClientConfig {
        let identity = world.authority.request("/cart").issue().unwrap();
        plain(provider::ring(), &[&TLS12], Some(identity))
    }

    #[tokio::test]
    async fn tls_1_2_is_spoken_where_it_is_asked_for_by_name() {
        let world = world();
        let acceptor = world.acceptor().build().unwrap();
        assert!(meet_plain(&acceptor, old(&world).into()).await.is_err());
        let acceptor = world.acceptor().tls12().build().unwrap();
        let stream = meet_plain(&acceptor, old(&world).into()).await.unwrap();
        assert_eq!(stream.version(), Some(ProtocolVersion::TLSv1_2));
        assert_eq!(stream.peer().id().as_str(), "spiffe://example.org/cart");
        let (server, _client) = meet(&acceptor, &world.client("/cart").1).await;
        assert_eq!(server.unwrap().version(), Some(ProtocolVersion::TLSv1_3));
    }

    #[tokio::test]
    async fn a_key_that_is_not_the_certificates_is_refused_in_tls_1_2() {
        let world = world();
        let acceptor = world.acceptor().tls12().build().unwrap();
        let (chain, _) = world.authority.request("/cart").issue().unwrap();
        let (_, key) = world.authority.request("/cart").issue().unwrap();
        let key = provider::ring().key_provider.load_private_key(key).unwrap();
        let mut config = plain(provider::ring(), &[&TLS12], None);
        let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
        config.client_auth_cert_resolver = Arc::new(crate::support::Presents(certified));
        assert!(meet_plain(&acceptor, config.into()).await.is_err());
    }

    #[tokio::test]
    async fn nobody_resumes_a_connection_of_tls_1_2() {
        let world = world();
        let acceptor = world.acceptor().tls12().build().unwrap();
        let mut config = old(&world);
        config.resumption = Resumption::in_memory_sessions(64);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        for _ in 0..3 {
            let (ours, theirs) = duplex(64 * 1024);
            let (server, client) =
                tokio::join!(acceptor.accept(ours), connector.connect(host(), theirs));
            let (_server, client) = (server.unwrap(), client.unwrap());
            assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc_rs {
    use rustls::NamedGroup;
    use tokio::io::duplex;

    use super::*;
    use crate::support::host;

    #[tokio::test]
    async fn each_provider_meets_the_other() {
        let world = world();
        for (server, client) in [
            (provider::aws_lc_rs(), provider::ring()),
            (provider::ring(), provider::aws_lc_rs()),
            (provider::aws_lc_rs(), provider::aws_lc_rs()),
        ] {
            let acceptor = world.acceptor().provider(server).build().unwrap();
            let source = world.authority.source("/cart").unwrap();
            let connector = Connector::builder(source, members())
                .clock(world.clock.clone())
                .provider(client)
                .build()
                .unwrap();
            let (server, client) = meet(&acceptor, &connector).await;
            assert_eq!(server.unwrap().peer().id().as_str(), "spiffe://example.org/cart");
            assert_eq!(client.unwrap().peer().id().as_str(), "spiffe://example.org/orders");
        }
    }

    #[tokio::test]
    async fn two_that_use_aws_lc_exchange_keys_with_ml_kem() {
        let world = world();
        let acceptor = world.acceptor().provider(provider::aws_lc_rs()).build().unwrap();
        let identity = world.authority.request("/cart").issue().unwrap();
        let config = plain(provider::aws_lc_rs(), &[&TLS13], Some(identity));
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (ours, theirs) = duplex(64 * 1024);
        let (_server, client) =
            tokio::join!(acceptor.accept(ours), connector.connect(host(), theirs));
        let group = client.unwrap().get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn aws_lc_that_is_not_validated_does_not_pass_for_fips() {
        let world = world();
        let built = world.acceptor().provider(provider::aws_lc_rs()).require_fips().build();
        assert!(matches!(built, Err(BuildError::NotFips)), "{built:?}");
    }
}
