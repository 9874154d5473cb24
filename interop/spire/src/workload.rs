//! A workload of SPIRE's: what its agent hands out, as our client sees it.

use std::time::{Duration, Instant};

use tokio::io::duplex;
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::claims::Audience;
use zt_identity::jwt_svid::JwtSvidVerifier;
use zt_identity::matcher::Authorizer;
use zt_identity::source::{JwtBundleSource, X509Source};
use zt_identity::workload_api::{EndpointAddress, Feed, NotReady, WorkloadApi};
use zt_identity::x509_svid::X509SvidVerifier;
use zt_tls::{Acceptor, Connector};

use crate::federation::rotate;
use crate::spire::{LIMIT, Spire, text, until};
use crate::table::{Outcome, Table, expect};

/// Seconds that an X509-SVID lasts. Its agent renews it when half of that is over.
const TTL: u32 = 60;
const WORKLOAD: &str = "/web";

/// All steps of a workload of `home`, which federates with `partner`.
pub async fn steps(table: &mut Table, home: &mut Spire, partner: &Spire) {
    let agent = match EndpointAddress::unix(home.agent_socket()) {
        Ok(address) => WorkloadApi::at(address),
        Err(error) => return table.check("the address of the agent", Err(text(error))),
    };
    table.check("before it is registered, a workload is nobody", unregistered(&agent).await);
    table.check("two servers federate with each other's endpoint", federate(home, partner).await);
    let registered = register(home, &agent, partner.domain()).await;
    let found = table.row("a workload gets its X509-SVID and bundles", registered);
    let Some((entry, feed, source)) = found else { return };
    table.check("it calls itself by mutual TLS", call(&source).await);
    let tokens = tokens(&agent, home.domain()).await;
    table.row("it gets a JWT-SVID, which our verifier takes", tokens);
    table.check("the X509-SVID is renewed", renewed(&source).await);
    table.check("and renewed again", renewed(&source).await);
    let rotated = rotate(home, async |roots| has_roots(&source, home.domain(), roots).await).await;
    table.check("a forced rotation of the authority arrives", rotated);
    table.check("and a JWT-SVID is one of the agent's after it", token_again(&agent, home).await);
    table.check(
        "a partner that is taken away is taken away",
        unfederate(home, partner, &source).await,
    );
    table.check("the agent is restarted", restart(home, &feed, &source).await);
    table.check(
        "an entry that is deleted withdraws the identity",
        delete(home, &entry, &source).await,
    );
    table.check("an entry that is made again brings it back", again(home, &source).await);
    table.check("of two identities with hints each is found by its own", hints(home, &agent).await);
}

async fn unregistered(agent: &WorkloadApi) -> Outcome<String> {
    let feed = agent.x509().map_err(text)?;
    match feed.ready(Duration::from_secs(3)).await {
        Ok(source) => Err(format!("{source:?}")),
        Err(NotReady::TimedOut { waiting_for, .. }) => Ok(waiting_for.to_string()),
        Err(other) => Err(text(other)),
    }
}

async fn federate(home: &Spire, partner: &Spire) -> Outcome<String> {
    let file = home.folder().join("partner.json");
    std::fs::write(&file, partner.bundle().await?).map_err(text)?;
    let (url, id) = (partner.endpoint(), format!("spiffe://{}/spire/server", partner.domain()));
    home.server(&[
        "federation",
        "create",
        "-trustDomain",
        partner.domain(),
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
    Ok(format!("{} is told of {}", home.domain(), partner.domain()))
}

type Registered = (String, Feed<X509Source>, X509Source);

async fn register(
    home: &Spire,
    agent: &WorkloadApi,
    partner: &str,
) -> Outcome<(Registered, String)> {
    let feed = agent.x509().map_err(text)?;
    let entry = home.register(WORKLOAD, TTL, &[partner]).await?;
    let begun = Instant::now();
    let source = feed.ready(LIMIT).await.map_err(text)?;
    let took = begun.elapsed();
    let material = source.current();
    let identity = material.identity().map_err(text)?;
    let expected = format!("spiffe://{}{WORKLOAD}", home.domain());
    expect(identity.id().as_str() == expected, || identity.id().to_string())?;
    let _svid = X509SvidVerifier::new()
        .verify(identity.chain(), material.bundles(), SystemClock.now())
        .map_err(text)?;
    let domains: Vec<_> =
        material.bundles().iter().map(|bundle| bundle.trust_domain().to_string()).collect();
    expect(domains == [home.domain(), partner], || format!("bundles of {domains:?}"))?;
    let words = format!("{expected} after {:.1} s, bundles of {domains:?}", took.as_secs_f64());
    Ok(((entry, feed, source), words))
}

async fn call(source: &X509Source) -> Outcome<String> {
    let acceptor = Acceptor::new(source.clone(), Authorizer::any_in_bundles()).map_err(text)?;
    let connector = Connector::new(source.clone(), Authorizer::any_in_bundles()).map_err(text)?;
    let (one, two) = duplex(64 * 1024);
    let host = "web".try_into().map_err(text)?;
    let (server, client) = tokio::join!(acceptor.accept(one), connector.connect(host, two));
    let (server, _client) = (server.map_err(text)?, client.map_err(text)?);
    Ok(format!("its peer is {}", server.peer().id()))
}

async fn tokens(agent: &WorkloadApi, domain: &str) -> Outcome<(Feed<JwtBundleSource>, String)> {
    let domain = TrustDomain::from_name(domain).map_err(text)?;
    let feed = agent.jwt_bundles(domain).map_err(text)?;
    let bundles = feed.ready(LIMIT).await.map_err(text)?;
    let tokens = agent.jwt_svids(bundles.clone());
    let token = tokens.fetch(["orders"]).await.map_err(text)?;
    let now = SystemClock.now();
    let material = bundles.current();
    let current = material.at(now).map_err(text)?;
    let judge = |audience: &str| {
        let audience = Audience::any([audience]).map_err(text)?;
        JwtSvidVerifier::new(audience).verify(token.token().expose(), current, now).map_err(text)
    };
    let svid = judge("orders")?;
    expect(judge("billing").is_err(), || "for another audience too".into())?;
    let words = format!("{} for {} s", svid.id(), svid.expires().since(now).as_secs());
    Ok((feed, words))
}

async fn token_again(agent: &WorkloadApi, home: &Spire) -> Outcome<String> {
    tokens(agent, home.domain()).await.map(|(_, words)| words)
}

async fn renewed(source: &X509Source) -> Outcome<String> {
    let expires = || source.load().identity().map(|own| own.validity().not_after()).map_err(text);
    let (before, begun) = (expires()?, Instant::now());
    until(async || expect(expires()? > before, || "it is not renewed".into())).await?;
    call(source).await?;
    Ok(format!(
        "after {:.0} s, {:.0} s before its end",
        begun.elapsed().as_secs_f64(),
        before.since(SystemClock.now()).as_secs_f64()
    ))
}

async fn has_roots(source: &X509Source, domain: &str, expected: usize) -> Outcome<()> {
    let domain = TrustDomain::from_name(domain).map_err(text)?;
    until(async || {
        let material = source.load();
        let roots =
            material.bundles().get(domain.borrowed()).map_or(0, |bundle| bundle.roots().len());
        expect(roots == expected, || format!("{roots} roots, and not {expected}"))
    })
    .await
}

async fn unfederate(home: &Spire, partner: &Spire, source: &X509Source) -> Outcome<String> {
    let id = format!("spiffe://{}", partner.domain());
    home.server(&["federation", "delete", "-id", &id]).await?;
    home.server(&["bundle", "delete", "-id", &id, "-mode", "dissociate"]).await?;
    let begun = Instant::now();
    let domain = TrustDomain::from_name(partner.domain()).map_err(text)?;
    until(async || {
        let there = source.load().bundles().get(domain.borrowed()).is_some();
        expect(!there, || "its bundle is still there".into())
    })
    .await?;
    Ok(format!("after {:.1} s", begun.elapsed().as_secs_f64()))
}

async fn restart(
    home: &mut Spire,
    feed: &Feed<X509Source>,
    source: &X509Source,
) -> Outcome<String> {
    home.stop_agent().await?;
    let problem = until(async || feed.problem().ok_or_else(|| "nothing is missed".into())).await?;
    source.load().identity().map_err(|_| "the identity is gone".to_owned())?;
    let before = source.load().identity().map_err(text)?.validity();
    home.start_agent().await?;
    until(async || match feed.problem() {
        None => Ok(()),
        Some(problem) => Err(text(problem)),
    })
    .await?;
    until(async || {
        let now = source.load().identity().map_err(text)?.validity();
        expect(now.not_after() > before.not_after(), || "nothing new comes".into())
    })
    .await?;
    Ok(format!("meanwhile: {problem}"))
}

async fn delete(home: &Spire, entry: &str, source: &X509Source) -> Outcome<String> {
    home.delete(entry).await?;
    let begun = Instant::now();
    until(async || match source.load().identity() {
        Ok(_) => Err("there is an identity".into()),
        Err(_) => Ok(()),
    })
    .await?;
    expect(call(source).await.is_err(), || "it can be used still".into())?;
    Ok(format!("after {:.1} s", begun.elapsed().as_secs_f64()))
}

async fn again(home: &Spire, source: &X509Source) -> Outcome<String> {
    home.register(WORKLOAD, TTL, &[]).await?;
    let begun = Instant::now();
    until(async || source.load().identity().map(|_| ()).map_err(text)).await?;
    call(source).await?;
    Ok(format!("after {:.1} s", begun.elapsed().as_secs_f64()))
}

/// Which comes first is the agent's choice: the default may be either.
async fn hints(home: &Spire, agent: &WorkloadApi) -> Outcome<String> {
    let mut entries = Vec::new();
    for hint in ["one", "two"] {
        entries.push(home.register_with(&format!("/{hint}"), TTL, &[], Some(hint)).await?);
    }
    for hint in ["one", "two"] {
        let feed = agent.x509_with_hint(hint).map_err(text)?;
        let source = feed.ready(LIMIT).await.map_err(text)?;
        let id = source.load().identity().map_err(text)?.id().to_string();
        let expected = format!("spiffe://{}/{hint}", home.domain());
        expect(id == expected, || format!("{hint} is {id}"))?;
    }
    let feed = agent.x509_with_hint("one").map_err(text)?;
    let source = feed.ready(LIMIT).await.map_err(text)?;
    let Some(one) = entries.first() else { return Err("no entry".into()) };
    home.delete(one).await?;
    until(async || match source.load().identity() {
        Ok(identity) => Err(format!("there is {}", identity.id())),
        Err(_) => Ok(()),
    })
    .await?;
    Ok("and one whose hint is gone is withdrawn".into())
}
