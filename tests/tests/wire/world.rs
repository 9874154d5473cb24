//! One service behind both servers, which tells whom it served what, and connections to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get, post};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::record::{JsonLines, RecordQueue};
use zt_core::request::{Request as Question, Subject};
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::X509Source;
use zt_identity::authority::{Authority, Issuer};
use zt_identity::matcher::Authorizer;
use zt_identity::oidc::access_token::AccessTokenVerifier;
use zt_tls::connection::ClientStream;
use zt_tls::listen::{Connected, ConnectedLayer, Listener};
use zt_tls::serve::serve;
use zt_tls::{Acceptor, Connector};
use zt_tower::authorize::{CallLease, Permitted};
use zt_tower::caller::Caller;
use zt_tower::forwarded::Forwarded;
use zt_tower::{AccessTokens, RouteTargets, ZeroTrust};

pub(crate) const SOON: Duration = Duration::from_secs(60);
const ISSUER: &str = "https://login.example.com";

/// The servers, by what their loops are.
pub(crate) const SERVERS: [&str; 2] = ["zt_tls::serve", "axum::serve"];

/// Lets cart in, on behalf of alice and carol, to GET and POST what is not below `/admin`; shut, it
/// lets nobody. It panics when it is asked about `/broken`.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) shut: Arc<AtomicBool>,
}

impl Decide for Policy {
    #[expect(clippy::disallowed_methods, reason = "stands for a policy")]
    fn decide(&self, request: &Question<'_>) -> Decision {
        let id = request.resource().id();
        assert_ne!(id, "/broken", "a policy that has a defect");
        let shut = self.shut.load(Ordering::SeqCst)
            || id.starts_with("/admin")
            || !["GET", "POST"].contains(&request.action().name());
        Decision::of(request, PolicyVersion::default(), |question| match question.subject() {
            _ if shut => Answer::not_permitted(),
            Subject::User(user) if !["alice", "carol"].contains(&user.subject()) => {
                Answer::forbidden("no-such-user")
            }
            Subject::Workload(w) if !w.id().to_string().ends_with("/cart") => {
                Answer::forbidden("cart-alone")
            }
            _ => danger::allow("shop"),
        })
    }
}

/// What handlers were called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) user: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) issuer: Issuer,
    pub(crate) cart: X509Source,
    orders: X509Source,
    at: [SocketAddr; 2],
    pub(crate) policy: Policy,
    pub(crate) calls: Calls,
    queue: RecordQueue,
    folder: tempfile::TempDir,
}

async fn served(State(calls): State<Calls>, request: Request<Body>) -> String {
    note(&calls, &request);
    let caller: &Caller = request.extensions().get().unwrap();
    caller.user().unwrap().subject().to_owned()
}

fn note(calls: &Calls, request: &Request<Body>) {
    let caller: &Caller = request.extensions().get().unwrap();
    let permit = Permitted::of(request.extensions()).unwrap();
    calls.0.lock().unwrap().push(Call {
        user: caller.user().unwrap().subject().to_owned(),
        action: request.method().to_string(),
        resource: permit.resource().id().to_owned(),
        headers: request.headers().clone(),
    });
}

/// Answers with the body, and with the names of the trailers behind it.
async fn echo(
    State(calls): State<Calls>,
    request: Request<Body>,
) -> Result<String, http::StatusCode> {
    note(&calls, &request);
    let body = request.into_body().collect().await;
    let body = body.map_err(|_| http::StatusCode::BAD_REQUEST)?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
    Ok(format!("{}|{}", String::from_utf8_lossy(&body.to_bytes()), names.join(",")))
}

/// Gives back what it is sent, until its lease ends.
async fn socket(
    State(calls): State<Calls>,
    lease: CallLease,
    request: Request<Body>,
) -> Response<Body> {
    note(&calls, &request);
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        tokio::select! {
            _ = tokio::io::copy(&mut read, &mut write) => {}
            _why = lease.ended() => {}
        }
    });
    let answer = Response::builder().status(101).header("connection", "upgrade");
    answer.header("upgrade", "websocket").body(Body::empty()).unwrap()
}

pub(crate) fn routes(calls: Calls) -> Router {
    Router::new()
        .route("/who", any(served))
        .route("/get", get(served))
        .route("/admin", any(served))
        .route("/admin/{*rest}", any(served))
        .route("/echo", post(echo))
        .route("/socket", get(socket))
        .fallback(served)
        .with_state(calls)
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|layer, calls| routes(calls).layer(layer)).await
    }

    /// A world whose service is what is made of the layer.
    pub(crate) async fn with(app: impl Fn(ZeroTrust, Calls) -> Router) -> Self {
        let now = SystemClock.now();
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain.clone(), now).unwrap();
        let issuer = Issuer::new(ISSUER, now).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sink = JsonLines::append_to(folder.path().join("records.jsonl")).unwrap();
        let (queue, policy) = (RecordQueue::builder().start(sink).unwrap(), Policy::default());
        let tokens = AccessTokenVerifier::for_issuer(issuer.url().clone())
            .audience("orders")
            .keys(issuer.keys().unwrap())
            .build()
            .unwrap();
        let gateway = SpiffeId::parse("spiffe://example.org/gateway").unwrap();
        let gateway = Authorizer::id(gateway);
        let layer = ZeroTrust::builder()
            .tokens(AccessTokens::bearer(tokens).cached(100).unwrap())
            .policy(policy.clone())
            .records(queue.clone())
            .targets(RouteTargets)
            .forwarded(Forwarded::nobody().clients_from(gateway.clone()).addresses_from(gateway))
            .build();
        let calls = Calls::default();
        let app = app(layer, calls.clone());

        let (orders, cart) =
            (authority.source("/orders").unwrap(), authority.source("/cart").unwrap());
        let acceptor =
            || Acceptor::new(orders.clone(), Authorizer::member_of(domain.clone())).unwrap();
        let ours = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = Listener::bind("127.0.0.1:0", acceptor()).await.unwrap();
        let at = [ours.local_addr().unwrap(), theirs.local_addr().unwrap()];
        tokio::spawn(serve(ours, acceptor(), app.clone()));
        let app = app.layer(ConnectedLayer::new());
        let app = app.into_make_service_with_connect_info::<Connected>();
        tokio::spawn(async move { axum::serve(theirs, app).await });
        Self { authority, issuer, cart, orders, at, policy, calls, queue, folder }
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.issuer.mint(format!(r#"{{"sub": "{user}", "aud": "orders"}}"#)).unwrap()
    }

    /// A connection of cart's.
    pub(crate) async fn connect(&self, server: &str, protocol: &str) -> ClientStream<TcpStream> {
        self.connect_as(&self.cart, server, protocol).await
    }

    pub(crate) async fn connect_as(
        &self,
        source: &X509Source,
        server: &str,
        protocol: &str,
    ) -> ClientStream<TcpStream> {
        let members = Authorizer::member_of(TrustDomain::from_name("example.org").unwrap());
        let connector = Connector::builder(source.clone(), members);
        let address = self.at[usize::from(server != SERVERS[0])];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("orders").unwrap();
        connector.alpn([protocol]).build().unwrap().connect(name, stream).await.unwrap()
    }

    /// Revokes cart, as a file of revocation lists does.
    pub(crate) fn revoke_cart(&self) {
        let cart = self.cart.current();
        let list = self.authority.revoke(cart.identity().unwrap()).unwrap();
        let orders = self.orders.current();
        let bundles = orders.bundles().clone().with_revocation_list(list);
        self.orders.replace(orders.identity().unwrap().clone(), bundles);
    }

    /// What the server says to these bytes until it closes the connection.
    pub(crate) async fn says(&self, server: &str, bytes: impl AsRef<[u8]>) -> String {
        let mut io = self.connect(server, "http/1.1").await;
        let _ = io.write_all(bytes.as_ref()).await;
        let _ = io.flush().await;
        read_all(&mut io).await
    }

    /// The records, each of which was written by now; every call of a handler has its own.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.queue.close(SOON).unwrap();
        let text = std::fs::read_to_string(self.folder.path().join("records.jsonl")).unwrap();
        let records: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut allowed: Vec<_> = records
            .iter()
            .filter(|record| record["effect"] == "allow")
            .map(|record| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let user = text(&record["principal"]["user"]["subject"]);
                (user, text(&record["action"]), text(&record["resource"]["id"]))
            })
            .collect();
        for Call { user, action, resource, .. } in self.calls.all() {
            let call = (user, action, resource);
            let at = allowed.iter().position(|allowed| *allowed == call);
            allowed.swap_remove(at.unwrap_or_else(|| panic!("{call:?} has no record")));
        }
        records
    }

    /// How often each reason was recorded.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reason = |record: Value| record["reason"].as_str().unwrap_or("-").to_owned();
        self.records().into_iter().map(reason).collect()
    }
}

/// Whatever comes until the other end closes.
pub(crate) async fn read_all(io: &mut ClientStream<TcpStream>) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = timeout(SOON, io.read(&mut buffer)).await.unwrap() {
        said.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// The statuses in what a server of HTTP/1.1 said.
pub(crate) fn statuses(said: &str) -> Vec<u16> {
    said.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}
