//! One relationship while it lasts: the latest bundle, and what became of the last fetch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_identity::bundle::{BundleSet, SpiffeBundle, X509Bundle};

use super::error::FetchError;
use super::health::RelationshipHealth;
use super::order::{Order, order};
use super::relationship::Relationship;
use super::settings::Settings;
use super::store::StoredBundle;
use crate::events::{BundleGone, Event};
use crate::health::Status;

/// A relationship that lasts.
pub(super) struct Standing {
    pub(super) relationship: Relationship,
    pub(super) settings: Arc<Settings>,
    state: Mutex<State>,
    // Whether something may be kept still. Held while it is, by threads that may wait.
    keeping: Mutex<bool>,
    pub(super) asked: Notify,
    pub(super) changed: Notify,
}

#[derive(Default)]
struct State {
    ended: bool,
    latest: Option<Latest>,
    stale: bool,
    failure: Option<(Timestamp, FetchError)>,
    failures: u64,
    fetched: Option<Timestamp>,
    next: Option<Timestamp>,
}

/// The bundle that was fetched last.
struct Latest {
    document: Arc<SpiffeBundle>,
    bundle: X509Bundle,
    // When the endpoint said so: as the clock says, and in time that nobody sets.
    confirmed: (Timestamp, Instant),
}

impl Latest {
    fn age(&self, now: Timestamp) -> Duration {
        now.since(self.confirmed.0).max(self.confirmed.1.elapsed())
    }

    fn pause(&self) -> Duration {
        self.document.refresh_hint()
    }
}

impl Standing {
    pub(super) fn new(relationship: Relationship, settings: Arc<Settings>) -> Self {
        Self {
            relationship,
            settings,
            state: Mutex::default(),
            keeping: Mutex::new(true),
            asked: Notify::new(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an endpoint of `https_spiffe` is judged by in the fetch that begins now (F-06): the latest
    /// bundle where it serves itself, the one that it came with for the first time and where it does
    /// not, else what our source has. With it are the revocation lists of our source.
    pub(super) fn judged_by(&self) -> Result<BundleSet, FetchError> {
        let profile = self.relationship.profile();
        let material = self.settings.source.load();
        let lists = material.bundles().revocation_lists().clone();
        let bundles = BundleSet::new().with_revocation_lists(lists);
        let Some(endpoint) = profile.endpoint().map(SpiffeId::trust_domain) else {
            return Ok(bundles);
        };
        let latest = profile
            .is_self_serving(self.relationship.trust_domain())
            .then(|| self.state().latest.as_ref().map(|latest| latest.bundle.clone()));
        let bundle = latest
            .flatten()
            .or_else(|| profile.bundle().cloned())
            .or_else(|| material.bundles().get(endpoint).cloned());
        let bundle =
            bundle.ok_or_else(|| FetchError::NoBundle { trust_domain: endpoint.to_owned() })?;
        Ok(bundles.with(bundle))
    }

    /// Takes what was fetched now, and says whether it is new.
    pub(super) fn take(&self, json: &[u8]) -> Result<bool, FetchError> {
        let document = SpiffeBundle::from_json(json)?;
        let now = self.settings.clock.now();
        let mut state = self.state();
        if state.ended {
            return Err(FetchError::Ended);
        }
        let changed = state.accept(&self.relationship, document, now)?;
        self.put(&state)?;
        (state.stale, state.fetched, state.failures) = (false, Some(now), 0);
        drop(state);
        self.keep(StoredBundle {
            relationship: self.relationship.line(),
            fetched: now,
            json: json.to_vec(),
        });
        Ok(changed)
    }

    /// Believes what was kept of an earlier fetch, if it was by the same relationship. When it is too
    /// old it still says what is older, and whom to believe as the endpoint.
    pub(super) fn restore(&self) {
        let Some(store) = &self.settings.store else { return };
        let trust_domain = self.relationship.trust_domain();
        let stored = match store.load(trust_domain) {
            Ok(stored) => stored.filter(|stored| stored.relationship == self.relationship.line()),
            Err(error) => return self.tell_failure(&error),
        };
        let Some(stored) = stored else { return };
        let document = match SpiffeBundle::from_json(&stored.json) {
            Ok(document) => document,
            Err(error) => return self.tell_failure(&error),
        };
        let now = self.settings.clock.now();
        let mut state = self.state();
        if state.ended {
            return;
        }
        let bundle = document.x509_bundle(trust_domain.clone(), now).0;
        // A time to come is one of a clock that was wrong.
        let confirmed = (stored.fetched.min(now), Instant::now());
        state.latest = Some(Latest { document: document.into(), bundle, confirmed });
        state.stale = true;
        if state.age(now).is_none_or(|age| age >= self.settings.max_age) {
            return;
        }
        let put = self.put(&state);
        state.stale = put.is_err();
        drop(state);
        match put {
            Ok(()) => self.changed.notify_waiters(),
            Err(error) => self.tell_failure(&error),
        }
    }

    /// Puts the latest bundle into our source, while the relationship lasts.
    fn put(&self, state: &State) -> Result<(), FetchError> {
        let Some(latest) = &state.latest else { return Ok(()) };
        let sequence = latest.document.sequence();
        self.settings.source.put_bundle(latest.bundle.clone(), sequence)?;
        if let Some(tokens) = &self.settings.tokens {
            let trust_domain = self.relationship.trust_domain().clone();
            tokens.put_bundle(latest.document.jwt_bundle(trust_domain), sequence)?;
        }
        Ok(())
    }

    fn take_away(&self) {
        let trust_domain = self.relationship.trust_domain().borrowed();
        self.settings.source.remove_bundle(trust_domain);
        if let Some(tokens) = &self.settings.tokens {
            tokens.remove_bundle(trust_domain);
        }
    }

    fn keep(&self, bundle: StoredBundle) {
        let Some(store) = &self.settings.store else { return };
        let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if *keeping && let Err(error) = store.save(self.relationship.trust_domain(), &bundle) {
            self.tell_failure(&error);
        }
    }

    /// Takes the bundle away when the endpoint has been silent for too long.
    pub(super) fn look_at_age(&self) {
        let now = self.settings.clock.now();
        let mut state = self.state();
        let too_old = state.age(now).is_some_and(|age| age >= self.settings.max_age);
        if too_old && !state.stale && !state.ended {
            state.stale = true;
            self.take_away();
            drop(state);
            self.tell_gone(BundleGone::Stale);
        }
    }

    /// Until when the bundle counts if nothing more is heard; nothing where none does.
    pub(super) fn counts_for(&self) -> Option<Duration> {
        let state = self.state();
        let lasts = !state.stale && !state.ended;
        let age = state.age(self.settings.clock.now()).filter(|_| lasts)?;
        Some(self.settings.max_age.saturating_sub(age))
    }

    /// Notes how a fetch went, and how long it is until the next one.
    pub(super) fn note(&self, outcome: Result<bool, FetchError>) -> Duration {
        let trust_domain = self.relationship.trust_domain();
        let now = self.settings.clock.now();
        let mut state = self.state();
        if state.ended {
            return Duration::MAX;
        }
        let pause = state.latest.as_ref().map_or(self.settings.first_interval, Latest::pause);
        let pause = pause.saturating_sub(self.settings.jitter.of(pause));
        state.next = Some(now.saturating_add(pause));
        let sequence = state.latest.as_ref().and_then(|latest| latest.document.sequence());
        let failure = match &outcome {
            Ok(_) => None,
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                Some((now, error.clone()))
            }
        };
        state.failure = failure;
        drop(state);
        match outcome {
            Ok(changed) => {
                self.settings.tell(&Event::BundleFetched { trust_domain, sequence, changed });
            }
            Err(error) => self.tell_failure(&error),
        }
        self.changed.notify_waiters();
        pause
    }

    /// Ends it: from here on nothing is put or kept, and what was put is gone.
    pub(super) fn end(&self, forget: bool) {
        let mut state = self.state();
        let ends = !std::mem::replace(&mut state.ended, true);
        if ends {
            self.take_away();
        }
        drop(state);
        self.changed.notify_waiters();
        if ends {
            self.tell_gone(BundleGone::Ended);
        }
        let mut keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        *keeping = false;
        if forget
            && let Some(store) = &self.settings.store
            && let Err(error) = store.remove(self.relationship.trust_domain())
        {
            drop(keeping);
            self.tell_failure(&error);
        }
    }

    fn tell_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let trust_domain = self.relationship.trust_domain();
        self.settings.tell(&Event::BundleFailed { trust_domain, error });
    }

    fn tell_gone(&self, why: BundleGone) {
        let trust_domain = self.relationship.trust_domain();
        self.settings.tell(&Event::BundleGone { trust_domain, why });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The latest document, while it counts.
    pub(super) fn document(&self) -> Option<Arc<SpiffeBundle>> {
        let state = self.state();
        let latest = state.latest.as_ref().filter(|_| !state.stale && !state.ended)?;
        Some(Arc::clone(&latest.document))
    }

    pub(super) fn health(&self) -> RelationshipHealth {
        let state = self.state();
        let latest = state.latest.as_ref();
        let roots = latest.filter(|_| !state.stale).map_or(0, |latest| latest.bundle.roots().len());
        let status = match (roots, state.failures) {
            (0, _) => Status::Failing,
            (_, 0) => Status::Good,
            (_, _) => Status::Ailing,
        };
        RelationshipHealth {
            relationship: self.relationship.clone(),
            status,
            sequence: latest.and_then(|latest| latest.document.sequence()),
            roots,
            stale: state.stale,
            fetched: state.fetched,
            failure: state.failure.clone(),
            failures: state.failures,
            next: state.next,
        }
    }
}

impl State {
    fn age(&self, now: Timestamp) -> Option<Duration> {
        self.latest.as_ref().map(|latest| latest.age(now))
    }

    /// Takes a document as the latest one unless an order of theirs forbids it. One that says the same
    /// brings its refresh hint.
    fn accept(
        &mut self,
        relationship: &Relationship,
        document: SpiffeBundle,
        now: Timestamp,
    ) -> Result<bool, FetchError> {
        let confirmed = (now, Instant::now());
        if let Some(latest) = &mut self.latest {
            match order(&latest.document, &document) {
                Order::Later => {}
                Order::Same => {
                    latest.document = document.into();
                    latest.confirmed = confirmed;
                    return Ok(false);
                }
                Order::Earlier => {
                    let (latest, found) = (latest.document.sequence(), document.sequence());
                    return Err(FetchError::Sequence { latest, found });
                }
            }
        }
        let bundle = document.x509_bundle(relationship.trust_domain().clone(), now).0;
        self.latest = Some(Latest { document: document.into(), bundle, confirmed });
        Ok(true)
    }
}
