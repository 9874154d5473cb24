//! Why material is not taken, and why there is no identity.

use std::io;
use std::path::PathBuf;

use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::OutsideValidity;

use crate::bundle::{BundleError, SpiffeBundleError};
use crate::revocation::RevocationListError;
use crate::x509_identity::X509IdentityError;

/// Why material cannot be read from files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum X509SourceError {
    /// The source was not made from files.
    #[error("the source has no files to read again")]
    NoFiles,
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file has more than [`MAX_FILE_LEN`](super::MAX_FILE_LEN) or [`MAX_CRL_FILE_LEN`](super::MAX_CRL_FILE_LEN) bytes.
    #[error("{path:?} is longer than {max_len} bytes")]
    FileTooLong {
        /// Which.
        path: PathBuf,
        /// How long it may be.
        max_len: u64,
    },
    /// Chain and key are no identity.
    #[error(transparent)]
    Identity(#[from] X509IdentityError),
    /// The identity does not count now.
    #[error("the identity does not count: {0}")]
    Validity(#[from] OutsideValidity),
    /// A bundle does not load.
    #[error("the bundle of {trust_domain:?} cannot be loaded")]
    Bundle {
        /// Of which trust domain.
        trust_domain: TrustDomain,
        /// Why not.
        source: BundleError,
    },
    /// The files cannot be watched.
    #[error("the files cannot be watched")]
    Watch(#[source] io::Error),
    /// A file is not a bundle in SPIFFE's JSON.
    #[error("{path:?} is not a SPIFFE bundle")]
    SpiffeBundle {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: SpiffeBundleError,
    },
    /// A revocation list does not load.
    #[error("the revocation lists of {path:?} cannot be loaded")]
    Crl {
        /// Of which file.
        path: PathBuf,
        /// Why not.
        source: RevocationListError,
    },
}

impl X509SourceError {
    /// Whose fault it is: that of whoever writes the files, or of this program when there are none.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoFiles | Self::Watch(_) => Fault::Caller,
            Self::File { .. }
            | Self::FileTooLong { .. }
            | Self::Identity(_)
            | Self::Validity(_)
            | Self::Bundle { .. }
            | Self::SpiffeBundle { .. }
            | Self::Crl { .. } => Fault::Authority,
        }
    }
}

/// The identity was withdrawn: it is not to be used any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity {id} was withdrawn")]
pub struct Withdrawn {
    id: SpiffeId,
}

impl Withdrawn {
    pub(super) const fn of(id: SpiffeId) -> Self {
        Self { id }
    }

    /// Which it was.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Whose fault it is: that of whoever provides this program with its identity.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// Why there is no identity to be presented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoIdentity {
    /// It was withdrawn.
    #[error(transparent)]
    Withdrawn(#[from] Withdrawn),
    /// It has expired, or does not count yet.
    #[error("our identity does not count: {0}")]
    Validity(#[from] OutsideValidity),
}

impl NoIdentity {
    /// Whose fault it is: that of whoever provides this program with its identity.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

/// Why a bundle is not put beside the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutBundleError {
    /// It is the bundle of our own trust domain, which comes with our identity alone.
    #[error("the bundle of our own trust domain {trust_domain} is no other's to bring")]
    Own {
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// B-04: one of a greater sequence is there.
    #[error("the bundle of {trust_domain} has sequence {offered}, and {known} is known")]
    Older {
        /// Of which trust domain.
        trust_domain: TrustDomain,
        /// The greatest sequence that was seen.
        known: u64,
        /// That of the bundle.
        offered: u64,
    },
}

impl PutBundleError {
    /// Whose fault it is: this program's, or that of whoever publishes the bundle.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Own { .. } => Fault::Caller,
            Self::Older { .. } => Fault::Authority,
        }
    }
}
