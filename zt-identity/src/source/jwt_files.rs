//! The keys of JWT-SVIDs read from files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::spiffe::TrustDomain;

use super::MAX_FILE_LEN;
use crate::bundle::SpiffeBundleError;
use crate::file;
use crate::jwk::JwkSetError;
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};

/// The files of the bundles of JWT-SVIDs.
#[derive(Clone, Debug, Default)]
pub struct JwtBundleFiles(Vec<(TrustDomain, PathBuf, Form)>);

/// What a bundle is written as.
#[derive(Clone, Copy, Debug)]
enum Form {
    KeySet,
    Spiffe,
}

impl JwtBundleFiles {
    /// No files.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These files and the keys of one trust domain more, a plain JWK set, as the Workload API has
    /// them and SPIFFE helper writes them.
    #[must_use]
    pub fn with_key_set(mut self, trust_domain: TrustDomain, path: impl Into<PathBuf>) -> Self {
        self.0.push((trust_domain, path.into(), Form::KeySet));
        self
    }

    /// These files and the bundle of one trust domain more, in SPIFFE's JSON. Keys for other kinds
    /// of SVIDs are passed over.
    #[must_use]
    pub fn with_spiffe_bundle(
        mut self,
        trust_domain: TrustDomain,
        path: impl Into<PathBuf>,
    ) -> Self {
        self.0.push((trust_domain, path.into(), Form::Spiffe));
        self
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter().map(|(_, path, _)| path)
    }

    pub(super) fn read(&self) -> Result<JwtBundleSet, JwtBundleFileError> {
        let bundles = self.0.iter().map(|(trust_domain, path, form)| {
            let bytes = file::read(path, MAX_FILE_LEN)
                .map_err(|source| JwtBundleFileError::File {
                    path: path.clone(),
                    source: Arc::new(source),
                })?
                .ok_or_else(|| JwtBundleFileError::FileTooLong { path: path.clone() })?;
            let trust_domain = trust_domain.clone();
            match form {
                Form::KeySet => JwtBundle::from_jwks(trust_domain, &bytes)
                    .map_err(|source| JwtBundleFileError::KeySet { path: path.clone(), source }),
                Form::Spiffe => {
                    JwtBundle::from_spiffe_bundle(trust_domain, &bytes).map_err(|source| {
                        JwtBundleFileError::SpiffeBundle { path: path.clone(), source }
                    })
                }
            }
        });
        bundles.collect()
    }
}

/// Why the keys of JWT-SVIDs cannot be read from files.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtBundleFileError {
    /// The source was not made from files.
    #[error("the source has no files to read again")]
    NoFiles,
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// A file has more than [`MAX_FILE_LEN`] bytes.
    #[error("{path:?} is longer than {MAX_FILE_LEN} bytes")]
    FileTooLong {
        /// Which.
        path: PathBuf,
    },
    /// A file is no key set.
    #[error("{path:?} is not a key set")]
    KeySet {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: JwkSetError,
    },
    /// A file is not a bundle in SPIFFE's JSON.
    #[error("{path:?} is not a SPIFFE bundle")]
    SpiffeBundle {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: SpiffeBundleError,
    },
    /// The files cannot be watched.
    #[error("the files cannot be watched")]
    Watch(#[source] Arc<io::Error>),
}

impl JwtBundleFileError {
    /// Whose fault it is: that of whoever writes the files, or of this program when there are none.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoFiles | Self::Watch(_) => Fault::Caller,
            Self::File { .. }
            | Self::FileTooLong { .. }
            | Self::KeySet { .. }
            | Self::SpiffeBundle { .. } => Fault::Authority,
        }
    }
}
