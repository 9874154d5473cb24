//! Our own Workload API, as go-spiffe sees it: `spire-agent api` is a client of that library.

use std::path::Path;
use std::sync::Arc;

use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::{Authority, WorkloadApiServer};

use crate::spire::{command, text};
use crate::table::{Outcome, Table, expect};

const ID: &str = "spiffe://zt.test/cart";

/// All steps.
pub async fn steps(table: &mut Table, programs: &Path, folder: &Path) {
    let socket = folder.join("ours.sock");
    let started = start(&socket).await;
    let Some(_server) = table.row("our Workload API is served", started) else { return };
    let agent = programs.join("spire-agent");
    let socket = socket.display().to_string();
    let say = async |arguments: &[&str]| {
        command(&agent, &[&["api"], arguments, &["-socketPath", &socket]].concat()).await
    };
    let found =
        say(&["fetch", "x509"]).await.and_then(|said| shows(&said, &[ID, "SVID Valid Until"]));
    table.check("go-spiffe takes our X509-SVID", found);
    let token = say(&["fetch", "jwt", "-audience", "orders", "-output", "json"]).await;
    let token = token.and_then(|said| {
        let said: serde_json::Value = serde_json::from_str(&said).map_err(text)?;
        let token = said[0]["svids"][0]["svid"].as_str().ok_or_else(|| said.to_string())?;
        Ok((token.to_owned(), "a JWT-SVID and the bundles".to_owned()))
    });
    let Some(token) = table.row("go-spiffe takes our JWT-SVID", token) else { return };
    let right = say(&["validate", "jwt", "-audience", "orders", "-svid", &token]).await;
    let right = right.and_then(|said| shows(&said, &["SVID is valid", ID]));
    table.check("our Workload API validates it", right);
    let wrong = say(&["validate", "jwt", "-audience", "billing", "-svid", &token]).await;
    let wrong = match wrong {
        Ok(said) => Err(said),
        Err(refused) => Ok(refused.lines().last().unwrap_or_default().to_owned()),
    };
    table.check("and not for another audience", wrong);
}

async fn start(socket: &Path) -> Outcome<(WorkloadApiServer, String)> {
    let domain = TrustDomain::from_name("zt.test").map_err(text)?;
    let authority = Arc::new(Authority::new(domain, SystemClock.now()).map_err(text)?);
    let identity = authority.svid("/cart").map_err(text)?;
    let server = WorkloadApiServer::on_unix(authority, socket).await.map_err(text)?;
    server.serve([identity]);
    Ok((server, ID.to_owned()))
}

fn shows(said: &str, expected: &[&str]) -> Outcome<String> {
    let missing: Vec<_> = expected.iter().filter(|text| !said.contains(**text)).collect();
    expect(missing.is_empty(), || format!("no {missing:?} in {said}"))?;
    Ok(said.split_whitespace().take(8).collect::<Vec<_>>().join(" "))
}
