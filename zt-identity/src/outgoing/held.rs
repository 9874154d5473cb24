//! Tokens that were given out, until they are over.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use super::answer::{Kind, TokenAnswer};
use super::builder::Place;
use super::user_token::UserToken;
use crate::algorithm::{NoRandomness, random_u16};
use crate::backoff::ahead_of;
use crate::verdicts::{Moment, Verdict, VerdictCache};

/// A token is not used when it is about to end: a clock may be ahead, and a request takes a while.
const MAX_MARGIN: Duration = Duration::from_secs(10);
/// How far two attempts to renew one token are apart.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A token that may be sent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) text: Secret<String>,
    pub(super) kind: Kind,
    /// When it is used no more.
    until: Timestamp,
    /// When it is to be renewed, next.
    renewal: AtomicI64,
}

impl Held {
    pub(super) fn new(answer: TokenAnswer, user: Option<&UserToken>, now: Timestamp) -> Self {
        let left = user.map_or(Duration::MAX, |user| user.token().expires().since(now));
        let lifetime = answer.lifetime.min(left);
        let margin = lifetime.checked_div(10).unwrap_or_default().min(MAX_MARGIN);
        let renewal = now.saturating_add(ahead_of(lifetime, random_u16())).as_micros();
        Self {
            text: answer.text,
            kind: answer.kind,
            until: now.saturating_add(lifetime.saturating_sub(margin)),
            renewal: AtomicI64::new(renewal),
        }
    }

    /// Whether somebody has to ask for the next one now; of several at a time one is told so, and
    /// nobody else for a while.
    pub(super) fn is_to_be_renewed(&self, now: Timestamp) -> bool {
        let due = self.renewal.load(Ordering::Relaxed);
        let next = now.saturating_add(RETRY_AFTER).as_micros();
        due <= now.as_micros()
            && self
                .renewal
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// The tokens of users, by name. Those of this service have a place each, which nobody takes from
/// them.
pub(super) struct Tokens {
    of_users: VerdictCache<Arc<Held>>,
}

impl Tokens {
    pub(super) fn new(capacity: usize) -> Result<Self, NoRandomness> {
        Ok(Self { of_users: VerdictCache::new(capacity)? })
    }

    /// The name of a token: its destination, which says for whom it is and how it is bound, and the
    /// token that it was exchanged for.
    pub(super) fn name(&self, place: usize, user: Option<&UserToken>) -> [u8; 32] {
        let text = user.map(UserToken::text).unwrap_or_default();
        let kind = if user.is_some() { "user" } else { "service" };
        self.of_users.name(format!("{kind} {place} {text}").as_bytes())
    }

    pub(super) fn get(&self, place: &Place, name: &[u8; 32], now: Timestamp) -> Option<Arc<Held>> {
        if place.destination.is_of_user() {
            let at = Moment { now, max_age: Duration::MAX };
            return self.of_users.find(name, &at, |held| Some(Arc::clone(held)));
        }
        place.own.load_full().filter(|held| now < held.until)
    }

    pub(super) fn insert(&self, place: &Place, name: [u8; 32], held: Arc<Held>, now: Timestamp) {
        if place.destination.is_of_user() {
            let until = held.until;
            self.of_users.insert(Verdict { name, value: held, since: now, until });
        } else {
            place.own.store(Some(held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(lifetime: u64, now: Timestamp) -> Held {
        let lifetime = Duration::from_secs(lifetime);
        let text = Secret::new("t".to_owned());
        Held::new(TokenAnswer { text, kind: Kind::Bearer, lifetime }, None, now)
    }

    #[test]
    fn a_token_is_renewed_before_its_end_and_used_until_shortly_before_it() {
        let at = |secs| Timestamp::from_secs(1_800_000_000_i64.saturating_add(secs));
        let hour = held(3600, at(0));
        assert_eq!(hour.until, at(3590));
        assert!(!hour.is_to_be_renewed(at(2519)));
        assert!(hour.is_to_be_renewed(at(2880)));
        assert!(!hour.is_to_be_renewed(at(2884)));
        assert!(hour.is_to_be_renewed(at(2885)));
        assert_eq!(held(10, at(0)).until, at(9));
    }

    #[test]
    fn a_token_that_is_held_shows_nothing() {
        let shown = format!("{:?}", held(10, Timestamp::EPOCH));
        assert!(shown.contains("[redacted]"), "{shown}");
    }
}
