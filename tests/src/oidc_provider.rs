//! npm `oidc-provider`, a certified OpenID provider, on this machine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::issuer::base64url;
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
        self.token_for(&format!("https://orders.example/{}", alg.to_lowercase()))
    }

    /// An access token of the client `web` itself, for this resource.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn token_for(&self, resource: &str) -> String {
        let resource = format!("resource={resource}");
        let form = ["grant_type=client_credentials", "scope=orders:read", &resource];
        let answer = self.post("token", "web:web-secret", &form);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// What the token endpoint answers the client `web` when a user who signs in as `name` lets it
    /// use this resource.
    ///
    /// # Panics
    ///
    /// When it does not answer with tokens.
    pub fn tokens_of_user(&self, browser: &Browser, name: &str, resource: &str) -> Value {
        let verifier = "a-verifier-that-nobody-has-to-keep-secret-in-a-test";
        let challenge = base64url(digest(&SHA256, verifier.as_bytes()).as_ref());
        let back = "http://127.0.0.1:8080/signed-in";
        let url = format!(
            "{}/auth?response_type=code&client_id=web&redirect_uri={back}&resource={resource}\
             &scope=openid%20orders:read&code_challenge={challenge}&code_challenge_method=S256",
            self.url
        );
        let query = browser.sign_in(&url, name);
        let code = query.split('&').find(|pair| pair.starts_with("code=")).expect("a code");
        let verifier = format!("code_verifier={verifier}");
        let (resource, back) = (format!("resource={resource}"), format!("redirect_uri={back}"));
        let form = ["grant_type=authorization_code", code, &verifier, &resource, &back];
        let answer = self.post("token", "web:web-secret", &form);
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Revokes a token that was issued to the client `web` (RFC 7009).
    ///
    /// # Panics
    ///
    /// When it cannot be revoked.
    pub fn revoke(&self, token: &str) {
        self.post("token/revocation", "web:web-secret", &[&format!("token={token}")]);
    }

    /// The body of an answer that is a success.
    fn post(&self, path: &str, client: &str, form: &[&str]) -> Vec<u8> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-u", client]);
        for pair in form {
            curl.args(["-d", pair]);
        }
        run(curl.arg(format!("{}/{path}", self.url)), "")
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

/// A browser without a screen: curl, with a jar for its cookies.
#[derive(Debug)]
pub struct Browser {
    jar: PathBuf,
}

impl Browser {
    /// A browser that keeps its cookies in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { jar: folder.join("cookies") }
    }

    /// Goes to the provider and signs in there as `name`, with a code where one is wanted, and
    /// returns the query that it is sent back with.
    ///
    /// # Panics
    ///
    /// When it is not sent back.
    pub fn sign_in(&self, url: &str, name: &str) -> String {
        let host = url.split('/').nth(2).expect("a host");
        let mut url = url.to_owned();
        for _ in 0..8 {
            let form = format!("login={name}&code=123456");
            let fields: &[&str] = if url.contains("/interaction/") { &["-d", &form] } else { &[] };
            let next = self.curl(&url, &["-o", "/dev/null", "-w", "%{redirect_url}"], fields);
            assert!(!next.is_empty(), "{url} does not redirect");
            if next.split('/').nth(2) != Some(host) {
                return next.split_once('?').expect("a query").1.to_owned();
            }
            url = next;
        }
        panic!("no way back from {url}");
    }

    /// Whether the provider asks the user of this browser to do something.
    ///
    /// # Panics
    ///
    /// When curl fails.
    pub fn is_asked(&self, url: &str) -> bool {
        self.curl(url, &["-o", "/dev/null", "-w", "%{redirect_url}"], &[]).contains("/interaction/")
    }

    /// Goes to the provider and confirms that it signs out, and returns the query that it is sent
    /// back with.
    ///
    /// # Panics
    ///
    /// When it is not sent back.
    pub fn sign_out(&self, url: &str) -> String {
        let page = self.curl(url, &[], &[]);
        let value = |before: &str| {
            let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("{page}"));
            rest.split('"').next().expect("a value").to_owned()
        };
        let form = format!("logout=yes&xsrf={}", value("name=\"xsrf\" value=\""));
        let write = ["-o", "/dev/null", "-w", "%{redirect_url}"];
        let back = self.curl(&value("action=\""), &write, &["-d", &form]);
        back.split_once('?').unwrap_or_else(|| panic!("{back}")).1.to_owned()
    }

    fn curl(&self, url: &str, write: &[&str], fields: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-b"]).arg(&self.jar).arg("-c").arg(&self.jar);
        let output = run(curl.args(write).args(fields).arg(url), "");
        String::from_utf8(output).expect("text")
    }
}
