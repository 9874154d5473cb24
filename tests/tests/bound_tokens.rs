//! Tokens that are bound to a key or a certificate: issued by a certified provider, sent by clients
//! that nobody here wrote, over real sockets with certificates of openssl.

use std::collections::BTreeSet;
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
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::algorithm::Algorithm;
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::possession::dpop::DpopVerifier;
use zt_identity::possession::nonce::DpopNonces;
use zt_identity::possession::replay::Replay;
use zt_identity::possession::target::PublicBase;
use zt_identity::source::X509Source;
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
const SOON: Duration = Duration::from_secs(30);
const POLICIES: &str = r#"
    permit (principal is Workload, action, resource)
    when { principal in WorkloadPath::"spiffe://example.org/ns/shop" };

    permit (principal is User, action, resource);
"#;

/// Whom the handler has served: the name of the case, the user and the workload.
type Served = Arc<Mutex<Vec<(String, String, String)>>>;

struct World {
    folder: tempfile::TempDir,
    _runtime: Runtime,
    records: RecordQueue,
    served: Served,
    // What the clients have to know.
    setting: Value,
    _provider: OidcProvider,
}

impl World {
    fn start() -> Self {
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
        Self { folder, _runtime: runtime, records, served, setting, _provider: provider }
    }

    /// What the requests of the clients came to, in the order in which they were sent.
    fn requests(&self) -> Vec<Value> {
        let output = run(Command::new("node").arg(SCRIPT), &self.setting.to_string());
        serde_json::from_slice(&output).unwrap()
    }

    /// Why requests were refused, in the order in which they came; `None` for one that was not.
    fn reasons(&self) -> Vec<Option<String>> {
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

/// Serves a route for each way in which a token can belong to its sender, and returns its URL.
async fn start_service(
    acceptor: Acceptor,
    issuer: &str,
    records: RecordQueue,
    served: Served,
) -> String {
    let tokens = AccessTokenVerifier::for_issuer(Issuer::loopback(issuer).unwrap())
        .audience("orders")
        .discover()
        .unwrap()
        .build()
        .unwrap();
    tokens.keys().ready(SOON).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let verifier = DpopVerifier::default()
        .with_algorithms(&[Algorithm::Es256, Algorithm::EdDsa])
        .with_nonces(DpopNonces::random().unwrap());
    let proofs = DpopProofs::new(PublicBase::parse(&url).unwrap(), Replay::in_memory(10_000));
    let dpop = AccessTokens::dpop_bound(tokens.clone(), proofs.verified_by(verifier));
    let route = |path: &str, tokens: AccessTokens| {
        let layer = ZeroTrust::builder()
            .tokens(tokens.cached(100).unwrap())
            .policy(PolicySet::parse("test.cedar", POLICIES).unwrap())
            .records(records.clone())
            .build();
        Router::new().route(path, get(serve_order).post(serve_order)).layer(layer)
    };
    let app = route("/dpop", dpop)
        .merge(route("/certificate", AccessTokens::certificate_bound(tokens.clone())))
        .merge(route("/bearer", AccessTokens::bearer(tokens)))
        .with_state(served);
    tokio::spawn(serve(listener, acceptor, app));
    url
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

/// What is expected of a request: the status, what follows the realm in the challenge, and the
/// reason that is recorded.
struct Expected {
    status: u64,
    challenge: Option<String>,
    reason: Option<&'static str>,
}

const PROOFS: &str = "DPoP realm=\"zero-trust\", algs=\"ES256 EdDSA\"";
const BEARERS: &str = "Bearer realm=\"zero-trust\"";

fn good() -> Expected {
    Expected { status: 200, challenge: None, reason: None }
}

fn refused(status: u64, scheme: &str, error: &str, reason: &'static str) -> Expected {
    let error = if error.is_empty() { String::new() } else { format!(", error=\"{error}\"") };
    Expected { status, challenge: Some(format!("{scheme}{error}")), reason: Some(reason) }
}

fn invalid_proof(reason: &'static str) -> Expected {
    refused(401, PROOFS, "invalid_dpop_proof", reason)
}

/// Of a token that is bound to a key.
fn expected_of_proofs(what: &str) -> Expected {
    match what {
        "with the nonce"
        | "once more"
        | "with POST"
        | "over another connection"
        | "to be replayed"
        | "after all that" => good(),
        "before there is a nonce" | "without a nonce" => {
            refused(401, PROOFS, "use_dpop_nonce", "proof_without_nonce")
        }
        "with a nonce of nobody" => refused(401, PROOFS, "use_dpop_nonce", "proof_nonce_stale"),
        "replayed" => invalid_proof("proof_replayed"),
        "for another path" | "for another host" | "for another scheme" => {
            invalid_proof("proof_of_another_url")
        }
        "for another method" | "sent with another method" => {
            invalid_proof("proof_of_another_method")
        }
        "too old" => invalid_proof("proof_too_old"),
        "from the future" => invalid_proof("proof_not_yet_valid"),
        "without ath" | "without jti" => invalid_proof("proof_claims"),
        "with the ath of another token" => invalid_proof("proof_of_another_token"),
        "without a proof" => invalid_proof("proof_missing"),
        "with the proof twice" | "with a second proof" => invalid_proof("two_proofs"),
        "with two proofs in one header" => invalid_proof("proof_malformed"),
        "with the token twice" | "with a second authorization" => {
            refused(400, PROOFS, "invalid_request", "two_credentials")
        }
        "as bearer" => refused(401, PROOFS, "", "unsupported_scheme"),
        "without a token" => refused(401, PROOFS, "", "no_credential"),
        "by another key" => refused(401, PROOFS, "invalid_token", "proof_of_another_key"),
        "by another key that claims to be this one" => invalid_proof("proof_bad_signature"),
        "with its private key" | "without its key" => invalid_proof("proof_key"),
        "as a token of another kind" => invalid_proof("proof_of_another_kind"),
        "with a secret" => invalid_proof("proof_algorithm"),
        "where a certificate is wanted" | "where bearers are believed" => {
            refused(401, BEARERS, "", "unsupported_scheme")
        }
        "as bearer where bearers are believed" => {
            refused(401, BEARERS, "invalid_token", "token_bound")
        }
        other => panic!("what is expected {other}?"),
    }
}

/// Of a token that is bound to a certificate, to a key, or to nothing.
fn expected_of_certificates(what: &str) -> Expected {
    let invalid = |scheme, reason| refused(401, scheme, "invalid_token", reason);
    match what {
        "of cart over its connection"
        | "of batch over its connection"
        | "of nobody where bearers are believed" => good(),
        "of cart over another connection" | "of batch over another connection" => {
            invalid(BEARERS, "token_of_another_connection")
        }
        "of cart with a proof" => refused(401, BEARERS, "", "unsupported_scheme"),
        "of cart where bearers are believed" => invalid(BEARERS, "token_bound"),
        "of a key where a certificate is wanted" => invalid(BEARERS, "token_key_not_proven"),
        "of nobody where a certificate is wanted" => invalid(BEARERS, "token_unbound"),
        "of cart where proofs are wanted" | "of nobody where proofs are wanted" => {
            invalid(PROOFS, "token_unbound")
        }
        other => panic!("what is expected {other}?"),
    }
}

#[test]
fn bound_tokens_of_a_provider_belong_to_their_clients_and_to_nobody_else() {
    let oauth4webapi = concat!(
        "import('file://",
        env!("CARGO_MANIFEST_DIR"),
        "/peers/node_modules/oauth4webapi/build/index.js')"
    );
    if !oidc_provider::is_present()
        || !present(&[&["openssl", "version"], &["node", "--eval", oauth4webapi]])
    {
        return;
    }
    let world = World::start();
    let requests = world.requests();

    // The connection that proves nobody ends before there is a request.
    let (answered, broken): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request["status"] != 0);
    let broken: Vec<_> = broken.iter().map(|request| request["what"].as_str().unwrap()).collect();
    assert_eq!(broken, ["of cart over no proven connection"]);

    let reasons = world.reasons();
    assert_eq!(reasons.len(), answered.len());
    let mut good = Vec::new();
    for (request, reason) in answered.iter().zip(&reasons) {
        let (client, what) =
            (request["client"].as_str().unwrap(), request["what"].as_str().unwrap());
        let expected = match client {
            "certificates" => expected_of_certificates(what),
            _ => expected_of_proofs(what),
        };
        let what = format!("{client}: {what}");
        assert_eq!(request["status"], expected.status, "{what}: {request} {reason:?}");
        assert_eq!(request["challenge"], json!(expected.challenge), "{what}");
        assert_eq!(reason.as_deref(), expected.reason, "{what}");
        // Whoever is told what is wrong with a proof is handed the nonce for the next.
        let demands_proofs = expected.challenge.is_some_and(|it| it.starts_with("DPoP"));
        assert_eq!(request["nonce"], demands_proofs, "{what}");
        if request["status"] == 200 {
            good.push(request["what"].as_str().unwrap().to_owned());
        }
    }

    // The handler was reached by those that got through, and by nothing else.
    let served = world.served.lock().unwrap();
    let cases: Vec<_> = served
        .iter()
        .map(|(case, ..)| case.trim_start_matches("case=").replace("%20", " "))
        .collect();
    assert_eq!(cases, good);
    let by_what: BTreeSet<_> = served
        .iter()
        .map(|(_, user, by)| (user.as_str(), by.rsplit('/').next().unwrap()))
        .collect();
    let expected = [("batch", "batch"), ("cart", "cart"), ("web", "batch"), ("web", "cart")];
    assert_eq!(by_what, BTreeSet::from(expected));
    assert_eq!((answered.len(), good.len()), (139, 23));
}
