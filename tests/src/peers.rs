//! Real programs that nobody here wrote: openssl, curl, nginx, python3 with joserfc, node,
//! redis-server, PostgreSQL.
//!
//! Where one is missing a test says that it was skipped; with `ZT_REQUIRE_PEERS=1` it fails.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whether all of these commands can be run.
///
/// # Panics
///
/// When one cannot and `ZT_REQUIRE_PEERS=1` is set.
pub fn present(commands: &[&[&str]]) -> bool {
    commands.iter().all(|command| {
        let found = command.split_first().is_some_and(|(program, arguments)| {
            let status = Command::new(program)
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        });
        let required = std::env::var_os("ZT_REQUIRE_PEERS").is_some_and(|v| v == "1");
        assert!(found || !required, "required and missing: {}", command.join(" "));
        if !found {
            println!("skipped: `{}` cannot be run", command.join(" "));
        }
        found
    })
}

/// Runs a command that has to succeed, with this on its standard input, and returns its output.
///
/// # Panics
///
/// When it cannot be run or fails.
pub fn run(command: &mut Command, input: &str) -> Vec<u8> {
    let output = try_run(command, input);
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a command, with this on its standard input.
///
/// # Panics
///
/// When it cannot be run.
pub fn try_run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A command that needs no input may end before it took any.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("its output")
}

/// A certificate authority of one trust domain, run by the openssl command line.
#[derive(Debug)]
pub struct OpensslAuthority {
    folder: PathBuf,
}

/// The files of one SVID.
#[derive(Clone, Debug)]
pub struct SvidFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key, PKCS#8.
    pub key: PathBuf,
}

impl OpensslAuthority {
    /// Makes the authority of `trust_domain` in `folder`.
    ///
    /// # Panics
    ///
    /// When openssl fails.
    pub fn new(folder: &Path, trust_domain: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let config = format!(
            "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\n\
             basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
             subjectKeyIdentifier=hash\nsubjectAltName=URI:spiffe://{trust_domain}\n"
        );
        let authority = Self { folder: folder.to_owned() };
        std::fs::write(authority.path("ca.cnf"), config).expect("written");
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /O=peers \
             -config ca.cnf -keyout ca.key -out ca.pem",
        );
        authority
    }

    /// The bundle: the certificate of the authority.
    pub fn bundle(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Issues an SVID, which is also good for the host `localhost`.
    ///
    /// # Panics
    ///
    /// When openssl fails.
    pub fn issue(&self, name: &str, spiffe_id: &str) -> SvidFiles {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n\
             subjectAltName=URI:{spiffe_id},DNS:localhost\n"
        );
        std::fs::write(self.path(&format!("{name}.ext")), extensions).expect("written");
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=peers \
             -config ca.cnf -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
             -extfile {name}.ext -out {name}.pem"
        ));
        SvidFiles {
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn openssl(&self, arguments: &str) {
        let arguments = arguments.split_whitespace();
        run(Command::new("openssl").args(arguments).current_dir(&self.folder), "");
    }
}

/// An issuer of tokens on PyPI `joserfc`, with a key for each of ES256, RS256 and EdDSA.
#[derive(Debug)]
pub struct JoserfcIssuer {
    folder: PathBuf,
}

impl JoserfcIssuer {
    /// Makes the keys in `folder`.
    ///
    /// # Panics
    ///
    /// When the script fails.
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let issuer = Self { folder: folder.to_owned() };
        run(issuer.python().arg("keys").arg(folder), "");
        issuer
    }

    /// The public keys, as JWK set.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    pub fn jwks(&self) -> String {
        std::fs::read_to_string(self.folder.join("jwks.json")).expect("readable")
    }

    /// The private key of an algorithm, PKCS#8 in PEM; its key ID is the algorithm in lower case.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn key_pem(&self, alg: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(format!("{alg}.pem"))).expect("readable")
    }

    /// Mints a token of type `at+jwt` with these claims.
    ///
    /// # Panics
    ///
    /// When the script fails.
    pub fn mint(&self, alg: &str, claims: &serde_json::Value) -> String {
        let mut command = self.python();
        let token = run(command.arg("mint").arg(&self.folder).arg(alg), &claims.to_string());
        String::from_utf8(token).expect("a token is ASCII")
    }

    fn python(&self) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/issuer.py");
        let mut command = Command::new("python3");
        command.arg(script);
        command
    }
}

/// A redis-server that listens on a Unix socket in a folder of its own, keeps nothing, and ends
/// with this value.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    socket: PathBuf,
}

impl RedisServer {
    /// Starts it with these arguments besides, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let socket = folder.join("redis.sock");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        let server = Self { process, socket };
        let listens = || UnixStream::connect(&server.socket).is_ok();
        let began = Instant::now();
        while !listens() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Stops it in its tracks: connections stay open and nothing is answered.
    ///
    /// # Panics
    ///
    /// When it cannot be stopped.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    ///
    /// When it cannot go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        run(Command::new("sh").args(["-c", &kill]), "");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Killing reaches a frozen process as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A PostgreSQL server on a port of loopback with a cluster of its own, which knows a superuser
/// `postgres` without a password. It ends with this value.
#[derive(Debug)]
pub struct PostgresServer {
    process: Child,
    port: u16,
    log: PathBuf,
    socket: PathBuf,
}

impl PostgresServer {
    /// Whether there is one on this machine.
    ///
    /// # Panics
    ///
    /// When there is none and `ZT_REQUIRE_PEERS=1` is set.
    pub fn is_present() -> bool {
        let commands = ["initdb", "postgres", "psql"].map(postgres_program);
        commands.iter().all(|command| {
            present(&[&[command.to_str().expect("a path of Debian's"), "--version"]])
        })
    }

    /// Makes a cluster in `folder`, starts a server and waits until it answers. PostgreSQL does not
    /// run as root, so root lets `nobody` run it, and lets them pass through `folder`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(folder: &Path) -> Self {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

        const NOBODY: u32 = 65_534;
        let cluster = folder.join("cluster");
        std::fs::create_dir(&cluster).expect("a folder");
        let is_root = cluster.metadata().expect("there").uid() == 0;
        if is_root {
            let passable = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(folder, passable).expect("ours");
            chown(&cluster, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let program = |name: &str| {
            let mut command =
                Command::new(if is_root { "setpriv".into() } else { postgres_program(name) });
            if is_root {
                let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
                command.args(nobody).arg(postgres_program(name));
            }
            command.current_dir(&cluster);
            command
        };
        let data = cluster.join("data");
        let trusting = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"];
        run(program("initdb").args(trusting).arg("--pgdata").arg(&data), "");

        let log = folder.join("postgres.log");
        let port = free_port();
        let process = program("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&cluster)
            .args(["-F", "-c", "listen_addresses=127.0.0.1", "-c", "log_connections=on", "-p"])
            .arg(port.to_string())
            .stderr(std::fs::File::create(&log).expect("a file"))
            .stdout(Stdio::null())
            .spawn()
            .expect("postgres");
        let socket = cluster.join(format!(".s.PGSQL.{port}"));
        let server = Self { process, port, log, socket };
        let began = Instant::now();
        while !try_run(server.psql(port).args(["-c", "select 1"]), "").status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The client, which connects to this port.
    pub fn psql(&self, port: u16) -> Command {
        let mut command = Command::new(postgres_program("psql"));
        let quietly = ["-h", "127.0.0.1", "-U", "postgres", "-X", "-q", "-A", "-t", "-p"];
        command.args(quietly).arg(port.to_string());
        command.env("PGCONNECT_TIMEOUT", "30").env_remove("PGHOST").env_remove("PGSSLMODE");
        command
    }

    /// How many connections it has seen so far.
    ///
    /// # Panics
    ///
    /// When its log cannot be read.
    pub fn connections(&self) -> usize {
        self.log().matches("connection received").count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // At once, and nothing of it stays behind.
        let quit = format!("kill -QUIT {}", self.process.id());
        let _ = Command::new("sh").args(["-c", &quit]).status();
        let _ = self.process.wait();
    }
}

/// Debian keeps the server's programs out of the way, a folder for each version.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin").join(name)).max();
    newest.filter(|path| path.exists()).unwrap_or_else(|| name.into())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
