//! A server's certificate of the Web PKI, for clients that know servers by their host names.
//!
//! [`WebIdentity::from_pem_files`] takes a chain and a key when, in this order:
//!
//! 1. each file can be read and has at most [`MAX_FILE_LEN`] bytes;
//! 2. there are at most [`MAX_CERTIFICATES`] certificates, leaf first, of which the leaf can be read
//!    and counts now;
//! 3. there is one private key, and the provider can sign with it;
//! 4. the key is the leaf's.
//!
//! [`WebIdentity::reload`] keeps the last good one when a rule is broken. What it keeps is presented
//! until it expires, and then nothing is: handshakes fail.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::snapshot::Snapshot;
use zt_core::time::{Clock, OutsideValidity, Timestamp, Validity};
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Watch};
use zt_identity::certificate::{Certificate, CertificateError};

use crate::provider;

/// The longest file that is read, in bytes.
pub const MAX_FILE_LEN: u64 = 1024 * 1024;
/// How many certificates a chain may have.
pub const MAX_CERTIFICATES: usize = 10;

/// A chain and its key out of two PEM files, read again when they change. Clones share it.
#[derive(Clone)]
pub struct WebIdentity(Arc<Shared>);

struct Shared {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: Snapshot<Current>,
}

struct Current {
    validity: Validity,
    key: Arc<CertifiedKey>,
}

impl WebIdentity {
    /// What is in these PEM files: a chain, leaf first, and its key, for the default provider.
    ///
    /// # Errors
    ///
    /// [`WebIdentityError`] names the first rule that is broken.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        now: Timestamp,
    ) -> Result<Self, WebIdentityError> {
        let provider = provider::preferred().ok_or(WebIdentityError::NoProvider)?;
        Self::with_provider(chain, key, provider, now)
    }

    /// The same, for the provider that the acceptor is built with.
    ///
    /// # Errors
    ///
    /// As [`WebIdentity::from_pem_files`].
    pub fn with_provider(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        provider: Arc<CryptoProvider>,
        now: Timestamp,
    ) -> Result<Self, WebIdentityError> {
        let (chain, key) = (chain.into(), key.into());
        let current = Snapshot::new(read(&chain, &key, &provider, now)?);
        Ok(Self(Arc::new(Shared { chain, key, provider, current })))
    }

    /// When the leaf counts.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.current.load().validity
    }

    /// The generation of what is presented.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.generation()
    }

    /// Reads the files again, and returns the generation of what they hold: a new one when the
    /// chain has changed.
    ///
    /// # Errors
    ///
    /// [`WebIdentityError`] names the first rule that is broken; what was current stays.
    pub fn reload(&self, now: Timestamp) -> Result<u64, WebIdentityError> {
        let Shared { chain, key, provider, current } = &*self.0;
        let read = read(chain, key, provider, now)?;
        let loaded = current.load();
        if loaded.key.cert == read.key.cert {
            return Ok(loaded.generation());
        }
        Ok(current.replace(read))
    }

    /// Reads the files again whenever their contents change, until the watch is dropped, and tells
    /// `on_reload` how that went. They are looked at once a second.
    ///
    /// # Errors
    ///
    /// [`WebIdentityError::Watch`] when no thread can be started.
    pub fn watch(
        &self,
        clock: impl Clock + 'static,
        mut on_reload: impl FnMut(Result<u64, WebIdentityError>) + Send + 'static,
    ) -> Result<Watch, WebIdentityError> {
        let paths = [self.0.chain.clone(), self.0.key.clone()];
        let seen = Fingerprint::of(&paths);
        on_reload(self.reload(clock.now()));
        let identity = self.clone();
        let reload = move || on_reload(identity.reload(clock.now()));
        Watch::start(paths, seen, DEFAULT_INTERVAL, reload).map_err(WebIdentityError::Watch)
    }

    /// What is presented, while it counts.
    pub(crate) fn presented(&self, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        let current = self.0.current.load();
        current.validity.check(now).ok()?;
        Some(Arc::clone(&current.key))
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity")
            .field("chain", &self.0.chain)
            .field("validity", &self.validity())
            .finish_non_exhaustive()
    }
}

fn read(
    chain: &Path,
    key: &Path,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Current, WebIdentityError> {
    let text = read_file(chain)?;
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&text).take(MAX_CERTIFICATES.saturating_add(1)).collect();
    let certificates =
        certificates.map_err(|_| WebIdentityError::Pem { path: chain.to_owned() })?;
    if certificates.len() > MAX_CERTIFICATES {
        return Err(WebIdentityError::TooManyCertificates);
    }
    let leaf =
        certificates.first().ok_or_else(|| WebIdentityError::Pem { path: chain.to_owned() })?;
    let validity = Certificate::parse(leaf)?.validity();
    validity.check(now)?;
    let text = Secret::new(read_file(key)?);
    let private = PrivateKeyDer::from_pem_slice(text.expose())
        .map_err(|_| WebIdentityError::Pem { path: key.to_owned() })?;
    let key =
        CertifiedKey::from_der(certificates, private, provider).map_err(WebIdentityError::Key)?;
    Ok(Current { validity, key: Arc::new(key) })
}

fn read_file(path: &Path) -> Result<Vec<u8>, WebIdentityError> {
    let failed = |source: io::Error| WebIdentityError::File { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_FILE_LEN {
        return Err(WebIdentityError::FileTooLong { path: path.into() });
    }
    // All at once, as a buffer that grows leaves parts of a key behind.
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(MAX_FILE_LEN).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Why a chain and a key are not a server's certificate. Nothing of the key is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebIdentityError {
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file has more than [`MAX_FILE_LEN`] bytes.
    #[error("{path:?} is longer than {MAX_FILE_LEN} bytes")]
    FileTooLong {
        /// Which.
        path: PathBuf,
    },
    /// A file is not PEM, or not of certificates or of a private key that is not encrypted.
    #[error("{path:?} has not the PEM sections that it is for")]
    Pem {
        /// Which.
        path: PathBuf,
    },
    /// The chain has more than [`MAX_CERTIFICATES`].
    #[error("the chain has more than {MAX_CERTIFICATES} certificates")]
    TooManyCertificates,
    /// The leaf cannot be read.
    #[error("the leaf certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The leaf does not count now.
    #[error("the leaf certificate does not count: {0}")]
    Validity(#[from] OutsideValidity),
    /// The provider cannot use the key, or it is not the leaf's.
    #[error("the private key cannot be used with the leaf certificate")]
    Key(#[source] rustls::Error),
    /// There is no default provider: features `ring` and `aws-lc-rs` are off.
    #[error("there is no default provider of cryptography, and none was given")]
    NoProvider,
    /// The files cannot be watched.
    #[error("the files cannot be watched")]
    Watch(#[source] io::Error),
}

impl WebIdentityError {
    /// Whose fault it is: that of whoever writes the files, or of this program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoProvider | Self::Watch(_) => Fault::Caller,
            Self::File { .. }
            | Self::FileTooLong { .. }
            | Self::Pem { .. }
            | Self::TooManyCertificates
            | Self::Certificate(_)
            | Self::Validity(_)
            | Self::Key(_) => Fault::Authority,
        }
    }
}
