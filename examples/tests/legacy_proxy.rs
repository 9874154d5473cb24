//! PostgreSQL behind the legacy proxy: real psql, real processes, and identities from files, with
//! the commands of its README.

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustls::AlertDescription;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_examples::client::{Answer, Client};
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
use zt_identity::source::X509Source;
use zt_tests::peers::{PostgresServer, run, try_run};
use zt_tls::Connector;

const SOON: Duration = Duration::from_secs(30);

/// A program of the examples, until it is dropped.
struct Program {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Program {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, stdin, lines }
    }

    /// The next line that holds this.
    fn line(&self, holds: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("no {holds:?}"));
            if line.contains(holds) {
                return line;
            }
        }
    }

    fn address(&self) -> String {
        self.line("up at ").trim_start_matches("up at ").to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments of a command in the README, with these words instead of those.
fn readme(command: &str, instead: &[(&str, &str)]) -> Vec<String> {
    let text = include_str!("../legacy-proxy/README.md").replace("\\\n", "");
    let line = text.lines().find(|line| line.contains(command)).unwrap();
    let (_, arguments) = line.split_once(" -- ").unwrap();
    let replace = |word: &str| {
        instead.iter().fold(word.to_owned(), |word, (old, new)| word.replace(old, new))
    };
    arguments.split_whitespace().map(replace).collect()
}

/// PostgreSQL, a proxy in front of it, and an authority, all with the commands of the README.
struct Stage {
    database: PostgresServer,
    authority: Program,
    proxy: Program,
    address: String,
    policies: PathBuf,
    folder: tempfile::TempDir,
}

impl Stage {
    fn set() -> Option<Self> {
        PostgresServer::is_present().then(|| {
            let folder = tempfile::tempdir().unwrap();
            let database = PostgresServer::start(folder.path());
            let upstream = format!("127.0.0.1:{}", database.port());
            Self::before(&upstream, database, folder)
        })
    }

    fn before(upstream: &str, database: PostgresServer, folder: tempfile::TempDir) -> Self {
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (ids, policies) = (at("ids"), at("policies"));
        let authority = readme("--bin authority", &[("/tmp/zt", &ids)]);
        let authority = Program::start(env!("CARGO_BIN_EXE_authority"), &authority);
        authority.line("spiffe://example.org/mailer");

        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("legacy-proxy/policies");
        fs::create_dir(&policies).unwrap();
        let file = PathBuf::from(&policies).join("database.cedar");
        fs::copy(shipped.join("database.cedar"), file).unwrap();
        let serve = readme(
            "legacy-proxy -- serve",
            &[
                ("/tmp/zt", &ids),
                ("127.0.0.1:6432", "127.0.0.1:0"),
                ("127.0.0.1:5432", upstream),
                ("examples/legacy-proxy/policies", &policies),
            ],
        );
        let proxy = Program::start(env!("CARGO_BIN_EXE_legacy-proxy"), &serve);
        let address = proxy.address();
        let policies = PathBuf::from(policies);
        Self { database, authority, proxy, address, policies, folder }
    }

    fn ids(&self) -> PathBuf {
        self.folder.path().join("ids")
    }

    /// The local end of a workload, which listens there.
    fn connect_at(&self, name: &str, listen: &str) -> Program {
        let ids = self.ids();
        let connect = readme(
            "legacy-proxy -- connect",
            &[
                ("/tmp/zt/reports", ids.join(name).to_str().unwrap()),
                ("127.0.0.1:5433", listen),
                ("127.0.0.1:6432", &self.address),
            ],
        );
        Program::start(env!("CARGO_BIN_EXE_legacy-proxy"), &connect)
    }

    /// The local end of a workload, and its port.
    fn connect(&self, name: &str) -> (Program, u16) {
        let local = self.connect_at(name, "127.0.0.1:0");
        let address: SocketAddr = local.address().parse().unwrap();
        (local, address.port())
    }

    fn query(&self, port: u16, query: &str) -> Result<String, String> {
        let output = try_run(self.database.psql(port).args(["-c", query]), "");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A query that would take an hour, until it is broken off; yields what psql said.
    fn broken_off(&self, port: u16, by: impl FnOnce()) -> String {
        let mut psql = self.database.psql(port);
        let mut child = psql
            .args(["-c", "select 'it began'", "-c", "select pg_sleep(3600)"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, "it began\n");
        by();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > SOON {
                child.kill().unwrap();
                panic!("the session goes on");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(!status.success());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

#[test]
fn a_workload_that_policy_names_uses_postgresql_as_if_nothing_were_in_between() {
    let Some(stage) = Stage::set() else { return };
    let (_local, port) = stage.connect("reports");
    stage
        .query(port, "create table orders as select g as id from generate_series(1, 100000) g")
        .unwrap();
    let all = stage.query(port, "select id from orders order by id").unwrap();
    assert!(all.lines().enumerate().all(|(n, line)| line == (n + 1).to_string()));
    assert_eq!(all.lines().count(), 100_000);
    let record = stage.proxy.line("\"event\":\"decision\"");
    for part in [
        r#""effect":"allow""#,
        r#""spiffe":"spiffe://example.org/reports""#,
        r#""action":"connect""#,
        r#""resource":{"type":"Upstream","id":"orders-db"}"#,
        r#""policy":"reports-may-connect""#,
    ] {
        assert!(record.contains(part), "{part}: {record}");
    }
}

#[test]
fn both_ends_may_be_unix_sockets_that_nobody_else_reaches() {
    if !PostgresServer::is_present() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = PostgresServer::start(folder.path());
    let upstream = database.socket().to_str().unwrap().to_owned();
    let stage = Stage::before(&upstream, database, folder);
    let socket = stage.ids().join("reports/.s.PGSQL.5432");
    // One that was left behind by a program that is gone is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let local = stage.connect_at("reports", socket.to_str().unwrap());
    local.line("up at ");
    let mut psql = stage.database.psql(5432);
    psql.arg("-h").arg(socket.parent().unwrap()).args(["-c", "select 'it works'"]);
    assert_eq!(run(&mut psql, ""), b"it works\n");
}

#[test]
fn whoever_may_not_connect_is_refused_before_postgresql_hears_of_them() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.database.connections();

    // A workload of the same trust domain that no policy names.
    let (_local, port) = stage.connect("mailer");
    stage.query(port, "select 1").unwrap_err();
    let record = stage.proxy.line("\"event\":\"decision\"");
    assert!(record.contains("example.org/mailer") && record.contains("not_permitted"), "{record}");

    // A workload of the same name whose authority is another.
    let proxy: SocketAddr = stage.address.parse().unwrap();
    let domain = TrustDomain::from_name("example.org").unwrap();
    let other = Authority::new(domain.clone(), SystemClock.now()).unwrap();
    let ours = stage.ids().join("reports");
    let file = |name: &str| ours.join(name);
    let (svid, key, bundle) = (file("svid.pem"), file("key.pem"), file("bundle.pem"));
    let now = SystemClock.now();
    let reports = X509Source::from_pem_files(domain.clone(), svid, key, bundle, now).unwrap();
    let bundles = reports.current().bundles().clone();
    let forged = X509Source::new(other.svid("/reports").unwrap(), bundles);
    let members = || Authorizer::member_of(domain.clone());
    let forger = Client::new("forger", &Connector::new(forged, members()).unwrap());
    // Nobody at all.
    let nobody = Connector::new(reports, members()).unwrap();
    let nobody = Client::without_certificate("nobody", &nobody);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (client, alert) in [
        (forger, AlertDescription::CertificateUnknown),
        (nobody, AlertDescription::CertificateRequired),
    ] {
        let answer = runtime.block_on(client.get(proxy, "/")).unwrap();
        assert_eq!(answer, Answer::Alert(alert), "{}", client.name);
    }

    // Who does not speak TLS at all, psql among them.
    stage.query(proxy.port(), "select 1").unwrap_err();
    let mut plain = TcpStream::connect(proxy).unwrap();
    plain.set_read_timeout(Some(SOON)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = plain.read_to_end(&mut Vec::new());

    assert_eq!(stage.database.connections(), before);
}

#[test]
fn a_proxy_that_is_not_the_databases_own_is_told_nothing() {
    let Some(mut stage) = Stage::set() else { return };
    // The same program and the same policies, with the identity of another workload.
    let ids = stage.ids();
    let serve = readme(
        "legacy-proxy -- serve",
        &[
            ("/tmp/zt/database", ids.join("mailer").to_str().unwrap()),
            ("127.0.0.1:6432", "127.0.0.1:0"),
            ("127.0.0.1:5432", &format!("127.0.0.1:{}", stage.database.port())),
            ("examples/legacy-proxy/policies", stage.policies.to_str().unwrap()),
        ],
    );
    let false_proxy = Program::start(env!("CARGO_BIN_EXE_legacy-proxy"), &serve);
    stage.address = false_proxy.address();
    let before = stage.database.connections();
    let (_local, port) = stage.connect("reports");
    stage.query(port, "select 'a secret'").unwrap_err();
    assert_eq!(stage.database.connections(), before);
}

#[test]
fn a_session_ends_when_its_workload_is_revoked() {
    let Some(mut stage) = Stage::set() else { return };
    let (_local, port) = stage.connect("reports");
    let mut stdin = &stage.authority.stdin;
    let said = stage.broken_off(port, || writeln!(stdin, "revoke reports").unwrap());
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    // And no other begins.
    let before = stage.database.connections();
    stage.query(port, "select 1").unwrap_err();
    assert_eq!(stage.database.connections(), before);
    stage.authority.stdin.flush().unwrap();
}

#[test]
fn a_session_ends_when_policy_names_its_workload_no_more() {
    let Some(stage) = Stage::set() else { return };
    let (_local, port) = stage.connect("reports");
    let file = stage.policies.join("database.cedar");
    let text = fs::read_to_string(&file).unwrap();
    let said = stage.broken_off(port, || {
        fs::write(&file, text.replace("example.org/reports", "example.org/nobody")).unwrap();
    });
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    let record = stage.proxy.line(r#""effect":"deny""#);
    assert!(record.contains("example.org/reports"), "{record}");
}

/// Has the proxy believe another authority from now on, which issues `reports` an identity that lasts
/// so long.
fn another_authority(stage: &Stage, lasting: Duration) {
    let domain = TrustDomain::from_name("example.org").unwrap();
    let other = Authority::new(domain, SystemClock.now()).unwrap();
    let issued = stage.folder.path().join("issued");
    other.request("/reports").lasting(lasting).write_to_folder(&issued).unwrap();
    let (reports, database) = (stage.ids().join("reports"), stage.ids().join("database"));
    for file in ["svid.pem", "key.pem"] {
        fs::copy(issued.join(file), reports.join(file)).unwrap();
    }
    fs::copy(issued.join("bundle.pem"), database.join("bundle.pem")).unwrap();
    fs::write(database.join("crl.pem"), other.crl().pem().unwrap()).unwrap();
}

#[test]
fn a_session_ends_when_its_authority_is_not_believed_any_more() {
    let Some(stage) = Stage::set() else { return };
    let (_local, port) = stage.connect("reports");
    let hour = Duration::from_secs(3600);
    let said = stage.broken_off(port, || another_authority(&stage, hour));
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    // Both ends take up what is new by themselves.
    let began = Instant::now();
    while let Err(error) = stage.query(port, "select 1") {
        assert!(began.elapsed() < SOON, "{error}");
    }
}

#[test]
fn a_session_ends_when_its_certificate_expires() {
    let Some(stage) = Stage::set() else { return };
    another_authority(&stage, Duration::from_secs(15));
    let (_local, port) = stage.connect("reports");
    let began = Instant::now();
    while let Err(error) = stage.query(port, "select 1") {
        assert!(began.elapsed() < SOON, "{error}");
    }
    let said = stage.broken_off(port, || {});
    assert!(said.contains("server closed the connection unexpectedly"), "{said}");
    // Connections end a little before their certificate, as they do not all end at once.
    let began = Instant::now();
    while stage.query(port, "select 1").is_ok() {
        assert!(began.elapsed() < SOON, "others begin still");
    }
}

#[test]
fn what_is_said_wrongly_on_the_command_line_is_told() {
    for (arguments, said) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], "--identity is missing"),
        (&["connect", "listen"], "\"listen\" is not an option"),
        (&[], "say serve or connect"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_legacy-proxy"));
        let output = command.args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && errors.contains(said), "{errors}");
    }
}
