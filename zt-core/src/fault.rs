//! Whose fault an error is, which decides what a peer may learn of it.

/// Who has to act before the same call can succeed.
///
/// Every public error of this workspace has a `fault()`. It is the only thing about an error that
/// reaches a peer: middleware turns it into a status and keeps the rest for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer sent something that proves nothing or asks for too much: HTTP 401 or 403.
    Peer,
    /// Something this service depends on is unavailable or stale: HTTP 503.
    Authority,
    /// The embedding program is wired wrongly: HTTP 500, and best found at start-up.
    Caller,
}
