//! Why a configuration is not taken.

use zt_core::fault::Fault;

use super::MAX_CONFIGURATION_LEN;
use crate::algorithm::AlgorithmError;
use crate::oidc::access_token::VerifierError;
use crate::oidc::issuer::IssuerError;
use crate::oidc::issuers::{IssuersError, MAX_ISSUERS};
use crate::oidc::key_file::KeyFileError;
use crate::pem::PemError;

/// Why a configuration is not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The text is longer than [`MAX_CONFIGURATION_LEN`].
    #[error("a configuration of {len} bytes, and at most {MAX_CONFIGURATION_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The text is not YAML that is accepted, or has a field that is not known, or not of that type.
    #[error("the configuration cannot be read: {problem}")]
    Yaml {
        /// What is wrong, and where.
        problem: String,
    },
    /// The text is not a configuration of this kind.
    #[error(
        "neither apiVersion apiserver.config.k8s.io/v1 nor v1beta1, or another kind: {found:?}"
    )]
    Kind {
        /// What it is, cut.
        found: String,
    },
    /// There is no issuer, or there are more than [`MAX_ISSUERS`].
    #[error("{found} issuers, and there are to be 1 to {MAX_ISSUERS}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// A field cannot be meant as it is.
    #[error("{at}: {lint}")]
    Field {
        /// Which: `jwt[0].issuer.url`.
        at: String,
        /// What is wrong with it.
        #[source]
        lint: Lint,
    },
    /// An issuer cannot be verified for.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    /// The issuers cannot be accepted together.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    /// An issuer's file of keys cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// An issuer's keys cannot be kept fresh.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Discover(#[from] crate::oidc::refresh::DiscoverError),
}

impl ConfigurationError {
    /// Whose fault it is: that of whoever wrote the configuration.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// It is an expression.
    #[error("expressions (CEL) are not evaluated here; name a claim instead")]
    Expression,
    /// The field has to be there.
    #[error("the field is missing")]
    Missing,
    /// The field is empty, or something in it is.
    #[error("the field is empty, or something in it is")]
    Empty,
    /// Something is there twice.
    #[error("{name:?} is there twice")]
    Twice {
        /// What, cut.
        name: String,
    },
    /// The URL cannot be one of an issuer, or of its discovery.
    #[error(transparent)]
    Url(#[from] IssuerError),
    /// There are several audiences, and whether one of them is enough is not said.
    #[error("with several audiences there has to be audienceMatchPolicy: MatchAny or MatchAll")]
    MatchPolicy,
    /// What is said contradicts another field.
    #[error("this and {other} exclude each other")]
    Excludes {
        /// The other field.
        other: &'static str,
    },
    /// The certificates of the authority cannot be read.
    #[error(transparent)]
    Certificates(#[from] PemError),
    /// The algorithm is not one that is accepted.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// A message belongs to an expression.
    #[error("a message goes with an expression only")]
    Message,
    /// The types of tokens are neither `[at+jwt]` nor `[at+jwt, JWT]`.
    #[error("the types are to be [at+jwt], or [at+jwt, JWT]")]
    TokenTypes,
}
