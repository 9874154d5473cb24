//! Why a request is answered as it is.
//!
//! A decision names the first policy that determined it and is quick. An [`Explanation`] is made
//! afterwards, from the policies as they were written: it asks every policy, lists those that
//! apply and those that err, shows the clauses of those that determine the answer, and where
//! nothing permits, the permits that came nearest and the clause at which each failed. A clause is
//! shown with the values that it saw, but for those that are [secret](Redaction).
//!
//! A permit comes the nearer the more clauses hold before the first that fails, in this order:
//! principal, action, resource, each condition, and within a `when` each operand of its `&&`. Of
//! those that come equally near the first of the set is first, and [`MAX_NEAREST`] are shown. Each
//! clause of a scope counts, also behind one that failed.

mod clause;
mod redaction;

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use self::clause::Walker;
pub use self::clause::{Clause, MAX_SEEN, Part, Seen};
pub use self::redaction::{MAX_SHOWN, REDACTED, Redaction};
use crate::entity::{Entities, Request};
use crate::evaluate::default::DefaultEffect;
use crate::evaluate::{OnForbidError, Outcome, PolicyError, Response, authorize};
use crate::policy::{Effect, Policy};

/// The most permits that are shown where none applies.
pub const MAX_NEAREST: usize = 3;

/// How what policies say becomes an answer, and what of it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manner {
    /// What a forbid does whose condition errs.
    pub on_forbid_error: OnForbidError,
    /// What is answered where no policy applies.
    pub default_effect: DefaultEffect,
    /// What is not shown.
    pub redaction: Redaction,
}

/// Why one question is answered as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The answer.
    pub outcome: Outcome,
    /// What is answered where no policy applies.
    pub default_effect: DefaultEffect,
    /// The permits that apply, in the order of the set.
    pub permits: Vec<Arc<str>>,
    /// The forbids that apply, in the order of the set.
    pub forbids: Vec<Arc<str>>,
    /// The policies that err, in the order of the set, and why.
    pub errors: Vec<PolicyError>,
    /// Those that determine the answer, with their clauses: the forbids that apply, and where
    /// there are none, the permits.
    pub applied: Vec<Applied>,
    /// The permits that came nearest, where none applies, nearest first.
    pub nearest: Vec<NearMiss>,
}

/// A policy that applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Applied {
    /// Its name.
    pub policy: Arc<str>,
    /// Its clauses, all of which hold, but for scopes that ask nothing.
    pub clauses: Vec<Clause>,
}

/// A permit that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NearMiss {
    /// Its name.
    pub policy: Arc<str>,
    /// The first clause that does not hold.
    pub failed: Clause,
}

impl Explanation {
    /// Asks all of these policies about one request.
    #[must_use]
    pub fn of(
        policies: &[Policy],
        request: &Request,
        entities: &Entities,
        manner: &Manner,
    ) -> Self {
        let Manner { on_forbid_error, default_effect, redaction } = manner;
        let response = authorize(policies, request, entities);
        let outcome = response.outcome(*on_forbid_error);
        let outcome = default_effect.apply(outcome, policies, request, entities);
        let walker = Walker { request, entities, redaction };
        let nearest =
            if response.permits.is_empty() { nearest(policies, &walker) } else { Vec::new() };
        let applied = applied(policies, &response, &walker);
        Self {
            outcome,
            default_effect: *default_effect,
            errors: errors(policies, response.errors, redaction),
            permits: response.permits,
            forbids: response.forbids,
            applied,
            nearest,
        }
    }
}

fn applied(policies: &[Policy], response: &Response, walker: &Walker<'_>) -> Vec<Applied> {
    let mut reasons = response.reasons().iter().peekable();
    let mut applied = Vec::new();
    for policy in policies {
        // Both are in the order of the set.
        if reasons.next_if(|reason| ***reason == *policy.id).is_some() {
            let clauses = walker.walk(policy).held;
            applied.push(Applied { policy: policy.id.clone(), clauses });
        }
    }
    applied
}

fn nearest(policies: &[Policy], walker: &Walker<'_>) -> Vec<NearMiss> {
    let permits = policies.iter().filter(|policy| policy.effect == Effect::Permit);
    let mut nearest: Vec<(usize, NearMiss)> = Vec::new();
    for policy in permits {
        let walk = walker.walk(policy);
        let Some(failed) = walk.failed else { continue };
        let place = nearest.partition_point(|(count, _)| *count >= walk.count);
        if place < MAX_NEAREST {
            nearest.insert(place, (walk.count, NearMiss { policy: policy.id.clone(), failed }));
            nearest.truncate(MAX_NEAREST);
        }
    }
    nearest.into_iter().map(|(_, miss)| miss).collect()
}

/// The errors, without what those quote that could have met a secret.
fn errors(
    policies: &[Policy],
    mut errors: Vec<PolicyError>,
    redaction: &Redaction,
) -> Vec<PolicyError> {
    let mut policies = policies.iter();
    for erring in &mut errors {
        // Both are in the order of the set.
        let policy = policies.find(|policy| policy.id == erring.policy);
        let names_secret = policy.is_none_or(|policy| {
            policy.conditions.iter().any(|condition| redaction.is_in(&condition.body))
        });
        if names_secret {
            erring.error = Redaction::error(erring.error.clone());
        }
    }
    errors
}

/// What it says, and what was seen in it.
impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, failed } = self;
        write!(f, "{policy:?} came nearest to permitting it: {failed}")?;
        match (&failed.error, failed.part) {
            (Some(error), _) => write!(f, " errs: {error}")?,
            (None, Part::Unless) => f.write_str(" is true")?,
            (None, Part::Principal | Part::Action | Part::Resource | Part::When) => {
                f.write_str(" is false")?;
            }
        }
        failed.seen.iter().try_for_each(|seen| write!(f, "\n    {seen}"))
    }
}

/// A line for the answer, and one for each policy that has to do with it, followed by its clauses
/// and what was seen in them.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(effect(&self.outcome))?;
        if let DefaultEffect::AllowUnselected(side) = self.default_effect {
            write!(f, "\na request whose {side} no policy selects is allowed by default")?;
        }
        for (policies, does) in [(&self.forbids, "forbids"), (&self.permits, "permits")] {
            for policy in policies {
                write!(f, "\n{policy:?} {does} it")?;
                let applied = self.applied.iter().filter(|applied| applied.policy == *policy);
                for clause in applied.flat_map(|applied| &applied.clauses) {
                    write!(f, "\n  {clause}")?;
                    clause.seen.iter().try_for_each(|seen| write!(f, "\n    {seen}"))?;
                }
            }
        }
        for PolicyError { policy, effect, error } in &self.errors {
            write!(f, "\n{policy:?}, a {effect}, errs: {error}")?;
        }
        self.nearest.iter().try_for_each(|miss| write!(f, "\n{miss}"))
    }
}

const fn effect(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Allow { .. } => "allowed",
        Outcome::AllowByDefault => "allowed by default",
        Outcome::Forbidden { .. } => "denied: forbidden",
        Outcome::Error { .. } => "denied: a forbid could not be evaluated",
        Outcome::NotPermitted => "denied: not permitted",
        Outcome::OverLimit => "denied: the request is over a limit",
    }
}

/// As an object: `outcome`, `default` where it is not to deny, `permits`, `forbids`, `errors`,
/// `applied`, `nearest`.
impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            outcome: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            default: Option<String>,
            permits: &'a [Arc<str>],
            forbids: &'a [Arc<str>],
            errors: Vec<Erring>,
            applied: &'a [Applied],
            nearest: &'a [NearMiss],
        }
        #[derive(Serialize)]
        struct Erring {
            policy: Arc<str>,
            effect: String,
            error: String,
        }
        let erring = |erring: &'_ PolicyError| Erring {
            policy: erring.policy.clone(),
            effect: erring.effect.to_string(),
            error: erring.error.to_string(),
        };
        let default = match self.default_effect {
            DefaultEffect::Deny => None,
            DefaultEffect::AllowUnselected(side) => Some(format!("allow unselected {side}")),
        };
        Shown {
            outcome: effect(&self.outcome),
            default,
            permits: &self.permits,
            forbids: &self.forbids,
            errors: self.errors.iter().map(erring).collect(),
            applied: &self.applied,
            nearest: &self.nearest,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
