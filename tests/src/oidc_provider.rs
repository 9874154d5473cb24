//! npm `oidc-provider`, a certified OpenID provider, on this machine.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::peers::{present, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/oidc_provider.mjs");
const IMPORT: &str = concat!(
    "import('file://",
    env!("CARGO_MANIFEST_DIR"),
    "/peers/node_modules/oidc-provider/lib/index.js')"
);

/// Whether node, its packages and curl are here.
///
/// # Panics
///
/// When they are not and `ZT_REQUIRE_PEERS=1` is set.
pub fn is_present() -> bool {
    present(&[&["node", "--eval", IMPORT], &["curl", "--version"]])
}

/// A provider that runs until this is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    url: String,
}

impl OidcProvider {
    /// Starts it; `peers/oidc_provider.mjs` says what `options` there are.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(options: &Value) -> Self {
        let mut child = Command::new("node")
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut provider = Self { child, commands, answers, url: String::new() };
        provider.url = provider.ask(&options.to_string());
        assert!(provider.url.starts_with("http://127.0.0.1:"), "{:?}", provider.url);
        provider
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces all of its keys by new ones of other names.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn rotate(&mut self) {
        assert_eq!(self.ask("rotate"), "rotated");
    }

    /// An access token for the service `orders`, signed by this algorithm.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn access_token(&self, alg: &str) -> String {
        let resource = format!("resource=https://orders.example/{}", alg.to_lowercase());
        let arguments = ["-sS", "--fail-with-body", "-u", "web:web-secret", "-d", &resource];
        let grant = ["-d", "grant_type=client_credentials", "-d", "scope=orders:read"];
        let mut curl = Command::new("curl");
        let answer = run(curl.args(arguments).args(grant).arg(format!("{}/token", self.url)), "");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.commands, "{line}").expect("it runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("its output");
        answer.trim_end().to_owned()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
