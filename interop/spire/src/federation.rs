//! Bundles that go from SPIRE to us and from us to SPIRE.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::net::TcpListener;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleEndpoint, SpiffeBundle, X509Bundle};
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::Acceptor;
use zt_tls::federation::{EndpointUrl, Federation, Profile, Relationship, RelationshipHealth};
use zt_tower::bundle_endpoint::ServeBundle;

use crate::spire::{LIMIT, Spire, text, until};
use crate::table::{Outcome, Table, expect};

const OURS: &str = "zt.test";
const ENDPOINT: &str = "/bundle-endpoint";

/// Our own trust domain.
pub struct Ours {
    authority: Authority,
    pub source: X509Source,
}

impl Ours {
    pub fn new() -> Outcome<Self> {
        let domain = TrustDomain::from_name(OURS).map_err(text)?;
        let authority = Authority::new(domain, SystemClock.now()).map_err(text)?;
        let source = authority.source(ENDPOINT).map_err(text)?;
        Ok(Self { authority, source })
    }
}

/// All steps; the federation that they end with.
pub async fn steps(table: &mut Table, spire: &Spire, ours: &Ours) -> Option<Federation> {
    let found = first_fetch(spire, ours).await;
    let federation = table.row("SPIRE's bundle is fetched, by its own SVID", found)?;
    table.check("it is fetched again when its hint says", pace(&federation).await);
    table.check("another SPIFFE ID than the server's is refused", other_id(spire, ours).await);
    table.check("`https_web` does not take the server's SVID", other_profile(spire, ours).await);
    table.check(
        "a forced rotation of the authority is followed",
        rotation(spire, &federation).await,
    );
    table.check("SPIRE fetches our bundle, and fetches it again", serve(spire, ours).await);
    Some(federation)
}

async fn relationship(spire: &Spire, path: &str) -> Outcome<Relationship> {
    let domain = TrustDomain::from_name(spire.domain()).map_err(text)?;
    let document = SpiffeBundle::from_json(spire.bundle().await?.as_bytes()).map_err(text)?;
    let (bundle, left_out) = document.x509_bundle(domain.clone(), SystemClock.now());
    expect(left_out.is_empty() && document.ignored().is_empty(), || format!("{left_out:?}"))?;
    let id = SpiffeId::from_path(domain.borrowed(), path).map_err(text)?;
    let profile = Profile::https_spiffe(id, bundle).map_err(text)?;
    let url = EndpointUrl::parse(&spire.endpoint()).map_err(text)?;
    Relationship::new(domain, url, profile).map_err(text)
}

fn health(federation: &Federation) -> Outcome<RelationshipHealth> {
    federation.health().into_iter().next().ok_or_else(|| "no relationship".into())
}

async fn first_fetch(spire: &Spire, ours: &Ours) -> Outcome<(Federation, String)> {
    let federation = Federation::builder(ours.source.clone()).build().map_err(text)?;
    let relationship = relationship(spire, "/spire/server").await?;
    let domain = relationship.trust_domain().clone();
    federation.establish(relationship).map_err(text)?;
    let ready = federation.ready(domain.borrowed(), LIMIT).await;
    let health = health(&federation)?;
    expect(ready, || format!("{:?}", health.failure))?;
    let bundle = federation.bundle(domain.borrowed()).ok_or("no bundle")?;
    let tokens = bundle.jwt_bundle(domain).len();
    expect(health.roots == 1 && tokens == 1, || format!("{health:?}, {tokens} keys for tokens"))?;
    let words = format!("sequence {:?}, 1 root, 1 key for tokens", health.sequence);
    Ok((federation, words))
}

/// The configuration says 2 s.
async fn pace(federation: &Federation) -> Outcome<String> {
    let first = health(federation)?.fetched.ok_or("no fetch")?;
    let second = until(async || {
        let health = health(federation)?;
        health.fetched.filter(|fetched| *fetched > first).ok_or_else(|| format!("{health:?}"))
    });
    let pause = second.await?.since(first);
    expect((1..8).contains(&pause.as_secs()), || format!("{pause:?}"))?;
    Ok(format!("after {:.1} s", pause.as_secs_f64()))
}

async fn refused(ours: &Ours, relationship: Relationship) -> Outcome<String> {
    let source = ours.authority.source(ENDPOINT).map_err(text)?;
    let federation = Federation::builder(source).build().map_err(text)?;
    federation.establish(relationship).map_err(text)?;
    let failed = until(async || health(&federation)?.failure.ok_or_else(|| "no failure".into()));
    let (_, error) = failed.await?;
    expect(health(&federation)?.fetched.is_none(), || "it was fetched".into())?;
    let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Ok(format!("{error}: {because}"))
}

async fn other_id(spire: &Spire, ours: &Ours) -> Outcome<String> {
    refused(ours, relationship(spire, "/spire/agent").await?).await
}

async fn other_profile(spire: &Spire, ours: &Ours) -> Outcome<String> {
    let domain = TrustDomain::from_name(spire.domain()).map_err(text)?;
    let document = SpiffeBundle::from_json(spire.bundle().await?.as_bytes()).map_err(text)?;
    let profile = Profile::https_web_with_roots(document.x509_certificates().iter().cloned());
    let url = EndpointUrl::parse(&spire.endpoint()).map_err(text)?;
    refused(ours, Relationship::new(domain, url, profile.map_err(text)?).map_err(text)?).await
}

/// What our federation sees of a rotation, and of the fetches after it.
async fn rotation(spire: &Spire, federation: &Federation) -> Outcome<String> {
    let before = health(federation)?.sequence;
    let rotated = rotate(spire, async |expected| {
        until(async || {
            let health = health(federation)?;
            expect(health.roots == expected && health.failure.is_none(), || format!("{health:?}"))
        })
        .await
    });
    let words = rotated.await?;
    let (after, fetched) = (health(federation)?.sequence, health(federation)?.fetched);
    expect(after > before, || format!("sequence {before:?}, then {after:?}"))?;
    // By a certificate of the new authority alone.
    until(async || {
        let health = health(federation)?;
        expect(health.fetched > fetched && health.failure.is_none(), || format!("{health:?}"))
    })
    .await?;
    Ok(format!("{words}; sequence {before:?}, then {after:?}"))
}

/// A new authority is prepared and used, the old one tainted and revoked; each time the roots are
/// looked at.
pub async fn rotate(spire: &Spire, sees: impl AsyncFn(usize) -> Outcome<()>) -> Outcome<String> {
    spire.server(&["localauthority", "x509", "prepare"]).await?;
    sees(2).await?;
    let (old, new) = (spire.authority("active").await?, spire.authority("prepared").await?);
    spire.server(&["localauthority", "x509", "activate", "-authorityID", &new]).await?;
    spire.server(&["localauthority", "x509", "taint", "-authorityID", &old]).await?;
    // Server and agent take certificates of the new one.
    tokio::time::sleep(Duration::from_secs(12)).await;
    spire.server(&["localauthority", "x509", "revoke", "-authorityID", &old]).await?;
    sees(1).await?;
    Ok("2 roots, then 1".into())
}

/// SPIRE federates with us: it reads what our endpoint serves over mutual TLS without its half.
async fn serve(spire: &Spire, ours: &Ours) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(text)?;
    let url = format!("https://{}/bundle", listener.local_addr().map_err(text)?);
    let first = SpiffeBundle::of_roots(&ours.authority.bundle()).with_sequence(1);
    let endpoint = BundleEndpoint::new(&first);
    let acceptor = Acceptor::builder(ours.source.clone(), Authorizer::any_in_bundles())
        .optional_clients()
        .build()
        .map_err(text)?;
    let service = ServeBundle::<Full<Bytes>>::new(endpoint.clone());
    let server = tokio::spawn(zt_tls::serve::serve(listener, acceptor, service));
    let file = spire.folder().join("ours.json");
    fs::write(&file, first.to_json()).map_err(text)?;
    let id = format!("spiffe://{OURS}{ENDPOINT}");
    spire
        .server(&[
            "federation",
            "create",
            "-trustDomain",
            OURS,
            "-bundleEndpointURL",
            &url,
            "-bundleEndpointProfile",
            "https_spiffe",
            "-endpointSpiffeID",
            &id,
            "-trustDomainBundlePath",
            &file.display().to_string(),
            "-trustDomainBundleFormat",
            "spiffe",
        ])
        .await?;
    // What it was not told but by our endpoint.
    let domain = TrustDomain::from_name(OURS).map_err(text)?;
    let other = Authority::new(domain.clone(), SystemClock.now()).map_err(text)?.bundle();
    let both =
        [ours.authority.bundle(), other].into_iter().flat_map(|bundle| bundle.roots().to_vec());
    let both = both.map(|root| root.certificate().clone());
    let both = X509Bundle::from_der_certs(domain, both, SystemClock.now()).map_err(text)?;
    endpoint.publish(&SpiffeBundle::of_roots(&both).with_sequence(2)).map_err(text)?;
    let known = until(async || {
        spire.server(&["federation", "refresh", "-id", OURS]).await?;
        let shown = ["bundle", "list", "-format", "spiffe", "-id", &format!("spiffe://{OURS}")];
        let shown = spire.server(&shown).await?;
        let shown = SpiffeBundle::from_json(shown.as_bytes()).map_err(text)?;
        let roots = shown.x509_certificates().len();
        expect(roots == 2, || format!("SPIRE has {roots} of our roots"))?;
        Ok(roots)
    });
    let known = known.await;
    server.abort();
    Ok(format!("it has {} roots of ours after a change", known?))
}
