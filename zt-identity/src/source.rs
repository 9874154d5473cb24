//! Where a workload's identity and its bundles come from while it runs.
//!
//! An [`X509Source`] holds both as one [`X509Material`], so that one generation covers both: nobody
//! sees a new identity beside old bundles. A reader takes what is current without waiting; a
//! rotation replaces it at once.
//!
//! Material is read from files when, in this order:
//!
//! 1. each file can be read and has at most [`MAX_FILE_LEN`] bytes, or [`MAX_CRL_FILE_LEN`];
//! 2. chain and key are an [`X509Identity`];
//! 3. the identity counts now;
//! 4. every bundle loads ([`X509Bundle`]);
//! 5. every revocation list loads ([`RevocationList`](crate::revocation::RevocationList)). One that
//!    is stale does, and denies where it is asked.
//!
//! [`X509Source::reload`] keeps the last good material when a rule is broken, and says so in its
//! error. What it keeps still ages: SVIDs, roots and lists are held to their validity where they are
//! used.
//! Files that are written while they are read do not fit together, and are refused until they do.
//!
//! [`X509Source::watch`] reads the files again whenever they change, and [`X509Source::reload`] when
//! it is called.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::snapshot::{Guard, Snapshot, Versioned};
use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, OutsideValidity, Timestamp};
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Watch};

use crate::bundle::{BundleError, BundleSet, SpiffeBundle, SpiffeBundleError, X509Bundle};
use crate::file;
use crate::revocation::{RevocationListError, RevocationLists};
use crate::x509_identity::{X509Identity, X509IdentityError};

/// The longest file of an identity or of roots that is read, in bytes: some 500 roots.
pub const MAX_FILE_LEN: u64 = 1024 * 1024;
/// The longest file of revocation lists that is read, in bytes: one of the greatest length in PEM.
pub const MAX_CRL_FILE_LEN: u64 = 12 * 1024 * 1024;

/// An identity together with the bundles that it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Material {
    identity: X509Identity,
    bundles: BundleSet,
}

impl X509Material {
    /// The workload's own identity.
    #[must_use]
    pub const fn identity(&self) -> &X509Identity {
        &self.identity
    }

    /// The bundles, one for each trust domain, and the revocation lists beside them.
    #[must_use]
    pub const fn bundles(&self) -> &BundleSet {
        &self.bundles
    }
}

/// A handle on material that rotates. Clones share it.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::spiffe::TrustDomain;
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Authority;
/// use zt_identity::source::X509Source;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// let source: X509Source = authority.source("/ns/shop/sa/cart")?;
/// let before = source.current();
/// source.replace(authority.svid("/ns/shop/sa/cart")?, before.bundles().clone());
/// assert_eq!((before.generation(), source.generation()), (1, 2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct X509Source(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: Snapshot<X509Material>,
    files: Option<PemFiles>,
}

impl X509Source {
    /// A source of this material, until it is replaced.
    #[must_use]
    pub fn new(identity: X509Identity, bundles: BundleSet) -> Self {
        Self::of(X509Material { identity, bundles }, None)
    }

    /// A source of what is in these PEM files: a chain, its key, and the bundle of one trust
    /// domain.
    ///
    /// # Errors
    ///
    /// [`X509SourceError`] names the first rule that is broken.
    pub fn from_pem_files(
        trust_domain: TrustDomain,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        bundle: impl Into<PathBuf>,
        now: Timestamp,
    ) -> Result<Self, X509SourceError> {
        Self::open(PemFiles::new(chain, key).with_bundle(trust_domain, bundle), now)
    }

    /// A source of what is in these files.
    ///
    /// # Errors
    ///
    /// [`X509SourceError`] names the first rule that is broken.
    pub fn open(files: PemFiles, now: Timestamp) -> Result<Self, X509SourceError> {
        Ok(Self::of(files.read(now)?, Some(files)))
    }

    fn of(material: X509Material, files: Option<PemFiles>) -> Self {
        Self(Arc::new(Shared { current: Snapshot::new(material), files }))
    }

    /// What is current, for the length of a call.
    pub fn load(&self) -> Guard<X509Material> {
        self.0.current.load()
    }

    /// What is current, to keep.
    #[must_use]
    pub fn current(&self) -> Arc<Versioned<X509Material>> {
        self.0.current.load_full()
    }

    /// The generation of what is current.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.generation()
    }

    /// Replaces identity and bundles at once, and returns their generation.
    pub fn replace(&self, identity: X509Identity, bundles: BundleSet) -> u64 {
        self.0.current.replace(X509Material { identity, bundles })
    }

    /// Reads the files again, and returns the generation of what they hold: a new one when it has
    /// changed.
    ///
    /// # Errors
    ///
    /// [`X509SourceError`] names the first rule that is broken; what was current stays.
    pub fn reload(&self, now: Timestamp) -> Result<u64, X509SourceError> {
        let files = self.0.files.as_ref().ok_or(X509SourceError::NoFiles)?;
        let material = files.read(now)?;
        if **self.load() == material {
            return Ok(self.generation());
        }
        Ok(self.0.current.replace(material))
    }

    /// Reads the files again whenever their contents change, until the watch is dropped, and tells
    /// `on_reload` how that went. They are looked at once a second
    /// ([`DEFAULT_INTERVAL`]), by a thread of the watch; a swap by a rename or by the symlinks of a
    /// Kubernetes volume is a change like any other.
    ///
    /// ```no_run
    /// # use zt_core::spiffe::TrustDomain;
    /// # use zt_core::time::{Clock, SystemClock};
    /// # use zt_identity::source::X509Source;
    /// # let (domain, now) = (TrustDomain::from_name("example.org")?, SystemClock.now());
    /// let source = X509Source::from_pem_files(domain, "svid.pem", "key.pem", "bundle.pem", now)?;
    /// let _watch = source.watch(SystemClock, |outcome| {
    ///     if let Err(error) = outcome {
    ///         eprintln!("the identity stays as it was: {error}");
    ///     }
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`X509SourceError::NoFiles`], and [`X509SourceError::Watch`] when no thread can be started.
    pub fn watch(
        &self,
        clock: impl Clock + 'static,
        mut on_reload: impl FnMut(Result<u64, X509SourceError>) + Send + 'static,
    ) -> Result<Watch, X509SourceError> {
        let files = self.0.files.as_ref().ok_or(X509SourceError::NoFiles)?;
        let paths: Vec<PathBuf> = files.paths().map(Path::to_owned).collect();
        // What changed since it was loaded is loaded now; what changes from here on is noticed.
        let seen = Fingerprint::of(&paths);
        on_reload(self.reload(clock.now()));
        let source = self.clone();
        let reload = move || on_reload(source.reload(clock.now()));
        Watch::start(paths, seen, DEFAULT_INTERVAL, reload).map_err(X509SourceError::Watch)
    }
}

/// The files of an identity, of the bundles that it believes, and of revocation lists.
#[derive(Clone, Debug)]
pub struct PemFiles {
    chain: PathBuf,
    key: PathBuf,
    bundles: Vec<(TrustDomain, PathBuf, Form)>,
    crls: Vec<PathBuf>,
}

/// What a bundle is written as.
#[derive(Clone, Copy, Debug)]
enum Form {
    Pem,
    Spiffe,
}

impl PemFiles {
    /// The files of a chain, leaf first, and of its key, which may be one.
    #[must_use]
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { chain: chain.into(), key: key.into(), bundles: Vec::new(), crls: Vec::new() }
    }

    /// These files and the roots of one trust domain more.
    #[must_use]
    pub fn with_bundle(mut self, trust_domain: TrustDomain, bundle: impl Into<PathBuf>) -> Self {
        self.bundles.push((trust_domain, bundle.into(), Form::Pem));
        self
    }

    /// These files and the bundle of one trust domain more, in SPIFFE's JSON ([`SpiffeBundle`]).
    /// Keys for other kinds of SVIDs are passed over. A bundle without roots is one that vouches
    /// for nobody; a certificate in it that cannot be a root is refused.
    #[must_use]
    pub fn with_spiffe_bundle(
        mut self,
        trust_domain: TrustDomain,
        bundle: impl Into<PathBuf>,
    ) -> Self {
        self.bundles.push((trust_domain, bundle.into(), Form::Spiffe));
        self
    }

    /// These files and one more, of revocation lists: PEM of nothing but `X509 CRL` sections, or the
    /// DER of one list.
    #[must_use]
    pub fn with_crl(mut self, crl: impl Into<PathBuf>) -> Self {
        self.crls.push(crl.into());
        self
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let bundles = self.bundles.iter().map(|(_, path, _)| path);
        let files = [&self.chain, &self.key].into_iter().chain(bundles).chain(&self.crls);
        files.map(PathBuf::as_path)
    }

    fn read(&self, now: Timestamp) -> Result<X509Material, X509SourceError> {
        let key = Secret::new(read_file(&self.key, MAX_FILE_LEN)?);
        let identity =
            X509Identity::from_pem(&read_file(&self.chain, MAX_FILE_LEN)?, key.expose())?;
        identity.validity().check(now)?;
        let mut bundles = BundleSet::new();
        for (trust_domain, path, form) in &self.bundles {
            let text = read_file(path, MAX_FILE_LEN)?;
            let bundle = match form {
                Form::Pem => X509Bundle::from_pem(trust_domain.clone(), &text, now),
                Form::Spiffe => from_spiffe(trust_domain, path, &text, now)?,
            };
            bundles = bundles.with(bundle.map_err(|source| X509SourceError::Bundle {
                trust_domain: trust_domain.clone(),
                source,
            })?);
        }
        Ok(X509Material { identity, bundles: bundles.with_revocation_lists(self.read_crls()?) })
    }

    fn read_crls(&self) -> Result<RevocationLists, X509SourceError> {
        let mut all = RevocationLists::new();
        for path in &self.crls {
            let lists = RevocationLists::from_file(&read_file(path, MAX_CRL_FILE_LEN)?)
                .map_err(|source| X509SourceError::Crl { path: path.clone(), source })?;
            all = lists.iter().cloned().fold(all, RevocationLists::with);
        }
        Ok(all)
    }
}

/// Whoever writes the file meant each of its roots, as in PEM. Those that have expired may stay.
fn from_spiffe(
    trust_domain: &TrustDomain,
    path: &Path,
    json: &[u8],
    now: Timestamp,
) -> Result<Result<X509Bundle, BundleError>, X509SourceError> {
    let document = SpiffeBundle::from_json(json)
        .map_err(|source| X509SourceError::SpiffeBundle { path: path.into(), source })?;
    let (bundle, left_out) = document.x509_bundle(trust_domain.clone(), now);
    let broken = left_out
        .into_iter()
        .map(|(_, error)| error)
        .find(|error| !matches!(error, BundleError::NoRoots { .. }));
    Ok(broken.map_or(Ok(bundle), Err))
}

fn read_file(path: &Path, max_len: u64) -> Result<Vec<u8>, X509SourceError> {
    let read = file::read(path, max_len)
        .map_err(|source| X509SourceError::File { path: path.into(), source })?;
    read.ok_or_else(|| X509SourceError::FileTooLong { path: path.into(), max_len })
}

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
    /// A file has more than [`MAX_FILE_LEN`] or [`MAX_CRL_FILE_LEN`] bytes.
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
