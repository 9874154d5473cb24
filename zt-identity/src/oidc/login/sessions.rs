//! What is kept for a browser that shows a name nobody else knows.
//!
//! 1. A name is 256 random bits, made here and never by the browser: whoever sets a cookie in it
//!    has no session of theirs continued.
//! 2. Only the SHA-256 of a name is kept: neither memory nor the time of a search tells it.
//! 3. Everything has a last moment, and there is a bound on how much there is; beyond it nothing is
//!    taken, and nothing that still counts is forgotten for it.
//!
//! It is for one process. Where a browser may reach another one, keep such values in the store that
//! they share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use crate::algorithm::{NoRandomness, random_text, sha256};

/// Values by names that only one browser knows: sessions, pending logins.
///
/// ```
/// use std::time::Duration;
/// use zt_core::time::Timestamp;
/// use zt_identity::oidc::login::sessions::Sessions;
///
/// let now = Timestamp::from_secs(1_800_000_000);
/// let sessions = Sessions::new(10_000);
/// let cookie = sessions.insert("alice", now.saturating_add(Duration::from_secs(3600)), now)?;
/// assert_eq!(sessions.get(cookie.expose(), now), Some("alice"));
/// assert_eq!(sessions.take(cookie.expose(), now), Some("alice"));
/// assert_eq!(sessions.take(cookie.expose(), now), None);
/// # Ok::<(), zt_identity::oidc::login::sessions::SessionsError>(())
/// ```
pub struct Sessions<T> {
    capacity: usize,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    by_name: HashMap<[u8; 32], (T, Timestamp)>,
    /// Until then, all of it counts.
    all_until: Timestamp,
}

impl<T> Sessions<T> {
    /// Room for as many values as this.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let kept = Kept { by_name: HashMap::new(), all_until: Timestamp::MAX };
        Self { capacity, kept: Mutex::new(kept) }
    }

    /// Keeps a value, `until` included, and makes up its name.
    ///
    /// # Errors
    ///
    /// [`SessionsError`] when there is no room, or no randomness.
    pub fn insert(
        &self,
        value: T,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Secret<String>, SessionsError> {
        let name = Secret::new(random_text()?);
        let mut kept = self.kept();
        if now > kept.all_until {
            kept.forget(now);
        }
        if kept.by_name.len() >= self.capacity {
            return Err(SessionsError::Full { capacity: self.capacity });
        }
        kept.all_until = kept.all_until.min(until);
        kept.by_name.insert(digest(name.expose()), (value, until));
        Ok(name)
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str, now: Timestamp) -> Option<T>
    where
        T: Clone,
    {
        let kept = self.kept();
        let (value, until) = kept.by_name.get(&digest(name))?;
        (now <= *until).then(|| value.clone())
    }

    /// Takes the value of this name away: a second time there is none.
    #[must_use]
    pub fn take(&self, name: &str, now: Timestamp) -> Option<T> {
        let (value, until) = self.kept().by_name.remove(&digest(name))?;
        (now <= until).then_some(value)
    }

    /// Puts another value in the place of the one of this name, which keeps its last moment, and
    /// says whether there was one.
    pub fn replace(&self, name: &str, value: T) -> bool {
        match self.kept().by_name.get_mut(&digest(name)) {
            Some((place, _)) => {
                *place = value;
                true
            }
            None => false,
        }
    }

    /// Takes every value away of which this is true, as when a user signs out everywhere, and says
    /// how many there were.
    pub fn remove_where(&self, mut is_meant: impl FnMut(&T) -> bool) -> usize {
        let mut kept = self.kept();
        let before = kept.by_name.len();
        kept.by_name.retain(|_, (value, _)| !is_meant(value));
        before.saturating_sub(kept.by_name.len())
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn forget(&mut self, now: Timestamp) {
        self.by_name.retain(|_, (_, until)| now <= *until);
        let soonest = self.by_name.values().map(|(_, until)| *until).min();
        self.all_until = soonest.unwrap_or(Timestamp::MAX);
    }
}

fn digest(name: &str) -> [u8; 32] {
    sha256(name.as_bytes())
}

/// Without what is kept.
impl<T> fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Why a value is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    /// There are as many as there is room for.
    #[error("there is room for {capacity}, and all of them count")]
    Full {
        /// How many there is room for.
        capacity: usize,
    },
    /// There is no randomness for a name.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl SessionsError {
    /// Whose fault it is: it passes when others are gone.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).saturating_add(Duration::from_secs(secs))
    }

    #[test]
    fn a_value_counts_until_its_last_moment() {
        let sessions = Sessions::new(2);
        let name = sessions.insert('a', at(10), at(0)).unwrap();
        assert_eq!(sessions.get(name.expose(), at(10)), Some('a'));
        assert_eq!(sessions.get(name.expose(), at(11)), None);
        assert_eq!(sessions.take(name.expose(), at(11)), None);
        assert_eq!(sessions.get(name.expose(), at(0)), None);
    }

    #[test]
    fn what_counts_is_not_forgotten_for_something_new() {
        let sessions = Sessions::new(2);
        let first = sessions.insert('a', at(10), at(0)).unwrap();
        let second = sessions.insert('b', at(20), at(0)).unwrap();
        assert_eq!(
            sessions.insert('c', at(30), at(10)).err(),
            Some(SessionsError::Full { capacity: 2 })
        );
        let third = sessions.insert('c', at(30), at(11)).unwrap();
        assert_eq!(sessions.get(first.expose(), at(11)), None);
        assert_eq!(sessions.get(second.expose(), at(11)), Some('b'));
        assert!(sessions.insert('d', at(30), at(20)).is_err());
        assert!(sessions.insert('d', at(30), at(21)).is_ok());
        assert_eq!(sessions.get(third.expose(), at(21)), Some('c'));
    }

    #[test]
    fn names_are_made_here() {
        let sessions = Sessions::new(2);
        assert!(!sessions.replace("chosen by the browser", 'x'));
        assert_eq!(sessions.get("chosen by the browser", at(0)), None);
        let name = sessions.insert('a', at(1), at(0)).unwrap();
        assert_eq!(name.expose().len(), 43);
        assert!(sessions.replace(name.expose(), 'b'));
        assert_eq!(sessions.get(name.expose(), at(0)), Some('b'));
    }

    #[test]
    fn all_sessions_of_a_user_end_at_once() {
        let sessions = Sessions::new(3);
        let names =
            ["alice", "bob", "alice"].map(|user| sessions.insert(user, at(1), at(0)).unwrap());
        assert_eq!(sessions.remove_where(|user| *user == "alice"), 2);
        let left = names.map(|name| sessions.get(name.expose(), at(0)));
        assert_eq!(left, [None, Some("bob"), None]);
    }
}
