//! Our own bundle, fetched over a socket as a trust domain that federates with ours would, and read
//! by our own reader.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zt_core::spiffe::TrustDomain;
use zt_core::time::Timestamp;
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleEndpoint, BundleSet, SpiffeBundle};
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};
use zt_tower::bundle_endpoint::ServeBundle;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A server that demands no certificate, as a bundle endpoint must not (F-07).
struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// What a server answered.
struct Answer {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} in {:?}", self.headers)).1
    }

    fn bundle(&self) -> SpiffeBundle {
        SpiffeBundle::from_json(&self.body).unwrap()
    }
}

struct Client {
    port: u16,
    tls: TlsConnector,
}

impl Client {
    /// Serves, and trusts the server.
    async fn of(endpoint: BundleEndpoint) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().route_service("/bundle", ServeBundle::<Body>::new(endpoint));
        let listener = TlsListener(listener, TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { port, tls: TlsConnector::from(Arc::new(tls)) }
    }

    async fn send(&self, method: &str, headers: &str) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.tls.connect(name, stream).await.unwrap();
        let request = format!(
            "{method} /bundle HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes without a goodbye has said all that its length announces.
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer { status, headers, body: answer[end + 4..].to_vec() }
    }

    async fn get(&self) -> Answer {
        self.send("GET", "").await
    }
}

fn authority() -> Authority {
    Authority::new(TrustDomain::from_name("example.org").unwrap(), NOW).unwrap()
}

fn published(authorities: &[&Authority], sequence: u64) -> SpiffeBundle {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let roots = authorities.iter().flat_map(|authority| authority.bundle().roots().to_vec());
    let roots = roots.map(|root| CertificateDer::from(root.certificate().to_vec()));
    let bundle = zt_identity::bundle::X509Bundle::from_der_certs(domain, roots, NOW).unwrap();
    SpiffeBundle::of_roots(&bundle)
        .with_sequence(sequence)
        .with_refresh_hint(Duration::from_secs(120))
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn what_is_served_is_what_we_read() {
    run(async {
        let authority = authority();
        let ours = published(&[&authority], 7);
        let client = Client::of(BundleEndpoint::new(&ours)).await;
        let answer = client.get().await;
        assert_eq!(
            (answer.status.as_str(), answer.header("content-type")),
            ("200", "application/json")
        );
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(answer.bundle(), ours);
        assert!(answer.bundle().ignored().is_empty());
        let (bundle, left_out) =
            answer.bundle().x509_bundle(TrustDomain::from_name("example.org").unwrap(), NOW);
        assert_eq!((bundle, left_out.len()), (authority.bundle(), 0));
        // X-13, letter for letter.
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let keys = json["keys"].as_array().unwrap();
        for key in keys {
            assert_eq!((&key["use"], key.get("kid")), (&"x509-svid".into(), None));
            assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
        }
        assert_eq!(
            (&json["spiffe_sequence"], &json["spiffe_refresh_hint"]),
            (&7.into(), &120.into())
        );
    });
}

#[test]
fn a_rotation_is_seen_by_the_next_request_and_a_root_that_is_withdrawn_vouches_for_nobody() {
    run(async {
        let (old, new) = (authority(), authority());
        let endpoint = BundleEndpoint::new(&published(&[&old], 1));
        let client = Client::of(endpoint.clone()).await;
        let workload = old.svid("/ns/shop/sa/cart").unwrap();
        let judge = async |expected: bool| {
            let domain = TrustDomain::from_name("example.org").unwrap();
            let bundles =
                BundleSet::new().with(client.get().await.bundle().x509_bundle(domain, NOW).0);
            let verdict = X509SvidVerifier::new().verify(workload.chain(), &bundles, NOW);
            match verdict {
                Ok(_) => assert!(expected),
                Err(X509SvidError::Path(_)) => assert!(!expected),
                Err(other) => panic!("{other:?}"),
            }
        };
        judge(true).await;
        endpoint.publish(&published(&[&old, &new], 2)).unwrap();
        judge(true).await;
        endpoint.publish(&published(&[&new], 3)).unwrap();
        judge(false).await;
    });
}

#[test]
fn whoever_has_the_current_bundle_is_not_sent_it_again() {
    run(async {
        let authority = authority();
        let endpoint = BundleEndpoint::new(&published(&[&authority], 1));
        let client = Client::of(endpoint.clone()).await;
        let etag = client.get().await.header("etag").to_owned();
        let known = format!("If-None-Match: {etag}\r\n");
        let answer = client.send("GET", &known).await;
        assert_eq!((answer.status.as_str(), answer.body.len()), ("304", 0));
        assert_eq!(answer.header("etag"), etag);
        endpoint.publish(&published(&[&authority], 2)).unwrap();
        let answer = client.send("GET", &known).await;
        assert_eq!((answer.status.as_str(), answer.bundle().sequence()), ("200", Some(2)));
    });
}

#[test]
fn a_bundle_can_be_read_and_nothing_else() {
    run(async {
        let client = Client::of(BundleEndpoint::new(&published(&[&authority()], 1))).await;
        let head = client.send("HEAD", "").await;
        assert_eq!((head.status.as_str(), head.body.len()), ("200", 0));
        for method in ["POST", "PUT", "DELETE", "TRACE"] {
            let answer = client.send(method, "Content-Length: 0\r\n").await;
            assert_eq!((answer.status.as_str(), answer.body.len()), ("405", 0), "{method}");
            assert_eq!(answer.header("allow"), "GET, HEAD");
        }
    });
}
