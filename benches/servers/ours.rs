//! The service within `ZeroTrust`, as its users would have it.

use std::path::Path;

use axum::Router;
use zt_core::record::{JsonLines, RecordQueue};
use zt_identity::jwk::JwkSet;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_identity::oidc::keys::IssuerKeys;
use zt_policy::set::PolicySet;
use zt_tower::{AccessTokens, RouteTargets, ZeroTrust};

use crate::policies::policies;
use crate::{AUDIENCE, ISSUER, Outcome};

pub fn protect(app: Router, jwks: &str, folder: &Path) -> Outcome<(Router, RecordQueue)> {
    let tokens = AccessTokenVerifier::builder(ISSUER)?
        .audience(AUDIENCE)
        .keys(IssuerKeys::fixed(JwkSet::parse(jwks.as_bytes())?))
        .build()?;
    let policies = PolicySet::parse("shop", &policies())?;
    assert_eq!(policies.policies().count(), 100);
    let queue =
        RecordQueue::builder().start(JsonLines::append_to(folder.join("records.jsonl"))?)?;
    let layer = ZeroTrust::builder()
        .tokens(AccessTokens::certificate_bound(tokens).cached(10_000)?)
        .policy(policies)
        .records(queue.clone())
        .targets(RouteTargets)
        .build();
    Ok((app.layer(layer), queue))
}
