//! The service of orders.
//!
//! | request | asks of the order | and demands |
//! |---|---|---|
//! | `GET /orders` | `read`, of each: the others are left out | |
//! | `GET /orders/{id}` | `read` | |
//! | `PUT /orders/{id}` | `edit` | |
//! | `POST /orders/{id}/refund` | `refund` | a second factor, at most five minutes ago (RFC 9470) |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use zt_core::decision::{Decide, Permit};
use zt_core::record::RecordQueue;
use zt_core::request::Action;
use zt_examples::Outcome;
use zt_identity::AccessTokenVerifier;
use zt_identity::oidc::step_up::StepUp;
use zt_tower::authorize::{Guard, NotPermitted};
use zt_tower::demand::{Demand, UserDemand};
use zt_tower::{AccessTokens, RouteTargets, ZeroTrust};

use crate::store::{EDIT, Order, Orders, READ, REFUND, Unchanged, unknown};

/// What the issuer calls an authentication with a second factor.
pub const MFA: &str = "mfa";
/// How long ago it may have been.
const RECENT: Duration = Duration::from_secs(300);

type Store = State<Arc<Orders>>;

/// The routes, each behind what it demands.
pub fn app(
    tokens: AccessTokenVerifier,
    policy: impl Decide + 'static,
    records: RecordQueue,
    orders: Arc<Orders>,
) -> Outcome<Router> {
    let tokens = AccessTokens::bearer(tokens);
    let second_factor = UserDemand::new(tokens.clone()).step_up(StepUp::new([MFA], Some(RECENT))?);
    let layer = ZeroTrust::builder().policy(policy).records(records).targets(RouteTargets);
    let signed_in = layer.clone().tokens(tokens).build();
    let stepped_up = layer.demand(Demand::WorkloadAndUser(second_factor)).build();

    let everyday = Router::new()
        .route("/orders", get(list))
        .route("/orders/{id}", get(read).put(edit))
        .layer(signed_in);
    let sensitive = Router::new().route("/orders/{id}/refund", post(refund)).layer(stepped_up);
    // Unknown paths are answered as in the router that is merged last.
    Ok(sensitive.merge(everyday).with_state(orders))
}

async fn list(State(orders): Store, guard: Guard) -> Result<Json<Vec<Order>>, Refused> {
    let permitted = guard.filter(&READ, orders.all(), Order::resource).await?;
    Ok(Json(permitted.into_iter().map(|(order, _permit)| order).collect()))
}

async fn read(
    State(orders): Store,
    guard: Guard,
    Path(id): Path<u32>,
) -> Result<Json<Order>, Refused> {
    let (order, _permit) = find(&orders, &guard, &READ, id).await?;
    Ok(Json(order))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    item: String,
}

async fn edit(
    State(orders): Store,
    guard: Guard,
    Path(id): Path<u32>,
    Json(edit): Json<Edit>,
) -> Result<Json<Order>, Refused> {
    let (order, permit) = find(&orders, &guard, &EDIT, id).await?;
    Ok(Json(orders.edit(&permit, &order, edit.item)?))
}

async fn refund(
    State(orders): Store,
    guard: Guard,
    Path(id): Path<u32>,
) -> Result<Json<Order>, Refused> {
    let (order, permit) = find(&orders, &guard, &REFUND, id).await?;
    Ok(Json(orders.refund(&permit, &order)?))
}

/// The order of this number, with leave to do this to it. Policy is asked about one that is not
/// there as well: whoever may not see an order does not learn whether there is one.
async fn find(
    orders: &Orders,
    guard: &Guard,
    action: &Action,
    id: u32,
) -> Result<(Order, Permit), Refused> {
    let found = orders.get(id);
    let resource = found.as_ref().map_or_else(|| unknown(id), Order::resource);
    let permit = guard.require(action, &resource).await?;
    Ok((found.ok_or(Refused::NotFound)?, permit))
}

/// Why there is no answer.
enum Refused {
    NotPermitted(NotPermitted),
    NotFound,
    Changed,
    Wrong,
}

impl From<NotPermitted> for Refused {
    fn from(not_permitted: NotPermitted) -> Self {
        Self::NotPermitted(not_permitted)
    }
}

impl From<Unchanged> for Refused {
    fn from(unchanged: Unchanged) -> Self {
        match unchanged {
            Unchanged::Changed => Self::Changed,
            Unchanged::NotCovered(error) => {
                eprintln!("orders: {error}");
                Self::Wrong
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::NotPermitted(not_permitted) => not_permitted.into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Changed => StatusCode::CONFLICT.into_response(),
            Self::Wrong => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
