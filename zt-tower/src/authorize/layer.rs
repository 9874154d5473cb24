use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;
use zt_core::decision::{Decide, Permit};
use zt_core::record::Record;
use zt_core::request::{Context, Request};
use zt_core::time::{Clock, SystemClock, Timestamp};

use super::{Authorize, PathTargets, Targets};
use crate::caller::Caller;
use crate::denial::{Denial, Problem, Refusal};
use crate::path::NormalPath;
use crate::record::Recording;

/// Wraps a service in [`Authorize`].
#[derive(Clone)]
pub struct AuthorizeLayer<R = Problem> {
    policy: Arc<dyn Decide>,
    targets: Arc<dyn Targets>,
    clock: Arc<dyn Clock>,
    pub(super) recording: Recording,
    pub(super) respond: Arc<R>,
}

impl AuthorizeLayer {
    /// Asks `policy` and records what it says.
    #[must_use]
    pub fn new(policy: impl Decide + 'static, recording: impl Into<Recording>) -> Self {
        Self {
            policy: Arc::new(policy),
            targets: Arc::new(PathTargets),
            clock: Arc::new(SystemClock),
            recording: recording.into(),
            respond: Arc::default(),
        }
    }
}

impl<R> AuthorizeLayer<R> {
    /// Asks about these targets; [`PathTargets`] by default.
    #[must_use]
    pub fn targets(mut self, targets: impl Targets + 'static) -> Self {
        self.targets = Arc::new(targets);
        self
    }

    /// Takes the time from `clock`; from the operating system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Answers denials so; with [`Problem`] by default.
    #[must_use]
    pub fn respond<Q>(self, respond: Q) -> AuthorizeLayer<Q> {
        let Self { policy, targets, clock, recording, .. } = self;
        AuthorizeLayer { policy, targets, clock, recording, respond: Arc::new(respond) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Rules 1 to 5. The record is of the decision, whatever it was.
    pub(super) fn decide(
        &self,
        parts: &Parts,
        context: &Context,
    ) -> Result<(Record, Result<Permit, Denial>), Refusal> {
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or(Refusal::new(Denial::Wiring, "no_caller"))?;
        let path = NormalPath::parse(parts.uri.path())?;
        let target = self.targets.target(parts, &path)?;
        let context = target.add_to(context.clone());
        let (action, resource) = (&target.action, &target.resource);
        let request = Request::new(caller.principal(), action, resource, &context);
        let decision = self.policy.decide(&request);
        if !decision.is_of(&request) {
            return Err(Refusal::new(Denial::Wiring, "decision_of_another_request"));
        }
        let record = Record::of(&decision);
        let permit = decision.permit().map_err(Denial::from).and_then(|permit| {
            permit.covers(action, resource).map_err(|_| Denial::Wiring)?;
            Ok(permit)
        });
        Ok((record, permit))
    }
}

impl<S, R: Clone> Layer<S> for AuthorizeLayer<R> {
    type Service = Authorize<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorize::new(inner, Arc::new(self.clone()))
    }
}

impl<R: fmt::Debug> fmt::Debug for AuthorizeLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer")
            .field("clock", &self.clock)
            .field("recording", &self.recording)
            .field("respond", &self.respond)
            .finish_non_exhaustive()
    }
}
