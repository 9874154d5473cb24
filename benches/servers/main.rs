//! One of the servers that `path/axum-load` puts under load: `axum-load <which> <folder>`.
//!
//! | which | the service behind mTLS |
//! |---|---|
//! | `bare-mtls` | an axum router |
//! | `ours` | the same within `ZeroTrust`: records go to a file through the queue |
//! | `by-hand` | the same within `tower-oauth2-resource-server` and a middleware that asks `cedar-policy` |
//!
//! The folder has its identity and bundle, and the key set of the issuer, as `jwks.json`. It says
//! where it listens, and then, for each line that it reads, how much CPU time this process has used,
//! user and system together, of all of its threads, in nanoseconds, as soon as its records are
//! written: what `getrusage` says in microseconds. It ends with its input.

mod by_hand;
mod ours;
mod policies;

use std::error::Error;
use std::io::stdin;
use std::path::Path;

use axum::Router;
use axum::routing::get;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use zt_core::record::RecordQueue;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::Acceptor;
use zt_tls::serve::serve;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "orders";

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [which, folder] = arguments.as_slice() else {
        return Err("say which server, and where its files are".into());
    };
    // The clients keep one core busy.
    let cores = std::thread::available_parallelism()?.get().saturating_sub(1).max(1);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
    let folder = Path::new(folder);
    let jwks = std::fs::read_to_string(folder.join("jwks.json"))?;
    let (app, records) = match which.as_str() {
        "bare-mtls" => (app(), None),
        "ours" => ours::protect(app(), &jwks, folder).map(|(app, queue)| (app, Some(queue)))?,
        "by-hand" => (runtime.block_on(by_hand::protect(app(), &jwks))?, None),
        other => return Err(format!("there is no server {other:?}").into()),
    };
    // As `axum::serve` has it: layers are put around the handlers now, not anew with each request.
    let app: Router = app.with_state(());
    let acceptor = acceptor(folder)?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    runtime.spawn(serve(listener, acceptor, app));
    for line in stdin().lines() {
        line?;
        println!("{}", used(records.as_ref())?);
    }
    Ok(())
}

/// The service that is protected, or not.
fn app() -> Router {
    let mut app = Router::new().route("/orders/{id}", get(|| async { "order 42" }));
    for area in policies::AREAS.iter().filter(|area| **area != "orders") {
        app = app.route(&format!("/{area}/{{id}}"), get(|| async { "another" }));
    }
    app
}

fn acceptor(folder: &Path) -> Outcome<Acceptor> {
    let domain = TrustDomain::from_name("example.org")?;
    let [chain, key, bundle] = ["svid.pem", "key.pem", "bundle.pem"].map(|name| folder.join(name));
    let source = X509Source::from_pem_files(domain.clone(), chain, key, bundle, SystemClock.now())?;
    Ok(Acceptor::new(source, Authorizer::member_of(domain))?)
}

/// What this process has used, once everything that was asked of it so far is done.
fn used(records: Option<&RecordQueue>) -> Outcome<i64> {
    let left = |queue: &RecordQueue| queue.stats().enqueued - queue.stats().written;
    while records.is_some_and(|queue| left(queue) > 0) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Ok(used.tv_sec * 1_000_000_000 + used.tv_nsec)
}
