//! Where a workload's identity and its bundles come from while it runs.
//!
//! An [`X509Source`] holds both as one [`X509Material`], so that one generation covers both: nobody
//! sees a new identity beside old bundles. A reader takes what is current without waiting; a
//! rotation replaces it at once.
//!
//! What it holds has two owners. An update, from files or from elsewhere, is the whole of the
//! identity and of its bundles and lists. Federation puts the bundle of one other trust domain beside
//! them ([`X509Source::put_bundle`]), and takes it away. Neither touches what the other brought, and
//! nobody but an update speaks for our own trust domain.
//!
//! An identity that is not to be used any more is [withdrawn](X509Source::withdraw).
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

mod bundles;
mod error;
mod events;
mod federated;
mod files;
mod health;
mod jwt_files;
mod layers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zt_core::snapshot::{Guard, Snapshot, Versioned};
use zt_core::spiffe::{TrustDomain, TrustDomainRef};
use zt_core::time::{Clock, Timestamp};
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Watch};

pub use self::bundles::{
    BundleMaterial, BundleSource, Bundles, JwtBundleSource, STALE_AFTER, StaleBundles,
    X509BundleSource,
};
pub use self::error::{NoIdentity, PutBundleError, Withdrawn, X509SourceError};
use self::events::Updates;
pub use self::events::{Event, Observe};
pub use self::files::PemFiles;
pub use self::health::{Health, Status};
pub use self::jwt_files::{JwtBundleFileError, JwtBundleFiles};
use self::layers::Layers;
use crate::bundle::{BundleSet, X509Bundle};
use crate::x509_identity::X509Identity;

/// The longest file of an identity or of roots that is read, in bytes: some 500 roots.
pub const MAX_FILE_LEN: u64 = 1024 * 1024;
/// The longest file of revocation lists that is read, in bytes: one of the greatest length in PEM.
pub const MAX_CRL_FILE_LEN: u64 = 12 * 1024 * 1024;

/// An identity together with the bundles that it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Material {
    identity: Result<X509Identity, Withdrawn>,
    bundles: BundleSet,
}

impl X509Material {
    /// The workload's own identity, which may have expired.
    ///
    /// # Errors
    ///
    /// [`Withdrawn`] when it is not to be used any more.
    pub fn identity(&self) -> Result<&X509Identity, Withdrawn> {
        self.identity.as_ref().map_err(Withdrawn::clone)
    }

    /// The workload's own identity, if it counts at `now`.
    ///
    /// # Errors
    ///
    /// [`NoIdentity`] says why there is none.
    pub fn identity_at(&self, now: Timestamp) -> Result<&X509Identity, NoIdentity> {
        let identity = self.identity()?;
        identity.validity().check(now)?;
        Ok(identity)
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
    // Held by writers alone. What is current is made of it.
    layers: Mutex<Layers>,
    updates: Updates,
    files: Option<PemFiles>,
}

impl X509Source {
    /// A source of this material, until it is replaced.
    #[must_use]
    pub fn new(identity: X509Identity, bundles: BundleSet) -> Self {
        Self::of(identity, bundles, None)
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
        let (identity, bundles) = files.read(now)?;
        Ok(Self::of(identity, bundles, Some(files)))
    }

    fn of(identity: X509Identity, bundles: BundleSet, files: Option<PemFiles>) -> Self {
        let layers = Layers::new(identity, bundles);
        let current = Snapshot::new(layers.material());
        let (layers, updates) = (Mutex::new(layers), Updates::default());
        Self(Arc::new(Shared { current, layers, updates, files }))
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

    /// Replaces identity, bundles and revocation lists at once, and returns their generation. What
    /// was [put](Self::put_bundle) stays, and an identity that was withdrawn is one again.
    pub fn replace(&self, identity: X509Identity, bundles: BundleSet) -> u64 {
        let mut layers = self.writing();
        layers.update(identity, bundles);
        let generation = self.0.current.replace(layers.material());
        self.0.updates.succeeded();
        drop(layers);
        self.tell(&Event::Updated { generation });
        generation
    }

    /// As [`X509Source::replace`], with a new generation if anything has changed.
    #[cfg(feature = "workload-api")]
    pub(crate) fn update(&self, identity: X509Identity, bundles: BundleSet) -> u64 {
        let mut layers = self.writing();
        layers.update(identity, bundles);
        self.0.updates.succeeded();
        self.publish(layers)
    }

    /// Puts the bundle of another trust domain beside those of the updates, in the place of one that
    /// was put before, and returns the generation. No update removes it. Where an update brings a
    /// bundle of this trust domain too, what was put counts: whoever put it asked for this trust
    /// domain by name.
    ///
    /// `sequence` is the `spiffe_sequence` of the document that it is from, so that an older one is
    /// noticed.
    ///
    /// ```
    /// # #[cfg(feature = "authority")] {
    /// # use zt_core::spiffe::TrustDomain;
    /// # use zt_core::time::Timestamp;
    /// # use zt_identity::authority::Authority;
    /// # let now = Timestamp::from_secs(1_800_000_000);
    /// let ours = Authority::new(TrustDomain::from_name("example.org")?, now)?;
    /// let partner = Authority::new(TrustDomain::from_name("partner.test")?, now)?;
    /// let source = ours.source("/ns/shop/sa/cart")?;
    ///
    /// source.put_bundle(partner.bundle(), Some(7))?;
    /// assert!(source.load().bundles().get(partner.trust_domain().borrowed()).is_some());
    /// assert!(source.put_bundle(partner.bundle(), Some(6)).is_err());
    /// assert!(source.put_bundle(ours.bundle(), None).is_err());
    ///
    /// source.remove_bundle(partner.trust_domain().borrowed());
    /// assert!(source.load().bundles().get(partner.trust_domain().borrowed()).is_none());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PutBundleError`] when it is the bundle of our own trust domain, for which the updates speak
    /// alone, or older than the one that is there; nothing changes then.
    pub fn put_bundle(
        &self,
        bundle: X509Bundle,
        sequence: Option<u64>,
    ) -> Result<u64, PutBundleError> {
        let mut layers = self.writing();
        match layers.put(bundle, sequence) {
            Ok(()) => Ok(self.publish(layers)),
            Err(error) => {
                drop(layers);
                self.note(&error);
                Err(error)
            }
        }
    }

    /// Removes the bundle that was put for this trust domain, and returns the generation. What an
    /// update brought of it, if anything, counts again.
    pub fn remove_bundle(&self, trust_domain: TrustDomainRef<'_>) -> u64 {
        let mut layers = self.writing();
        layers.remove(trust_domain);
        self.publish(layers)
    }

    /// Ceases to use the identity (SPIFFE Workload API §4.4), until an update brings one again, and
    /// returns the generation. Handshakes fail from here on. Bundles stay: that we have no name does
    /// not make others less trusted.
    pub fn withdraw(&self) -> u64 {
        let mut layers = self.writing();
        let Some(id) = layers.withdraw() else { return self.generation() };
        let generation = self.0.current.replace(layers.material());
        drop(layers);
        self.tell(&Event::Withdrawn { id: &id });
        generation
    }

    /// Tells an observer from here on, in the place of an earlier one.
    ///
    /// ```
    /// # #[cfg(feature = "authority")] {
    /// # use zt_core::spiffe::TrustDomain;
    /// # use zt_core::time::Timestamp;
    /// # use zt_identity::authority::Authority;
    /// use zt_identity::source::Event;
    ///
    /// # let now = Timestamp::from_secs(1_800_000_000);
    /// # let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
    /// let source = authority.source("/ns/shop/sa/cart")?;
    /// source.observe(|event: &Event<'_>| {
    ///     if let Event::UpdateFailed { error } = event {
    ///         eprintln!("the identity stays as it was: {error}");
    ///     }
    /// });
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe(&self, observer: impl Observe + 'static) {
        self.0.updates.observe(observer);
    }

    /// How long what is current lasts, and how updates go.
    #[must_use]
    pub fn health(&self, now: Timestamp) -> Health {
        let material = self.load();
        Health::of(&material, material.generation(), self.0.updates.failed(), now)
    }

    /// Notes that an update failed that was not asked of this source: failures count until one
    /// succeeds.
    pub fn note(&self, error: &(dyn std::error::Error + 'static)) {
        self.tell(&Event::UpdateFailed { error });
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.0.updates.tell(event);
    }

    fn writing(&self) -> MutexGuard<'_, Layers> {
        self.0.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new generation, if anything has changed. Nobody is told while others wait.
    fn publish(&self, layers: MutexGuard<'_, Layers>) -> u64 {
        let material = layers.material();
        if **self.load() == material {
            return self.generation();
        }
        let generation = self.0.current.replace(material);
        drop(layers);
        self.tell(&Event::Updated { generation });
        generation
    }

    /// Reads the files again, and returns the generation of what they hold: a new one when it has
    /// changed.
    ///
    /// # Errors
    ///
    /// [`X509SourceError`] names the first rule that is broken; what was current stays.
    pub fn reload(&self, now: Timestamp) -> Result<u64, X509SourceError> {
        let files = self.0.files.as_ref().ok_or(X509SourceError::NoFiles)?;
        let read = files.read(now).inspect_err(|error| self.note(error));
        let (identity, bundles) = read?;
        let mut layers = self.writing();
        layers.update(identity, bundles);
        self.0.updates.succeeded();
        Ok(self.publish(layers))
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
