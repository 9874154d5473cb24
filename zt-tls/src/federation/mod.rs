//! Federation: the bundles of other trust domains, fetched from their endpoints and kept fresh.
//!
//! A [`Relationship`] is three things, stated by whoever configures it: a trust domain, the URL where
//! its bundle is served, and the profile by which the server proves who it is. From there on the
//! [`Federation`] puts the bundle into our [`X509Source`], so that the workloads of that trust domain
//! are believed as ours are, and takes it away when the relationship ends.
//!
//! A fetch goes on when, in this order (SPIFFE Federation §5):
//!
//! 1. the endpoint proves itself over TLS by its profile and by no other: with `https_web` by a
//!    certificate for the host of its URL (RFC 6125), with `https_spiffe` by a valid X509-SVID with
//!    exactly its SPIFFE ID (F-04, F-05). Nothing is presented to it (F-07);
//! 2. an endpoint that serves itself is judged by the latest bundle that was fetched, and by the
//!    configured one in the first fetch alone (F-06);
//! 3. the status of the answer is 200. A redirect is followed to an [`EndpointUrl`] whose server proves
//!    itself by the same rules, [`MAX_REDIRECTS`] times, and is forgotten (F-09);
//! 4. the answer is complete within the timeout, and has at most
//!    [`MAX_BUNDLE_LEN`](zt_identity::bundle::MAX_BUNDLE_LEN) bytes (F-08), which are a
//!    [`SpiffeBundle`];
//! 5. the bundle is not older than the latest one, nor another one under the same sequence (F-10).
//!
//! What breaks a rule is not taken: the latest bundle stays, and the next fetch is at its time. What
//! keeps them takes the place of the latest bundle whole, also where it has no usable key: then every
//! SVID of the trust domain is refused (Trust Domain and Bundle §4.1.3).
//!
//! # When
//!
//! The bundle says how long to wait between fetches, from a second to a day, and 5 minutes where it
//! does not; up to a tenth of that earlier, so that not all clients come at once. After a failure it is
//! as long. An endpoint that is silent for [`DEFAULT_MAX_AGE`] has its bundle taken away, until it is
//! heard again: a root that was withdrawn meanwhile must not count for ever.
//!
//! # What it does not do
//!
//! It does not find out whose a document is: it does not say so. It does not bring an endpoint back
//! that serves itself and has replaced all of its keys between two fetches; end the relationship, and
//! establish it with a new bundle.

mod url;
mod profile;
mod order;
mod error;
mod fetch;
mod store;
mod relationship;
mod health;
mod settings;
mod standing;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use zt_core::spiffe::{SpiffeId, TrustDomain, TrustDomainRef};
use zt_identity::bundle::SpiffeBundle;
use zt_identity::source::X509Source;

pub use self::error::{FederationError, FetchError};
pub use self::fetch::MAX_REDIRECTS;
pub use self::health::RelationshipHealth;
pub use self::profile::{Profile, ProfileError};
pub use self::relationship::Relationship;
use self::settings::Settings;
pub use self::settings::{DEFAULT_MAX_AGE, DEFAULT_TIMEOUT, FederationBuilder};
use self::standing::Standing;
pub use self::store::{BundleFolder, BundleStore, StoredBundle};
pub use self::url::{EndpointUrl, EndpointUrlError, MAX_URL_LEN};

/// The trust domains that a source federates with. When it is dropped, all of them end; what is stored
/// of them stays, for the next start. They end, too, with the runtime that they were established in, and
/// when an observer panics: then nobody looks after them.
///
/// ```no_run
/// use std::time::Duration;
/// use zt_core::spiffe::TrustDomain;
/// use zt_tls::federation::{BundleFolder, EndpointUrl, Federation, Profile, Relationship};
///
/// # async fn federate(source: zt_identity::X509Source) -> Result<(), Box<dyn std::error::Error>> {
/// let federation = Federation::builder(source)
///     .store(BundleFolder::new("/var/lib/orders/federation"))
///     .build()?;
///
/// let partner = TrustDomain::from_name("partner.test")?;
/// let url = EndpointUrl::parse("https://spiffe.partner.test/bundle")?;
/// federation.establish(Relationship::new(partner.clone(), url, Profile::https_web()?)?)?;
/// federation.ready(partner.borrowed(), Duration::from_secs(10)).await;
///
/// for health in federation.health() {
///     println!("{health:?}");
/// }
/// federation.remove(partner.borrowed()); // nobody of it is believed any more
/// # Ok(())
/// # }
/// ```
pub struct Federation {
    settings: Arc<Settings>,
    live: Mutex<BTreeMap<TrustDomain, Live>>,
}

/// A relationship, and the task that fetches its bundle.
struct Live {
    standing: Arc<Standing>,
    task: AbortHandle,
}

impl Live {
    fn end(&self, forget: bool) {
        self.standing.end(forget);
        self.task.abort();
    }
}

impl Federation {
    /// A federation of this source, with nobody yet.
    pub fn builder(source: X509Source) -> FederationBuilder {
        FederationBuilder::new(source)
    }

    fn with(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), live: Mutex::default() }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the bundle of this trust domain from here on, and puts it into the source. It returns
    /// at once; wait with [`Federation::ready`].
    ///
    /// # Errors
    ///
    /// [`FederationError`] when there can be no such relationship.
    pub fn establish(&self, relationship: Relationship) -> Result<(), FederationError> {
        let runtime = Handle::try_current().map_err(|_| FederationError::NoRuntime)?;
        let trust_domain = relationship.trust_domain().clone();
        if self.is_ours(&trust_domain) {
            return Err(FederationError::Own { trust_domain });
        }
        let mut live = self.live();
        if live.contains_key(&trust_domain) {
            return Err(FederationError::Twice { trust_domain });
        }
        let standing = Arc::new(Standing::new(relationship, Arc::clone(&self.settings)));
        let task = runtime.spawn(keep_fresh(Arc::clone(&standing))).abort_handle();
        live.insert(trust_domain, Live { standing, task });
        Ok(())
    }

    fn is_ours(&self, trust_domain: &TrustDomain) -> bool {
        let material = self.settings.source.load();
        let is_its = |id: &SpiffeId| id.trust_domain() == trust_domain.borrowed();
        match material.identity() {
            Ok(identity) => is_its(identity.id()),
            Err(withdrawn) => is_its(withdrawn.id()),
        }
    }

    /// Ends the relationship with this trust domain, and says whether there was one. Its bundle is gone
    /// at once: its workloads are refused, and their connections end. Then it is removed from the store,
    /// for which this waits.
    pub fn remove(&self, trust_domain: TrustDomainRef<'_>) -> bool {
        let ended = self.live().remove(trust_domain.as_str());
        if let Some(live) = &ended {
            live.end(true);
        }
        ended.is_some()
    }

    /// Asks for a fetch now, and says whether there is such a relationship.
    pub fn refresh(&self, trust_domain: TrustDomainRef<'_>) -> bool {
        let standing = self.standing(trust_domain);
        standing.map(|standing| standing.asked.notify_one()).is_some()
    }

    /// The latest bundle of this trust domain, while it counts. Its keys for JWT-SVIDs are put where
    /// [`FederationBuilder::tokens`] says.
    #[must_use]
    pub fn bundle(&self, trust_domain: TrustDomainRef<'_>) -> Option<Arc<SpiffeBundle>> {
        self.standing(trust_domain)?.document()
    }

    /// How each relationship is, in the order of their trust domains.
    #[must_use]
    pub fn health(&self) -> Vec<RelationshipHealth> {
        self.live().values().map(|live| live.standing.health()).collect()
    }

    /// Waits until there is a bundle of this trust domain, for `limit` at most, and says whether there
    /// is. Nobody has to: it is for a start-up that wants to serve its first request.
    pub async fn ready(&self, trust_domain: TrustDomainRef<'_>, limit: Duration) -> bool {
        let Some(standing) = self.standing(trust_domain) else { return false };
        let there = async {
            loop {
                let mut changed = pin!(standing.changed.notified());
                changed.as_mut().enable();
                if standing.document().is_some() || standing.has_ended() {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(limit, there).await;
        standing.document().is_some()
    }

    fn standing(&self, trust_domain: TrustDomainRef<'_>) -> Option<Arc<Standing>> {
        self.live().get(trust_domain.as_str()).map(|live| Arc::clone(&live.standing))
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.live().values().for_each(|live| live.end(false));
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.live().values().map(|live| &live.standing.relationship))
            .finish()
    }
}

/// Ends a relationship with the task that fetches for it, whatever ends that: a bundle that nobody
/// looks after must not count for ever.
struct Ends(Arc<Standing>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

async fn keep_fresh(standing: Arc<Standing>) {
    let _ends = Ends(Arc::clone(&standing));
    let restoring = Arc::clone(&standing);
    let _ = spawn_blocking(move || restoring.restore()).await;
    loop {
        let pause = standing.note(fetch_and_take(&standing).await);
        rest(&standing, pause).await;
    }
}

async fn fetch_and_take(standing: &Arc<Standing>) -> Result<bool, FetchError> {
    let Settings { tls, timeout, .. } = &*standing.settings;
    let relationship = &standing.relationship;
    let config = tls.config(relationship.profile(), standing.judged_by()?);
    let config = Arc::new(config.map_err(FetchError::Provider)?);
    let document = fetch::fetch(config, relationship.url(), *timeout).await?;
    // It may wait for a disk.
    let taking = Arc::clone(standing);
    let taken = spawn_blocking(move || taking.take(&document)).await;
    taken.unwrap_or(Err(FetchError::Ended))
}

/// Until the next fetch is due or asked for; the bundle may become too old meanwhile.
async fn rest(standing: &Standing, pause: Duration) {
    let mut asked = pin!(standing.asked.notified());
    let Some(due) = Instant::now().checked_add(pause) else { return asked.await };
    loop {
        let too_old = standing.counts_for().and_then(|left| Instant::now().checked_add(left));
        let wake = too_old.map_or(due, |too_old| too_old.min(due));
        tokio::select! {
            () = &mut asked => return,
            () = sleep_until(wake) => standing.look_at_age(),
        }
        if Instant::now() >= due {
            return;
        }
    }
}
