//! Bundles that rotate, without an identity beside them.
//!
//! A [`BundleSource`] has the shape of an [`X509Source`](super::X509Source): one generation, readers
//! that do not wait, an owner who updates all, and federation that puts one bundle beside them. The
//! keys of JWT-SVIDs have no validity of their own, so what a source of them knows counts for
//! [`STALE_AFTER`] once nobody says any more that it still holds, and then nobody is believed.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::snapshot::{Guard, Snapshot, Versioned};
use zt_core::spiffe::{TrustDomain, TrustDomainRef};
use zt_core::time::{Clock, Timestamp};
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Watch};

use super::error::PutBundleError;
use super::events::{Event, Observe, Updates};
use super::federated::Federated;
use super::jwt_files::{JwtBundleFileError, JwtBundleFiles};
use crate::bundle::{BundleSet, X509Bundle};
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};

/// How long bundles count after those who provide them were heard for the last time: 1 hour.
pub const STALE_AFTER: Duration = Duration::from_secs(3600);

/// The bundles of several trust domains, of one kind: [`BundleSet`] or [`JwtBundleSet`].
pub trait Bundles: Clone + fmt::Debug + Send + Sync + 'static {
    /// The bundle of one trust domain.
    type Bundle: Clone + fmt::Debug + Send + Sync;

    /// These bundles and one more, in the place of an earlier one of its trust domain.
    #[must_use]
    fn with_bundle(self, bundle: Self::Bundle) -> Self;

    /// The trust domain that a bundle vouches for.
    fn trust_domain(bundle: &Self::Bundle) -> &TrustDomain;
}

impl Bundles for BundleSet {
    type Bundle = X509Bundle;

    fn with_bundle(self, bundle: X509Bundle) -> Self {
        self.with(bundle)
    }

    fn trust_domain(bundle: &X509Bundle) -> &TrustDomain {
        bundle.trust_domain()
    }
}

impl Bundles for JwtBundleSet {
    type Bundle = JwtBundle;

    fn with_bundle(self, bundle: JwtBundle) -> Self {
        self.with(bundle)
    }

    fn trust_domain(bundle: &JwtBundle) -> &TrustDomain {
        bundle.trust_domain()
    }
}

/// The keys of JWT-SVIDs, as they rotate.
pub type JwtBundleSource = BundleSource<JwtBundleSet>;
/// The roots of X.509-SVIDs, as they rotate, for a service that presents none of its own.
pub type X509BundleSource = BundleSource<BundleSet>;

/// Bundles, and until when they count.
#[derive(Clone, Debug)]
pub struct BundleMaterial<S> {
    bundles: S,
    counts_until: Option<Timestamp>,
}

impl<S> BundleMaterial<S> {
    /// The bundles, if they count at `now`.
    ///
    /// # Errors
    ///
    /// [`StaleBundles`] when it is too long that those who provide them were heard.
    pub fn at(&self, now: Timestamp) -> Result<&S, StaleBundles> {
        match self.counts_until {
            Some(until) if now > until => Err(StaleBundles { now, until }),
            Some(_) | None => Ok(&self.bundles),
        }
    }

    /// The end of their time, where those who provide them are not heard any more.
    #[must_use]
    pub const fn counts_until(&self) -> Option<Timestamp> {
        self.counts_until
    }
}

/// A handle on bundles that rotate. Clones share it.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::spiffe::TrustDomain;
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Authority;
/// use zt_identity::claims::Audience;
/// use zt_identity::jwt_bundle::JwtBundleSet;
/// use zt_identity::jwt_svid::JwtSvidVerifier;
/// use zt_identity::source::JwtBundleSource;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let authority = Authority::new(TrustDomain::from_name("example.org")?, now)?;
/// let bundles = JwtBundleSet::new().with(authority.jwt_bundle());
/// let source = JwtBundleSource::new(authority.trust_domain().clone(), bundles);
///
/// let token = authority.jwt_svid("/ns/shop/sa/cart", "orders")?;
/// let verifier = JwtSvidVerifier::new(Audience::any(["orders"])?);
/// assert!(verifier.verify(&token, source.load().at(now)?, now).is_ok());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BundleSource<S: Bundles>(Arc<Shared<S>>);

impl<S: Bundles> Clone for BundleSource<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Shared<S: Bundles> {
    own: TrustDomain,
    current: Snapshot<BundleMaterial<S>>,
    // Held by writers alone. What is current is made of it.
    layers: Mutex<Layers<S>>,
    updates: Updates,
    files: Option<JwtBundleFiles>,
}

#[derive(Debug)]
struct Layers<S: Bundles> {
    bundles: S,
    counts_until: Option<Timestamp>,
    federated: Federated<S::Bundle>,
}

impl<S: Bundles> BundleSource<S> {
    /// A source of these bundles, until they are replaced, for a service of the trust domain `own`.
    #[must_use]
    pub fn new(own: TrustDomain, bundles: S) -> Self {
        Self::of(own, bundles, None)
    }

    fn of(own: TrustDomain, bundles: S, files: Option<JwtBundleFiles>) -> Self {
        let current =
            Snapshot::new(BundleMaterial { bundles: bundles.clone(), counts_until: None });
        let layers = Layers { bundles, counts_until: None, federated: Federated::new() };
        let (layers, updates) = (Mutex::new(layers), Updates::default());
        Self(Arc::new(Shared { own, current, layers, updates, files }))
    }

    /// What is current, for the length of a call.
    pub fn load(&self) -> Guard<BundleMaterial<S>> {
        self.0.current.load()
    }

    /// What is current, to keep.
    #[must_use]
    pub fn current(&self) -> Arc<Versioned<BundleMaterial<S>>> {
        self.0.current.load_full()
    }

    /// The generation of what is current.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.generation()
    }

    /// Replaces the bundles at once, and returns their generation. What was
    /// [put](Self::put_bundle) stays.
    pub fn replace(&self, bundles: S) -> u64 {
        let mut layers = self.writing();
        (layers.bundles, layers.counts_until) = (bundles, None);
        self.0.updates.succeeded();
        self.publish(layers)
    }

    /// Puts the bundle of another trust domain beside those of the updates, as
    /// [`X509Source::put_bundle`](super::X509Source::put_bundle) does.
    ///
    /// # Errors
    ///
    /// [`PutBundleError`] when it is the bundle of our own trust domain, or older than the one that
    /// is there; nothing changes then.
    pub fn put_bundle(
        &self,
        bundle: S::Bundle,
        sequence: Option<u64>,
    ) -> Result<u64, PutBundleError> {
        let mut layers = self.writing();
        let trust_domain = S::trust_domain(&bundle).clone();
        let put = if trust_domain == self.0.own {
            Err(PutBundleError::Own { trust_domain })
        } else {
            layers.federated.put(&trust_domain, bundle, sequence)
        };
        match put {
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
        layers.federated.remove(trust_domain);
        self.publish(layers)
    }

    /// Notes that those who provide the bundles are not heard since `now`: what is current counts
    /// for `stale_after` more, unless an update comes or was missed before.
    pub fn missed(&self, now: Timestamp, stale_after: Duration) -> u64 {
        let mut layers = self.writing();
        if layers.counts_until.is_some() {
            return self.generation();
        }
        layers.counts_until = Some(now.saturating_add(stale_after));
        self.0.current.replace(self.material(&layers))
    }

    /// Tells an observer from here on, in the place of an earlier one.
    pub fn observe(&self, observer: impl Observe + 'static) {
        self.0.updates.observe(observer);
    }

    /// Updates that were not taken since the last one that was.
    #[must_use]
    pub fn failed_updates(&self) -> u64 {
        self.0.updates.failed()
    }

    /// Notes that an update failed that was not asked of this source: failures count until one
    /// succeeds.
    pub fn note(&self, error: &(dyn std::error::Error + 'static)) {
        self.tell(&Event::UpdateFailed { error });
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.0.updates.tell(event);
    }

    fn writing(&self) -> MutexGuard<'_, Layers<S>> {
        self.0.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What readers see. Of a trust domain that both know, what was put counts.
    fn material(&self, layers: &Layers<S>) -> BundleMaterial<S> {
        let federated = layers.federated.foreign_to(self.0.own.borrowed()).cloned();
        let bundles = federated.fold(layers.bundles.clone(), S::with_bundle);
        BundleMaterial { bundles, counts_until: layers.counts_until }
    }

    /// A new generation. Nobody is told while others wait.
    fn publish(&self, layers: MutexGuard<'_, Layers<S>>) -> u64 {
        let generation = self.0.current.replace(self.material(&layers));
        drop(layers);
        self.tell(&Event::Updated { generation });
        generation
    }
}

impl JwtBundleSource {
    /// A source of the keys in these files, for a service of the trust domain `own`.
    ///
    /// # Errors
    ///
    /// [`JwtBundleFileError`] when one cannot be read, or has no keys.
    pub fn open(own: TrustDomain, files: JwtBundleFiles) -> Result<Self, JwtBundleFileError> {
        Ok(Self::of(own, files.read()?, Some(files)))
    }

    /// Reads the files again, and returns the generation of what they hold.
    ///
    /// # Errors
    ///
    /// [`JwtBundleFileError`] when one cannot be read, or has no keys. What was current counts for
    /// [`STALE_AFTER`] more.
    pub fn reload(&self, now: Timestamp) -> Result<u64, JwtBundleFileError> {
        let files = self.0.files.as_ref().ok_or(JwtBundleFileError::NoFiles)?;
        match files.read() {
            Ok(bundles) => Ok(self.replace(bundles)),
            Err(error) => {
                self.note(&error);
                self.missed(now, STALE_AFTER);
                Err(error)
            }
        }
    }

    /// Reads the files again whenever their contents change, until the watch is dropped, and tells
    /// `on_reload` how that went, as [`X509Source::watch`](super::X509Source::watch) does.
    ///
    /// # Errors
    ///
    /// [`JwtBundleFileError::NoFiles`], and [`JwtBundleFileError::Watch`] when no thread can be
    /// started.
    pub fn watch(
        &self,
        clock: impl Clock + 'static,
        mut on_reload: impl FnMut(Result<u64, JwtBundleFileError>) + Send + 'static,
    ) -> Result<Watch, JwtBundleFileError> {
        let files = self.0.files.as_ref().ok_or(JwtBundleFileError::NoFiles)?;
        let paths: Vec<PathBuf> = files.paths().cloned().collect();
        let seen = Fingerprint::of(&paths);
        on_reload(self.reload(clock.now()));
        let source = self.clone();
        let reload = move || on_reload(source.reload(clock.now()));
        Watch::start(paths, seen, DEFAULT_INTERVAL, reload)
            .map_err(|error| JwtBundleFileError::Watch(Arc::new(error)))
    }
}

/// Those who provide the bundles were not heard for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the bundles counted until {until}, as nobody says any more that they hold, and it is {now}"
)]
#[non_exhaustive]
pub struct StaleBundles {
    /// The moment asked about.
    pub now: Timestamp,
    /// The end of their time.
    pub until: Timestamp,
}

impl StaleBundles {
    /// Whose fault it is: that of whoever provides the bundles.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}
