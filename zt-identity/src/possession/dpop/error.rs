//! Why a proof is refused.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::claims::ClaimsError;
use crate::json::JsonError;
use crate::jwk::JwkError;
use crate::jws::JwsError;

/// Why a DPoP proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DpopError {
    /// The token of the request is not bound to a key, so no proof can be for it.
    #[error("the token is not bound to a key")]
    TokenUnbound,
    /// There is no proof.
    #[error("there is no DPoP header")]
    Missing,
    /// There is more than one proof.
    #[error("there is more than one DPoP header")]
    Several,
    /// The header is not text.
    #[error("the DPoP header is not text")]
    NotText,
    /// The proof is longer than [`MAX_LEN`](super::MAX_LEN).
    #[error("a proof of {len} bytes, and at most {} are read", super::MAX_LEN)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The proof is not a signed token of its kind, or its signature does not verify.
    #[error(transparent)]
    Jws(JwsError),
    /// The proof brings no key along.
    #[error("the header has no \"jwk\"")]
    NoKey,
    /// The key that it brings along is not usable.
    #[error("the key of the proof is not usable")]
    Key(#[from] JwkError),
    /// The token is bound to another key.
    #[error("the token is bound to another key")]
    OtherKey,
    /// The claims are not JSON that is accepted.
    #[error("the claims are not JSON that is accepted")]
    Json(#[from] JsonError),
    /// A claim is missing or malformed.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The proof is for another method.
    #[error("the proof is for another method")]
    OtherMethod,
    /// The proof is for another URL.
    #[error("the proof is for another URL")]
    OtherUrl,
    /// A nonce is demanded, and the proof has none.
    #[error("the proof has no nonce")]
    NoNonce,
    /// The nonce is too old, or not one of this service.
    #[error("the nonce is too old, or not one of this service")]
    StaleNonce,
    /// The proof was made too long ago.
    #[error("made at {issued_at}, and it is {now}")]
    TooOld {
        /// The moment asked about.
        now: Timestamp,
        /// When the proof was made.
        issued_at: Timestamp,
    },
    /// The proof claims to be made too far in the future.
    #[error("made at {issued_at}, and it is {now}")]
    TooNew {
        /// The moment asked about.
        now: Timestamp,
        /// When the proof claims to be made.
        issued_at: Timestamp,
    },
    /// The proof is for another token.
    #[error("the proof is for another token")]
    OtherToken,
    /// The name of the proof is longer than [`MAX_JTI_LEN`](super::MAX_JTI_LEN).
    #[error("a \"jti\" of {len} bytes, and at most {} are read", super::MAX_JTI_LEN)]
    JtiTooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl DpopError {
    /// Whose fault it is: that of whoever sent the proof.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// Whether a new nonce is what is missing: the client may try again with one (RFC 9449 §9).
    #[must_use]
    pub const fn wants_nonce(&self) -> bool {
        matches!(self, Self::NoNonce | Self::StaleNonce)
    }

    /// Whether the token is at fault, and not the proof: no proof of this sender would do.
    #[must_use]
    pub const fn is_of_token(&self) -> bool {
        matches!(self, Self::TokenUnbound | Self::OtherKey)
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// proof in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TokenUnbound => "token_unbound",
            Self::Missing => "proof_missing",
            Self::Several => "two_proofs",
            Self::Jws(JwsError::Algorithm(_)) => "proof_algorithm",
            Self::Jws(JwsError::Type { .. }) => "proof_of_another_kind",
            Self::Jws(JwsError::NotSigned(_)) => "proof_bad_signature",
            Self::NoKey | Self::Key(_) => "proof_key",
            Self::OtherKey => "proof_of_another_key",
            Self::Claims(_) => "proof_claims",
            Self::OtherMethod => "proof_of_another_method",
            Self::OtherUrl => "proof_of_another_url",
            Self::NoNonce => "proof_without_nonce",
            Self::StaleNonce => "proof_nonce_stale",
            Self::TooOld { .. } => "proof_too_old",
            Self::TooNew { .. } => "proof_not_yet_valid",
            Self::OtherToken => "proof_of_another_token",
            Self::NotText
            | Self::TooLong { .. }
            | Self::Jws(_)
            | Self::Json(_)
            | Self::JtiTooLong { .. } => "proof_malformed",
        }
    }
}
