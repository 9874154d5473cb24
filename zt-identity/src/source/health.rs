//! How long what a source holds lasts, and how its updates go.

use std::time::Duration;

use zt_core::time::{Timestamp, Validity};

use super::X509Material;

/// How something is that ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Everything counts for a while.
    Good,
    /// It works, and will not for long: an update has failed, or something is in the last third of
    /// its life and was not renewed.
    Ailing,
    /// It denies: our identity was withdrawn, or it, all roots of a trust domain or a revocation
    /// list have expired.
    Failing,
}

impl Status {
    /// That of something that counts in this period.
    #[must_use]
    pub fn of(period: Validity, now: Timestamp) -> Self {
        let whole = period.not_after().since(period.not_before());
        if period.check(now).is_err() {
            Self::Failing
        } else if period.remaining(now).saturating_mul(3) < whole {
            Self::Ailing
        } else {
            Self::Good
        }
    }
}

/// What there is to know about a source at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// That of the identity alone.
    pub identity_status: Status,
    /// How long the identity counts still: not at all once it was withdrawn.
    pub identity: Duration,
    /// How long the trust domain lasts that loses its last root first; nothing without trust
    /// domains.
    pub roots: Option<Duration>,
    /// How long the revocation list lasts that goes stale first; nothing without lists.
    pub lists: Option<Duration>,
    /// The status of roots and lists alone.
    pub trust_status: Status,
    /// The generation of identity, bundles and lists.
    pub generation: u64,
    /// Updates that were not taken since the last one that was.
    pub failed_updates: u64,
}

impl Health {
    pub(super) fn of(
        material: &X509Material,
        generation: u64,
        failed_updates: u64,
        now: Timestamp,
    ) -> Self {
        let own = material.identity().ok().map(|identity| identity.validity());
        let last_roots = material.bundles().iter().filter_map(|bundle| {
            bundle.roots().iter().map(|root| root.validity()).max_by_key(Validity::not_after)
        });
        let roots = last_roots.min_by_key(Validity::not_after);
        let lists = material.bundles().revocation_lists().iter().map(|list| list.validity());
        let lists = lists.min_by_key(Validity::not_after);
        let identity_status = own.map_or(Status::Failing, |own| Status::of(own, now));
        let trust = [roots, lists].into_iter().flatten().map(|period| Status::of(period, now));
        let trust_status = trust.max().unwrap_or(Status::Good);
        let updates = if failed_updates > 0 { Status::Ailing } else { Status::Good };
        let remaining = |period: Validity| period.remaining(now);
        Self {
            status: identity_status.max(trust_status).max(updates),
            identity_status,
            identity: own.map_or(Duration::ZERO, remaining),
            roots: roots.map(remaining),
            lists: lists.map(remaining),
            trust_status,
            generation,
            failed_updates,
        }
    }
}
