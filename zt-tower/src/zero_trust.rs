//! Both layers in one, with one builder.

use std::sync::Arc;

use tower_layer::Layer;
use zt_core::decision::Decide;
use zt_core::record::RecordQueue;
use zt_core::time::{Clock, SystemClock};

use crate::authenticate::{Authenticate, AuthenticateLayer};
use crate::authorize::{Authorize, AuthorizeLayer, PathTargets, Targets};
use crate::demand::{Demand, UserDemand, VerifyToken};
use crate::denial::Problem;
use crate::forwarded::Forwarded;
use crate::limits::Limits;
use crate::record::Recording;
use crate::workload_tokens::{VerifyWorkload, WorkloadDemand};

/// Authenticates, decides, records and answers: [`Authenticate`] around [`Authorize`].
///
/// Build it once, clone it wherever a route demands the same.
///
/// ```
/// use zt_core::decision::Decide;
/// use zt_core::record::RecordQueue;
/// use zt_tower::demand::VerifyToken;
/// use zt_tower::zero_trust::ZeroTrust;
///
/// fn layer(
///     tokens: impl VerifyToken + 'static,
///     policy: impl Decide + 'static,
///     records: RecordQueue,
/// ) -> ZeroTrust {
///     ZeroTrust::builder().tokens(tokens).policy(policy).records(records).build()
/// }
/// ```
///
/// It cannot be built without a policy, nor without saying whom it demands and where records go:
///
/// ```compile_fail,E0599
/// # fn layer(tokens: impl zt_tower::demand::VerifyToken + 'static) {
/// zt_tower::zero_trust::ZeroTrust::builder().tokens(tokens).without_records().build();
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # fn layer(policy: impl zt_core::decision::Decide + 'static) {
/// zt_tower::zero_trust::ZeroTrust::builder().policy(policy).without_records().build();
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # fn layer(policy: impl zt_core::decision::Decide + 'static) {
/// zt_tower::zero_trust::ZeroTrust::builder().workloads_only().policy(policy).build();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ZeroTrust<R = Problem> {
    authenticate: AuthenticateLayer<R>,
    authorize: AuthorizeLayer<R>,
}

impl ZeroTrust {
    /// Begins to build one. [`Builder::build`] is there once the demand, the policy and the
    /// recording are stated.
    pub fn builder() -> Builder {
        Builder {
            demand: (),
            policy: (),
            recording: (),
            settings: Settings {
                targets: Arc::new(PathTargets),
                clock: Arc::new(SystemClock),
                forwarded: Forwarded::nobody(),
                limits: Limits::default(),
            },
            respond: Problem::default(),
        }
    }
}

impl<S, R: Clone> Layer<S> for ZeroTrust<R> {
    type Service = Authenticate<Authorize<S, R>, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.authenticate.layer(self.authorize.layer(inner))
    }
}

/// Builds a [`ZeroTrust`]. What is `()` among its parameters is not stated yet: the [`Demand`], the
/// policy, the [`Recording`].
#[must_use]
#[derive(Clone)]
pub struct Builder<D = (), P = (), Q = (), R = Problem> {
    demand: D,
    policy: P,
    recording: Q,
    settings: Settings,
    respond: R,
}

/// What has a default.
#[derive(Clone)]
struct Settings {
    targets: Arc<dyn Targets>,
    clock: Arc<dyn Clock>,
    forwarded: Forwarded,
    limits: Limits,
}

impl<P, Q, R> Builder<(), P, Q, R> {
    /// Demands a workload, and a user with a token that these verify.
    pub fn tokens(self, tokens: impl VerifyToken + 'static) -> Builder<Demand, P, Q, R> {
        self.demand(Demand::WorkloadAndUser(UserDemand::new(tokens)))
    }

    /// Demands a workload and looks at no token.
    pub fn workloads_only(self) -> Builder<Demand, P, Q, R> {
        self.demand(Demand::Workload)
    }

    /// Demands a workload that is named by a token which these verify, and no certificate.
    pub fn workload_tokens(
        self,
        tokens: impl VerifyWorkload + 'static,
    ) -> Builder<Demand, P, Q, R> {
        self.demand(Demand::WorkloadToken(WorkloadDemand::new(tokens)))
    }

    /// Demands this.
    pub fn demand(self, demand: Demand) -> Builder<Demand, P, Q, R> {
        let Self { policy, recording, settings, respond, .. } = self;
        Builder { demand, policy, recording, settings, respond }
    }
}

impl<D, Q, R> Builder<D, (), Q, R> {
    /// Asks this policy.
    pub fn policy<P: Decide + 'static>(self, policy: P) -> Builder<D, Arc<dyn Decide>, Q, R> {
        let Self { demand, recording, settings, respond, .. } = self;
        Builder { demand, policy: Arc::new(policy), recording, settings, respond }
    }
}

impl<D, P, R> Builder<D, P, (), R> {
    /// Records into this queue.
    pub fn records(self, queue: RecordQueue) -> Builder<D, P, Recording, R> {
        self.recording(Recording::Queue(queue))
    }

    /// Records nothing. What happened cannot be told afterwards.
    pub fn without_records(self) -> Builder<D, P, Recording, R> {
        self.recording(Recording::Off)
    }

    fn recording(self, recording: Recording) -> Builder<D, P, Recording, R> {
        let Self { demand, policy, settings, respond, .. } = self;
        Builder { demand, policy, recording, settings, respond }
    }
}

impl<D, P, Q, R> Builder<D, P, Q, R> {
    /// Asks about these targets; [`PathTargets`] by default.
    pub fn targets(mut self, targets: impl Targets + 'static) -> Self {
        self.settings.targets = Arc::new(targets);
        self
    }

    /// Takes the time from `clock`; from the operating system by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Believes these peers what they say of the clients behind them; nobody by default.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.settings.forwarded = forwarded;
        self
    }

    /// Verifies no more than this at once and for each source; [`Limits::default`] by default. Every
    /// layer that is built counts for itself, with its clones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Answers denials so; with [`Problem`] by default.
    pub fn respond<N>(self, respond: N) -> Builder<D, P, Q, N> {
        let Self { demand, policy, recording, settings, .. } = self;
        Builder { demand, policy, recording, settings, respond }
    }
}

impl<R: Clone> Builder<Demand, Arc<dyn Decide>, Recording, R> {
    /// The layer.
    #[must_use]
    pub fn build(self) -> ZeroTrust<R> {
        let Settings { targets, clock, forwarded, limits } = self.settings;
        let authenticate = AuthenticateLayer::new(self.demand, self.recording.clone())
            .forwarded(forwarded)
            .limits(limits)
            .clock(Arc::clone(&clock))
            .respond(self.respond.clone());
        let authorize = AuthorizeLayer::new(self.policy, self.recording)
            .targets(targets)
            .clock(clock)
            .respond(self.respond);
        ZeroTrust { authenticate, authorize }
    }
}

impl<D, P, Q, R> std::fmt::Debug for Builder<D, P, Q, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
