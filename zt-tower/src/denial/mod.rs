//! The one map from an error to an answer (H-05).
//!
//! | [`Denial`] | HTTP | gRPC | detail |
//! |---|---|---|---|
//! | [`NoCredential`](Denial::NoCredential) | 401 | 16 UNAUTHENTICATED | `Bearer realm=…`, no error code |
//! | [`InvalidToken`](Denial::InvalidToken) | 401 | 16 UNAUTHENTICATED | `error="invalid_token"` |
//! | [`StepUp`](Denial::StepUp) | 401 | 16 UNAUTHENTICATED | `error="insufficient_user_authentication"`, `acr_values`, `max_age` (RFC 9470 §3) |
//! | [`Dpop`](Denial::Dpop) | 401, or that of its cause | 16 UNAUTHENTICATED, or that of its cause | `DPoP realm=…, algs=…`, `error` (RFC 9449 §7.1), `DPoP-Nonce` (§9) |
//! | [`InsufficientScope`](Denial::InsufficientScope) | 403 | 7 PERMISSION_DENIED | `error="insufficient_scope"`, `scope` (RFC 6750 §3.1) |
//! | [`Forbidden`](Denial::Forbidden) | 403 | 7 PERMISSION_DENIED | |
//! | [`Unavailable`](Denial::Unavailable) | 503 | 14 UNAVAILABLE | `Retry-After` |
//! | [`NotNormal`](Denial::NotNormal) | 400 | 3 INVALID_ARGUMENT | |
//! | [`TwoCredentials`](Denial::TwoCredentials) | 400 | 3 INVALID_ARGUMENT | `error="invalid_request"` (RFC 6750 §3.1) |
//! | [`BadForwarding`](Denial::BadForwarding) | 400 | 3 INVALID_ARGUMENT | |
//! | [`HeadersTooLarge`](Denial::HeadersTooLarge) | 431 | 8 RESOURCE_EXHAUSTED | RFC 6585 §5 |
//! | [`Wiring`](Denial::Wiring) | 500 | 13 INTERNAL | |
//!
//! A [`Refusal`] is a denial with its reason; the reason goes to the record and nowhere else.

mod challenge;
mod dpop;
mod respond;

use http::StatusCode;
use zt_core::decision::Denied;
use zt_core::fault::Fault;
use zt_identity::oidc::step_up::StepUp;

pub use challenge::{ChallengeError, Scope};
pub use dpop::{DpopCause, DpopDenial};
pub(crate) use respond::is_grpc;
pub use respond::{GrpcStatus, Problem, Respond};

/// What a caller is told when a request goes no further. It never says which rule denied it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// The request proves nobody.
    NoCredential,
    /// The token does not verify, or is not this caller's to use.
    InvalidToken,
    /// The user has to authenticate again, or better.
    StepUp(StepUp),
    /// The user did not let the client do this.
    InsufficientScope(Scope),
    /// Policy says no.
    Forbidden,
    /// Keys, policies or records are not there, or there is more to do than can be done: nobody is let
    /// in meanwhile.
    Unavailable,
    /// The path could be read in two ways (H-08).
    NotNormal,
    /// There is more than one `Authorization` header (T-42).
    TwoCredentials,
    /// The route demands a DPoP proof, and says so in its challenge.
    Dpop(DpopDenial),
    /// A proxy that speaks for its clients does not say who this one is (H-09).
    BadForwarding,
    /// There are more headers than one request may have, or they are longer (RFC 6585 §5).
    HeadersTooLarge,
    /// This service is put together wrongly (H-02).
    Wiring,
}

impl Denial {
    /// The answer to a token that was refused by this fault.
    #[must_use]
    pub const fn of_token(fault: Fault) -> Self {
        match fault {
            Fault::Peer => Self::InvalidToken,
            Fault::Authority => Self::Unavailable,
            Fault::Caller | _ => Self::Wiring,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Dpop(denial) => denial.status(),
            Self::NoCredential | Self::InvalidToken | Self::StepUp(_) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotNormal | Self::TwoCredentials | Self::BadForwarding => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Wiring => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Denial {
    /// The status code of gRPC: `tonic::Code::from(denial.grpc_code())`.
    #[must_use]
    pub const fn grpc_code(&self) -> i32 {
        match self {
            Self::Dpop(denial) => denial.grpc_code(),
            Self::NoCredential | Self::InvalidToken | Self::StepUp(_) => 16,
            Self::InsufficientScope(_) | Self::Forbidden => 7,
            Self::Unavailable => 14,
            Self::NotNormal | Self::TwoCredentials | Self::BadForwarding => 3,
            Self::HeadersTooLarge => 8,
            Self::Wiring => 13,
        }
    }
}

/// A decision's no, as its [`fault`](Denied::fault) says: no current policy is nobody's 403.
impl From<Denied> for Denial {
    fn from(denied: Denied) -> Self {
        match denied.fault() {
            Fault::Peer => Self::Forbidden,
            Fault::Authority => Self::Unavailable,
            Fault::Caller | _ => Self::Wiring,
        }
    }
}

/// A request that is refused before a decision: what the caller is told, and what is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    denial: Denial,
    reason: &'static str,
}

impl Refusal {
    /// Tells the caller `denial` and records `reason`, a name out of a fixed set such as
    /// `token_expired`.
    #[must_use]
    pub const fn new(denial: Denial, reason: &'static str) -> Self {
        Self { denial, reason }
    }

    /// What the caller is told.
    #[must_use]
    pub const fn denial(&self) -> &Denial {
        &self.denial
    }

    /// What is recorded.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    pub(crate) fn into_denial(self) -> Denial {
        self.denial
    }
}

/// A service asks for what no layer in front of it proves: it is put together wrongly, and no client
/// can be at fault for that (H-02).
#[derive(Clone, Debug, thiserror::Error)]
#[error("no layer in front of this proves a {what}")]
#[non_exhaustive]
pub struct NotWired {
    /// What is missing.
    pub what: &'static str,
    // How the request is to be answered.
    #[cfg(feature = "axum")]
    pub(crate) is_grpc: bool,
}

impl NotWired {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self {
            what,
            #[cfg(feature = "axum")]
            is_grpc: false,
        }
    }

    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
