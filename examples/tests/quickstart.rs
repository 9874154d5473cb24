//! What the README promises: the story ends well, and the commands that `serve` prints work as they
//! are printed, in a shell, with the real curl and openssl.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use zt_core::time::{Clock, SystemClock};
use zt_tests::peers::{OpensslAuthority, present};

const QUICKSTART: &str = env!("CARGO_BIN_EXE_quickstart");
const SOON: Duration = Duration::from_secs(30);

/// A `quickstart serve`, until it is dropped.
struct Served {
    child: Child,
    lines: Receiver<String>,
    commands: Vec<Commands>,
}

/// The commands that are printed under one status.
struct Commands {
    status: String,
    curl: String,
    openssl: String,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(QUICKSTART)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let mut served = Self { child, lines, commands: Vec::new() };
        let text = served.until("  time ");
        served.commands = text.split("\n# ").skip(1).map(Commands::parse).collect();
        served
    }

    /// Everything that is printed up to a line that begins so.
    fn until(&self, begins: &str) -> String {
        let mut text = String::new();
        loop {
            let line = self.lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("only {text}"));
            text.push_str(&line);
            text.push('\n');
            if line.starts_with(begins) {
                return text;
            }
        }
    }

    fn statuses(&self) -> Vec<&str> {
        self.commands.iter().map(|group| &*group.status).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Commands {
    fn parse(section: &str) -> Self {
        let (status, rest) = section.split_once(':').unwrap();
        let (_, commands) = rest.split_once('\n').unwrap();
        let commands = commands.split("\n\n").next().unwrap();
        let (curl, openssl) = commands.split_once("\nprintf ").unwrap();
        assert!(curl.starts_with("curl ") && openssl.contains("openssl s_client"), "{commands}");
        Self { status: status.into(), curl: curl.into(), openssl: format!("printf {openssl}") }
    }
}

/// Runs it as the reader of the output would.
fn shell(command: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let variables = variables.iter().copied();
    Command::new("sh").args(["-c", command]).current_dir(folder).envs(variables).output().unwrap()
}

fn status(output: &Output) -> Option<String> {
    let answer = String::from_utf8_lossy(&output.stdout);
    answer.split(' ').nth(1).map(str::to_owned)
}

/// Runs both commands of a group, which have to get the status that they are printed under.
fn assert_status(commands: &Commands, folder: &Path, variables: &[(&str, &str)]) {
    for command in [&commands.curl, &commands.openssl] {
        let output = shell(command, folder, variables);
        assert_eq!(status(&output).as_ref(), Some(&commands.status), "{command}\n{output:?}");
    }
}

fn needed() -> bool {
    present(&[&["openssl", "version"], &["curl", "--version"], &["sh", "-c", "true"]])
}

#[test]
fn the_story_goes_as_expected_with_one_line_for_each_scene() {
    let output = Command::new(QUICKSTART).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains('\u{1b}'), "a pipe is not coloured");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    let scenes: Vec<&str> = text.lines().filter(|line| line.starts_with('✓')).collect();
    assert_eq!(scenes.len(), 18, "{text}");
    assert!(!text.contains('✗') && text.contains("18 scenes, 18 as expected, 0 not."), "{text}");
    for (title, shown) in [
        ("everything in place", "200           shop-may-call, clerks-read"),
        ("another trust domain", "TLS alert 46  no bundle for \"evil.test\""),
        ("no certificate", "TLS alert 116 peer sent no certificates"),
        ("expired certificate", "TLS alert 46  expired at "),
        ("no token", "401           no credential"),
        ("expired token", "401           token expired"),
        ("token for billing", "401           token of another audience"),
        ("alg: none", "401           token algorithm"),
        ("refund without MFA", "401 step up   step up needed"),
        ("refund with MFA", "200           shop-may-call, managers-refund"),
        ("wrong role", "403           user: no policy permits it"),
        ("wrong workload", "403           workload: no policy permits it"),
        ("a forbid is added", "403           user: forbidden by stocktaking"),
        ("broken edit: no change", "403           user: forbidden by stocktaking"),
        ("the forbid is removed", "200           shop-may-call, clerks-read"),
        ("new key: not yet known", "401           token key unknown"),
        ("new key, ", "200           shop-may-call, clerks-read"),
        ("old key: withdrawn", "401           token key unknown"),
    ] {
        let found = scenes.iter().filter(|line| line.contains(title) && line.contains(shown));
        assert_eq!(found.count(), 1, "{title}: {shown}\n{text}");
    }
}

/// Without what differs between two runs: numbers, and the spaces that make room for them.
fn without_numbers(line: &str) -> String {
    line.split(|c: char| c.is_ascii_digit() || c == ' ').filter(|s| !s.is_empty()).collect()
}

#[test]
fn the_readme_shows_what_the_story_prints() {
    let output = Command::new(QUICKSTART).output().unwrap();
    let readme = include_str!("../quickstart/README.md");
    let shown = |begins: char, text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with(begins)).map(without_numbers).collect()
    };
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown('✓', readme), shown('✓', &printed));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_the_usage() {
    let output = Command::new(QUICKSTART).args(["serve", "--port", "1"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors.contains("\"--port\" is not an option") && errors.contains("usage:"),
        "{errors}"
    );
    let output = Command::new(QUICKSTART).arg("--help").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("--trust-domain NAME"));
}

#[test]
fn what_cannot_be_served_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (arguments, said) in [
        (vec!["--policies", missing], "cannot read"),
        (vec!["--svid", missing, "--key", missing, "--bundle", missing], "cannot read"),
        (vec!["--issuer", "http://login.example.com"], "https"),
    ] {
        let mut command = Command::new(QUICKSTART);
        command.arg("serve").arg(folder.path()).args(["--listen", "127.0.0.1:0"]);
        let output = command.args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors.starts_with("quickstart: ") && errors.contains(said), "{errors}");
    }
}

#[test]
fn what_serve_prints_works_as_it_is_printed() {
    if !needed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&[folder.path().to_str().unwrap()]);
    assert_eq!(served.statuses(), ["200", "401", "403"]);
    for (group, said) in served.commands.iter().zip([
        "allow         shop-may-call, clerks-read",
        "deny          no credential",
        "deny          user: no policy permits it",
    ]) {
        assert_status(group, folder.path(), &[]);
        for _ in ["curl", "openssl"] {
            let says = served.lines.recv_timeout(SOON).unwrap();
            assert!(says.contains(said), "{says}");
        }
    }
    for secret in ["cart/key.pem", "mailer/key.pem", "alice.token", "bob.token", "records.jsonl"] {
        let metadata = std::fs::metadata(folder.path().join(secret)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{secret}");
    }
    let records = std::fs::read_to_string(folder.path().join("records.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 6);

    // A policy is edited, and in force soon after.
    let orders = folder.path().join("policies/orders.cedar");
    let text = std::fs::read_to_string(&orders).unwrap();
    std::fs::write(&orders, text.replace("Role::\"clerk\"", "Role::\"guest\"")).unwrap();
    let begun = Instant::now();
    let bob = || status(&shell(&served.commands[2].curl, folder.path(), &[]));
    while bob().as_deref() != Some("200") {
        assert!(begun.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An issuer that the quickstart did not start: one key, published, and the tokens that it signs.
struct ForeignIssuer {
    url: String,
    key: KeyPair,
    _runtime: Runtime,
}

impl ForeignIssuer {
    fn start() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let part = |range: std::ops::Range<usize>| base64url(&key.der_bytes()[range]);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "theirs", "x": part(1..33), "y": part(33..65),
        });
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
        let serve = |document: Value| get(async move || axum::Json(document.clone()));
        let app = Router::new()
            .route("/.well-known/openid-configuration", serve(discovery))
            .route("/jwks", serve(json!({ "keys": [jwk] })));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, key, _runtime: runtime }
    }

    fn token(&self, subject: &str, audience: &str, role: &str) -> String {
        let now = SystemClock.now().as_secs();
        let claims = json!({
            "iss": self.url, "sub": subject, "aud": audience, "client_id": "test", "jti": subject,
            "iat": now, "exp": now + 300, "roles": [role],
        });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".into());
        header.kid = Some("theirs".into());
        let signer = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &claims, &signer).unwrap()
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

const THEIR_POLICIES: &str = r#"
    @id("till") permit (principal == Workload::"spiffe://acme.test/till", action, resource);
    @id("sellers") permit (principal in Role::"seller", action == Action::"GET", resource);
"#;

#[test]
fn certificates_issuer_and_policies_may_come_from_outside() {
    if !needed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = OpensslAuthority::new(&folder.path().join("ca"), "acme.test");
    let service = authority.issue("stock", "spiffe://acme.test/stock");
    let till = authority.issue("till", "spiffe://acme.test/till");
    let other = authority.issue("other", "spiffe://acme.test/other");
    let evil = OpensslAuthority::new(&folder.path().join("evil"), "evil.test");
    let evil = evil.issue("till", "spiffe://evil.test/till");
    let issuer = ForeignIssuer::start();
    let policies = folder.path().join("theirs");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("stock.cedar"), THEIR_POLICIES).unwrap();

    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let own = folder.path().join("own");
    let mut arguments = vec![text(&own)];
    for (flag, value) in [
        ("--trust-domain", "acme.test".into()),
        ("--svid", text(&service.cert)),
        ("--key", text(&service.key)),
        ("--bundle", text(&authority.bundle())),
        ("--issuer", issuer.url.clone()),
        ("--audience", "stock".into()),
        ("--policies", text(&policies)),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    let served = Served::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for unneeded in ["cart", "alice.token", "policies"] {
        assert!(!own.join(unneeded).exists(), "{unneeded}");
    }

    // The printed commands, with the variables that they ask for.
    let (svid, key) = (text(&till.cert), text(&till.key));
    let seller = issuer.token("sam", "stock", "seller");
    assert_eq!(served.statuses(), ["200", "401"]);
    for group in &served.commands {
        assert_status(group, &own, &[("SVID", &svid), ("KEY", &key), ("TOKEN", &seller)]);
    }

    // What does not fit what came from outside is refused.
    let guest = issuer.token("gus", "stock", "guest");
    let orders = issuer.token("sam", "orders", "seller");
    for (svid, token, expected) in [
        (&till, &guest, Some("403")),
        (&other, &seller, Some("403")),
        (&till, &orders, Some("401")),
        (&evil, &seller, None),
    ] {
        let (svid, key) = (text(&svid.cert), text(&svid.key));
        let variables = [("SVID", &*svid), ("KEY", &*key), ("TOKEN", &**token)];
        let output = shell(&served.commands[0].curl, &own, &variables);
        assert_eq!(status(&output).as_deref(), expected, "{svid}: {output:?}");
    }
}
