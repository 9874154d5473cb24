//! Why there is no connection to a server.

use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeId;

use crate::connection::HandshakeError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// There is no connection to the server that was meant. No byte of a request was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL has no host, or one that is none.
    #[error("{host:?} is not a host")]
    Host {
        /// What stands in its place.
        host: String,
    },
    /// Nobody has said who may answer for this host.
    #[error("who may answer for {host:?} is not known")]
    UnknownServer {
        /// The host.
        host: String,
    },
    /// The connection below could not be made.
    #[error("the server cannot be reached")]
    Transport(#[source] BoxError),
    /// The server does not prove who it is, or nobody may answer who is like it.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// A workload answers that may not answer for this host.
    #[error("{id} may not answer for {host:?}")]
    NotTheServer {
        /// The host.
        host: String,
        /// Who answers.
        id: SpiffeId,
    },
    /// The server does not speak HTTP/2, and nothing else is spoken here.
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
    /// It took too long.
    #[error("it took longer than {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
}

impl ConnectError {
    /// Whose fault it is: the server's, unless the program asks for what it was not told, or what
    /// the server is judged by is stale.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Host { .. } | Self::UnknownServer { .. } => Fault::Caller,
            Self::Handshake(error) => error.fault(),
            Self::Transport(_)
            | Self::NotTheServer { .. }
            | Self::NoHttp2
            | Self::TimedOut { .. } => Fault::Peer,
        }
    }
}
