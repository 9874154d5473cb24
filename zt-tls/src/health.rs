//! How long what we have lasts, and how updates go.
//!
//! Nothing that expires takes a service by surprise when this is looked at: everything here fails
//! closed, so what has no time left refuses handshakes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use zt_core::time::{Timestamp, Validity};
pub use zt_identity::source::Status;
use zt_identity::source::X509Source;

use crate::events::{Counted, Counts};

/// What there is to know about one acceptor or connector at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// How long our certificate counts still: not at all once it was withdrawn.
    pub identity: Duration,
    /// How long the trust domain lasts that loses its last root first; nothing without trust
    /// domains.
    pub roots: Option<Duration>,
    /// How long the revocation list lasts that goes stale first; nothing without lists.
    pub lists: Option<Duration>,
    /// The generation of identity, bundles and lists; nothing without a source of them.
    pub generation: Option<u64>,
    /// What was counted.
    pub counted: Counted,
}

impl Health {
    pub(crate) fn of(
        own: Option<Validity>,
        source: Option<&X509Source>,
        counts: &Counts,
        now: Timestamp,
    ) -> Self {
        let counted = counts.snapshot();
        let source = source.map(|source| source.health(now));
        let identity = own.map_or(Status::Failing, |own| Status::of(own, now));
        let trust = source.as_ref().map_or(Status::Good, |source| source.trust_status);
        let updates = if counted.failed_updates > 0 { Status::Ailing } else { Status::Good };
        Self {
            status: identity.max(trust).max(updates),
            identity: own.map_or(Duration::ZERO, |own| own.remaining(now)),
            roots: source.as_ref().and_then(|source| source.roots),
            lists: source.as_ref().and_then(|source| source.lists),
            generation: source.map(|source| source.generation),
            counted,
        }
    }
}

/// Takes note of how updates of a source go.
///
/// ```no_run
/// # use zt_core::time::SystemClock;
/// # fn keep_watch(source: zt_identity::X509Source, acceptor: zt_tls::Acceptor)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let updates = acceptor.updates();
/// let _watch = source.watch(SystemClock, move |outcome| updates.note(&outcome))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Updates(Arc<Counts>);

impl Updates {
    pub(crate) const fn new(counts: Arc<Counts>) -> Self {
        Self(counts)
    }

    /// Notes the outcome of an update: failures count until one succeeds.
    pub fn note<T, E: Error + 'static>(&self, outcome: &Result<T, E>) {
        self.0.updated(outcome.as_ref().err().map(|error| -> &(dyn Error + 'static) { error }));
    }
}
