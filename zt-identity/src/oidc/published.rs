//! What whoever obtains keys shares with those who read them.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use zt_core::snapshot::Snapshot;
use zt_core::time::Timestamp;

use crate::jwk::JwkSet;

#[cfg(feature = "http")]
use {
    crate::oidc::fetch::FetchError, std::sync::Mutex, std::sync::PoisonError, tokio::sync::Notify,
};

/// The generation of a snapshot that nothing was published in.
pub(super) const NOTHING_YET: u64 = 1;

/// The current keys, and how long they count.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) set: Snapshot<JwkSet>,
    // Beside the set and not in it: a fetch that brings the same keys extends their time and
    // leaves their generation alone.
    usable_until: AtomicI64,
    wanted: AtomicBool,
    #[cfg(feature = "http")]
    asked: Notify,
    #[cfg(feature = "http")]
    pub(super) changed: Notify,
    #[cfg(feature = "http")]
    failure: Mutex<Option<FetchError>>,
}

impl Published {
    pub(super) fn nothing() -> Self {
        Self {
            set: Snapshot::new(JwkSet::default()),
            usable_until: AtomicI64::new(i64::MIN),
            wanted: AtomicBool::new(false),
            #[cfg(feature = "http")]
            asked: Notify::new(),
            #[cfg(feature = "http")]
            changed: Notify::new(),
            #[cfg(feature = "http")]
            failure: Mutex::new(None),
        }
    }

    /// A set is published before its time is extended, and read after it: who sees the new time
    /// sees the new set too.
    pub(super) fn replace(&self, set: JwkSet, usable_until: Timestamp) {
        self.set.replace(set);
        self.extend(usable_until);
    }

    pub(super) fn extend(&self, usable_until: Timestamp) {
        self.usable_until.store(usable_until.as_micros(), Ordering::Release);
    }

    pub(super) fn usable_until(&self) -> Timestamp {
        Timestamp::from_micros(self.usable_until.load(Ordering::Acquire))
    }

    /// Says that a token named a key that is not in the set.
    pub(super) fn ask(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            #[cfg(feature = "http")]
            self.asked.notify_one();
        }
    }
}

#[cfg(feature = "http")]
impl Published {
    /// Waits until someone asks for a key that is not in the set.
    pub(super) async fn wanted(&self) {
        while !self.wanted.load(Ordering::Acquire) {
            self.asked.notified().await;
        }
    }

    /// Whoever asked before now asked the old set, and will ask again if the new one lacks the key
    /// too.
    pub(super) fn answered(&self) {
        self.wanted.store(false, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(super) fn set_failure(&self, failure: Option<FetchError>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(super) fn failure(&self) -> Option<FetchError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
