//! What a token says beyond what its kind defines, read into a type of one's own.
//!
//! The payload was read strictly before (T-03), so there is one way only to read it, and a type that
//! serde derives sees nothing that the verifier did not see.

use std::fmt;

use serde::Deserialize;
use zt_core::fault::Fault;

use crate::excerpt::excerpt;

/// The payload of a verified token: one strict JSON object.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Payload(Box<[u8]>);

impl Payload {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    pub(super) fn read<'p, C: Deserialize<'p>>(&'p self) -> Result<C, UnfitClaims> {
        serde_json::from_slice(&self.0)
            .map_err(|error| UnfitClaims { problem: excerpt(&error.to_string()) })
    }
}

/// Nothing of what it says: who logs a token does not log a person.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// The claims of a verified token are not of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims are not of the type that was asked for: {problem:?}")]
#[non_exhaustive]
pub struct UnfitClaims {
    /// What does not fit, cut. It may quote a claim.
    pub problem: String,
}

impl UnfitClaims {
    /// Whose fault it is: that of whoever sent the token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "token_claims"
    }
}
