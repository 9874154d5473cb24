//! Keys of an issuer that are distributed as a file.
//!
//! The file is a JWK set of at most [`MAX_SET_LEN`] bytes. It is looked at once a second, and when it
//! has changed it is read again, however it was replaced. A file that cannot be read, or is no key
//! set with a usable key, leaves the keys as they were; they count for another hour then, and no
//! longer (T-23).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;
use zt_core::time::{Clock, Timestamp};
use zt_core::watch::{DEFAULT_INTERVAL, Fingerprint, Look, Watch};

use crate::jwk::{JwkSet, JwkSetError, MAX_SET_LEN};
use crate::oidc::keys::IssuerKeys;
use crate::oidc::published::Published;

/// How long keys count after the file was good for the last time.
pub const STALE_AFTER: Duration = Duration::from_secs(3600);

impl IssuerKeys {
    /// The keys in this file, read again when it changes for as long as a clone of this handle
    /// lives. `on_reload` is told how that went.
    ///
    /// ```no_run
    /// use zt_core::time::SystemClock;
    /// use zt_identity::oidc::keys::IssuerKeys;
    ///
    /// let keys = IssuerKeys::from_file("/etc/orders/keys.json", SystemClock, |outcome| {
    ///     if let Err(error) = outcome {
    ///         eprintln!("the keys stay as they were: {error}");
    ///     }
    /// })?;
    /// # Ok::<(), zt_identity::oidc::key_file::KeyFileError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when there are no keys to begin with, or no thread to look after them.
    pub fn from_file(
        path: impl Into<PathBuf>,
        clock: impl Clock + 'static,
        on_reload: impl FnMut(Result<(), KeyFileError>) + Send + 'static,
    ) -> Result<Self, KeyFileError> {
        Self::from_file_every(DEFAULT_INTERVAL, path.into(), clock, on_reload)
    }

    fn from_file_every(
        interval: Duration,
        path: PathBuf,
        clock: impl Clock + 'static,
        mut on_reload: impl FnMut(Result<(), KeyFileError>) + Send + 'static,
    ) -> Result<Self, KeyFileError> {
        let mut seen = Fingerprint::of([&path]);
        let published = Arc::new(Published::nothing());
        published.replace(read(&path)?, usable_until(clock.now()));
        let mut good = unless_it_changed(seen, &path);
        let publishing = Arc::clone(&published);
        let paths = [path.clone()];
        let watch = Watch::start_looking(paths, seen, interval, move |look| {
            let Look::Settled(now) = look else { return };
            if good == Some(now) {
                publishing.extend(usable_until(clock.now()));
            } else if now != seen || good.is_none() {
                seen = now;
                let outcome = read(&path).map(|set| {
                    publishing.replace(set, usable_until(clock.now()));
                    good = unless_it_changed(now, &path);
                });
                on_reload(outcome);
            }
        });
        let watch = watch.map_err(|error| KeyFileError::Watch(Arc::new(error)))?;
        Ok(Self::of(published, Some(watch)))
    }
}

/// What was read between two looks that saw the same is what they saw.
fn unless_it_changed(before: Fingerprint, path: &Path) -> Option<Fingerprint> {
    (Fingerprint::of([path]) == before).then_some(before)
}

fn usable_until(now: Timestamp) -> Timestamp {
    now.saturating_add(STALE_AFTER)
}

fn read(path: &Path) -> Result<JwkSet, KeyFileError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_SET_LEN).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| KeyFileError::Read(Arc::new(error)))?;
    let set = JwkSet::parse(&bytes)?;
    if set.is_empty() { Err(KeyFileError::NoUsableKey) } else { Ok(set) }
}

/// Why a file has no keys for us.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("the file of keys cannot be read")]
    Read(#[source] Arc<io::Error>),
    /// The file is no key set.
    #[error("the file is not a key set")]
    Keys(#[from] JwkSetError),
    /// No key of the file is usable.
    #[error("no key of the file is usable")]
    NoUsableKey,
    /// Nobody can look after the file.
    #[error("the file of keys cannot be watched")]
    Watch(#[source] Arc<io::Error>),
}

impl KeyFileError {
    /// Whose fault it is: that of whoever installed the file, found at start-up or in its log.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use zt_core::time::ManualClock;

    use super::*;
    use crate::minted;
    use crate::oidc::keys::KeysUnavailable;

    const SOON: Duration = Duration::from_secs(20);
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn set(kid: &str) -> String {
        format!(r#"{{"keys":[{}]}}"#, minted::Issuer::new().jwk(kid))
    }

    #[test]
    fn keys_of_a_file_change_with_it_and_a_broken_one_leaves_them_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(&path, set("k1")).unwrap();
        let (told, outcomes) = mpsc::channel();
        let clock = ManualClock::at(NOW);
        let keys = IssuerKeys::from_file_every(
            Duration::from_millis(5),
            path.clone(),
            clock.clone(),
            move |outcome| told.send(outcome).unwrap_or_default(),
        )
        .unwrap();
        let has = |kid: &str, now| keys.current(now).map(|set| set.key(kid).is_some());
        assert_eq!(has("k1", NOW), Ok(true));

        fs::write(&path, set("k2")).unwrap();
        assert!(outcomes.recv_timeout(SOON).unwrap().is_ok());
        assert_eq!((has("k1", NOW), has("k2", NOW)), (Ok(false), Ok(true)));

        for broken in ["{", r#"{"keys":[]}"#] {
            fs::write(&path, broken).unwrap();
            assert!(outcomes.recv_timeout(SOON).unwrap().is_err());
            assert_eq!(has("k2", NOW), Ok(true));
        }
        let later = usable_until(NOW).saturating_add(Duration::from_secs(1));
        clock.set(later);
        fs::remove_file(&path).unwrap();
        assert!(matches!(outcomes.recv_timeout(SOON).unwrap(), Err(KeyFileError::Read(_))));
        assert!(matches!(has("k2", later), Err(KeysUnavailable::Stale { .. })));

        fs::write(&path, set("k2")).unwrap();
        let deadline = std::time::Instant::now() + SOON;
        while has("k2", later).is_err() {
            assert!(std::time::Instant::now() < deadline, "the keys came back");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn without_keys_to_begin_with_there_is_no_handle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let open = || IssuerKeys::from_file(&path, ManualClock::at(NOW), |_| ()).unwrap_err();
        assert!(matches!(open(), KeyFileError::Read(_)));
        fs::write(&path, r#"{"keys":[{"kty":"oct","kid":"a","k":"AA"}]}"#).unwrap();
        assert!(matches!(open(), KeyFileError::NoUsableKey));
        fs::write(&path, " ".repeat(MAX_SET_LEN + 1)).unwrap();
        assert!(matches!(open(), KeyFileError::Keys(JwkSetError::TooLong { .. })));
        assert_eq!(open().fault(), Fault::Caller);
    }

    #[test]
    fn pushed_keys_count_once_they_are_published_and_until_their_time() {
        let (publisher, keys) = IssuerKeys::pushed();
        assert_eq!(keys.current(NOW).unwrap_err(), KeysUnavailable::NeverObtained);
        assert_eq!(keys.usable_until(), None);
        publisher.publish(JwkSet::parse(set("k1").as_bytes()).unwrap(), NOW);
        assert_eq!(keys.usable_until(), Some(NOW));
        assert!(keys.current(NOW).unwrap().key("k1").is_some());
        let later = NOW.saturating_add(Duration::from_secs(1));
        assert!(matches!(keys.current(later), Err(KeysUnavailable::Stale { .. })));
    }
}
