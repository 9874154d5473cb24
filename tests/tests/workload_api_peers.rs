//! Clients of the Workload API that this project did not write, PyPI `spiffe` and the crate
//! `spiffe`, fetch from the server for tests and verify what they get.

#![cfg(test)]
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use spiffe::{JwtSvid, TrustDomain as TheirDomain, WorkloadApiClient};
use tempfile::TempDir;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::{AgentFault, Authority, WorkloadApiServer};
use zt_tests::peers;

const PATIENCE: Duration = Duration::from_secs(60);

struct Agent {
    authority: Arc<Authority>,
    server: WorkloadApiServer,
    address: String,
    _folder: TempDir,
}

/// An agent of `example.org` with two identities, which federates with `partner.test`.
async fn agent() -> Agent {
    let domain = |name| TrustDomain::from_name(name).unwrap();
    let now = SystemClock.now();
    let authority = Arc::new(Authority::new(domain("example.org"), now).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let server = WorkloadApiServer::on_unix(Arc::clone(&authority), socket).await.unwrap();
    server.federate(&Authority::new(domain("partner.test"), now).unwrap());
    server.serve(["/cart", "/stock"].map(|path| authority.svid(path).unwrap()));
    let address = server.address().to_string();
    Agent { authority, server, address, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn py_spiffe_fetches_everything_verifies_it_and_sees_it_rotate() {
    if !peers::present(&[&["python3", "-c", "import spiffe"]]) {
        return;
    }
    let Agent { authority, server, address, _folder } = agent().await;
    let told = tokio::task::spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/workload_api.py");
        let mut python = Command::new("python3")
            .arg(script)
            .arg(address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(python.stdout.take().unwrap()).lines().map(Result::unwrap);
        let verified: Value = serde_json::from_str(&lines.next().expect("verified")).unwrap();
        assert_eq!(lines.next().as_deref(), Some("/cart"));
        server.serve([authority.svid("/rotated").unwrap()]);
        let rotated = lines.next();
        drop(python.stdin.take());
        assert!(python.wait().unwrap().success());
        (verified, rotated)
    });
    let (verified, rotated) = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    let both = json!(["example.org", "partner.test"]);
    let expected = json!({
        "x509": "spiffe://example.org/cart",
        "all": ["spiffe://example.org/cart", "spiffe://example.org/stock"],
        "jwt": "spiffe://example.org/cart",
        "audience": ["orders", "stock"],
        "refused": true,
        "x509_bundles": both,
        "jwt_bundles": both,
        "partner": 1,
    });
    assert_eq!(verified, expected);
    assert_eq!(rotated.as_deref(), Some("/rotated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crate_spiffe_fetches_x509_svids_and_sees_them_rotate() {
    let Agent { authority, server, address, _folder } = agent().await;
    let client = WorkloadApiClient::connect_to(&address).await.unwrap();
    let svids = client.fetch_all_x509_svids().await.unwrap();
    let ids: Vec<_> = svids.iter().map(|svid| svid.spiffe_id().to_string()).collect();
    assert_eq!(ids, ["spiffe://example.org/cart", "spiffe://example.org/stock"]);
    let bundles = client.fetch_x509_bundles().await.unwrap();
    for name in ["example.org", "partner.test"] {
        let bundle = bundles.get(&TheirDomain::new(name).unwrap()).expect(name);
        assert_eq!(bundle.authorities().len(), 1);
    }
    let mut stream = client.stream_x509_contexts().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.default_svid().unwrap().spiffe_id().path(), "/cart");
    server.serve([authority.svid("/rotated").unwrap()]);
    let next = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.default_svid().unwrap().spiffe_id().path(), "/rotated");
    server.fail(Some(AgentFault::Denied));
    assert!(tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().is_err());
    assert!(client.fetch_x509_svid().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crate_spiffe_fetches_jwt_svids_and_verifies_them() {
    let Agent { address, server: _server, _folder, .. } = agent().await;
    let client = WorkloadApiClient::connect_to(&address).await.unwrap();
    let bundles = client.fetch_jwt_bundles().await.unwrap();
    let svid = client.fetch_jwt_svid(["orders"], None).await.unwrap();
    let offline = JwtSvid::parse_and_validate(svid.token(), &bundles, &["orders"]).unwrap();
    assert_eq!(offline.spiffe_id().to_string(), "spiffe://example.org/cart");
    assert!(JwtSvid::parse_and_validate(svid.token(), &bundles, &["others"]).is_err());
    let online = client.validate_jwt_token("orders", svid.token()).await.unwrap();
    assert_eq!(online.spiffe_id().to_string(), "spiffe://example.org/cart");
    assert!(client.validate_jwt_token("others", svid.token()).await.is_err());
}
