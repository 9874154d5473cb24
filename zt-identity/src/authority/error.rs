//! Why an authority cannot issue.

use std::io;
use std::path::PathBuf;

use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeIdError;
use zt_core::time::Timestamp;

use crate::bundle::BundleError;
use crate::json::JsonError;
use crate::jwk::JwkSetError;
use crate::oidc::issuer::IssuerError;
use crate::revocation::RevocationListError;
use crate::x509_identity::X509IdentityError;

/// Why an authority cannot issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The path is not one of a SPIFFE ID.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// The name of a host is not a DNS name.
    #[error("{host:?} is not a DNS name")]
    Host {
        /// The name, cut to 64 characters.
        host: String,
    },
    /// A time is not a date that a certificate can have.
    #[error("{time} is not a date of a certificate")]
    Date {
        /// The time.
        time: Timestamp,
    },
    /// A key or a certificate cannot be made; the text is rcgen's or ring's.
    #[error("a key or certificate cannot be made ({0})")]
    Issue(String),
    /// What was issued is no identity, as a defect was asked for.
    #[error(transparent)]
    Identity(#[from] X509IdentityError),
    /// The root is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What was issued is no revocation list, as a defect was asked for.
    #[error(transparent)]
    RevocationList(#[from] RevocationListError),
    /// The claims of a token are not a JSON object.
    #[error("the claims are not a JSON object")]
    Claims(#[from] JsonError),
    /// The URL cannot name an issuer.
    #[error(transparent)]
    Url(#[from] IssuerError),
    /// The keys are no key set.
    #[error(transparent)]
    Keys(#[from] JwkSetError),
    /// A file cannot be written.
    #[error("cannot write {path:?}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error.to_string())
    }
}

impl From<ring::error::Unspecified> for AuthorityError {
    fn from(error: ring::error::Unspecified) -> Self {
        Self::Issue(error.to_string())
    }
}

impl AuthorityError {
    /// Whose fault it is: that of the program that plays authority.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
