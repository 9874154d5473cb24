//! The challenge of a route that demands DPoP proofs (RFC 9449 §7.1, §9).

use std::fmt;

use http::{HeaderValue, StatusCode};
use zt_identity::algorithm::Algorithm;
use zt_identity::oidc::step_up::StepUp;

use super::challenge::StepUpChallenge;
use super::{Denial, Scope};

/// Why a request to a route that demands DPoP proofs goes no further, and what its client needs to
/// know to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpopDenial {
    cause: DpopCause,
    algorithms: Vec<Algorithm>,
    nonce: Option<HeaderValue>,
}

/// Why a request to a route that demands DPoP proofs goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DpopCause {
    /// The request proves nobody.
    NoCredential,
    /// The token does not verify, or is not bound to this key.
    InvalidToken,
    /// The proof does not verify, or was sent before.
    InvalidProof,
    /// The proof needs another nonce.
    UseNonce,
    /// There is more than one `Authorization` header.
    TwoCredentials,
    /// The user has to authenticate again, or better.
    StepUp(StepUp),
    /// The user did not let the client do this.
    InsufficientScope(Scope),
}

impl DpopDenial {
    /// A challenge for proofs by these algorithms, each under all of its names.
    #[must_use]
    pub fn new(cause: DpopCause, algorithms: &[Algorithm]) -> Self {
        Self { cause, algorithms: algorithms.to_vec(), nonce: None }
    }

    /// With a nonce for the next proof.
    #[must_use]
    pub fn with_nonce(self, nonce: HeaderValue) -> Self {
        Self { nonce: Some(nonce), ..self }
    }

    /// Why.
    #[must_use]
    pub const fn cause(&self) -> &DpopCause {
        &self.cause
    }

    /// The nonce for the next proof.
    #[must_use]
    pub const fn nonce(&self) -> Option<&HeaderValue> {
        self.nonce.as_ref()
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self.cause {
            DpopCause::NoCredential
            | DpopCause::InvalidToken
            | DpopCause::InvalidProof
            | DpopCause::UseNonce
            | DpopCause::StepUp(_) => StatusCode::UNAUTHORIZED,
            DpopCause::TwoCredentials => StatusCode::BAD_REQUEST,
            DpopCause::InsufficientScope(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl DpopDenial {
    pub(super) const fn grpc_code(&self) -> i32 {
        match self.cause {
            DpopCause::NoCredential
            | DpopCause::InvalidToken
            | DpopCause::InvalidProof
            | DpopCause::UseNonce
            | DpopCause::StepUp(_) => 16,
            DpopCause::TwoCredentials => 3,
            DpopCause::InsufficientScope(_) => 7,
        }
    }
}

impl DpopCause {
    /// The cause of a denial that was made for bearers; `None` where no challenge goes with it.
    #[must_use]
    pub fn of(denial: &Denial) -> Option<Self> {
        match denial {
            Denial::NoCredential => Some(Self::NoCredential),
            Denial::InvalidToken => Some(Self::InvalidToken),
            Denial::TwoCredentials => Some(Self::TwoCredentials),
            Denial::StepUp(step_up) => Some(Self::StepUp(step_up.clone())),
            Denial::InsufficientScope(scope) => Some(Self::InsufficientScope(scope.clone())),
            Denial::Dpop(_)
            | Denial::Forbidden
            | Denial::Unavailable
            | Denial::NotNormal
            | Denial::BadForwarding
            | Denial::HeadersTooLarge
            | Denial::Wiring => None,
        }
    }
}

/// As parameters of a challenge, behind the realm.
impl fmt::Display for DpopDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("algs=\"")?;
        let names = self.algorithms.iter().flat_map(|algorithm| algorithm.names());
        for (n, name) in names.enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { " " })?;
        }
        f.write_str("\"")?;
        match &self.cause {
            DpopCause::NoCredential => Ok(()),
            DpopCause::InvalidToken => f.write_str(", error=\"invalid_token\""),
            DpopCause::InvalidProof => f.write_str(", error=\"invalid_dpop_proof\""),
            DpopCause::UseNonce => f.write_str(", error=\"use_dpop_nonce\""),
            DpopCause::TwoCredentials => f.write_str(", error=\"invalid_request\""),
            DpopCause::StepUp(step_up) => write!(f, ", {}", StepUpChallenge(step_up)),
            DpopCause::InsufficientScope(scope) => write!(f, ", {scope}"),
        }
    }
}
