//! What happens to a source, told and counted.
//!
//! An [`Observe`] is told once it has happened, on the thread that it happens on: it counts or hands
//! on, and does not wait. Nothing is locked meanwhile, so
//!
//! 1. it may update the source that it observes, and is told of that before the update returns. One that
//!    does so at each event never ends;
//! 2. of two threads that update at once, either may tell first: the greater generation is the later.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zt_core::spiffe::{SpiffeId, TrustDomain};

/// Something that happened to a source.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An update was taken, or a bundle was put or removed.
    Updated {
        /// The generation of what is current now.
        generation: u64,
    },
    /// An update was not taken; what was current stays, and ages.
    UpdateFailed {
        /// Why not.
        error: &'a (dyn Error + 'static),
    },
    /// A bundle of another trust domain in an update was taken without some of it, or vouches for
    /// nobody.
    LeftOut {
        /// Of which trust domain.
        trust_domain: &'a TrustDomain,
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// The identity was withdrawn.
    Withdrawn {
        /// Which.
        id: &'a SpiffeId,
    },
    /// The identity has expired, and none has come in its place.
    Expired {
        /// Which.
        id: &'a SpiffeId,
    },
    /// Whoever provides updates cannot be reached, or has ended the conversation.
    Disconnected {
        /// Why.
        error: &'a (dyn Error + 'static),
    },
}

/// Is told of events. A closure is one.
pub trait Observe: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observe for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Counts how updates go, and tells who wants to be told.
#[derive(Default)]
pub(super) struct Updates {
    observer: Mutex<Option<Arc<dyn Observe>>>,
    failed: AtomicU64,
}

impl Updates {
    pub(super) fn observe(&self, observer: impl Observe + 'static) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(observer));
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match event {
            Event::UpdateFailed { .. } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            Event::Updated { .. }
            | Event::LeftOut { .. }
            | Event::Withdrawn { .. }
            | Event::Expired { .. }
            | Event::Disconnected { .. } => {}
        }
        if let Some(observer) = observer {
            observer.observe(event);
        }
    }

    /// What was taken makes the failures before it forgotten.
    pub(super) fn succeeded(&self) {
        self.failed.store(0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").field("failed", &self.failed()).finish_non_exhaustive()
    }
}
