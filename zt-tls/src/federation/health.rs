//! How a relationship is.

use zt_core::time::Timestamp;

use super::error::FetchError;
use super::relationship::Relationship;
use crate::health::Status;

/// What there is to know about one relationship at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelationshipHealth {
    /// With whom, and by what.
    pub relationship: Relationship,
    /// In one word: failing while the trust domain has no root that counts, ailing while fetches fail.
    pub status: Status,
    /// The sequence of the latest bundle, if it has one.
    pub sequence: Option<u64>,
    /// How many roots the trust domain has here.
    pub roots: usize,
    /// Whether the latest bundle was taken away because the endpoint has been silent for too long.
    pub stale: bool,
    /// When the last fetch succeeded, by this program.
    pub fetched: Option<Timestamp>,
    /// When and why the last fetch failed, if it did.
    pub failure: Option<(Timestamp, FetchError)>,
    /// How many fetches failed since one succeeded.
    pub failures: u64,
    /// When the next fetch is due.
    pub next: Option<Timestamp>,
}
