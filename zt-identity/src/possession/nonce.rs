//! Nonces for DPoP proofs, which rotate and which nobody has to remember (RFC 9449 §8, §9).
//!
//! Time is divided into windows. The nonce of a window is a MAC of its number, so a proof with one
//! was made when that window had begun, by somebody who had asked a server with the same key.
//! [`DpopNonces::judge`] accepts those of the current and of the previous window: a nonce is good
//! for at least one window and at most two.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use crate::algorithm::{MacKey, NoRandomness};

/// How long a window is unless stated otherwise: 2 minutes.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(120);
/// The shortest key that replicas may share, in bytes.
pub const MIN_KEY_LEN: usize = 32;

/// Of the MAC, as many bytes as make a nonce unpredictable.
const NONCE_LEN: usize = 16;
/// What keeps these MACs apart from those that a shared key may make elsewhere.
const PURPOSE: &[u8] = b"zt-identity DPoP nonce";

/// Makes nonces and knows its own. A clone shares the key.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::possession::nonce::{DpopNonces, NonceAge};
///
/// let nonces = DpopNonces::random()?;
/// let now = Timestamp::from_secs(1_800_000_000);
/// assert_eq!(nonces.judge(&nonces.current(now), now), Some(NonceAge::Current));
/// assert_eq!(nonces.judge("something else", now), None);
/// # Ok::<(), zt_identity::algorithm::NoRandomness>(())
/// ```
#[derive(Clone)]
pub struct DpopNonces {
    key: MacKey,
    // INVARIANT: not zero.
    window_micros: i64,
}

/// How old a nonce is that is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceAge {
    /// It is that of the current window.
    Current,
    /// It is that of the window before, and good until this one ends: time for a new one.
    Previous,
}

impl DpopNonces {
    /// Nonces of this process: no other replica accepts them.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for a key.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self { key: MacKey::random()?, window_micros: micros(DEFAULT_WINDOW) })
    }

    /// Nonces that every replica with this key accepts, and anyone else who has it can make.
    ///
    /// # Errors
    ///
    /// [`NonceKeyError`] when it is shorter than [`MIN_KEY_LEN`].
    pub fn with_key(key: &Secret<Vec<u8>>) -> Result<Self, NonceKeyError> {
        let len = key.expose().len();
        if len < MIN_KEY_LEN {
            return Err(NonceKeyError { len });
        }
        Ok(Self { key: MacKey::new(key.expose()), window_micros: micros(DEFAULT_WINDOW) })
    }

    /// The same nonces with windows of another length; a second at least.
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        Self { window_micros: micros(window.max(Duration::from_secs(1))), ..self }
    }

    /// The nonce to hand out at `now`.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> String {
        self.of_window(self.window(now))
    }

    /// How old a nonce is at `now`; `None` when it is too old, or never was one.
    #[must_use]
    pub fn judge(&self, nonce: &str, now: Timestamp) -> Option<NonceAge> {
        // Nonces are handed to anyone who asks, so comparing them needs no care.
        let window = self.window(now);
        if nonce == self.of_window(window) {
            return Some(NonceAge::Current);
        }
        let previous = self.of_window(window.saturating_sub(1));
        (nonce == previous).then_some(NonceAge::Previous)
    }

    const fn window(&self, now: Timestamp) -> i64 {
        match now.as_micros().checked_div_euclid(self.window_micros) {
            Some(window) => window,
            None => 0,
        }
    }

    fn of_window(&self, window: i64) -> String {
        let mac = self.key.mac(&[PURPOSE, &window.to_be_bytes()].concat());
        URL_SAFE_NO_PAD.encode(mac.get(..NONCE_LEN).unwrap_or(&mac))
    }
}

fn micros(window: Duration) -> i64 {
    i64::try_from(window.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Debug for DpopNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopNonces").finish_non_exhaustive()
    }
}

/// A key that is too short to make nonces that nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of {len} bytes, and at least {MIN_KEY_LEN} are needed")]
#[non_exhaustive]
pub struct NonceKeyError {
    /// Its length in bytes.
    pub len: usize,
}

impl NonceKeyError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_nonce_is_good_in_its_window_and_the_next_and_then_no_more() {
        let nonces = DpopNonces::random().unwrap().with_window(Duration::from_secs(100));
        let nonce = nonces.current(at(1_000));
        assert_eq!(nonces.judge(&nonce, at(1_000)), Some(NonceAge::Current));
        assert_eq!(nonces.judge(&nonce, at(1_099)), Some(NonceAge::Current));
        assert_eq!(nonces.judge(&nonce, at(1_100)), Some(NonceAge::Previous));
        assert_eq!(nonces.judge(&nonce, at(1_199)), Some(NonceAge::Previous));
        assert_eq!(nonces.judge(&nonce, at(1_200)), None);
        assert_eq!(nonces.judge(&nonce, at(999)), None);
    }

    #[test]
    fn replicas_that_share_a_key_know_each_others_nonces_and_others_do_not() {
        let shared = || DpopNonces::with_key(&Secret::new(vec![7; 32])).unwrap();
        let nonce = shared().current(at(1_000));
        assert!(shared().judge(&nonce, at(1_000)).is_some());
        assert_eq!(DpopNonces::random().unwrap().judge(&nonce, at(1_000)), None);
        let short = DpopNonces::with_key(&Secret::new(vec![7; 31])).unwrap_err();
        assert_eq!(short, NonceKeyError { len: 31 });
    }

    #[test]
    fn a_nonce_is_one_only_letter_for_letter() {
        let nonces = DpopNonces::random().unwrap();
        let nonce = nonces.current(at(1_000));
        assert_eq!(nonce.len(), 22);
        for bad in ["", "a", &format!("{nonce}="), &nonce.to_ascii_uppercase()] {
            assert_eq!(nonces.judge(bad, at(1_000)), None, "{bad}");
        }
    }

    #[test]
    fn windows_have_a_length_whatever_was_asked_for() {
        for window in [Duration::ZERO, Duration::MAX] {
            let nonces = DpopNonces::random().unwrap().with_window(window);
            assert!(nonces.judge(&nonces.current(at(-5)), at(-5)).is_some());
        }
    }
}
