use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;
use zt_core::decision::Decide;
use zt_core::record::Append;
use zt_core::request::Context;
use zt_core::time::{Clock, SystemClock};

use super::authority::Authority;
use super::{Authorize, PathTargets, Permitted, Target, Targets};
use crate::caller::Caller;
use crate::denial::{Denial, Problem, Refusal};
use crate::path::NormalPath;
use crate::record::Recording;

/// The longest method that is judged, in bytes. The longest of the registered ones has 17 (RFC 9110
/// §16.1), and each is kept in a record.
pub const MAX_METHOD: usize = 64;

/// Wraps a service in [`Authorize`].
#[derive(Clone)]
pub struct AuthorizeLayer<R = Problem> {
    pub(super) authority: Arc<Authority>,
    targets: Arc<dyn Targets>,
    pub(super) respond: Arc<R>,
}

impl AuthorizeLayer {
    /// Asks `policy` and records what it says.
    #[must_use]
    pub fn new(policy: impl Decide + 'static, recording: impl Into<Recording>) -> Self {
        let authority = Authority {
            policy: Arc::new(policy),
            recording: recording.into(),
            clock: Arc::new(SystemClock),
        };
        Self {
            authority: Arc::new(authority),
            targets: Arc::new(PathTargets),
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
        Arc::make_mut(&mut self.authority).clock = Arc::new(clock);
        self
    }

    /// Answers denials so; with [`Problem`] by default.
    #[must_use]
    pub fn respond<Q>(self, respond: Q) -> AuthorizeLayer<Q> {
        let Self { authority, targets, .. } = self;
        AuthorizeLayer { authority, targets, respond: Arc::new(respond) }
    }

    /// Rules 1 to 5, and the beginning of 6.
    pub(super) fn decide(&self, parts: &Parts, context: Context) -> Result<Decision, Refusal> {
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or(Refusal::new(Denial::Wiring, "no_caller"))?;
        if parts.method.as_str().len() > MAX_METHOD {
            return Err(Refusal::new(Denial::NotNormal, "method_too_long"));
        }
        let path = NormalPath::parse(parts.uri.path())?;
        let Target { action, resource, attributes } = self.targets.target(parts, &path)?;
        let context = attributes
            .into_iter()
            .fold(context, |context, (name, value)| context.with(name, value));
        let (append, permit) = self.authority.decide(caller, &action, &resource, &context)?;
        let permitted = permit.map(|permit| {
            Permitted::new(permit, Arc::clone(&self.authority), caller.proven(), context)
        });
        Ok(Decision { append, permitted })
    }
}

/// What was decided about a request.
pub(super) struct Decision {
    /// Of its record, whatever it was.
    pub(super) append: Option<Append>,
    pub(super) permitted: Result<Permitted, Denial>,
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
            .field("authority", &self.authority)
            .field("respond", &self.respond)
            .finish_non_exhaustive()
    }
}
