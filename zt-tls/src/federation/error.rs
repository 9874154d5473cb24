//! Why a bundle could not be fetched, and why no relationship can be.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;
use zt_identity::bundle::{MAX_BUNDLE_LEN, SpiffeBundleError};
use zt_identity::source::PutBundleError;

use super::fetch::MAX_REDIRECTS;
use super::url::EndpointUrlError;
use crate::verifier::Refused;

/// The longest part of a redirect that an error quotes, in characters.
const MAX_LOCATION: usize = 64;

/// Why a bundle was not fetched, or not taken. The latest one stays.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Our source has no bundle of the endpoint's trust domain.
    #[error("there is no bundle of {trust_domain:?}, by which the endpoint is judged")]
    NoBundle {
        /// The trust domain of the endpoint.
        trust_domain: TrustDomain,
    },
    /// The provider cannot do the versions of TLS that are asked for.
    #[error("the provider cannot do the versions of TLS that are asked for")]
    Provider(#[source] rustls::Error),
    /// No connection could be opened.
    #[error("the endpoint cannot be reached")]
    Unreachable(#[source] Arc<io::Error>),
    /// The server did not prove that it is the endpoint, or does not speak TLS as we do.
    #[error("the endpoint does not prove itself")]
    Tls(#[source] Arc<io::Error>),
    /// The answer is no HTTP, or broke off.
    #[error("there is no complete answer")]
    Http(#[source] Arc<dyn Error + Send + Sync>),
    /// The fetch took too long.
    #[error("no complete answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The status is neither 200 nor that of a redirect.
    #[error("the endpoint answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// A redirect does not say where to, or says so twice.
    #[error("a redirect leads nowhere")]
    NoLocation,
    /// A redirect leads where no endpoint may be.
    #[error("a redirect leads to {location:?}, where no endpoint may be")]
    Redirect {
        /// Where to, cut.
        location: String,
        /// Why not there.
        source: EndpointUrlError,
    },
    /// There are more than [`MAX_REDIRECTS`].
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects,
    /// The document is longer than [`MAX_BUNDLE_LEN`].
    #[error("the document is longer than {MAX_BUNDLE_LEN} bytes")]
    TooLong,
    /// The document is not a bundle.
    #[error("the document is not a bundle")]
    Document(#[from] SpiffeBundleError),
    /// The document is older than the latest one, or another one under the same sequence.
    #[error("a bundle with the sequence {found:?} after one with {latest:?}")]
    Sequence {
        /// The sequence of the latest one.
        latest: Option<u64>,
        /// The sequence of the one that was fetched.
        found: Option<u64>,
    },
    /// Our source does not take the bundle.
    #[error("the source does not take the bundle")]
    Put(#[from] PutBundleError),
    /// The relationship has ended meanwhile.
    #[error("the relationship has ended")]
    Ended,
}

impl FetchError {
    pub(super) fn redirect(location: &str, source: EndpointUrlError) -> Self {
        let location = location.chars().take(MAX_LOCATION).collect();
        Self::Redirect { location, source }
    }

    /// Whose fault it is: that of the endpoint, unless we are wired wrongly.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Provider(_) | Self::Put(_) | Self::Ended => Fault::Caller,
            Self::NoBundle { .. }
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::Http(_)
            | Self::Timeout { .. }
            | Self::Status { .. }
            | Self::NoLocation
            | Self::Redirect { .. }
            | Self::TooManyRedirects
            | Self::TooLong
            | Self::Document(_)
            | Self::Sequence { .. } => Fault::Authority,
        }
    }

    /// Why the server's X509-SVID was refused, if that is it.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        let Self::Tls(error) = self else { return None };
        Refused::from_tls(error.get_ref()?.downcast_ref()?)
    }
}

/// Why there can be no such relationship.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederationError {
    /// There is one with this trust domain: end it first.
    #[error("there is a relationship with {trust_domain:?}")]
    Twice {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// It is our own trust domain: two of one name cannot federate (SPIFFE-ID §2.1).
    #[error("{trust_domain:?} is our own trust domain")]
    Own {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// The endpoint serves the bundle of its own trust domain, and there is none to begin with.
    #[error("the endpoint serves itself, and there is no bundle of {trust_domain:?} to begin with")]
    NoFirstBundle {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// There is no tokio runtime here to fetch in.
    #[error("bundles are fetched in a tokio runtime, and there is none here")]
    NoRuntime,
    /// Features `ring` and `aws-lc-rs` are off, and no provider was given.
    #[error("there is no default provider of cryptography, and none was given")]
    NoProvider,
}

impl FederationError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
