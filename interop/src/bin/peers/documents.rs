//! Documents of ours that go-spiffe reads, and documents of go-spiffe that we read.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, SpiffeBundle};
use zt_identity::claims::Audience;
use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::x509_identity::X509Identity;
use zt_identity::x509_svid::X509SvidVerifier;

use crate::peer::Outcome;
use crate::process::Process;
use crate::setup::{DOMAIN, Land, Who, chain};
use crate::table::{Expected, Table};

const AUDIENCE: &str = "orders";
const WORKLOAD: &str = "spiffe://shop.test/ns/shop/sa/cart";
const HOUR: Duration = Duration::from_secs(3_600);

pub async fn run(program: &Path, table: &mut Table) {
    if let Err(error) = read_by_go(program, table).await {
        table.said(["go-spiffe", "reader", "our documents"], &Expected::Answered, Err(error));
    }
    if let Err(error) = written_by_go(program, table).await {
        table.said(["go-spiffe", "writer", "its documents"], &Expected::Answered, Err(error));
    }
}

/// What go-spiffe makes of our bundle, SVIDs and tokens.
async fn read_by_go(program: &Path, table: &mut Table) -> Outcome<()> {
    let land = Land::new();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let keys = land.authority.jwt_bundle_document();
    let keys = SpiffeBundle::from_json(keys.as_bytes()).map_err(|error| error.to_string())?;
    let bundle = SpiffeBundle::of_roots(&land.bundle())
        .with_token_keys_of(&keys)
        .with_sequence(42)
        .with_refresh_hint(Duration::from_secs(600));
    write(&format!("bundle.{DOMAIN}.json"), &bundle.to_json());

    let path = "/ns/shop/sa/cart";
    for (name, who) in [
        ("good.pem", Who::Good),
        ("other.pem", Who::OtherDomain),
        ("forged.pem", Who::Forged),
        ("expired.pem", Who::Expired),
    ] {
        write(name, &chain(&land.identity(path, who)));
    }
    let through = land.authority.request(path).through_intermediate().identity();
    write("through.pem", &chain(&through.map_err(|error| error.to_string())?));
    let token = |authority: &Authority, audience: &str| {
        authority.jwt_svid(path, audience).map_err(|error| error.to_string())
    };
    write("good.jwt", &token(&land.authority, AUDIENCE)?);
    write("audience.jwt", &token(&land.authority, "somebody-else")?);
    write("forged.jwt", &token(&Land::new().authority, AUDIENCE)?);
    let past = land.now.saturating_sub(HOUR).as_secs();
    let claims = format!(r#"{{"sub":"{WORKLOAD}","aud":["{AUDIENCE}"],"exp":{past}}}"#);
    write("expired.jwt", &land.authority.sign_jwt_svid(claims).map_err(|error| error.to_string())?);

    let mut go = start(program, "verify", folder.path(), DOMAIN)?;
    let said = parse(&go.line().await?)?;
    let read = format!(
        "{} x509, {} jwt, {} s, {}",
        said["x509"], said["jwt"], said["hint"], said["sequence"]
    );
    table.said(
        ["go-spiffe", "reader", "our bundle: keys, refresh hint, sequence"],
        &Expected::Text("1 x509, 1 jwt, 600 s, 42"),
        Ok(read),
    );
    let expected = |name: &str| match name {
        "good.pem" | "through.pem" | "good.jwt" => Expected::Text(WORKLOAD),
        _ => Expected::Text("refused"),
    };
    for _ in 0..9 {
        let said = parse(&go.line().await?)?;
        let name = said["name"].as_str().unwrap_or_default();
        let outcome = said["id"].as_str().unwrap_or("refused").to_owned();
        table.said(["go-spiffe", "reader", &format!("our {name}")], &expected(name), Ok(outcome));
    }
    Ok(())
}

/// What we make of the bundle, SVIDs and tokens of go-spiffe.
async fn written_by_go(program: &Path, table: &mut Table) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut go = start(program, "mint", folder.path(), DOMAIN)?;
    // It ends without a word.
    let _ = go.line().await;
    let read = |name: &str| {
        fs::read(folder.path().join(name))
            .map_err(|error| format!("{name}: {error} {}", go.errors()))
    };
    let (domain, now) = (TrustDomain::from_name(DOMAIN).expect("a name"), SystemClock.now());
    let text = read(&format!("bundle.{DOMAIN}.json"))?;
    let document = SpiffeBundle::from_json(&text).map_err(|error| error.to_string())?;
    let (roots, left_out) = document.x509_bundle(domain.clone(), now);
    let tokens = JwtBundle::from_spiffe_bundle(domain, &text).map_err(|error| error.to_string())?;
    table.said(
        ["go-spiffe", "writer", "its bundle: keys, refresh hint, sequence"],
        &Expected::Text("1 x509, 1 jwt, 600 s, 7"),
        Ok(format!(
            "{} x509, {} jwt, {} s, {}",
            roots.roots().len() - left_out.len(),
            tokens.len(),
            document.refresh_hint().as_secs(),
            document.sequence().unwrap_or_default()
        )),
    );
    let identity = X509Identity::from_pem(&read("svid.pem")?, &read("key.pem")?);
    let identity = identity.map_err(|error| error.to_string())?;
    for (case, bundle, expected) in [
        ("its X.509-SVID", roots, WORKLOAD),
        ("its X.509-SVID, by our bundle", Land::new().bundle(), "refused"),
    ] {
        let bundles = BundleSet::new().with(bundle);
        let verified = X509SvidVerifier::new().verify(identity.chain(), &bundles, now);
        let outcome = verified.map_or_else(|_| "refused".to_owned(), |svid| svid.id().to_string());
        table.said(["go-spiffe", "writer", case], &Expected::Text(expected), Ok(outcome));
    }
    let audience = Audience::any([AUDIENCE]).map_err(|error| error.to_string())?;
    let verifier = JwtSvidVerifier::new(audience);
    let bundles = JwtBundleSet::new().with(tokens);
    for (name, expected) in [
        ("good.jwt", WORKLOAD),
        ("audience.jwt", "refused"),
        ("expired.jwt", "refused"),
        ("forged.jwt", "refused"),
    ] {
        let token = String::from_utf8(read(name)?).map_err(|error| error.to_string())?;
        let outcome = match verifier.verify(&token, &bundles, now) {
            Ok(svid) => svid.id().to_string(),
            Err(_) => "refused".into(),
        };
        let case = format!("its {name}");
        table.said(["go-spiffe", "writer", &case], &Expected::Text(expected), Ok(outcome));
    }
    Ok(())
}

fn start(program: &Path, what: &str, folder: &Path, domain: &str) -> Outcome<Process> {
    let of = folder.to_string_lossy();
    let arguments = [what, "--folder", &of, "--domain", domain, "--audience", AUDIENCE];
    Process::start(program, arguments, folder)
}

fn parse(line: &str) -> Outcome<Value> {
    serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))
}
