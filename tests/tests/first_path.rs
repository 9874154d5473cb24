//! The whole path on things that nobody here made: certificates issued by the openssl command
//! line, tokens minted by `jsonwebtoken` and PyPI `joserfc`, requests sent by curl.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::issuer::Issuer;
use zt_identity::source::X509Source;
use zt_policy::set::PolicySet;
use zt_tests::peers::{JoserfcIssuer, OpensslAuthority, SvidFiles, present, try_run};
use zt_tls::Acceptor;
use zt_tls::serve::serve;
use zt_tower::access_tokens::AccessTokens;
use zt_tower::authorize::RouteTargets;
use zt_tower::extract::{CallingUser, CallingWorkload};
use zt_tower::zero_trust::ZeroTrust;

const POLICIES: &str = r#"
    @id("shop-may-call")
    permit (principal is Workload, action, resource)
    when { principal in WorkloadPath::"spiffe://example.org/ns/shop" };

    @id("clerks-read-orders")
    permit (principal in Role::"clerk", action == Action::"GET", resource == Route::"/orders/{id}")
    when { context.source.isLoopback() };

    @id("nobody-reads-the-order-of-the-day")
    forbid (principal, action, resource == Route::"/orders/{id}")
    when { resource.path like "/orders/0*" };
"#;

struct World {
    // Dropped last, with everything that the others use.
    folder: tempfile::TempDir,
    _runtime: Runtime,
    records: RecordQueue,
    service: SocketAddr,
    issuer_url: String,
    issuer: JoserfcIssuer,
    authority: OpensslAuthority,
    cart: SvidFiles,
}

/// What curl got: an HTTP status, headers and body, or none at all.
struct Answer {
    status: u16,
    head: String,
    body: String,
    curl: String,
}

fn needed() -> bool {
    present(&[
        &["openssl", "version"],
        &["curl", "--version"],
        &["python3", "-c", "import joserfc"],
    ])
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = OpensslAuthority::new(&folder.path().join("ca"), "example.org");
        let orders = authority.issue("orders", "spiffe://example.org/ns/shop/sa/orders");
        let cart = authority.issue("cart", "spiffe://example.org/ns/shop/sa/cart");
        let issuer = JoserfcIssuer::new(&folder.path().join("issuer"));

        let runtime = Runtime::new().unwrap();
        let issuer_url = runtime.block_on(start_issuer(issuer.jwks()));
        let records = RecordQueue::builder()
            .start(JsonLines::append_to(folder.path().join("records.jsonl")).unwrap())
            .unwrap();
        let service = runtime.block_on(start_service(
            &orders,
            &authority.bundle(),
            &issuer_url,
            records.clone(),
        ));
        Self { folder, _runtime: runtime, records, service, issuer_url, issuer, authority, cart }
    }

    fn claims(&self, changes: Value) -> Value {
        let now = SystemClock.now().as_secs();
        let mut claims = json!({
            "iss": self.issuer_url, "sub": "alice", "aud": "orders", "client_id": "web-shop",
            "jti": "1", "iat": now, "exp": now + 300, "roles": ["clerk"],
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn curl(&self, svid: Option<&SvidFiles>, token: Option<&str>, more: &[&str]) -> Answer {
        let url = format!("https://localhost:{}/orders/42", self.service.port());
        self.curl_to(&url, svid, token, more)
    }

    fn curl_to(
        &self,
        url: &str,
        svid: Option<&SvidFiles>,
        token: Option<&str>,
        more: &[&str],
    ) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "10", "--path-as-is"])
            .arg("--cacert")
            .arg(self.authority.bundle())
            .args(more);
        if let Some(svid) = svid {
            curl.arg("--cert").arg(&svid.cert).arg("--key").arg(&svid.key);
        }
        if let Some(token) = token {
            curl.arg("--header").arg(format!("Authorization: Bearer {token}"));
        }
        let output = try_run(curl.arg(url), "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or(("", ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
            curl: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Everything that was recorded.
    fn records(&self) -> Vec<Value> {
        self.records.close(Duration::from_secs(10)).unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("records.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn start_issuer(jwks: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
    let json = |text: String| async move { ([("content-type", "application/json")], text) };
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(move || json(discovery.clone())))
        .route("/keys", get(move || json(jwks.clone())));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn start_service(
    svid: &SvidFiles,
    bundle: &Path,
    issuer: &str,
    records: RecordQueue,
) -> SocketAddr {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let source = X509Source::from_pem_files(
        domain.clone(),
        PathBuf::from(&svid.cert),
        PathBuf::from(&svid.key),
        PathBuf::from(bundle),
        SystemClock.now(),
    );
    let acceptor = Acceptor::new(source.unwrap(), Authorizer::member_of(domain)).unwrap();
    let tokens = AccessTokenVerifier::for_issuer(Issuer::loopback(issuer).unwrap())
        .audience("orders")
        .discover()
        .unwrap()
        .build()
        .unwrap();
    tokens.keys().ready(Duration::from_secs(10)).await.unwrap();
    let zero_trust = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(tokens))
        .policy(PolicySet::parse("test.cedar", POLICIES).unwrap())
        .records(records)
        .targets(RouteTargets)
        .build();
    let app = Router::new().route("/orders/{id}", get(order)).layer(zero_trust);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, acceptor, app));
    address
}

async fn order(CallingWorkload(by): CallingWorkload, CallingUser(user): CallingUser) -> String {
    format!("{} through {}", user.subject(), by.id())
}

/// Mints with `jsonwebtoken` and the keys of the issuer.
fn mint(issuer: &JoserfcIssuer, algorithm: Algorithm, claims: &Value) -> String {
    let name = format!("{algorithm:?}");
    let pem = issuer.key_pem(&name);
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem),
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
        other => panic!("the issuer has no key for {other:?}"),
    };
    let mut header = Header::new(algorithm);
    header.typ = Some("at+jwt".into());
    header.kid = Some(name.to_lowercase());
    jsonwebtoken::encode(&header, claims, &key.unwrap()).unwrap()
}

#[test]
fn a_request_is_allowed_or_refused_at_each_of_its_checks() {
    if !needed() {
        return;
    }
    let world = World::start();
    let cart = world.cart.clone();
    let good = mint(&world.issuer, Algorithm::ES256, &world.claims(json!({})));

    // Allowed: every algorithm, from both issuers' programs, over HTTP/1.1 and HTTP/2.
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA] {
        for token in [
            mint(&world.issuer, algorithm, &world.claims(json!({}))),
            world.issuer.mint(&format!("{algorithm:?}"), &world.claims(json!({}))),
        ] {
            for version in ["--http1.1", "--http2"] {
                let answer = world.curl(Some(&cart), Some(&token), &[version]);
                assert_eq!(answer.status, 200, "{algorithm:?}: {} {}", answer.head, answer.curl);
                assert_eq!(answer.body, "alice through spiffe://example.org/ns/shop/sa/cart");
            }
        }
    }
    let allowed = 12;

    // Refused by the handshake: no HTTP answer at all, whatever the token.
    let foreign = OpensslAuthority::new(&world.folder.path().join("evil"), "evil.test");
    let foreign = foreign.issue("cart", "spiffe://evil.test/ns/shop/sa/cart");
    let twin = OpensslAuthority::new(&world.folder.path().join("twin"), "example.org");
    let forged = twin.issue("cart", "spiffe://example.org/ns/shop/sa/cart");
    let no_id = world.authority.issue("no-id", "https://example.org/cart");
    for (what, svid) in [
        ("no certificate", None),
        ("wrong trust domain", Some(&foreign)),
        ("an authority that only calls itself ours", Some(&forged)),
        ("a certificate of ours that names no workload", Some(&no_id)),
    ] {
        let answer = world.curl(svid, Some(&good), &[]);
        assert_eq!(answer.status, 0, "{what}: {}", answer.head);
        assert!(answer.curl.contains("alert"), "{what}: {}", answer.curl);
    }

    // Refused by the layers.
    let now = SystemClock.now().as_secs();
    let minted = |changes| mint(&world.issuer, Algorithm::ES256, &world.claims(changes));
    let expired = minted(json!({ "iat": now - 900, "exp": now - 600 }));
    let audience = minted(json!({ "aud": "payments" }));
    let reader = minted(json!({ "roles": ["reader"] }));
    let bound = minted(json!({ "cnf": { "x5t#S256": "A".repeat(43) } }));
    let mut stripped = good.clone();
    stripped.truncate(good.rfind('.').unwrap() + 1);
    let warehouse =
        world.authority.issue("warehouse", "spiffe://example.org/ns/depot/sa/warehouse");
    let shopping = world.authority.issue("shopping", "spiffe://example.org/ns/shopping/sa/cart");
    let invalid = "Bearer realm=\"zero-trust\", error=\"invalid_token\"";
    /// What is sent, by whom, with which token; the status, the challenge and what is recorded.
    type Case<'a> = (&'a str, &'a SvidFiles, Option<&'a str>, u16, Option<&'a str>, &'a str);
    let cases: &[Case<'_>] = &[
        ("no token", &cart, None, 401, Some("Bearer realm=\"zero-trust\""), "no_credential"),
        ("expired token", &cart, Some(&expired), 401, Some(invalid), "token_expired"),
        (
            "token for another",
            &cart,
            Some(&audience),
            401,
            Some(invalid),
            "token_of_another_audience",
        ),
        ("unsigned token", &cart, Some(&stripped), 401, Some(invalid), "token_bad_signature"),
        ("bound token", &cart, Some(&bound), 401, Some(invalid), "token_bound"),
        ("wrong role", &cart, Some(&reader), 403, None, "user"),
        ("right user, wrong workload", &warehouse, Some(&good), 403, None, "workload"),
        ("right user, name with our prefix", &shopping, Some(&good), 403, None, "workload"),
    ];
    let mut expected: HashMap<&str, usize> = HashMap::new();
    for (what, svid, token, status, challenge, recorded) in cases {
        let answer = world.curl(Some(svid), *token, &[]);
        assert_eq!(answer.status, *status, "{what}: {} {}", answer.head, answer.curl);
        let header = answer.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("www-authenticate").then_some(value)
        });
        assert_eq!(header, *challenge, "{what}");
        for secret in ["shop-may-call", "clerks", "role", "policy"] {
            assert!(!answer.body.contains(secret), "{what}: {}", answer.body);
        }
        *expected.entry(recorded).or_default() += 1;
    }

    // A forbid decides over a permit; a path with two readings is no path.
    let at = |path: &str| format!("https://localhost:{}{path}", world.service.port());
    let forbidden = world.curl_to(&at("/orders/007"), Some(&cart), Some(&good), &[]);
    assert_eq!(forbidden.status, 403);
    let confused = world.curl_to(&at("/orders/1/../42"), Some(&cart), Some(&good), &[]);
    assert_eq!(confused.status, 400);
    let two = ["--header", "Authorization: Bearer x"];
    assert_eq!(world.curl(Some(&cart), Some(&good), &two).status, 400);

    // Every request that got an answer left one record, and it says what happened.
    let records = world.records();
    assert_eq!(records.len(), allowed + cases.len() + 3);
    for record in records.iter().take(allowed) {
        assert_eq!(record["effect"], "allow");
        assert_eq!(record["principal"]["user"]["subject"], "alice");
        assert_eq!(record["answers"]["workload"]["policy"], "shop-may-call");
        assert_eq!(record["answers"]["user"]["policy"], "clerks-read-orders");
        assert_eq!(record["resource"], json!({ "type": "Route", "id": "/orders/{id}" }));
        assert_eq!(record["policies"]["generation"], 1);
    }
    for (reason, count) in expected {
        let found = records.iter().skip(allowed).filter(|record| match reason {
            "user" | "workload" => record["answers"][reason]["reason"] == "not_permitted",
            _ => record["reason"] == reason,
        });
        assert_eq!(found.count(), count, "{reason}: {records:#?}");
    }
    let forbidden = records
        .iter()
        .find(|record| record["answers"]["user"]["policy"] == "nobody-reads-the-order-of-the-day");
    assert_eq!(forbidden.unwrap()["answers"]["user"]["reason"], "forbidden");
    let text = std::fs::read_to_string(world.folder.path().join("records.jsonl")).unwrap();
    for token in [&good, &expired, &reader] {
        assert!(!text.contains(token.rsplit('.').next().unwrap()), "a record holds a signature");
    }
}
