//! What a request leaves behind.
//!
//! Every decision leaves one [`Record`], allowed or denied, and so does every request that was
//! refused before it came to a decision (A-01). A record is cheap to make on the request path: it
//! shares what the request already holds, and is serialized by whoever writes it down. It holds no
//! token, key or secret, as none of the types that it is made of can.
//!
//! ```text
//! request path                  thread of the queue
//! Record::of(..) → RecordQueue → RecordSink (JsonLines, …)
//! ```

mod callers;
mod queue;
mod sink;

use serde::{Serialize, Serializer};

pub use queue::{Append, AppendError, BackPressure, Builder, RecordQueue, Stats, Unwritten};
pub use sink::{JsonLines, RecordSink};

use crate::decision::{Decision, PolicyVersion, Verdict};
use crate::peer::Peer;
use crate::principal::Principal;
use crate::request::{Action, Context, Resource};
use crate::verified::Verified;

/// One decision, or one refusal before a decision. Serialized, it is one JSON object:
///
/// ```
/// use zt_core::record::Record;
/// use zt_core::request::{Action, Context, Resource};
/// use zt_core::time::Timestamp;
///
/// let arrived = Context::at(Timestamp::from_secs(1_800_000_000)).from_source([10, 0, 0, 7]);
/// let record = Record::refusal(&arrived, None, "no_credential")
///     .about(&Action::new("GET"), &Resource::new("Route", "/orders"));
/// assert_eq!(
///     serde_json::to_string(&record).unwrap(),
///     r#"{"event":"refusal","effect":"deny","reason":"no_credential","action":"GET","#.to_owned()
///         + r#""resource":{"type":"Route","id":"/orders"},"#
///         + r#""context":{"time":"2027-01-15T08:00:00Z","source":"10.0.0.7"}}"#
/// );
/// ```
#[must_use = "a record counts once it is appended"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    principal: Option<Principal>,
    action: Option<Action>,
    // By kind and name: what else is known about it is not written down, and would be given back by
    // another thread than took it.
    resource: Option<Resource>,
    context: Context,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Decided { workload: Verdict, user: Option<Verdict>, version: PolicyVersion },
    Refused { reason: &'static str, by_known: bool },
}

impl Record {
    /// The record of a decision: who asked, for what, when and from where, every answer with the
    /// policy that determined it, and the version of the policies.
    pub fn of(decision: &Decision) -> Self {
        let (workload, user) = decision.verdicts();
        Self {
            principal: Some(decision.principal().clone()),
            action: Some(decision.action().clone()),
            resource: Some(decision.resource().without_facts()),
            context: decision.context().clone(),
            outcome: Outcome::Decided { workload, user, version: decision.version() },
        }
    }

    /// The record of a request that was refused before a decision, for a reason out of a fixed
    /// set: `no_credential`, `invalid_token`, …
    pub fn refusal(context: &Context, peer: Option<&Verified<Peer>>, reason: &'static str) -> Self {
        Self {
            principal: peer.map(|peer| peer.principal().into_inner()),
            action: None,
            resource: None,
            context: context.clone(),
            outcome: Outcome::Refused { reason, by_known: false },
        }
    }

    /// The same refusal, with what was asked for.
    pub fn about(mut self, action: &Action, resource: &Resource) -> Self {
        self.action = Some(action.clone());
        self.resource = Some(resource.without_facts());
        self
    }

    /// The same refusal, of a caller who is known in full.
    pub fn by(mut self, caller: &Verified<Principal>) -> Self {
        self.principal = Some(caller.clone().into_inner());
        if let Outcome::Refused { by_known, .. } = &mut self.outcome {
            *by_known = true;
        }
        self
    }

    /// Whether it is of a request that anyone can send, as often as he likes: one that was refused before
    /// it was known in full who calls.
    const fn is_of_anyone(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { by_known: false, .. })
    }

    /// Whether the request was allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        match &self.outcome {
            Outcome::Decided { workload, user, .. } => {
                workload.is_allow() && user.as_ref().is_none_or(Verdict::is_allow)
            }
            Outcome::Refused { .. } => false,
        }
    }
}

/// What of a record is written before its principal, where a line is put together of three parts.
#[derive(Serialize)]
struct Head {
    event: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// What of a record is written after its principal. The context is always there.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Answers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'a PolicyVersion>,
    context: &'a Context,
}

#[derive(Serialize)]
struct Answers<'a> {
    workload: &'a Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a Verdict>,
}

impl Record {
    fn head(&self) -> Head {
        let (event, reason) = match &self.outcome {
            Outcome::Decided { .. } => ("decision", None),
            Outcome::Refused { reason, .. } => ("refusal", Some(*reason)),
        };
        Head { event, effect: if self.is_allowed() { "allow" } else { "deny" }, reason }
    }

    fn tail(&self) -> Tail<'_> {
        let (answers, policies) = match &self.outcome {
            Outcome::Decided { workload, user, version } => {
                (Some(Answers { workload, user: user.as_ref() }), Some(version))
            }
            Outcome::Refused { .. } => (None, None),
        };
        let (action, resource) = (self.action.as_ref(), self.resource.as_ref());
        Tail { action, resource, answers, policies, context: &self.context }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            event: &'static str,
            effect: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            principal: Option<&'a Principal>,
            #[serde(skip_serializing_if = "Option::is_none")]
            action: Option<&'a Action>,
            #[serde(skip_serializing_if = "Option::is_none")]
            resource: Option<&'a Resource>,
            #[serde(skip_serializing_if = "Option::is_none")]
            answers: Option<Answers<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            policies: Option<&'a PolicyVersion>,
            context: &'a Context,
        }
        let Head { event, effect, reason } = self.head();
        let Tail { action, resource, answers, policies, context } = self.tail();
        let principal = self.principal.as_ref();
        Shown { event, effect, reason, principal, action, resource, answers, policies, context }
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Answer;
    use crate::principal::{User, Workload};
    use crate::request::{Request, SubjectKind};
    use crate::spiffe::SpiffeId;
    use crate::time::Timestamp;

    #[test]
    fn a_decision_is_recorded_with_both_answers_and_the_policies_version() {
        let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
        let caller = Verified::mint(Principal::new(Workload::new(id)))
            .on_behalf_of(Verified::mint(User::new("https://issuer", "alice")));
        let (action, resource) = (Action::new("read"), Resource::new("Order", "1"));
        let context = Context::at(Timestamp::EPOCH).with("risk", 3);
        let request = Request::new(&caller, &action, &resource, &context);
        let decision = Decision::of(&request, PolicyVersion::new(7, [0xab; 32]), |question| {
            match question.subject().kind() {
                SubjectKind::Workload => Answer::allowed("callers".into()),
                SubjectKind::User => Answer::forbidden("no-clerks"),
            }
        });
        let json = serde_json::to_value(Record::of(&decision)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "event": "decision",
                "effect": "deny",
                "principal": {
                    "workload": { "id": { "spiffe": "spiffe://example.org/cart" } },
                    "user": { "issuer": "https://issuer", "subject": "alice", "authentication": {} },
                },
                "action": "read",
                "resource": { "type": "Order", "id": "1" },
                "answers": {
                    "workload": { "effect": "allow", "policy": "callers" },
                    "user": { "effect": "deny", "reason": "forbidden", "policy": "no-clerks" },
                },
                "policies": { "generation": 7, "digest": "ab".repeat(32) },
                "context": { "time": "1970-01-01T00:00:00Z", "attributes": { "risk": 3 } },
            })
        );
    }
}
