//! What stands between a workload and its identity.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeId;

use super::address::EndpointAddress;
use super::message::MessageError;
use crate::excerpt::excerpt;
use crate::jwt_svid::JwtSvidError;
use crate::source::StaleBundles;

/// Why the Workload API gives us nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadApiError {
    /// There is no socket.
    #[error(
        "there is no socket at {path:?}: the agent is not running, or its socket is not where this \
         process looks"
    )]
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// The operating system does not let this process connect.
    #[error("this process may not connect to {address}")]
    NotAllowed {
        /// Where.
        address: EndpointAddress,
        /// What it says.
        source: Arc<io::Error>,
    },
    /// Nobody answers.
    #[error("nobody answers at {address}")]
    Unreachable {
        /// Where.
        address: EndpointAddress,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
    /// The agent has no identity for this workload, or none any more (`PermissionDenied`).
    #[error(
        "the agent has nothing for this workload, which may not be registered; it says {message:?}"
    )]
    NotRegistered {
        /// What it says, cut.
        message: String,
    },
    /// The agent does not do what was asked (`InvalidArgument`, `Unimplemented`): it is not asked
    /// again (SPIFFE Workload Endpoint §6, E-05).
    #[error("the agent does not do this ({code}): {message:?}")]
    Refused {
        /// The status, as gRPC names it.
        code: &'static str,
        /// What it says, cut.
        message: String,
    },
    /// The agent failed, or the connection to it did.
    #[error("the agent failed ({code}): {message:?}")]
    Failed {
        /// The status, as gRPC names it.
        code: &'static str,
        /// What it says, cut.
        message: String,
    },
    /// The agent has accepted the connection and has not said anything yet.
    #[error("the agent is there and has not said anything yet")]
    Silent,
    /// The agent ended the stream.
    #[error("the agent ended the stream")]
    Ended,
    /// The identity has expired, and the agent has sent no other.
    #[error("the identity {id} has expired, and the agent has sent no other")]
    Expired {
        /// Which.
        id: SpiffeId,
    },
    /// What the agent sent is not taken.
    #[error("what the agent sent is not taken: {0}")]
    Message(#[from] MessageError),
    /// A JWT-SVID was asked for that is for nobody.
    #[error("a JWT-SVID is for one audience at least")]
    NoAudience,
    /// The agent sent the JWT-SVID of another workload.
    #[error("a JWT-SVID of {asked} was asked for, and this is one of {found}")]
    AnotherSubject {
        /// Whose was asked for.
        asked: SpiffeId,
        /// Whose it is.
        found: SpiffeId,
    },
    /// The JWT-SVID that the agent sent does not verify.
    #[error("the JWT-SVID that the agent sent does not verify")]
    JwtSvid(#[from] Arc<JwtSvidError>),
    /// The bundles that a JWT-SVID is to be verified by are too old.
    #[error(transparent)]
    StaleBundles(#[from] StaleBundles),
}

impl WorkloadApiError {
    /// Whose fault it is: that of whoever runs the agent and registers workloads, or this program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoAudience | Self::Refused { .. } => Fault::Caller,
            Self::NoSocket { .. }
            | Self::NotAllowed { .. }
            | Self::Unreachable { .. }
            | Self::NotRegistered { .. }
            | Self::Failed { .. }
            | Self::Silent
            | Self::Ended
            | Self::Expired { .. }
            | Self::Message(_)
            | Self::AnotherSubject { .. }
            | Self::JwtSvid(_)
            | Self::StaleBundles(_) => Fault::Authority,
        }
    }

    /// Whether to ask again is of no use (E-05).
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NoAudience)
    }

    /// Whether a conversation that went well was cut.
    pub(super) const fn is_cut(&self) -> bool {
        matches!(self, Self::Ended | Self::Failed { .. })
    }

    pub(super) fn of_connecting(address: &EndpointAddress, error: io::Error) -> Self {
        let (address, path) = (address.clone(), address.path());
        match (error.kind(), path) {
            (io::ErrorKind::NotFound, Some(path)) => Self::NoSocket { path: path.to_owned() },
            (io::ErrorKind::PermissionDenied, _) => {
                Self::NotAllowed { address, source: Arc::new(error) }
            }
            _ => Self::Unreachable { address, source: Arc::new(error) },
        }
    }
}

impl From<Status> for WorkloadApiError {
    fn from(status: Status) -> Self {
        let (code, message) = (name(status.code()), excerpt(status.message()));
        match status.code() {
            Code::PermissionDenied => Self::NotRegistered { message },
            Code::InvalidArgument | Code::Unimplemented => Self::Refused { code, message },
            Code::Ok => Self::Ended,
            Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Self::Failed { code, message },
        }
    }
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// There is nothing to begin with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It took too long.
    #[error("nothing came within {waited:?}: {waiting_for}")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
        /// What stood in the way at the end.
        #[source]
        waiting_for: WorkloadApiError,
    },
    /// It is of no use to wait.
    #[error("there is nothing to wait for: {0}")]
    Over(#[source] WorkloadApiError),
}

impl NotReady {
    /// Whose fault it is: that of what stands in the way.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::TimedOut { waiting_for: error, .. } | Self::Over(error) => error.fault(),
        }
    }
}

/// The Workload API is followed in a tokio runtime, and there is none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Workload API is followed in a tokio runtime, and there is none here")]
#[non_exhaustive]
pub struct NoRuntime;

impl NoRuntime {
    /// Whose fault it is: this program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nobody_can_be_connected_to_is_told_apart() {
        let unix = EndpointAddress::Unix("/run/agent.sock".into());
        let tcp = EndpointAddress::parse("tcp://127.0.0.1:1").unwrap();
        let of = |address: &EndpointAddress, kind: io::ErrorKind| {
            WorkloadApiError::of_connecting(address, kind.into())
        };
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        assert!(matches!(of(&unix, NotFound), WorkloadApiError::NoSocket { .. }));
        assert!(matches!(of(&tcp, NotFound), WorkloadApiError::Unreachable { .. }));
        assert!(matches!(of(&unix, PermissionDenied), WorkloadApiError::NotAllowed { .. }));
        assert!(matches!(of(&unix, ConnectionRefused), WorkloadApiError::Unreachable { .. }));
    }

    #[test]
    fn of_all_statuses_two_are_final_and_one_says_that_nobody_is_registered() {
        let of = |code: i32| WorkloadApiError::from(Status::new(Code::from_i32(code), "because"));
        let last: Vec<_> = (0..=16).filter(|code| of(*code).is_final()).collect();
        assert_eq!(last, [3, 12]);
        let denied = |code: &i32| matches!(of(*code), WorkloadApiError::NotRegistered { .. });
        assert_eq!((0..=16).filter(denied).collect::<Vec<_>>(), [7]);
    }
}
