//! Node's client keeps sessions and tries to resume them: it never gets to.

use std::process::Command;
use std::sync::Arc;

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_tests::peers::{SvidFiles, present, run};

use crate::support::{Domain, Wrong, flag, service_with};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/tls_resume.mjs");

/// What node makes of three connections, each with what the one before left: `full` or `resumed`,
/// and how many sessions it was given.
fn visits(port: u16, version: &str, own: &SvidFiles, domain: &Domain) -> Vec<String> {
    let mut node = Command::new("node");
    node.args([SCRIPT, &port.to_string(), version]).arg(&own.cert).arg(&own.key);
    let said = run(node.arg(domain.bundle()), "");
    String::from_utf8(said).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn node_that_tries_to_resume_has_a_full_handshake_each_time() {
    if !present(&[&["node", "--version"]]) {
        return;
    }
    let service = service_with(zt_tls::connection::AcceptorBuilder::tls12);
    let own = service.caller(Wrong::Nothing).unwrap();
    let port = service.address.port();
    let tls13 = visits(port, "TLSv1.3", &own, &service.domain);
    assert_eq!(tls13, ["full 0", "full 0", "full 0"]);
    let tls12 = visits(port, "TLSv1.2", &own, &service.domain);
    let kinds: Vec<_> = tls12.iter().map(|visit| visit.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["full", "full", "full"]);

    // Node would resume where it could: a server of rustls, as it is by default.
    let runtime = Runtime::new().unwrap();
    let port = runtime.block_on(generous(&service.domain));
    for version in ["TLSv1.3", "TLSv1.2"] {
        let visits = visits(port, version, &own, &service.domain);
        assert!(visits[1].starts_with("resumed") && visits[2].starts_with("resumed"), "{visits:?}");
    }
}

#[test]
fn openssl_that_tries_to_resume_has_a_full_handshake_each_time() {
    if !present(&[&["openssl", "version"]]) {
        return;
    }
    let service = service_with(zt_tls::connection::AcceptorBuilder::tls12);
    let own = service.caller(Wrong::Nothing).unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        let mut openssl = Command::new("openssl");
        // Five connections more, each with the session of the one before.
        openssl.args([
            "s_client",
            "-reconnect",
            "-no_ign_eof",
            version,
            "-servername",
            "localhost",
        ]);
        openssl.arg("-connect").arg(service.address.to_string());
        flag(&mut openssl, "-CAfile", &service.domain.bundle());
        flag(&mut openssl, "-cert", &own.cert);
        flag(&mut openssl, "-key", &own.key);
        let said = String::from_utf8_lossy(&run(&mut openssl, "")).into_owned();
        assert!(said.matches("New, TLSv1.").count() >= 6, "{version}: {said}");
        assert!(!said.contains("Reused,"), "{version}: {said}");
    }
}

/// A server that resumes, and its port.
async fn generous(domain: &Domain) -> u16 {
    let own = domain.identity("/orders", Wrong::Nothing);
    let key: PrivateKeyDer<'static> = own.key().expose().clone_key();
    let mut config = rustls::ServerConfig::builder_with_provider(zt_tls::provider::ring())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain().to_vec(), key)
        .unwrap();
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let _ = stream.read(&mut [0; 512]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    port
}
