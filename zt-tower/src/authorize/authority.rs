use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use zt_core::decision::{Answer, Decide, Decision, DenyReason, Permit};
use zt_core::record::{Append, Record};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::time::Clock;

use crate::caller::Caller;
use crate::denial::{Denial, Refusal};
use crate::record::Recording;
use crate::telemetry::{self, Decided as Told};

/// Who decides, where that is recorded, and what time it is.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) policy: Arc<dyn Decide>,
    pub(super) recording: Recording,
    pub(super) clock: Arc<dyn Clock>,
}

/// A decision: the enqueuing of its record, whatever it was, and what came of it.
pub(super) type Decided = (Option<Append>, Result<Permit, Denial>);

impl Authority {
    /// Rules 4 and 5, and the beginning of 6.
    pub(super) fn decide(
        &self,
        caller: &Caller,
        action: &Action,
        resource: &Resource,
        context: &Context,
    ) -> Result<Decided, Refusal> {
        let began = timed();
        let decision = self.ask(caller, action, resource, context)?;
        tell(&decision, began);
        let append = self.recording.append(Record::of(&decision));
        let permit = decision.permit().map_err(Denial::from).and_then(|permit| {
            permit.covers(action, resource).map_err(|_| Denial::Wiring)?;
            Ok(permit)
        });
        Ok((append, permit))
    }

    /// The record of a decision that is no; nothing of one that is yes.
    pub(super) fn denial(
        &self,
        caller: &Caller,
        action: &Action,
        resource: &Resource,
        context: &Context,
    ) -> Result<Option<Record>, Refusal> {
        let began = timed();
        let decision = self.ask(caller, action, resource, context)?;
        if decision.is_allowed() {
            return Ok(None);
        }
        tell(&decision, began);
        Ok(Some(Record::of(&decision)))
    }

    fn ask(
        &self,
        caller: &Caller,
        action: &Action,
        resource: &Resource,
        context: &Context,
    ) -> Result<Decision, Refusal> {
        let request = Request::new(caller.principal(), action, resource, context);
        let decision = self.policy.decide(&request);
        if !decision.is_of(&request) {
            return Err(Refusal::new(Denial::Wiring, "decision_of_another_request"));
        }
        Ok(decision)
    }
}

/// Where nobody is told how long it takes, nobody looks at the clock.
fn timed() -> Option<Instant> {
    cfg!(any(feature = "metrics", feature = "tracing")).then(Instant::now)
}

/// Of the answer that counts: the first that is no, or that about the workload.
fn tell(decision: &Decision, began: Option<Instant>) {
    let Some(began) = began else { return };
    let mut answers = decision.answers().map(|(_, answer)| answer);
    let workload = answers.next();
    let first = workload.filter(|answer| answer.denied().is_some());
    let first = first.or_else(|| answers.find(|answer| answer.denied().is_some())).or(workload);
    telemetry::decided(&Told {
        reason: first.and_then(Answer::denied).map_or("none", DenyReason::name),
        rule: first.and_then(Answer::policy),
        generation: decision.version().generation,
        took: began.elapsed(),
    });
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("recording", &self.recording)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
