//! Why ends cannot be built, and why handshakes fail.

use std::error::Error;
use std::io;
use std::iter::successors;

use zt_core::fault::Fault;
use zt_identity::source::{NoIdentity, Withdrawn};

use crate::events::Reason;
use crate::verifier::Refused;

/// An acceptor or a connector cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The provider has no cipher suite or key exchange for a version of TLS that is to be spoken.
    #[error("the provider cannot do the versions of TLS that are asked for")]
    Provider(#[source] rustls::Error),
    /// The provider cannot sign with the key of our identity.
    #[error("the provider cannot use the key of our identity")]
    Identity(#[source] rustls::Error),
    /// Our identity was withdrawn, and no other has come yet.
    #[error("there is no identity to present")]
    Withdrawn(#[from] Withdrawn),
    /// Features `ring` and `aws-lc-rs` are off, and no provider was given.
    #[error("there is no default provider of cryptography, and none was given")]
    NoProvider,
    /// FIPS is required, and the finished config does not meet it.
    #[error("the provider is not a FIPS-validated one, and that is required")]
    NotFips,
}

impl BuildError {
    /// Whose fault it is: the program's, unless its identity was withdrawn.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Withdrawn(error) => error.fault(),
            Self::Provider(_) | Self::Identity(_) | Self::NoProvider | Self::NotFips => {
                Fault::Caller
            }
        }
    }
}

/// A handshake failed; the peer was told by an alert and nothing else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// TLS failed: the peer presented no certificate, one that does not verify, or one that the
    /// authorizer does not admit; or it does not speak TLS 1.3; or the stream broke.
    #[error("the handshake failed")]
    Tls(#[from] io::Error),
    /// What we trust changed during the handshake, and the peer is not part of it any more.
    #[error("the peer is refused since the trust bundles changed")]
    Changed(#[from] Refused),
    /// We have no identity to present; the peer has done nothing wrong.
    #[error("there is no identity to present")]
    NoIdentity(#[from] NoIdentity),
    /// The handshake is done and there is no certificate, where one is demanded.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The connection cannot be watched, and is not kept therefore.
    #[error("the connection cannot be watched")]
    Unwatched(#[source] io::Error),
}

impl HandshakeError {
    /// Whose fault it is: the peer's, unless what we judge it by is stale or we have no identity.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unwatched(_) => Fault::Caller,
            Self::NoIdentity(error) => error.fault(),
            Self::Tls(_) | Self::Changed(_) | Self::NoCertificate => {
                self.refused().map_or(Fault::Peer, Refused::fault)
            }
        }
    }

    /// Why the verifier refused the peer, if it did.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Changed(refused) => Some(refused),
            Self::Tls(error) => Refused::from_tls(tls(error)?),
            Self::NoIdentity(_) | Self::NoCertificate | Self::Unwatched(_) => None,
        }
    }

    /// Why, in one line for a log of ours. The peer learns nothing of it.
    #[must_use]
    pub fn why(&self) -> String {
        self.refused().map_or_else(|| chain(self), |refused| chain(refused))
    }

    /// Why, in a word for metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Changed(refused) => refused.into(),
            Self::Tls(error) => tls(error).map_or(Reason::Broken, Reason::from),
            Self::NoCertificate => Reason::NoCertificate,
            Self::NoIdentity(_) => Reason::NoIdentity,
            Self::Unwatched(_) => Reason::Internal,
        }
    }
}

/// An error and what is behind it. Some say what is behind them by themselves.
fn chain(error: &(dyn Error + 'static)) -> String {
    let behind = successors(error.source(), |error| error.source());
    behind.map(ToString::to_string).fold(error.to_string(), |text, more| {
        if text.contains(&more) { text } else { format!("{text}: {more}") }
    })
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
