//! mTLS, identity and policy in front of a TCP service that knows nothing of them, such as
//! PostgreSQL. `serve` stands beside the service, `connect` beside its clients.

mod connect;
mod endpoint;
mod proxy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use zt_core::record::{JsonLines, RecordQueue};
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_core::watch::Watch;
use zt_examples::options::Options;
use zt_examples::{Outcome, chain};
use zt_identity::revocation::Revocation;
use zt_identity::source::PemFiles;
use zt_identity::{Authorizer, X509Source};
use zt_policy::LivePolicies;
use zt_tls::listen::Listener;
use zt_tls::{Acceptor, Connector};

use crate::connect::LocalEnd;
use crate::endpoint::Endpoint;
use crate::proxy::Proxy;

const USAGE: &str = "\
usage: legacy-proxy serve   --identity FOLDER --listen ADDRESS --policies FOLDER
                            --upstream ENDPOINT --name NAME
       legacy-proxy connect --identity FOLDER --listen ENDPOINT --proxy ADDRESS --server SPIFFE-ID

  --identity  svid.pem, key.pem, bundle.pem and crl.pem; read again when they change
  --policies  files of Cedar; read again when they change
  --upstream  the service, which nobody else should be able to reach
  --name      what policies call it: Upstream::\"NAME\"
  --server    whom connect expects at the other end

An endpoint is an address and a port, or the path of a Unix socket.";

/// Connections at once: PostgreSQL takes 100 unless it is told otherwise.
const SESSIONS: usize = 90;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    if command == "--help" {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = match (&*command, Options::parse(arguments)) {
        ("serve", Ok(options)) => serve(options).await,
        ("connect", Ok(options)) => connect(options).await,
        (_, Err(error)) => Err(error),
        (_, Ok(_)) => Err("say serve or connect".into()),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("legacy-proxy: {}\n\n{USAGE}", chain(&*error));
    ExitCode::FAILURE
}

/// The end beside the service.
async fn serve(mut options: Options) -> Outcome<()> {
    let (source, _watch) = identity(&options.take::<PathBuf>("--identity")?)?;
    let address: SocketAddr = options.take("--listen")?;
    let policy = LivePolicies::open(options.take::<PathBuf>("--policies")?)?;
    let upstream = options.take("--upstream")?;
    let name: String = options.take("--name")?;
    options.finish()?;

    // Anyone of the trust domain may knock; who may come in is for policy to say.
    let members = Authorizer::member_of(domain()?);
    let acceptor = Acceptor::builder(source, members).revocation(Revocation::Required).build()?;
    let listener = Listener::bind(address, acceptor)
        .await?
        .max_connections(SESSIONS)
        .on_refused(|from, refused| eprintln!("nobody from {from}: {}", chain(refused)));
    println!("up at {}", listener.local_addr()?);
    let records = RecordQueue::builder().start(JsonLines::new(std::io::stdout()))?;
    Proxy::new(policy, records, upstream, &name).serve(listener).await
}

/// The end beside a client.
async fn connect(mut options: Options) -> Outcome<()> {
    let (source, _watch) = identity(&options.take::<PathBuf>("--identity")?)?;
    let local = options.take::<Endpoint>("--listen")?.listen().await?;
    let proxy = options.take("--proxy")?;
    let server: SpiffeId = options.take("--server")?;
    options.finish()?;

    let connector = Connector::builder(source, Authorizer::id(server))
        .revocation(Revocation::Required)
        .build()?;
    println!("up at {local}");
    LocalEnd::new(connector, proxy).serve(local).await
}

fn domain() -> Outcome<TrustDomain> {
    Ok(TrustDomain::from_name("example.org")?)
}

/// What is in the folder now, and whatever comes there later.
fn identity(folder: &std::path::Path) -> Outcome<(X509Source, Watch)> {
    let files = PemFiles::new(folder.join("svid.pem"), folder.join("key.pem"))
        .with_bundle(domain()?, folder.join("bundle.pem"))
        .with_crl(folder.join("crl.pem"));
    let source = X509Source::open(files, SystemClock.now())?;
    let watch = source.watch(SystemClock, |outcome| {
        if let Err(error) = outcome {
            eprintln!("the identity stays as it was: {}", chain(&error));
        }
    })?;
    Ok((source, watch))
}
