//! A trust domain, a service in it, and certificates that are good or have one thing wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::{Extension, Router, routing::get};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_core::peer::Peer;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_core::verified::Verified;
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;
use zt_tests::peers::SvidFiles;
use zt_tls::Acceptor;
use zt_tls::connection::AcceptorBuilder;
use zt_tls::events::{Event, Reason};
use zt_tls::serve::serve;

pub const SOON: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

pub fn domain(name: &str) -> TrustDomain {
    TrustDomain::from_name(name).unwrap()
}

pub fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{path}")).unwrap()
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    Missing,
    OtherDomain,
    Expired,
    Revoked,
    /// Proven, and not one that was meant.
    NotMeant,
}

/// An authority, and files of what it has issued.
pub struct Domain {
    pub authority: Authority,
    stranger: Authority,
    pub folder: tempfile::TempDir,
}

impl Domain {
    pub fn new() -> Self {
        let now = SystemClock.now();
        let authority = Authority::new(domain("example.org"), now).unwrap();
        let stranger = Authority::new(domain("evil.test"), now).unwrap();
        Self { authority, stranger, folder: tempfile::tempdir().unwrap() }
    }

    /// Issues a certificate for `path`, which is good for `localhost` too.
    pub fn identity(&self, path: &str, wrong: Wrong) -> X509Identity {
        let long_ago = SystemClock.now().saturating_sub(2 * HOUR);
        let request = match wrong {
            Wrong::OtherDomain => self.stranger.request(path),
            Wrong::Expired => self.authority.request(path).at(long_ago),
            Wrong::NotMeant => self.authority.request("/mailer"),
            Wrong::Nothing | Wrong::Missing | Wrong::Revoked => self.authority.request(path),
        };
        request.for_host("localhost").identity().unwrap()
    }

    /// The files of an identity.
    pub fn files(&self, name: &str, identity: &X509Identity) -> SvidFiles {
        let at = |file: &str| self.folder.path().join(format!("{name}.{file}"));
        let files = SvidFiles { cert: at("pem"), key: at("key") };
        let chain = identity.chain().iter().map(|der| pem("CERTIFICATE", der)).collect::<String>();
        std::fs::write(&files.cert, chain).unwrap();
        let key = identity.key().expose().secret_der();
        std::fs::write(&files.key, pem("PRIVATE KEY", key)).unwrap();
        files
    }

    /// The file of the bundle.
    pub fn bundle(&self) -> PathBuf {
        let file = self.folder.path().join("bundle.pem");
        let roots = self.authority.bundle();
        let roots: String =
            roots.roots().iter().map(|root| pem("CERTIFICATE", root.certificate())).collect();
        std::fs::write(&file, roots).unwrap();
        file
    }

    pub fn source(&self, path: &str) -> X509Source {
        let bundles = BundleSet::new().with(self.authority.bundle());
        X509Source::new(self.identity(path, Wrong::Nothing), bundles)
    }

    /// Tells a source that this identity is revoked.
    pub fn revoke(&self, identity: &X509Identity, told: &X509Source) {
        let list = self.authority.revoke(identity).unwrap();
        let material = told.current();
        let bundles = material.bundles().clone().with_revocation_list(list);
        told.replace(material.identity().unwrap().clone(), bundles);
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A service that says who calls, and notes whom it refused.
pub struct Service {
    pub domain: Domain,
    pub source: X509Source,
    pub address: SocketAddr,
    refused: Arc<Mutex<Vec<Reason>>>,
    _runtime: Runtime,
}

pub fn service() -> Service {
    service_with(|acceptor| acceptor)
}

pub fn service_with(configure: impl FnOnce(AcceptorBuilder) -> AcceptorBuilder) -> Service {
    let domain = Domain::new();
    let source = domain.source("/orders");
    let refused = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&refused);
    let note = move |event: &Event<'_>| {
        if let Event::Refused { reason, .. } = event {
            noted.lock().unwrap().push(*reason);
        }
    };
    let admitted = Authorizer::id(id("/cart"));
    let acceptor = Acceptor::builder(source.clone(), admitted).observe(note);
    let acceptor = configure(acceptor).build().unwrap();
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let who = async |Extension(peer): Extension<Verified<Peer>>| format!("hello, {}", peer.id());
    runtime.spawn(serve(listener, acceptor, Router::new().route("/", get(who))));
    Service { domain, source, address, refused, _runtime: runtime }
}

pub const HELLO: &str = "hello, spiffe://example.org/cart";

impl Service {
    /// The certificate of a caller, with one thing wrong, of which the service knows.
    pub fn caller(&self, wrong: Wrong) -> Option<SvidFiles> {
        if wrong == Wrong::Missing {
            return None;
        }
        let identity = self.domain.identity("/cart", wrong);
        if wrong == Wrong::Revoked {
            self.domain.revoke(&identity, &self.source);
        }
        Some(self.domain.files(&format!("{wrong:?}"), &identity))
    }

    /// What was refused since this was asked last; waits for something where there is to be.
    pub fn refused(&self, expected: Option<Reason>) -> Vec<Reason> {
        let began = Instant::now();
        loop {
            let refused = std::mem::take(&mut *self.refused.lock().unwrap());
            if expected.is_none() || !refused.is_empty() || began.elapsed() > SOON {
                return refused;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Each thing that may be wrong with a caller, and what it is refused for.
pub const CALLERS: [(Wrong, Option<Reason>); 6] = [
    (Wrong::Nothing, None),
    (Wrong::Missing, Some(Reason::NoCertificate)),
    (Wrong::OtherDomain, Some(Reason::TrustDomain)),
    (Wrong::Expired, Some(Reason::Validity)),
    (Wrong::Revoked, Some(Reason::Revoked)),
    (Wrong::NotMeant, Some(Reason::NotAdmitted)),
];

/// Adds a flag with a path.
pub fn flag(command: &mut Command, name: &str, path: &Path) {
    command.arg(name).arg(path);
}
