//! Our JWT-SVIDs, fetched when they are needed and kept while they are good.
//!
//! 1. A JWT-SVID is for one audience at least (A-12).
//! 2. What the agent sends is verified before it counts, as whoever it is presented to does, for each
//!    audience; its subject is the one that the agent says, and the one that was asked for.
//! 3. It is kept for its subject and the set of its audiences, and handed out until half of its life
//!    is over. From then on until it expires it is handed out, and another one is fetched meanwhile.
//! 4. One request at a time asks the agent for one subject and set of audiences; others wait for its
//!    answer.
//! 5. At most [`MAX_JWT_SVIDS`] are kept: what expires first gives way.
//! 6. What the agent denies is forgotten (A-09).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use zt_core::secret::Secret;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::Settings;
use super::connect::{connect, request};
use super::error::WorkloadApiError;
use super::message::{JwtSvidText, jwt_svids};
use super::proto;
use crate::claims::Audience;
use crate::jwt_svid::{JwtSvid, JwtSvidError, JwtSvidVerifier};
use crate::source::JwtBundleSource;

/// How many JWT-SVIDs are kept.
pub const MAX_JWT_SVIDS: usize = 1024;

/// A JWT-SVID of ours, and what it says.
///
/// It is sent as `Authorization: Bearer`, and never to a log (J-12).
#[derive(Clone, Debug)]
pub struct FetchedJwtSvid {
    token: Arc<Secret<String>>,
    svid: Verified<JwtSvid>,
}

impl FetchedJwtSvid {
    /// The token.
    #[must_use]
    pub fn token(&self) -> &Secret<String> {
        &self.token
    }

    /// What it says.
    pub const fn svid(&self) -> &Verified<JwtSvid> {
        &self.svid
    }
}

/// A handle on our JWT-SVIDs. Clones share them.
///
/// ```no_run
/// use std::time::Duration;
/// use zt_core::spiffe::TrustDomain;
/// use zt_identity::workload_api::WorkloadApi;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = WorkloadApi::from_env()?;
/// let feed = agent.jwt_bundles(TrustDomain::from_name("example.org")?)?;
/// let tokens = agent.jwt_svids(feed.ready(Duration::from_secs(30)).await?);
///
/// let token = tokens.fetch(["orders"]).await?;
/// let header = format!("Bearer {}", token.token().expose());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JwtSvidSource(Arc<Shared>);

struct Shared {
    settings: Settings,
    bundles: JwtBundleSource,
    kept: Mutex<HashMap<Key, Arc<Slot>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    subject: Option<SpiffeId>,
    audience: BTreeSet<String>,
}

#[derive(Default)]
struct Slot {
    held: Mutex<Option<Held>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    fetched: FetchedJwtSvid,
    renew_at: Timestamp,
}

impl JwtSvidSource {
    pub(super) fn new(settings: Settings, bundles: JwtBundleSource) -> Self {
        Self(Arc::new(Shared { settings, bundles, kept: Mutex::default() }))
    }

    /// A JWT-SVID of our default identity for these audiences.
    ///
    /// # Errors
    ///
    /// [`WorkloadApiError`] when there is none that is good, and the agent does not give one out.
    pub async fn fetch(
        &self,
        audience: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<FetchedJwtSvid, WorkloadApiError> {
        self.get(Key { subject: None, audience: set(audience) }).await
    }

    /// A JWT-SVID of one of our identities for these audiences.
    ///
    /// # Errors
    ///
    /// As [`JwtSvidSource::fetch`].
    pub async fn fetch_as(
        &self,
        subject: SpiffeId,
        audience: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<FetchedJwtSvid, WorkloadApiError> {
        self.get(Key { subject: Some(subject), audience: set(audience) }).await
    }

    async fn get(&self, key: Key) -> Result<FetchedJwtSvid, WorkloadApiError> {
        if key.audience.is_empty() {
            return Err(WorkloadApiError::NoAudience);
        }
        let slot = self.slot(&key);
        let now = self.0.settings.clock.now();
        match slot.good_at(now) {
            Some(held) if now < held.renew_at => Ok(held.fetched),
            Some(held) => {
                self.renew_meanwhile(key, slot);
                Ok(held.fetched)
            }
            None => self.ask(&key, &slot).await,
        }
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut kept = lock(&self.0.kept);
        if let Some(slot) = kept.get(key) {
            return Arc::clone(slot);
        }
        if kept.len() >= MAX_JWT_SVIDS {
            let first = kept.iter().min_by_key(|(_, slot)| slot.expires());
            let first = first.map(|(key, _)| key.clone());
            first.and_then(|key| kept.remove(&key));
        }
        let slot = Arc::<Slot>::default();
        kept.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    fn renew_meanwhile(&self, key: Key, slot: Arc<Slot>) {
        // Who is at it already is enough.
        if slot.asking.try_lock().is_err() {
            return;
        }
        let source = self.clone();
        tokio::spawn(async move {
            if source.ask(&key, &slot).await.is_err() {
                slot.later(source.0.settings.clock.now());
            }
        });
    }

    async fn ask(&self, key: &Key, slot: &Slot) -> Result<FetchedJwtSvid, WorkloadApiError> {
        let _asking = slot.asking.lock().await;
        let before = self.0.settings.clock.now();
        // Somebody was faster.
        if let Some(held) = slot.good_at(before).filter(|held| before < held.renew_at) {
            return Ok(held.fetched);
        }
        let fetched = self.fetched(key).await;
        if let Err(WorkloadApiError::NotRegistered { .. }) = &fetched {
            *lock(&slot.held) = None;
        }
        let fetched = fetched?;
        let now = self.0.settings.clock.now();
        let half = fetched.svid.expires().since(now).checked_div(2).unwrap_or_default();
        let held = Held { fetched: fetched.clone(), renew_at: now.saturating_add(half) };
        *lock(&slot.held) = Some(held);
        Ok(fetched)
    }

    /// Asks the agent, and believes nothing of the answer that does not verify.
    async fn fetched(&self, key: &Key) -> Result<FetchedJwtSvid, WorkloadApiError> {
        let mut client = connect(&self.0.settings.address).await?;
        let asked = proto::JwtsvidRequest {
            audience: key.audience.iter().cloned().collect(),
            spiffe_id: key.subject.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        };
        let answer = client.fetch_jwtsvid(request(asked)).await?.into_inner();
        let first = jwt_svids(answer)?.into_iter().next().ok_or(WorkloadApiError::Silent)?;
        self.verified(key, first)
    }

    fn verified(&self, key: &Key, text: JwtSvidText) -> Result<FetchedJwtSvid, WorkloadApiError> {
        let JwtSvidText { id, token } = text;
        let asked = key.subject.as_ref().unwrap_or(&id);
        if id != *asked {
            return Err(WorkloadApiError::AnotherSubject { asked: asked.clone(), found: id });
        }
        let now = self.0.settings.clock.now();
        let bundles = self.0.bundles.load();
        let mut verified = None;
        for audience in &key.audience {
            let audience =
                Audience::any([audience.as_str()]).map_err(|_| WorkloadApiError::NoAudience)?;
            let svid = JwtSvidVerifier::new(audience).verify(token.expose(), bundles.at(now)?, now);
            verified = Some(svid.map_err(|error: JwtSvidError| Arc::new(error))?);
        }
        let svid: Verified<JwtSvid> = verified.ok_or(WorkloadApiError::NoAudience)?;
        if *svid.id() != id {
            return Err(WorkloadApiError::AnotherSubject { asked: id, found: svid.id().clone() });
        }
        Ok(FetchedJwtSvid { token: Arc::new(token), svid })
    }
}

impl Slot {
    fn good_at(&self, now: Timestamp) -> Option<Held> {
        lock(&self.held).clone().filter(|held| now < held.fetched.svid.expires())
    }

    fn expires(&self) -> Option<Timestamp> {
        lock(&self.held).as_ref().map(|held| held.fetched.svid.expires())
    }

    /// The agent failed: half of what is left is waited before it is asked again.
    fn later(&self, now: Timestamp) {
        if let Some(held) = &mut *lock(&self.held) {
            let left = held.fetched.svid.expires().since(now);
            held.renew_at = now.saturating_add(left.checked_div(2).unwrap_or_default());
        }
    }
}

impl fmt::Debug for JwtSvidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvidSource")
            .field("kept", &lock(&self.0.kept).len())
            .finish_non_exhaustive()
    }
}

fn set(audience: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    audience.into_iter().map(Into::into).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
