//! Real programs that nobody here wrote: openssl, curl, nginx, python3 with joserfc, node,
//! redis-server.
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
