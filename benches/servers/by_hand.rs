//! The same service, put together from a layer for tokens and a policy engine: what somebody writes
//! who has neither verdicts that are remembered nor records.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request as Question, RestrictedExpression,
};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;
use zt_core::peer::Peer;
use zt_core::verified::Verified;

use crate::policies::policies;
use crate::{AUDIENCE, ISSUER, Outcome};

/// What the middleware reads of a token.
#[derive(Clone, Debug, Deserialize)]
struct Claims {
    sub: String,
    roles: Vec<String>,
    groups: Vec<String>,
    cnf: Confirmation,
}

#[derive(Clone, Debug, Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: String,
}

pub async fn protect(app: Router, jwks: &str) -> Outcome<Router> {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .map_err(|_| "there is another provider")?;
    let audiences = vec![AUDIENCE.into()];
    let checked = ClaimsValidationSpec::new().iss(ISSUER).aud(&audiences).exp(true);
    let tenant = TenantConfiguration::static_builder(jwks).claims_validation(checked).build()?;
    let tokens = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant).build().await?;
    let engine =
        Cedar { authorizer: Authorizer::new(), policies: PolicySet::from_str(&policies())? };
    Ok(app.layer(from_fn_with_state(Arc::new(engine), decide)).layer(tokens.into_layer()))
}

struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
}

async fn decide(State(engine): State<Arc<Cedar>>, request: Request, next: Next) -> Response {
    match judge(&engine, &request) {
        Ok(true) => next.run(request).await,
        Ok(false) => StatusCode::FORBIDDEN.into_response(),
        Err(status) => status.into_response(),
    }
}

fn judge(engine: &Cedar, request: &Request) -> Result<bool, StatusCode> {
    let found = request.extensions();
    let wiring = StatusCode::INTERNAL_SERVER_ERROR;
    let peer = found.get::<Verified<Peer>>().ok_or(wiring)?;
    let claims = found.get::<Claims>().ok_or(wiring)?;
    let source = found.get::<SocketAddr>().ok_or(wiring)?.ip();
    let route = found.get::<MatchedPath>().ok_or(wiring)?;
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, peer.leaf()));
    if claims.cnf.certificate != thumbprint {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let workload = peer.id().as_str();
    let user = format!("{ISSUER}#{}", claims.sub);
    let entities = entities(workload, &user, claims).map_err(|_| wiring)?;
    for principal in [uid("Workload", workload), uid("User", &user)] {
        let context = [("source".into(), RestrictedExpression::new_ip(source.to_string()))];
        let question = Question::new(
            principal.map_err(|_| wiring)?,
            uid("Action", request.method().as_str()).map_err(|_| wiring)?,
            uid("Route", route.as_str()).map_err(|_| wiring)?,
            Context::from_pairs(context).map_err(|_| wiring)?,
            None,
        )
        .map_err(|_| wiring)?;
        let answer = engine.authorizer.is_authorized(&question, &engine.policies, &entities);
        if answer.decision() != Decision::Allow {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entities(workload: &str, user: &str, claims: &Claims) -> Outcome<Entities> {
    // Every path that the workload lies below.
    let below = workload.match_indices('/').skip(3).filter_map(|(end, _)| workload.get(..end));
    let paths = below.map(|path| uid("WorkloadPath", path)).collect::<Result<_, _>>()?;
    let roles = claims.roles.iter().map(|role| uid("Role", role));
    let groups = claims.groups.iter().map(|group| uid("Group", group));
    let user = uid("User", user)?;
    let entities = [
        Entity::new_no_attrs(uid("Workload", workload)?, paths),
        Entity::new_no_attrs(user, roles.chain(groups).collect::<Result<_, _>>()?),
    ];
    Ok(Entities::from_entities(entities, None)?)
}

fn uid(kind: &str, id: &str) -> Outcome<EntityUid> {
    Ok(EntityUid::from_type_name_and_id(EntityTypeName::from_str(kind)?, EntityId::new(id)))
}
