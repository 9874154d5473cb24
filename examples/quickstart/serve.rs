//! The service alone, kept up, with everything that somebody needs to call it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, interval_at};
use zt_core::record::{JsonLines, Record, RecordSink};
use zt_core::time::{Clock, SystemClock};
use zt_core::watch::{DEFAULT_INTERVAL, Watch};
use zt_identity::authority::Authority;
use zt_identity::bundle::BundleSet;
use zt_identity::oidc::refresh::RefreshOptions;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;

use crate::Outcome;
use crate::issuer::Issuer;
use crate::observe::{Seen, Watcher, refusals};
use crate::options::{IdentityFiles, Options};
use crate::service::{self, DecidingTime, Parts};
use crate::show::{Line, Screen, chain};
use crate::story::{POLICIES_FILE, SERVICE, claims_of, with, write_policies};

/// The host that the service has a certificate for.
const HOST: &str = "localhost";
/// Certificates and tokens live for an hour, and are renewed long before.
const RENEWAL: Duration = Duration::from_secs(15 * 60);

/// Serves until Ctrl-C.
pub async fn run(options: Options) -> Outcome<()> {
    // Removed when it is dropped.
    let (folder, _temporary) = folder(options.folder.as_deref())?;
    let policies_folder = match &options.policies {
        Some(folder) => folder.clone(),
        None => folder.join("policies"),
    };
    if options.policies.is_none() {
        write_policies(&policies_folder)?;
    }
    let policies = service::policies(&policies_folder, DEFAULT_INTERVAL)?;
    let authorities = Authorities::start(&options, &folder).await?;
    let (source, _watch) = match &options.identity {
        Some(files) => from_files(&options, files)?,
        None => (authorities.source()?, None),
    };
    authorities.write()?;

    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        format!("cannot listen on {} ({error}); say where with --listen", options.listen)
    })?;
    let address = listener.local_addr()?;
    let id = source.current().identity()?.id().clone();
    let issuer = authorities.issuer_url(&options);
    let tokens = service::tokens(&issuer, &options.audience, RefreshOptions::default()).await?;
    let (send, mut seen) = unbounded_channel();
    let records = folder.join("records.jsonl");
    let sink = Both { file: JsonLines::append_to(&records)?, watcher: Watcher(send.clone()) };
    let domain = options.domain.clone();
    let parts = Parts { source: source.clone(), domain, tokens, policies, listener };
    let deciding = service::start(parts, sink, refusals(send))?;

    let screen = Screen::stdout();
    screen.text(&format!("{id} is up at https://{HOST}:{}\n", address.port()));
    screen.dim(&format!(
        "  policies  {}  (an edit is in force two seconds later)",
        match &options.policies {
            Some(folder) => folder.display().to_string(),
            None => policies_folder.join(POLICIES_FILE).display().to_string(),
        }
    ));
    screen.dim(&format!("  issuer    {issuer}"));
    screen.dim(&format!("  records   {}", records.display()));
    screen.text(&Commands { options: &options, folder: &folder, address }.to_string());
    screen.dim("Ctrl-C ends it. What happens at the service:");
    screen.columns("time");

    let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
    loop {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
            _ = renewal.tick() => if let Err(error) = authorities.renew(&source) {
                eprintln!("quickstart: not renewed: {}", chain(&*error));
            },
            Some(seen) = seen.recv() => show(screen, &seen, &deciding),
        }
    }
}

fn show(screen: Screen, seen: &Seen, deciding: &DecidingTime) {
    // Of the last decision: with many callers at once it may be another's.
    let deciding = deciding.take();
    let status = if seen.is_allowed() { "allow" } else { "deny" };
    screen.line(&Line {
        expected: None,
        title: &seen.time(),
        caller: &seen.caller(),
        request: &seen.request(),
        answer: if seen.is_refused_connection() { "TLS alert" } else { status },
        allowed: seen.is_allowed(),
        why: &seen.why(),
        deciding: (!deciding.is_zero()).then_some(deciding),
    });
}

fn folder(given: Option<&Path>) -> Outcome<(PathBuf, Option<tempfile::TempDir>)> {
    match given {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            Ok((fs::canonicalize(folder)?, None))
        }
        None => {
            let folder = tempfile::Builder::new().prefix("zt-quickstart-").tempdir()?;
            Ok((fs::canonicalize(folder.path())?, Some(folder)))
        }
    }
}

/// An identity from outside, read again when its files change.
fn from_files(options: &Options, files: &IdentityFiles) -> Outcome<(X509Source, Option<Watch>)> {
    let IdentityFiles { svid, key, bundle } = files;
    let domain = options.domain.clone();
    let source = X509Source::from_pem_files(domain, svid, key, bundle, SystemClock.now())?;
    let watch = source.watch(SystemClock, |outcome| {
        if let Err(error) = outcome {
            eprintln!("quickstart: the identity stays as it was: {}", chain(&error));
        }
    })?;
    Ok((source, Some(watch)))
}

/// What was not given from outside: the authority of certificates, the issuer of tokens.
struct Authorities {
    folder: PathBuf,
    audience: String,
    authority: Option<Authority>,
    issuer: Option<Issuer>,
}

impl Authorities {
    async fn start(options: &Options, folder: &Path) -> Outcome<Self> {
        let authority = match options.identity {
            Some(_) => None,
            None => Some(Authority::new(options.domain.clone(), SystemClock.now())?),
        };
        let issuer = match options.issuer {
            Some(_) => None,
            None => Some(Issuer::start().await?),
        };
        let (folder, audience) = (folder.to_owned(), options.audience.clone());
        Ok(Self { folder, audience, authority, issuer })
    }

    fn issuer_url(&self, options: &Options) -> String {
        let started = self.issuer.as_ref().map(|issuer| issuer.url().to_owned());
        started.or_else(|| options.issuer.clone()).unwrap_or_default()
    }

    /// The service's own identity.
    fn source(&self) -> Outcome<X509Source> {
        let (identity, bundles) = self.identity()?.ok_or("there is no authority")?;
        Ok(X509Source::new(identity, bundles))
    }

    fn identity(&self) -> Outcome<Option<(X509Identity, BundleSet)>> {
        let Some(authority) = &self.authority else { return Ok(None) };
        let request = authority.request(SERVICE).for_host(HOST).at(SystemClock.now());
        Ok(Some((request.identity()?, BundleSet::new().with(authority.bundle()))))
    }

    fn renew(&self, source: &X509Source) -> Outcome<()> {
        if let Some((identity, bundles)) = self.identity()? {
            source.replace(identity, bundles);
        }
        self.write()
    }

    /// Certificates and tokens for callers.
    fn write(&self) -> Outcome<()> {
        if let Some(authority) = &self.authority {
            for (name, path) in [("cart", "/ns/shop/sa/cart"), ("mailer", "/ns/mail/sa/mailer")] {
                let request = authority.request(path).at(SystemClock.now());
                request.write_to_folder(self.folder.join(name))?;
            }
        }
        if let Some(issuer) = &self.issuer {
            for (name, role) in [("alice", "clerk"), ("bob", "guest")] {
                let claims = with(claims_of(name, role), json!({ "aud": self.audience }));
                let path = self.folder.join(format!("{name}.token"));
                write_secret(&path, &issuer.mint(claims)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Replaces a file by one that its owner alone can read.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("token.new");
    // One that was left behind may be readable by others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

/// Records go to a file, and to the screen.
struct Both {
    file: JsonLines<fs::File>,
    watcher: Watcher,
}

impl RecordSink for Both {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.file.append(records)?;
        self.watcher.append(records)
    }
}

/// Commands to call the service with, as a shell takes them.
struct Commands<'a> {
    options: &'a Options,
    folder: &'a Path,
    address: SocketAddr,
}

impl std::fmt::Display for Commands<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own_certificates = self.options.identity.is_none();
        let own_tokens = self.options.issuer.is_none();
        writeln!(f, "\ncd {}", quoted(self.folder))?;
        if !own_certificates {
            writeln!(f, "SVID=… KEY=…   # a caller's certificate and key, below /ns/shop")?;
        }
        if !own_tokens {
            writeln!(f, "TOKEN=…        # of a user with the role clerk")?;
        }
        let alice = if own_tokens { "\"$(cat alice.token)\"" } else { "\"$TOKEN\"" };
        writeln!(f, "\n# 200: the user is a clerk, and the workload may call")?;
        self.call(f, "cart", Some(alice))?;
        writeln!(f, "\n# 401: there is no token")?;
        self.call(f, "cart", None)?;
        if own_tokens {
            writeln!(f, "\n# 403: bob has no role that a policy names")?;
            self.call(f, "cart", Some("\"$(cat bob.token)\""))?;
        } else if own_certificates {
            writeln!(f, "\n# 403: no policy lets the workload mailer call, whoever its user is")?;
            self.call(f, "mailer", Some(alice))?;
        }
        Ok(())
    }
}

impl Commands<'_> {
    /// One request twice: by curl, and by openssl.
    fn call(
        &self,
        f: &mut std::fmt::Formatter<'_>,
        workload: &str,
        token: Option<&str>,
    ) -> std::fmt::Result {
        let port = self.address.port();
        let (bundle, svid, key) = match &self.options.identity {
            None => (
                format!("{workload}/bundle.pem"),
                format!("{workload}/svid.pem"),
                format!("{workload}/key.pem"),
            ),
            Some(files) => {
                let bundle = std::path::absolute(&files.bundle).unwrap_or(files.bundle.clone());
                (quoted(&bundle), "\"$SVID\"".into(), "\"$KEY\"".into())
            }
        };
        let bearer =
            token.map_or_else(String::new, |token| format!("  --oauth2-bearer {token} \\\n"));
        let header = if token.is_some() { "Authorization: Bearer %s\\r\\n" } else { "" };
        let token = token.map_or_else(String::new, |token| format!(" \\\n  {token}"));
        write!(
            f,
            "curl -i --cacert {bundle} --cert {svid} --key {key} \\\n\
             {bearer}  https://{HOST}:{port}/orders/42\n\
             printf 'GET /orders/42 HTTP/1.1\\r\\nHost: {HOST}\\r\\n{header}Connection: close\\r\\n\\r\\n'{token} |\n  \
             openssl s_client -quiet -verify_quiet -verify_return_error \\\n  \
             -servername {HOST} -connect {HOST}:{port} \\\n  \
             -CAfile {bundle} -cert {svid} -key {key}\n"
        )
    }
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Run, parse};

    #[tokio::test]
    async fn certificates_and_tokens_are_renewed_before_they_expire() {
        assert!(RENEWAL < Duration::from_secs(3600) / 2);
        let Run::Serve(options) = parse(["serve".into()]).unwrap() else { panic!("not serve") };
        let folder = tempfile::tempdir().unwrap();
        let authorities = Authorities::start(&options, folder.path()).await.unwrap();
        let source = authorities.source().unwrap();
        authorities.write().unwrap();
        let read = |name| fs::read(folder.path().join(name)).unwrap();
        let (svid, token) = (read("cart/svid.pem"), read("bob.token"));

        authorities.renew(&source).unwrap();
        assert_eq!(source.generation(), 2);
        assert_ne!(read("cart/svid.pem"), svid);
        assert_ne!(read("bob.token"), token);
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b_c.d")), "/tmp/a-b_c.d");
        assert_eq!(quoted(Path::new("/tmp/it's $HOME")), r"'/tmp/it'\''s $HOME'");
    }
}
