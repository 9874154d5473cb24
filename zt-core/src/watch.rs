//! One way to notice that files changed, for every crate.
//!
//! Certificates, bundles, keys and policies arrive as files: written in place, renamed over by an
//! editor, or swapped as a whole by Kubernetes, which points the symlink `..data` at a new folder.
//! Notifications of the operating system miss some of these on some file systems, so a [`Watch`]
//! polls, and compares contents: times and sizes can be the same before and after.
//!
//! A change is reported once it has been the same for two polls in a row, so that a file that is
//! half written is as a rule not read. A reader still has to refuse what it cannot parse, and keep
//! what it had.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::fs;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often files are looked at unless said otherwise.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// What some files and folders held at one moment, by a hash over names and contents. A folder
/// counts with the files directly in it; symlinks are followed; what is missing counts as missing.
///
/// It detects changes, not attacks: the hash is not a cryptographic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Reads everything at these paths.
    pub fn of<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut hasher = DefaultHasher::new();
        for path in paths {
            hash_path(path.as_ref(), &mut hasher);
        }
        Self(hasher.finish())
    }
}

fn hash_path(path: &Path, hasher: &mut DefaultHasher) {
    hash_name(path, hasher);
    if !path.is_dir() {
        return hash_file(path, hasher);
    }
    let mut files: Vec<_> = match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => return hash_error(&error, hasher),
    };
    files.retain(|file| !file.is_dir());
    files.sort();
    for file in files {
        hash_name(&file, hasher);
        hash_file(&file, hasher);
    }
}

fn hash_name(path: &Path, hasher: &mut DefaultHasher) {
    hasher.write(path.as_os_str().as_encoded_bytes());
    hasher.write_u8(0);
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) {
    let mut buffer = [0; 8_192];
    let mut length = 0u64;
    let outcome = fs::File::open(path).and_then(|mut file| {
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            hasher.write(buffer.get(..read).unwrap_or_default());
        }
    });
    if let Err(error) = outcome {
        hash_error(&error, hasher);
    }
    hasher.write_u64(length);
}

fn hash_error(error: &io::Error, hasher: &mut DefaultHasher) {
    hasher.write(format!("{:?}", error.kind()).as_bytes());
}

/// Looks at files from a thread of its own until it is dropped.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use zt_core::watch::{Fingerprint, Watch};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("policy.cedar");
/// # std::fs::write(&path, "before")?;
/// let seen = Fingerprint::of([&path]); // first the fingerprint, then the reading
/// let text = std::fs::read_to_string(&path)?;
///
/// let (changed, changes) = mpsc::channel();
/// let _watch = Watch::start([&path], seen, Duration::from_millis(10), move || {
///     let _ = changed.send(());
/// })?;
/// std::fs::write(&path, "after")?;
/// changes.recv_timeout(Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a watch ends it"]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Watch`] found when it looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// The same as at the look before.
    Settled(Fingerprint),
    /// Something else than at the look before: it may still be changing.
    Unsettled,
}

#[derive(Default)]
struct Shared {
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Watch {
    /// Calls `on_change` whenever what is at `paths` differs from `seen`, and from what it was
    /// at the last call. It looks `every` so often.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        seen: Fingerprint,
        every: Duration,
        mut on_change: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let mut seen = seen;
        Self::start_looking(paths, seen, every, move |look| match look {
            Look::Settled(now) if now != seen => {
                seen = now;
                on_change();
            }
            Look::Settled(_) | Look::Unsettled => {}
        })
    }

    /// Calls `on_look` every time it looked at `paths`, which held `seen` before: for readers who
    /// have to know that what they hold was compared with the files, and when.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start_looking<P: Into<PathBuf>>(
        paths: impl IntoIterator<Item = P>,
        seen: Fingerprint,
        every: Duration,
        on_look: impl FnMut(Look) + Send + 'static,
    ) -> io::Result<Self> {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("zt-watch".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.look(&paths, seen, every, on_look)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Shared {
    fn look(
        &self,
        paths: &[PathBuf],
        mut last: Fingerprint,
        every: Duration,
        mut on_look: impl FnMut(Look),
    ) {
        while !self.stopped_within(every) {
            let now = Fingerprint::of(paths);
            on_look(if now == last { Look::Settled(now) } else { Look::Unsettled });
            last = now;
        }
    }

    fn stopped_within(&self, limit: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        *self
            .stop
            .wait_timeout_while(stopped, limit, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stop.notify_all();
        let own = self.thread.as_ref().map(|thread| thread.thread().id());
        // A watch may be dropped by what it calls: a thread cannot wait for itself.
        if own != Some(thread::current().id())
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

    use super::*;

    const EVERY: Duration = Duration::from_millis(5);
    const SOON: Duration = Duration::from_secs(10);

    fn watch(path: &Path) -> (Watch, Receiver<()>) {
        let (changed, changes) = mpsc::channel();
        let seen = Fingerprint::of([path]);
        let watch = Watch::start([path], seen, EVERY, move || {
            let _ = changed.send(());
        });
        (watch.unwrap(), changes)
    }

    #[test]
    fn a_write_a_rename_a_removal_and_a_new_file_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.cedar");
        fs::write(&file, "one").unwrap();
        let (_watch, changes) = watch(dir.path());

        fs::write(&file, "two").unwrap(); // of the same length
        changes.recv_timeout(SOON).unwrap();

        let draft = tempfile::NamedTempFile::new().unwrap();
        fs::write(draft.path(), "six").unwrap();
        fs::copy(draft.path(), dir.path().join("b.cedar")).unwrap();
        changes.recv_timeout(SOON).unwrap();

        fs::rename(dir.path().join("b.cedar"), &file).unwrap();
        changes.recv_timeout(SOON).unwrap();

        fs::remove_file(&file).unwrap();
        changes.recv_timeout(SOON).unwrap();
        assert_eq!(
            changes.recv_timeout(Duration::from_millis(100)),
            Err(RecvTimeoutError::Timeout)
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_swap_of_the_symlink_that_kubernetes_swaps_is_noticed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        for (version, text) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("a.cedar"), text).unwrap();
        }
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/a.cedar", dir.path().join("a.cedar")).unwrap();
        let (_watch, changes) = watch(dir.path());

        symlink("..v2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        changes.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn what_stays_the_same_is_not_a_change() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "one").unwrap();
        let before = Fingerprint::of([dir.path()]);
        fs::write(dir.path().join("a"), "one").unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert_eq!(Fingerprint::of([dir.path()]), before);
        fs::write(dir.path().join("b"), "").unwrap();
        assert_ne!(Fingerprint::of([dir.path()]), before);
    }

    #[test]
    fn a_path_that_is_missing_may_appear() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("late");
        let (_watch, changes) = watch(&file);
        fs::write(&file, "here").unwrap();
        changes.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn every_look_is_told_and_a_change_is_unsettled_first() {
        let dir = tempfile::tempdir().unwrap();
        let (looked, looks) = mpsc::channel();
        let before = Fingerprint::of([dir.path()]);
        let _watch = Watch::start_looking([dir.path()], before, EVERY, move |look| {
            let _ = looked.send(look);
        });
        assert_eq!(looks.recv_timeout(SOON), Ok(Look::Settled(before)));
        fs::write(dir.path().join("a"), "").unwrap();
        let after = Fingerprint::of([dir.path()]);
        let told: Vec<Look> = std::iter::from_fn(|| looks.recv_timeout(SOON).ok())
            .skip_while(|look| *look == Look::Settled(before))
            .take_while(|look| *look != Look::Settled(after))
            .collect();
        assert_eq!(told, [Look::Unsettled]);
    }

    #[test]
    fn a_watch_that_was_dropped_calls_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (watch, changes) = watch(dir.path());
        drop(watch);
        fs::write(dir.path().join("a"), "one").unwrap();
        assert_eq!(
            changes.recv_timeout(Duration::from_millis(50)),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
