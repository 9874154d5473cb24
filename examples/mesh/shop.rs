//! What the services do: the front asks for orders, which ask the ledger what was paid.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::service::Next;

pub fn front(orders: Next) -> Router {
    async fn shop(
        State(orders): State<Next>,
        Path(id): Path<u32>,
    ) -> Result<Json<Value>, StatusCode> {
        let order = orders.get(&format!("/orders/{id}")).await?;
        let (item, paid) = (&order["item"], &order["payment"]["cents"]);
        Ok(Json(json!({ "page": format!("order {id}: {item}, paid {paid} cents") })))
    }
    Router::new().route("/shop/{id}", get(shop)).with_state(orders)
}

pub fn orders(ledger: Next) -> Router {
    async fn order(
        State(ledger): State<Next>,
        Path(id): Path<u32>,
    ) -> Result<Json<Value>, StatusCode> {
        let payment = ledger.get(&format!("/payments/{id}")).await?;
        Ok(Json(json!({ "id": id, "item": "tea", "payment": payment })))
    }
    Router::new().route("/orders/{id}", get(order)).with_state(ledger)
}

pub fn ledger() -> Router {
    async fn payment(Path(id): Path<u32>) -> Json<Value> {
        Json(json!({ "order": id, "cents": 1250 }))
    }
    Router::new().route("/payments/{id}", get(payment))
}
