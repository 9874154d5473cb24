//! A connection, tokens, a policy and a service that counts its calls.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{Request, Response};
use http_body::Frame;
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::fault::Fault;
use zt_core::peer::Peer;
use zt_core::principal::{Authentication, User};
use zt_core::record::{BackPressure, Record, RecordQueue, RecordSink};
use zt_core::request::{Request as Question, Subject};
use zt_core::spiffe::SpiffeId;
use zt_core::time::{ManualClock, Timestamp, Validity};
use zt_core::verified::Verified;
use zt_identity::possession::eventual::Eventual;
use zt_tower::demand::{Finding, Found, Presented, VerifyToken};
use zt_tower::denial::{Denial, Refusal};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const CART: &str = "spiffe://example.org/cart";
pub(crate) const BATCH: &str = "spiffe://example.org/batch";
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(NOW)
}

/// A peer whose certificate counts for an hour.
#[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
pub(crate) fn peer(id: &str) -> Verified<Peer> {
    let hour = Duration::from_secs(3_600);
    let validity = Validity::new(NOW.saturating_sub(hour), NOW.saturating_add(hour)).unwrap();
    danger::verified(Peer::new(SpiffeId::parse(id).unwrap(), validity, b"certificate", 1))
}

/// A request as the connection layer hands it over when the peer is this one.
pub(crate) fn from(id: &str) -> Builder {
    unproven().extension(peer(id))
}

/// A request as the connection layer hands it over when the peer presented no certificate.
pub(crate) fn unproven() -> Builder {
    let remote: SocketAddr = "10.0.0.7:40000".parse().unwrap();
    Request::builder().uri("/orders/42").extension(remote)
}

/// Knows the tokens `alice`, `bob` and, as one that only cart may use, `bound`; `down` finds no
/// keys, `wired` is wired wrongly.
pub(crate) struct Tokens;

impl VerifyToken for Tokens {
    fn user(&self, presented: &Presented<'_>, _: Timestamp) -> Finding {
        Eventual::ready(presented.bearer().and_then(|token| known(token, presented.peer())))
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a verifier of tokens")]
fn known(token: &str, peer: &Verified<Peer>) -> Result<Found, Refusal> {
    let refused = |fault, reason| Err(Refusal::new(Denial::of_token(fault), reason));
    let user = match token {
        "alice" | "bob" => User::new("https://login.example.com", token),
        "bound" if peer.id().as_str() == CART => User::new("https://login.example.com", token),
        "bound" => return refused(Fault::Peer, "certificate_mismatch"),
        "down" => return refused(Fault::Authority, "keys_unavailable"),
        "wired" => return refused(Fault::Caller, "no_audience"),
        _ => return refused(Fault::Peer, "bad_signature"),
    };
    let mut authentication = Authentication::default();
    authentication.acr = Some("silver".into());
    authentication.auth_time = Some(NOW.saturating_sub(Duration::from_secs(600)));
    let user = user.with_scopes(["orders.read"]).with_authentication(authentication);
    Ok(danger::verified(user).into())
}

/// Allows cart, alice, and the user with the bound token, to do anything; errors for the path
/// `/error`, and is not there for `/stale`.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Decide for Policy {
    fn decide(&self, request: &Question<'_>) -> Decision {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Decision::of(request, PolicyVersion::new(7, [0xab; 32]), |question| {
            match request.resource().id() {
                "/error" => return Answer::error(Some("broken".into())),
                "/stale" => return Answer::unavailable(),
                _ => {}
            }
            match question.subject() {
                Subject::Workload(w) if w.id().to_string() == CART => allow("cart-may"),
                Subject::User(user) if user.subject() == "alice" => allow("alice-may"),
                Subject::User(user) if user.subject() == "bound" => allow("bound-may"),
                Subject::Workload(_) | Subject::User(_) | _ => Answer::forbidden("secret-rule-17"),
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a policy")]
pub(crate) fn allow(policy: &str) -> Answer {
    danger::allow(policy)
}

/// A service that counts its calls, remembers the last request, and never reads a body.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) last: Arc<Mutex<Option<http::request::Parts>>>,
}

impl Inner {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn last(&self) -> http::request::Parts {
        self.last.lock().unwrap().take().expect("the service was called")
    }

    pub(crate) fn service(&self) -> Served {
        let this = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Untouched>| {
            this.calls.fetch_add(1, Ordering::SeqCst);
            *this.last.lock().unwrap() = Some(request.into_parts().0);
            async { Ok::<_, Infallible>(Response::new(String::from("served"))) }
        }))
    }
}

pub(crate) type Served = BoxCloneSyncService<Request<Untouched>, Response<String>, Infallible>;

/// A body that must not be read.
#[derive(Debug, Default)]
pub(crate) struct Untouched;

impl http_body::Body for Untouched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was read");
    }
}

/// Sends one request through `layer` to `inner`.
pub(crate) async fn send<L>(layer: &L, inner: &Inner, request: Builder) -> Response<String>
where
    L: Layer<Served>,
    L::Service: Service<Request<Untouched>, Response = Response<String>, Error = Infallible>,
{
    layer.layer(inner.service()).oneshot(request.body(Untouched).unwrap()).await.unwrap()
}

/// The status and the challenge.
pub(crate) fn told(response: &Response<String>) -> (u16, Option<&str>) {
    let challenge = response.headers().get("www-authenticate");
    (response.status().as_u16(), challenge.map(|value| value.to_str().unwrap()))
}

/// A sink that keeps what it is given, and stands still while it is shut.
#[derive(Clone, Default)]
pub(crate) struct Sink {
    records: Arc<Mutex<Vec<Value>>>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    shut: bool,
    waits: bool,
}

impl RecordSink for Sink {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut gate = self.gate.0.lock().unwrap();
        gate.waits = true;
        self.gate.1.notify_all();
        drop(self.gate.1.wait_while(gate, |gate| gate.shut).unwrap());
        let json = records.iter().map(|record| serde_json::to_value(record).unwrap());
        self.records.lock().unwrap().extend(json);
        Ok(())
    }
}

impl Sink {
    pub(crate) fn queue(&self) -> RecordQueue {
        RecordQueue::builder().start(self.clone()).unwrap()
    }

    /// A queue that is full, and stays so until [`Sink::open`].
    pub(crate) fn full_queue(&self, choice: BackPressure) -> RecordQueue {
        self.flooded_queue(1, choice)
    }

    /// A queue of so many places, one or two, in which there is none for whoever is not known, until
    /// [`Sink::open`].
    pub(crate) fn flooded_queue(&self, places: usize, choice: BackPressure) -> RecordQueue {
        self.gate.0.lock().unwrap().shut = true;
        let queue = RecordQueue::builder().capacity(places).back_pressure(choice);
        let queue = queue.start(self.clone()).unwrap();
        let filler = || {
            let context = zt_core::request::Context::at(NOW);
            Record::refusal(&context, None, "filler")
        };
        queue.append_blocking(filler()).unwrap();
        drop(self.gate.1.wait_while(self.gate.0.lock().unwrap(), |gate| !gate.waits).unwrap());
        queue.append_blocking(filler()).unwrap();
        queue
    }

    pub(crate) fn open(&self) {
        self.gate.0.lock().unwrap().shut = false;
        self.gate.1.notify_all();
    }

    /// What was recorded, once the queue is closed.
    pub(crate) fn records(&self, queue: &RecordQueue) -> Vec<Value> {
        queue.close(SOON).unwrap();
        let mut records = self.records.lock().unwrap().clone();
        records.retain(|record| record["reason"] != "filler");
        records
    }
}
