//! One request, from the peer of its connection to the record of its decision.

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use cedar_policy::{
    Authorizer, Context as CedarContext, Decision, Entities, PolicySet as CedarPolicies,
    Request as CedarRequest, RestrictedExpression,
};
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, decode};
use tower::{Layer, ServiceExt, service_fn};
use zt_benches::Scenario;
use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::peer::Peer;
use zt_core::record::{Record, RecordQueue, RecordSink};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::{Timestamp, Validity};
use zt_core::verified::Verified;
use zt_identity::oidc::access_token::AccessToken;
use zt_identity::possession::binding::Binding;
use zt_policy::set::PolicySet;
use zt_tower::access_tokens::AccessTokens;
use zt_tower::zero_trust::ZeroTrust;

use crate::policy::{entity, uid};
use crate::token::{Case, Claims, ISSUER};

const CART: &str = "spiffe://example.org/ns/shop/sa/cart";
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

const POLICIES: &str = r#"
    @id("shop-may-call")
    permit (principal is Workload, action, resource)
    when { principal in WorkloadPath::"spiffe://example.org/ns/shop" };

    @id("clerks-read-orders")
    permit (principal in Role::"clerk", action == Action::"GET", resource is Route)
    when { context.source.isInRange(ip("10.0.0.0/8")) };

    @id("nobody-reads-the-order-of-the-day")
    forbid (principal, action, resource == Route::"/orders/0");
"#;

/// Takes records and forgets them.
struct Nowhere;

impl RecordSink for Nowhere {
    fn append(&mut self, _: &[Record]) -> io::Result<()> {
        Ok(())
    }
}

/// A service, with a connection that it has accepted.
struct Service {
    peer: Verified<Peer>,
    case: Case,
    policies: PolicySet,
    records: RecordQueue,
}

impl Service {
    fn new() -> Self {
        let case = Case::new(Algorithm::ES256);
        Self {
            peer: peer(case.now),
            case,
            policies: PolicySet::parse("orders", POLICIES).unwrap(),
            records: records(),
        }
    }

    fn token(&self) -> Verified<AccessToken> {
        self.case.verifier.verify(black_box(&self.case.token), self.case.now).unwrap()
    }

    fn handle(&self, token: &Verified<AccessToken>) -> bool {
        let user = Binding::bearer().user(token).unwrap();
        let caller = self.peer.principal().on_behalf_of(user);
        let action = Action::new(black_box("GET"));
        let resource = Resource::new("Route", black_box("/orders/42"));
        let context = Context::at(self.case.now).from_source(SOURCE);
        let request = Request::new(&caller, &action, &resource, &context);
        let decision = self.policies.decide(&request);
        now(self.records.append(Record::of(&decision))).unwrap();
        decision.permit().unwrap().covers(&action, &resource).is_ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for a handshake that has finished")]
fn peer(now: Timestamp) -> Verified<Peer> {
    let hour = Duration::from_secs(3_600);
    let validity = Validity::new(now.saturating_sub(hour), now.saturating_add(hour)).unwrap();
    danger::verified(Peer::new(SpiffeId::parse(CART).unwrap(), validity, &[0; 500], 1))
}

fn records() -> RecordQueue {
    // Full, it refuses: then the work is not done, and the bench says so.
    RecordQueue::builder().capacity(1 << 16).start(Nowhere).unwrap()
}

/// The output of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the request waited"),
    }
}

pub fn scenarios() -> Vec<Scenario> {
    vec![request(), first_request(), layers()]
}

/// A token that came before: its verdict is remembered.
fn request() -> Scenario {
    let (service, by_hand) = (Service::new(), ByHand::new());
    let tokens = service.case.verifier.clone().cached(1_000).unwrap();
    let verify = move |case: &Case| tokens.verify(black_box(&case.token), case.now).unwrap();
    assert!(by_hand.handle());
    Scenario::new("path/request", move || service.handle(&verify(&service.case)))
        .peer("jsonwebtoken+cedar", move || by_hand.handle())
}

/// The same with the verification of the token.
fn first_request() -> Scenario {
    let (service, by_hand) = (Service::new(), ByHand::new());
    Scenario::new("path/request-first", move || service.handle(&service.token()))
        .peer("jsonwebtoken+cedar", move || by_hand.handle())
}

fn layers() -> Scenario {
    let Service { peer, case, policies, records } = Service::new();
    let remote = SocketAddr::new(SOURCE, 40_000);
    let bearer = format!("Bearer {}", case.token);
    let zero_trust = ZeroTrust::builder()
        .tokens(AccessTokens::bearer(case.verifier).cached(1_000).unwrap())
        .policy(policies)
        .records(records)
        .build();
    let service = zero_trust.layer(service_fn(|_: http::Request<()>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new("order 42"))
    }));
    Scenario::new("path/layers", move || {
        let request = http::Request::get("/orders/42")
            .header(AUTHORIZATION, bearer.as_str())
            .extension(remote)
            .extension(peer.clone())
            .body(())
            .unwrap();
        let response = now(service.clone().oneshot(request)).unwrap();
        assert_eq!(response.status(), 200);
    })
}

/// The same request, put together from a verifier of tokens and a policy engine. It leaves no
/// record.
struct ByHand {
    case: Case,
    authorizer: Authorizer,
    policies: CedarPolicies,
}

impl ByHand {
    fn new() -> Self {
        let policies = CedarPolicies::from_str(POLICIES).unwrap();
        Self { case: Case::new(Algorithm::ES256), authorizer: Authorizer::new(), policies }
    }

    fn handle(&self) -> bool {
        let Case { token, decoding, validation, .. } = &self.case;
        let claims = decode::<Claims>(black_box(token), decoding, validation).unwrap().claims;
        let name = format!("{ISSUER}#{}", claims.sub);
        let paths = ["/ns", "/ns/shop", "/ns/shop/sa"];
        let paths = paths.map(|path| uid("WorkloadPath", &format!("spiffe://example.org{path}")));
        let roles = claims.roles.iter().map(|role| uid("Role", role));
        let entities = [entity("Workload", CART, paths), entity("User", &name, roles)];
        let entities = Entities::from_entities(entities, None).unwrap();
        [uid("Workload", CART), uid("User", &name)].into_iter().all(|principal| {
            let source = RestrictedExpression::new_ip(SOURCE.to_string());
            let request = CedarRequest::new(
                principal,
                uid("Action", black_box("GET")),
                uid("Route", black_box("/orders/42")),
                CedarContext::from_pairs([("source".into(), source)]).unwrap(),
                None,
            );
            let answer =
                self.authorizer.is_authorized(&request.unwrap(), &self.policies, &entities);
            answer.decision() == Decision::Allow
        })
    }
}
