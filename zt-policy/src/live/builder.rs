//! How live policies are opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zt_core::decision::PolicyVersion;
use zt_core::snapshot::Snapshot;
use zt_core::time::Clock;
use zt_core::watch::{Fingerprint, Watch};

use super::{Attempt, LiveError, LivePolicies, Retry, Settings, Shared, watched};
use crate::entity::Entities;
use crate::evaluate::OnForbidError;
use crate::evaluate::default::DefaultEffect;
use crate::folder::FolderError;

/// Opens [`LivePolicies`].
#[must_use]
pub struct Builder {
    pub(super) folder: PathBuf,
    pub(super) settings: Settings,
}

impl Builder {
    /// Looks at the folder this often; every second by default. A change is loaded at the second
    /// look that finds it.
    pub fn every(mut self, interval: Duration) -> Self {
        self.settings.every = interval;
        self
    }

    /// Denies every question as unavailable once the policies were not found to be those of the
    /// folder for longer than this; no limit by default.
    pub fn max_staleness(mut self, limit: Duration) -> Self {
        self.settings.max_staleness = Some(limit);
        self
    }

    /// Takes the time from here; from the operating system by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// With entities that every request sees, as [`PolicySet::with_entities`](crate::set::PolicySet::with_entities).
    pub fn entities(mut self, entities: Entities) -> Self {
        self.settings.entities = entities;
        self
    }

    /// With another answer where a forbid cannot be evaluated.
    pub fn on_forbid_error(mut self, on_forbid_error: OnForbidError) -> Self {
        self.settings.on_forbid_error = on_forbid_error;
        self
    }

    /// With another answer where no policy applies, as [`PolicySet::with_default`](crate::set::PolicySet::with_default).
    pub fn default_effect(mut self, default_effect: DefaultEffect) -> Self {
        self.settings.default_effect = default_effect;
        self
    }

    #[cfg(feature = "cedar-upstream")]
    pub(crate) fn load(mut self, load: super::Load) -> Self {
        self.settings.load = load;
        self
    }

    /// Calls this after every attempt to load a change, from the thread that looks: to log it, to
    /// count it, to end connections that were admitted under other policies. Should it panic,
    /// nobody looks any more, and the maximum staleness is what is left.
    pub fn on_reload(
        mut self,
        hook: impl Fn(&Result<PolicyVersion, Arc<FolderError>>) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_reload = Some(Box::new(hook));
        self
    }

    /// Loads the folder and begins to look at it.
    ///
    /// # Errors
    ///
    /// [`LiveError`] when the folder cannot be loaded, when the maximum staleness is so short that
    /// the policies would be stale between two looks, or when the thread cannot be started.
    pub fn open(self) -> Result<LivePolicies, LiveError> {
        let Self { folder, settings } = self;
        let every = settings.every;
        if let Some(max_staleness) = settings.max_staleness
            && max_staleness < every.saturating_mul(2)
        {
            return Err(LiveError::StaleBetweenLooks { max_staleness, every });
        }
        let seen = Fingerprint::of(watched(&folder));
        let checked = settings.clock.now();
        let policies = settings.load(&folder)?;
        let read = (Fingerprint::of(watched(&folder)) == seen).then_some(seen);
        let shared = Arc::new(Shared {
            folder: folder.clone(),
            settings,
            current: Snapshot::new(policies),
            checked: AtomicI64::new(checked.as_micros()),
            loads: AtomicU64::new(1),
            failures: AtomicU64::new(0),
            attempt: Mutex::new(Attempt { read, error: None, retry: Retry::default() }),
        });
        let looking = Arc::clone(&shared);
        let paths = watched(&folder);
        let watch = Watch::start_looking(paths, seen, every, move |look| looking.looked(look))?;
        Ok(LivePolicies { shared, _watch: Arc::new(watch) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("folder", &self.folder).finish_non_exhaustive()
    }
}
