//! How long what we have lasts, and how updates go.
//!
//! Nothing that expires takes a service by surprise when this is looked at: everything here fails
//! closed, so what has no time left refuses handshakes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use zt_core::time::{Timestamp, Validity};
use zt_identity::source::X509Source;

use crate::events::{Counted, Counts};

/// How an end of connections is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Everything counts for a while.
    Good,
    /// Handshakes succeed, and will not for long: an update has failed, or something is in the last
    /// third of its life and was not renewed.
    Ailing,
    /// Handshakes fail: our identity was withdrawn, or it, all roots of a trust domain or a revocation
    /// list have expired.
    Failing,
}

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
        let mut periods = Vec::from_iter(own);
        let (mut roots, mut lists, mut generation) = (None, None, None);
        if let Some(material) = source.map(X509Source::load) {
            let last_roots = material.bundles().iter().filter_map(|bundle| {
                bundle.roots().iter().map(|root| root.validity()).max_by_key(Validity::not_after)
            });
            let last_root = last_roots.min_by_key(Validity::not_after);
            let list = material.bundles().revocation_lists().iter().map(|list| list.validity());
            let stale = list.min_by_key(Validity::not_after);
            roots = last_root.map(|period| period.remaining(now));
            lists = stale.map(|period| period.remaining(now));
            generation = Some(material.generation());
            periods.extend(last_root);
            periods.extend(stale);
        }
        let worst = periods.iter().map(|period| status(*period, now)).max();
        let updates = if counted.failed_updates > 0 { Status::Ailing } else { Status::Good };
        let withdrawn = if own.is_none() { Status::Failing } else { Status::Good };
        Self {
            status: worst.unwrap_or(Status::Good).max(updates).max(withdrawn),
            identity: own.map_or(Duration::ZERO, |own| own.remaining(now)),
            roots,
            lists,
            generation,
            counted,
        }
    }
}

fn status(period: Validity, now: Timestamp) -> Status {
    let whole = period.not_after().since(period.not_before());
    if period.check(now).is_err() {
        Status::Failing
    } else if period.remaining(now).saturating_mul(3) < whole {
        Status::Ailing
    } else {
        Status::Good
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
