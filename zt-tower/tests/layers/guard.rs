//! What a handler asks of the policy itself, and how long it may go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Builder;
use serde_json::json;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::lease::{Ended, Lease, Leases};
use zt_core::record::{BackPressure, RecordQueue};
use zt_core::request::{Action, Request, Resource, Subject};
use zt_core::time::{ManualClock, Timestamp};
use zt_identity::possession::revocations::{MemoryRevocations, Revocation, Revoke};
use zt_tower::AccessTokens;
use zt_tower::authorize::{CallLease, Guard, MAX_FILTERED, Permitted};
use zt_tower::caller::Caller;
use zt_tower::denial::Denial;
use zt_tower::zero_trust::ZeroTrust;

use crate::access_tokens::{ISSUER, Issuer, claims};
use crate::support::{CART, Inner, NOW, Sink, Tokens, allow, clock, from, peer, send};

const EDIT: Action = Action::from_static("edit");

/// Lets everyone in, owners edit, and nobody at all once it is shut. An order that says so finds no
/// policy.
#[derive(Clone, Default)]
struct Owners {
    shut: Arc<AtomicBool>,
}

impl Decide for Owners {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let generation = if self.shut.load(Ordering::SeqCst) { 8 } else { 7 };
        Decision::of(request, PolicyVersion::new(generation, [0; 32]), |question| {
            let resource = request.resource();
            if self.shut.load(Ordering::SeqCst) {
                return Answer::not_permitted();
            }
            match question.subject() {
                _ if resource.id() == "none" => Answer::unavailable(),
                _ if resource.kind() == "Route" => allow("everyone-comes-in"),
                Subject::Workload(_) => allow("services-may-ask"),
                Subject::User(user) => match resource.attributes().get("owner") {
                    Some(owner) if *owner == user.subject().into() => allow("owners-edit"),
                    _ => Answer::forbidden("others-do-not"),
                },
                _ => Answer::not_permitted(),
            }
        })
    }
}

fn with_user(user: &str) -> Builder {
    from(CART).header(AUTHORIZATION, format!("Bearer {user}"))
}

fn order(id: &str, owner: &str) -> Resource {
    Resource::new("Order", id).with("owner", owner)
}

fn layer(policy: &Owners, queue: &RecordQueue, clock: &ManualClock) -> ZeroTrust {
    let builder = ZeroTrust::builder().tokens(Tokens).policy(policy.clone());
    builder.records(queue.clone()).clock(clock.clone()).build()
}

/// The guard that the handler of this request finds.
async fn guard(layer: &ZeroTrust, request: Builder) -> Guard {
    let inner = Inner::default();
    assert_eq!(send(layer, &inner, request).await.status(), 200);
    Guard::of(&inner.last().extensions).unwrap()
}

#[tokio::test]
async fn a_handler_asks_whether_this_caller_may_edit_this_order() {
    let (sink, clock) = (Sink::default(), clock());
    let queue = sink.queue();
    let layer = layer(&Owners::default(), &queue, &clock);
    let guard = guard(&layer, with_user("alice")).await;
    clock.advance(Duration::from_secs(5));
    let permit = guard.require(&EDIT, &order("42", "alice")).await.unwrap();
    assert_eq!(permit.covers(&EDIT, &Resource::new("Order", "42")), Ok(()));
    assert!(permit.covers(&EDIT, &Resource::new("Order", "43")).is_err());

    let refused = guard.require(&EDIT, &order("43", "bob")).await.unwrap_err();
    assert_eq!(refused.denial(), &Denial::Forbidden);
    assert!(!format!("{refused} {refused:?}").contains("others"));

    let records = sink.records(&queue);
    assert_eq!(records.len(), 3);
    assert_eq!(records[1]["effect"], "allow");
    assert_eq!(records[1]["principal"]["user"]["subject"], "alice");
    assert_eq!(records[1]["resource"], json!({ "type": "Order", "id": "42" }));
    let context = json!({ "time": "2027-01-15T08:00:05Z", "source": "10.0.0.7" });
    assert_eq!(records[1]["context"], context);
    assert_eq!(records[2]["effect"], "deny");
    assert_eq!(records[2]["answers"]["user"]["policy"], "others-do-not");
}

#[tokio::test]
async fn what_a_handler_is_allowed_is_recorded_or_not_allowed() {
    let (sink, inner) = (Sink::default(), Inner::default());
    let queue = sink.full_queue(BackPressure::Drop);
    let request = with_user("alice");
    send(&layer(&Owners::default(), &queue, &clock()), &inner, request).await;
    let guard = Guard::of(&inner.last().extensions).unwrap();
    queue.close(Duration::ZERO).unwrap_err();
    let refused = guard.require(&EDIT, &order("42", "alice")).await.unwrap_err();
    assert_eq!(refused.denial(), &Denial::Unavailable);
    sink.open();
}

#[tokio::test]
async fn a_list_is_filtered_and_each_decision_is_recorded() {
    let sink = Sink::default();
    let queue = sink.queue();
    let guard = guard(&layer(&Owners::default(), &queue, &clock()), with_user("alice")).await;
    let orders = [("1", "alice"), ("2", "bob"), ("3", "alice")];
    let seen = guard.filter(&EDIT, orders, |(id, owner)| order(id, owner)).await.unwrap();
    let ids: Vec<_> = seen.iter().map(|((id, _), permit)| (*id, permit.resource().id())).collect();
    assert_eq!(ids, [("1", "1"), ("3", "3")]);
    let effects: Vec<_> =
        sink.records(&queue).iter().map(|record| record["effect"].clone()).collect();
    assert_eq!(effects, ["allow", "allow", "deny", "allow"]);
}

#[tokio::test]
async fn a_list_that_nobody_can_judge_is_no_empty_list() {
    let sink = Sink::default();
    let queue = sink.queue();
    let guard = guard(&layer(&Owners::default(), &queue, &clock()), with_user("alice")).await;
    let none = guard.filter(&EDIT, ["1", "none"], |id| order(id, "alice")).await.unwrap_err();
    assert_eq!(none.denial(), &Denial::Unavailable);
    let most = guard.filter(&EDIT, 0..MAX_FILTERED, |n| order(&n.to_string(), "alice")).await;
    assert_eq!(most.unwrap().len(), MAX_FILTERED);
    let more = guard.filter(&EDIT, 0..=MAX_FILTERED, |n| order(&n.to_string(), "alice")).await;
    assert_eq!(more.unwrap_err().denial(), &Denial::Wiring);
}

#[tokio::test]
async fn there_is_no_guard_where_nobody_decided() {
    let mut extensions = http::Extensions::new();
    assert_eq!(Guard::of(&extensions).unwrap_err().what, "guard");
    // A permit of somebody else's making asks nobody.
    let sink = Sink::default();
    let guard = guard(&layer(&Owners::default(), &sink.queue(), &clock()), with_user("bob")).await;
    let permit = guard.require(&EDIT, &order("1", "bob")).await.unwrap();
    let caller = Caller::from(peer(CART).principal());
    let permitted = Permitted::from(permit);
    assert_eq!(permitted.clone().put(&mut extensions).unwrap_err().what, "caller");
    extensions.insert(caller.clone());
    permitted.put(&mut extensions).unwrap();
    assert_eq!(extensions.get(), Some(&caller), "the same is proven of both");
    assert_eq!(Permitted::of(&extensions).unwrap().action(), &EDIT);
    assert_eq!(Guard::of(&extensions).unwrap_err().what, "guard");
    assert_eq!(CallLease::of(&extensions).unwrap_err().what, "lease");
}

fn connection(clock: &ManualClock) -> (Leases, Lease) {
    let leases = Leases::new(clock.clone(), Duration::from_secs(3_600));
    let lease = leases.grant(|_: Timestamp| Ok(())).unwrap();
    (leases, lease)
}

/// The lease of a call over this connection.
async fn call(layer: &ZeroTrust, request: Builder, connection: &Lease) -> CallLease {
    let inner = Inner::default();
    let response = send(layer, &inner, request.extension(connection.clone())).await;
    assert_eq!(response.status(), 200);
    CallLease::of(&inner.last().extensions).unwrap()
}

#[tokio::test]
async fn a_call_ends_when_policy_does_not_allow_it_any_more_and_that_is_recorded() {
    let (sink, clock, policy) = (Sink::default(), clock(), Owners::default());
    let queue = sink.queue();
    let (leases, connection) = connection(&clock);
    let lease = call(&layer(&policy, &queue, &clock), with_user("alice"), &connection).await;
    assert_eq!((leases.look(), lease.has_ended()), (2, None));
    policy.shut.store(true, Ordering::SeqCst);
    leases.look();
    leases.look();
    assert_eq!(lease.has_ended(), Some(Ended::Policy));
    assert_eq!(connection.has_ended(), None);
    let records = sink.records(&queue);
    assert_eq!(records.len(), 2, "looks that find nothing new leave no record: {records:?}");
    assert_eq!(
        (&records[1]["effect"], &records[1]["policies"]["generation"]),
        (&json!("deny"), &json!(8))
    );
}

#[tokio::test]
async fn a_call_that_is_let_in_within_the_leeway_lasts_as_long_as_another_would_be() {
    let (sink, clock) = (Sink::default(), clock());
    let revocations = Arc::new(MemoryRevocations::new(100));
    let tokens = || AccessTokens::bearer(Issuer::new(1).verifier()).cached(16).unwrap();
    let token = Issuer::new(1).sign(&claims(&json!({})));
    for tokens in [tokens(), tokens().revoked_by(revocations)] {
        let builder = ZeroTrust::builder().tokens(tokens).policy(Owners::default());
        let layer = builder.records(sink.queue()).clock(clock.clone()).build();
        // 30 s after its `exp`, of 60 s of leeway.
        clock.set(NOW.saturating_add(Duration::from_secs(330)));
        let (leases, connection) = connection(&clock);
        let lease = call(&layer, with_user(&token), &connection).await;
        clock.advance(Duration::from_secs(29));
        leases.look();
        assert_eq!(lease.has_ended(), None);
        clock.advance(Duration::from_secs(1));
        leases.look();
        assert_eq!(lease.has_ended(), Some(Ended::Token));
        let late = send(&layer, &Inner::default(), with_user(&token)).await;
        assert_eq!(late.status(), 401);
    }
}

#[tokio::test]
async fn a_call_ends_with_its_connection_and_with_its_token() {
    let (sink, clock) = (Sink::default(), clock());
    let revocations = Arc::new(MemoryRevocations::new(100));
    let tokens = AccessTokens::bearer(Issuer::new(1).verifier());
    let layer = |tokens: AccessTokens| {
        let builder = ZeroTrust::builder().tokens(tokens).policy(Owners::default());
        builder.records(sink.queue()).clock(clock.clone()).build()
    };
    let token = Issuer::new(1).sign(&claims(&json!({ "sid": "s1" })));
    let (leases, connection) = connection(&clock);

    let unasked = call(&layer(tokens.clone()), with_user(&token), &connection).await;
    let asked = layer(tokens.revoked_by(Arc::clone(&revocations)));
    let session = call(&asked, with_user(&token), &connection).await;
    leases.look();
    assert_eq!((unasked.has_ended(), session.has_ended()), (None, None));
    revocations.revoke(&[Revocation::of_session(ISSUER, "s1")], NOW).into_ready().unwrap().unwrap();
    leases.look();
    assert_eq!((unasked.has_ended(), session.has_ended()), (None, Some(Ended::Token)));
    clock.advance(Duration::from_secs(359));
    leases.look();
    assert_eq!(unasked.has_ended(), None, "a request with the token is still let in");
    clock.advance(Duration::from_secs(1));
    leases.look();
    assert_eq!(unasked.has_ended(), Some(Ended::Token), "300 seconds and the leeway are over");

    clock.set(NOW);
    let other = call(
        &layer(AccessTokens::bearer(Issuer::new(1).verifier())),
        with_user(&token),
        &connection,
    )
    .await;
    connection.end(Ended::Identity);
    assert_eq!(other.check(NOW), Err(Ended::Identity));
}
