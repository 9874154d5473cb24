//! A service with a route for each way in which a token can belong to its sender, on real sockets, and
//! the provider of its tokens.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::secret::Secret;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::algorithm::Algorithm;
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::client_authentication::ClientAuthentication;
use zt_identity::oidc::introspection::IntrospectionVerifier;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::possession::dpop::DpopVerifier;
use zt_identity::possession::nonce::DpopNonces;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::target::PublicBase;
use zt_identity::source::X509Source;
use zt_identity::token_verifier::TokenVerifier;
use zt_policy::set::PolicySet;
use zt_tests::oidc_provider::{self, OidcProvider};
use zt_tests::peers::{OpensslAuthority, SvidFiles, present, run};
use zt_tls::Acceptor;
use zt_tls::serve::serve;
use zt_tower::access_tokens::AccessTokens;
use zt_tower::dpop::DpopProofs;
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::zero_trust::ZeroTrust;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/bound_tokens.mjs");
pub(crate) const SOON: Duration = Duration::from_secs(30);
const POLICIES: &str = r#"
    permit (principal is Workload, action, resource)
    when { principal in WorkloadPath::"spiffe://example.org/ns/shop" };

    permit (principal is User, action, resource);
"#;

/// Whether node, its packages, curl and openssl are here.
pub(crate) fn is_present() -> bool {
    let oauth4webapi = concat!(
        "import('file://",
        env!("CARGO_MANIFEST_DIR"),
        "/peers/node_modules/oauth4webapi/build/index.js')"
    );
    oidc_provider::is_present()
        && present(&[&["openssl", "version"], &["node", "--eval", oauth4webapi]])
}

/// Whom the handler has served: the name of the case, the user and the workload.
pub(crate) type Served = Arc<Mutex<Vec<(String, String, String)>>>;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    records: RecordQueue,
    pub(crate) served: Served,
    // What the clients have to know.
    pub(crate) setting: Value,
    pub(crate) provider: OidcProvider,
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = OpensslAuthority::new(&folder.path().join("ca"), "example.org");
        let svid =
            |name: &str| authority.issue(name, &format!("spiffe://example.org/ns/shop/sa/{name}"));
        let [orders, idp, cart, batch] = ["orders", "idp", "cart", "batch"].map(svid);
        let files = |svid: &SvidFiles| json!({ "cert": svid.cert, "key": svid.key });
        let mut mtls = files(&idp);
        mtls["ca"] = json!(authority.bundle());
        let provider = OidcProvider::start(&json!({ "mtls": mtls }));

        let runtime = Runtime::new().unwrap();
        let records = RecordQueue::builder()
            .start(JsonLines::append_to(folder.path().join("records.jsonl")).unwrap())
            .unwrap();
        let served = Served::default();
        let service = runtime.block_on(start_service(
            acceptor(&orders, &authority.bundle()),
            provider.url(),
            records.clone(),
            Arc::clone(&served),
        ));
        let setting = json!({
            "issuer": provider.url(), "service": service, "ca": authority.bundle(),
            "cart": files(&cart), "batch": files(&batch),
        });
        Self { folder, runtime, records, served, setting, provider }
    }

    /// What the requests of the clients came to, in the order in which they were sent.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let output = run(Command::new("node").arg(SCRIPT), &self.setting.to_string());
        serde_json::from_slice(&output).unwrap()
    }

    /// Why requests were refused, in the order in which they came; `None` for one that was not.
    pub(crate) fn reasons(&self) -> Vec<Option<String>> {
        self.records.close(SOON).unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("records.jsonl")).unwrap();
        let reason = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            match record["effect"].as_str() {
                Some("allow") => None,
                _ => Some(record["reason"].as_str().unwrap().to_owned()),
            }
        };
        text.lines().map(reason).collect()
    }
}

fn acceptor(svid: &SvidFiles, bundle: &Path) -> Acceptor {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let (cert, key) = (svid.cert.clone(), svid.key.clone());
    let now = SystemClock.now();
    let source = X509Source::from_pem_files(domain.clone(), cert, key, bundle.to_owned(), now);
    Acceptor::new(source.unwrap(), Authorizer::member_of(domain)).unwrap()
}

/// Serves a route for each way in which a token can belong to its sender, for tokens that are signed
/// and, below /opaque, for those that the issuer has to be asked about. Returns its URL.
async fn start_service(
    acceptor: Acceptor,
    issuer: &str,
    records: RecordQueue,
    served: Served,
) -> String {
    let issuer_of = Issuer::loopback(issuer).unwrap();
    let signed = AccessTokenVerifier::for_issuer(issuer_of.clone()).audience("orders");
    let signed = signed.discover().unwrap().build().unwrap();
    signed.keys().ready(SOON).await.unwrap();
    let asked = IntrospectionVerifier::for_issuer(issuer_of)
        .endpoint(&format!("{issuer}/token/introspection"))
        .client(orders())
        .audience("orders")
        .clients_as_subjects("client:")
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let verifier = DpopVerifier::default()
        .with_algorithms(&[Algorithm::Es256, Algorithm::EdDsa])
        .with_nonces(DpopNonces::random().unwrap());
    let proofs = DpopProofs::new(PublicBase::parse(&url).unwrap(), Replay::in_memory(10_000));
    let proofs = proofs.verified_by(verifier);
    let signed = TokenVerifier::from(signed).cached(100).unwrap();
    let app = routes("", &signed, &proofs, &records)
        .merge(routes("/opaque", &asked.into(), &proofs, &records))
        .with_state(served);
    tokio::spawn(serve(listener, acceptor, app));
    url
}

/// The routes below this path, one for each way in which these tokens can belong to their sender.
fn routes(
    path: &str,
    tokens: &TokenVerifier,
    proofs: &DpopProofs,
    records: &RecordQueue,
) -> Router<Served> {
    let route = |name: &str, tokens: AccessTokens| {
        let layer = ZeroTrust::builder()
            .tokens(tokens)
            .policy(PolicySet::parse("test.cedar", POLICIES).unwrap())
            .records(records.clone())
            .build();
        let methods = get(serve_order).post(serve_order);
        Router::new().route(&format!("{path}/{name}"), methods).layer(layer)
    };
    route("dpop", AccessTokens::dpop_bound(tokens.clone(), proofs.clone()))
        .merge(route("certificate", AccessTokens::certificate_bound(tokens.clone())))
        .merge(route("bearer", AccessTokens::bearer(tokens.clone())))
}

/// How this service shows the provider who it is.
pub(crate) fn orders() -> ClientAuthentication {
    let secret = Secret::new("orders-secret".to_owned());
    ClientAuthentication::client_secret_basic("orders", secret).unwrap()
}

async fn serve_order(
    State(served): State<Served>,
    uri: Uri,
    CallingWorkload(by): CallingWorkload,
    CallingUser(user): CallingUser,
) {
    let case = uri.query().unwrap_or_default().to_owned();
    served.lock().unwrap().push((case, user.subject().to_owned(), by.id().to_string()));
}
