//! The service, and what stands in front of it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tonic::{Request, Response, Status, Streaming};
use zt_core::decision::Decide;
use zt_core::lease::Ended;
use zt_core::record::RecordQueue;
use zt_core::time::{Clock, SystemClock};
use zt_examples::Outcome;
use zt_tls::listen::{ConnectedLayer, Listener};
use zt_tower::authorize::{CallLease, GrpcTargets};
use zt_tower::caller::Caller;
use zt_tower::denial::{GrpcStatus, NotWired};
use zt_tower::{AccessTokens, ZeroTrust};

use crate::api::orders_server::{Orders, OrdersServer};
use crate::api::{ImportResponse, Order, PlaceRequest, WatchRequest};

/// How many orders a watcher may be behind before it misses some.
const BEHIND: usize = 64;

/// Serves orders to the peers of `listener`, until the program ends.
pub async fn serve(
    listener: Listener,
    tokens: AccessTokens,
    policy: impl Decide + 'static,
    records: RecordQueue,
) -> Outcome<()> {
    let zero_trust = ZeroTrust::builder()
        .tokens(tokens)
        .policy(policy)
        .records(records)
        .targets(GrpcTargets)
        .respond(GrpcStatus::default())
        .build();
    tonic::transport::Server::builder()
        // The outer one first: it says who is at the other end of the connection.
        .layer(ConnectedLayer::new())
        .layer(zero_trust)
        .add_service(OrdersServer::new(Shop::default()))
        .serve_with_incoming(listener)
        .await?;
    Ok(())
}

/// Orders that are placed are told to those who watch, and forgotten.
struct Shop {
    next: AtomicU32,
    placed: Sender<Order>,
}

impl Default for Shop {
    fn default() -> Self {
        Self { next: AtomicU32::new(1), placed: Sender::new(BEHIND) }
    }
}

impl Shop {
    fn place(&self, owner: &str, request: PlaceRequest) -> Order {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let PlaceRequest { item, cents } = request;
        let order = Order { id, owner: owner.into(), item, cents };
        // Nobody may be watching.
        let _ = self.placed.send(order.clone());
        order
    }
}

#[tonic::async_trait]
impl Orders for Shop {
    async fn place(&self, request: Request<PlaceRequest>) -> Result<Response<Order>, Status> {
        let owner = user(&request)?;
        Ok(Response::new(self.place(&owner, request.into_inner())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let lease = CallLease::of(request.extensions()).map_err(not_wired)?;
        let watch = Watch { lease, placed: self.placed.subscribe() };
        // The stream is over with its first error.
        let orders = unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(order) => Some((Ok(order), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(orders)))
    }

    async fn import(
        &self,
        request: Request<Streaming<PlaceRequest>>,
    ) -> Result<Response<ImportResponse>, Status> {
        let lease = CallLease::of(request.extensions()).map_err(not_wired)?;
        let owner = user(&request)?;
        let mut orders = request.into_inner();
        let mut placed = 0;
        loop {
            let order = tokio::select! {
                biased;
                why = lease.ended() => return Err(ended(why)),
                order = orders.message() => order?,
            };
            lease.check(SystemClock.now()).map_err(ended)?;
            let Some(order) = order else { break };
            self.place(&owner, order);
            placed += 1;
        }
        Ok(Response::new(ImportResponse { placed }))
    }
}

/// One who watches, for as long as their lease lasts.
struct Watch {
    lease: CallLease,
    placed: Receiver<Order>,
}

impl Watch {
    async fn next(&mut self) -> Result<Order, Status> {
        let order = tokio::select! {
            biased;
            // Nobody may be placing anything: the stream ends all the same.
            why = self.lease.ended() => return Err(ended(why)),
            order = self.placed.recv() => order.map_err(|error| match error {
                RecvError::Lagged(missed) => Status::data_loss(format!("{missed} were missed")),
                RecvError::Closed => Status::unavailable("the shop is closed"),
            })?,
        };
        // The lease is looked at once a second; an order is told to nobody in between.
        self.lease.check(SystemClock.now()).map_err(ended)?;
        Ok(order)
    }
}

/// On whose behalf the call is made.
fn user<T>(request: &Request<T>) -> Result<String, Status> {
    let caller = request.extensions().get::<Caller>();
    let user = caller.and_then(Caller::user).ok_or(Status::internal("nobody is proven"))?;
    Ok(user.subject().to_owned())
}

/// What is told to one whose call is over before it is done.
fn ended(why: Ended) -> Status {
    match why {
        Ended::Policy => Status::permission_denied("permission denied"),
        Ended::Token | Ended::Expired | Ended::Identity => {
            Status::unauthenticated("unauthenticated")
        }
        // Another connection will do.
        _ => Status::unavailable("unavailable"),
    }
}

fn not_wired(error: NotWired) -> Status {
    eprintln!("grpc: {error}");
    Status::internal("internal")
}
