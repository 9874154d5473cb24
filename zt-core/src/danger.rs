//! Where trust is minted.
//!
//! Verifiers and deciders call these functions; nothing else does. They are safe in Rust's sense
//! and dangerous in ours: a call asserts that a proof stands behind it. This workspace disallows
//! them in `clippy.toml`, so every origin of trust in it is an `#[expect]` with its reason. Do the
//! same in your own code:
//!
//! ```toml
//! # clippy.toml
//! disallowed-methods = [
//!     "zt_core::danger::verified",
//!     "zt_core::danger::allow",
//!     "zt_core::danger::leaf_sha256",
//! ]
//! ```

use std::sync::Arc;

use crate::decision::Answer;
use crate::peer::Peer;
use crate::verified::Verified;

/// Asserts that the caller of this function has proven `value`.
pub const fn verified<T>(value: T) -> Verified<T> {
    Verified::mint(value)
}

/// Answers a question with yes, because of the policy of this name.
///
/// ```
/// use zt_core::danger;
/// use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
/// use zt_core::request::Request;
///
/// /// Lets everyone read and nobody do anything else.
/// struct ReadOnly;
///
/// impl Decide for ReadOnly {
///     fn decide(&self, request: &Request<'_>) -> Decision {
///         Decision::of(request, PolicyVersion::default(), |question| {
///             if question.request().action().name() == "read" {
///                 danger::allow("read-only")
///             } else {
///                 Answer::not_permitted()
///             }
///         })
///     }
/// }
/// ```
pub fn allow(policy: impl Into<Arc<str>>) -> Answer {
    Answer::allowed(policy.into())
}

/// The SHA-256 of the certificate of a peer, as tokens name it that are bound to one (RFC 8705 §3.1):
/// what `sha256` makes of it at the first call, and the same from then on, for all clones of this peer.
/// A call asserts that `sha256` computes just that.
pub fn leaf_sha256(peer: &Peer, sha256: impl FnOnce(&[u8]) -> [u8; 32]) -> &[u8; 32] {
    peer.leaf_sha256(sha256)
}
