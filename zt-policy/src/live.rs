//! Policies of a folder, in force as they are edited.
//!
//! [`LivePolicies`] decides by the policies of a folder and looks at the folder again and again:
//!
//! 1. a folder that cannot be loaded at first is an error: there is nothing to fall back on;
//! 2. a change is loaded once it has settled, all files or none, and replaces the policies at once;
//!    one request is decided by one set, whatever happens meanwhile;
//! 3. a change that cannot be loaded changes nothing: the last good policies stay in force, the
//!    failure is counted, and its error is kept for [`LivePolicies::last_error`];
//! 4. a change that could not be read is tried again, at the next look, then after two, four and so
//!    on up to [`MAX_LOOKS_BETWEEN`] of them; one that was read and is not a set of policies is
//!    tried again when it changes;
//! 5. policies that were not found to be those of the folder for longer than a maximum, where there
//!    is one, are not trusted any more: every question is denied as unavailable until the folder
//!    loads again. It covers edits that do not load, a folder that is gone, and files that nobody
//!    looks at.
//!
//! Each set that differs from the one before it is a new generation, counted from 1.
//!
//! # Deployment caveat
//!
//! Without a maximum staleness a broken edit leaves the old policies in force for as long as nobody
//! repairs it. Watch [`LivePolicies::status`], or state a maximum.

mod builder;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zt_core::decision::{Answer, Decide, Decision, Permit, PolicyVersion};
use zt_core::fault::Fault;
use zt_core::principal::Principal;
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::snapshot::{Snapshot, Versioned};
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_core::verified::Verified;
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Look, Watch};

pub use self::builder::Builder;
use crate::entity::Entities;
use crate::evaluate::OnForbidError;
use crate::evaluate::default::DefaultEffect;
use crate::folder::FolderError;
use crate::set::{LoadError, PolicySet, Source};

/// How the texts of the folder become policies.
pub(crate) type Load = Box<dyn Fn(&[Source<'_>]) -> Result<PolicySet, LoadError> + Send + Sync>;

/// The most looks between two attempts to load what could not be read.
pub const MAX_LOOKS_BETWEEN: u32 = 64;

type OnReload = Box<dyn Fn(&Result<PolicyVersion, Arc<FolderError>>) + Send + Sync>;

/// The policies of a folder, kept current. A clone is the same ones; the last to be dropped ends
/// the watch.
///
/// ```no_run
/// use std::time::Duration;
/// use zt_policy::live::LivePolicies;
///
/// let policies = LivePolicies::builder("policies")
///     .max_staleness(Duration::from_secs(3600))
///     .on_reload(|outcome| match outcome {
///         Ok(version) => eprintln!("policies are now those of generation {}", version.generation),
///         Err(error) => eprintln!("the policies stay as they were: {error}"),
///     })
///     .open()?;
/// assert_eq!(policies.version().generation, 1);
/// # Ok::<(), zt_policy::live::LiveError>(())
/// ```
#[derive(Clone)]
pub struct LivePolicies {
    shared: Arc<Shared>,
    _watch: Arc<Watch>,
}

struct Shared {
    folder: PathBuf,
    settings: Settings,
    current: Snapshot<PolicySet>,
    /// When the policies were last found to be those of the folder, in microseconds.
    checked: AtomicI64,
    loads: AtomicU64,
    failures: AtomicU64,
    /// Held while the folder is loaded, by nobody who decides.
    attempt: Mutex<Attempt>,
}

/// The last time that the folder was loaded, or was to be.
struct Attempt {
    /// What the folder held, if it was the same before and after.
    read: Option<Fingerprint>,
    error: Option<Arc<FolderError>>,
    retry: Retry,
}

/// When what failed is tried again although nothing changed.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    /// How many looks lie before the next attempt.
    after: u32,
    /// How many have been.
    looks: u32,
}

impl Retry {
    /// Another attempt has failed: twice as many looks as before.
    fn failed(&mut self) {
        let after = self.after.saturating_mul(2).clamp(1, MAX_LOOKS_BETWEEN);
        *self = Self { after, looks: 0 };
    }

    /// Whether this look is the one to try again at.
    fn is_due(&mut self) -> bool {
        self.looks = self.looks.saturating_add(1);
        self.looks >= self.after
    }
}

/// How live policies are doing, at one moment: what to show on a dashboard, and to alert on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The policies in force.
    pub version: PolicyVersion,
    /// How often the folder was loaded, the first time counted.
    pub loads: u64,
    /// How often it could not be loaded.
    pub failures: u64,
    /// Why it could not be loaded the last time; `None` when it could.
    pub last_error: Option<Arc<FolderError>>,
    /// When the policies were last found to be those of the folder.
    pub checked: Timestamp,
    /// How long ago that is.
    pub age: Duration,
    /// Whether that is longer ago than the maximum staleness: then everything is denied.
    pub is_stale: bool,
}

struct Settings {
    every: Duration,
    max_staleness: Option<Duration>,
    clock: Arc<dyn Clock>,
    entities: Entities,
    on_forbid_error: OnForbidError,
    default_effect: DefaultEffect,
    on_reload: Option<OnReload>,
    load: Load,
}

impl LivePolicies {
    /// The policies of `folder`, looked at every second, without a maximum staleness.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, LiveError> {
        Self::builder(folder).open()
    }

    /// The policies of `folder`, with more to be set.
    pub fn builder(folder: impl Into<PathBuf>) -> Builder {
        let settings = Settings {
            every: DEFAULT_INTERVAL,
            max_staleness: None,
            clock: Arc::new(SystemClock),
            entities: Entities::new(),
            on_forbid_error: OnForbidError::default(),
            default_effect: DefaultEffect::default(),
            on_reload: None,
            load: Box::new(PolicySet::from_sources),
        };
        Builder { folder: folder.into(), settings }
    }

    /// The policies that are in force, to keep.
    #[must_use]
    pub fn current(&self) -> Arc<Versioned<PolicySet>> {
        self.shared.current.load_full()
    }

    /// The version of the policies that are in force.
    #[must_use]
    pub fn version(&self) -> PolicyVersion {
        self.shared.current.load().version()
    }

    /// How the policies are doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let checked = self.checked();
        Status {
            version: self.version(),
            loads: self.shared.loads.load(Ordering::Relaxed),
            failures: self.failures(),
            last_error: self.last_error(),
            checked,
            age: self.shared.settings.clock.now().since(checked),
            is_stale: self.is_stale(),
        }
    }

    /// As [`PolicySet::decide_all`], all by one version of the policies.
    #[must_use]
    pub fn decide_all<'r>(
        &self,
        caller: &'r Verified<Principal>,
        context: &'r Context,
        asked: impl IntoIterator<Item = (&'r Action, &'r Resource)>,
    ) -> Vec<Decision> {
        let current = self.shared.current.load();
        if !self.shared.is_stale() {
            return current.decide_all(caller, context, asked);
        }
        let deny = |(action, resource)| {
            let request = Request::new(caller, action, resource, context);
            Decision::of(&request, current.version(), |_| Answer::unavailable())
        };
        asked.into_iter().map(deny).collect()
    }

    /// As [`PolicySet::search`], all by one version of the policies.
    #[must_use]
    pub fn search<'r>(
        &self,
        caller: &'r Verified<Principal>,
        action: &'r Action,
        context: &'r Context,
        candidates: impl IntoIterator<Item = &'r Resource>,
    ) -> Vec<Permit> {
        let current = self.shared.current.load();
        if self.shared.is_stale() {
            return Vec::new();
        }
        current.search(caller, action, context, candidates)
    }

    /// How often the folder could not be loaded since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Why the folder could not be loaded the last time; `None` when it could.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<FolderError>> {
        self.shared.attempt().error.clone()
    }

    /// When the policies were last found to be those of the folder.
    #[must_use]
    pub fn checked(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.checked.load(Ordering::Relaxed))
    }

    /// Whether that is longer ago than the maximum staleness: then everything is denied.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.shared.is_stale()
    }

    /// Loads the folder now, without waiting for the watch to notice a change. It blocks on the
    /// file system.
    ///
    /// # Errors
    ///
    /// [`FolderError`] when it cannot be loaded; the policies stay as they were.
    pub fn reload(&self) -> Result<PolicyVersion, Arc<FolderError>> {
        self.shared.reload()
    }
}

impl Decide for LivePolicies {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let current = self.shared.current.load();
        if self.shared.is_stale() {
            return Decision::of(request, current.version(), |_| Answer::unavailable());
        }
        current.decide(request)
    }
}

impl Shared {
    fn is_stale(&self) -> bool {
        self.settings.max_staleness.is_some_and(|limit| {
            let checked = Timestamp::from_micros(self.checked.load(Ordering::Relaxed));
            self.settings.clock.now().since(checked) > limit
        })
    }

    fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rules 2 to 4.
    fn reload(&self) -> Result<PolicyVersion, Arc<FolderError>> {
        let mut attempt = self.attempt();
        // As of before the reading: what is changed meanwhile is not covered by it.
        let begun = self.settings.clock.now();
        let before = Fingerprint::of(watched(&self.folder));
        let loaded = self.settings.load(&self.folder).map_err(Arc::new);
        attempt.read = (Fingerprint::of(watched(&self.folder)) == before).then_some(before);
        attempt.error = loaded.as_ref().err().map(Arc::clone);
        let outcome = loaded.map(|policies| self.replace(policies));
        match &outcome {
            Ok(_) => {
                attempt.retry = Retry::default();
                self.checked.store(begun.as_micros(), Ordering::Relaxed);
                self.loads.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                attempt.retry.failed();
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(attempt);
        if let Some(hook) = &self.settings.on_reload {
            hook(&outcome);
        }
        outcome
    }

    /// Puts policies in force, unless they are the ones that are. Called under the lock, so that
    /// generations are given out in their order.
    fn replace(&self, policies: PolicySet) -> PolicyVersion {
        let current = self.current.load().version();
        if policies.version().digest == current.digest {
            return current;
        }
        let policies = policies.with_generation(current.generation.saturating_add(1));
        let version = policies.version();
        self.current.replace(policies);
        version
    }

    fn looked(&self, look: Look) {
        // What is unsettled is known to nobody yet.
        let Look::Settled(now) = look else { return };
        let mut attempt = self.attempt();
        let may_pass = attempt.error.as_ref().is_some_and(|error| error.may_pass());
        if attempt.read != Some(now) || may_pass && attempt.retry.is_due() {
            drop(attempt);
            // Kept and counted where it failed.
            let _ = self.reload();
        } else if attempt.error.is_none() {
            self.checked.store(self.settings.clock.now().as_micros(), Ordering::Relaxed);
        }
    }
}

/// What policies are read from: the folder, and what it is the mount of where it is a ConfigMap.
fn watched(folder: &Path) -> [PathBuf; 2] {
    [folder.to_owned(), folder.join("..data")]
}

impl Settings {
    fn load(&self, folder: &Path) -> Result<PolicySet, FolderError> {
        Ok(PolicySet::from_folder_as(folder, &self.load)?
            .with_entities(self.entities.clone())
            .with_default(self.default_effect)
            .on_forbid_error(self.on_forbid_error))
    }
}

impl fmt::Debug for LivePolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePolicies")
            .field("folder", &self.shared.folder)
            .field("version", &self.version())
            .field("failures", &self.failures())
            .finish_non_exhaustive()
    }
}

/// Why the policies of a folder cannot be kept current.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The folder cannot be loaded.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Good policies would be stale before they are looked at again.
    #[error(
        "a maximum staleness of {max_staleness:?} is shorter than two looks, one every {every:?}"
    )]
    StaleBetweenLooks {
        /// The maximum.
        max_staleness: Duration,
        /// How often is looked.
        every: Duration,
    },
    /// The thread that looks cannot be started.
    #[error("the thread that looks at the folder cannot be started")]
    Watch(#[from] io::Error),
}

impl LiveError {
    /// Whose fault it is: that of whoever deployed the folder, or of the program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests;
