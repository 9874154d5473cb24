//! A lease: leave that lasts as long as what it rests on.
//!
//! A request is decided once, and a stream or a handler may go on for hours after it. What was
//! believed then may have gone since: the peer's certificate, the token behind the call, the
//! policies that allowed it. A [`Lease`] is held for as long as work goes on, and ends when one of
//! them does.
//!
//! 1. A lease rests on a [`Support`], and on every further one that [`Lease::and`] adds.
//! 2. [`Lease::check`] asks them now, at a time that is an argument: there is no delay.
//! 3. [`Lease::ended`] is ready at most one interval of its [`Leases`] after a support is gone.
//! 4. A lease that has ended stays so, whatever a support or a clock says later.
//! 5. A support that panics is gone.
//!
//! Leases are looked at by one thread for each [`Leases`], however many there are, and need no
//! runtime. A look at one that is supported costs what its support takes to say so.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::time::{Clock, Timestamp};

/// How often leases are looked at unless said otherwise.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a lease has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The certificate behind it has expired, or is about to.
    #[error("its certificate has expired")]
    Expired,
    /// It has lasted as long as anything may.
    #[error("it has lasted for its greatest age")]
    MaxAge,
    /// The identity behind it is not believed, or not admitted, any more.
    #[error("its identity is not supported any more")]
    Identity,
    /// The token behind it has expired or was taken back.
    #[error("its token is not supported any more")]
    Token,
    /// The policies in force do not allow it any more.
    #[error("policy does not allow it any more")]
    Policy,
    /// Whoever gave it has taken it back: the server stops, or the connection is gone.
    #[error("it was closed")]
    Closed,
}

impl Ended {
    /// A name for metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxAge => "max_age",
            Self::Identity => "identity",
            Self::Token => "token",
            Self::Policy => "policy",
            Self::Closed => "closed",
        }
    }
}

/// Something that a lease rests on. A closure is one.
pub trait Support: Send + Sync {
    /// Whether it holds at `now`. It is asked again and again, so the usual yes should be cheap: a
    /// comparison of generations, and only if they differ the whole question.
    ///
    /// # Errors
    ///
    /// [`Ended`] says what is gone.
    fn check(&self, now: Timestamp) -> Result<(), Ended>;
}

impl<F: Fn(Timestamp) -> Result<(), Ended> + Send + Sync> Support for F {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        self(now)
    }
}

/// A row of leases that one thread looks at. Clones share it; it is gone, and its thread with it,
/// once the last clone and the last lease are.
#[derive(Clone)]
pub struct Leases(Arc<Registry>);

struct Registry {
    clock: Arc<dyn Clock>,
    interval: Duration,
    watched: Mutex<Watched>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Watched {
    leases: Vec<Weak<Shared>>,
    started: bool,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Leases {
    /// Leases that are looked at `every` so often, by this clock. Nothing runs before the first
    /// is granted.
    pub fn new(clock: impl Clock + 'static, every: Duration) -> Self {
        Self(Arc::new(Registry {
            clock: Arc::new(clock),
            interval: every,
            watched: Mutex::default(),
            stop: Arc::default(),
        }))
    }

    /// A lease that rests on `support`.
    ///
    /// # Errors
    ///
    /// When the thread that looks at leases cannot be started: a lease that nobody looks at is not
    /// given.
    pub fn grant(&self, support: impl Support + 'static) -> io::Result<Lease> {
        self.0.start()?;
        Ok(Lease::new(&self.0, None, support))
    }

    /// Looks at all of them now, and returns how many last.
    pub fn look(&self) -> usize {
        self.0.look()
    }

    /// How many there were at the last look, and since.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0.watched).leases.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("interval", &self.0.interval)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Registry {
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut watched = lock(&self.watched);
        if watched.started {
            return Ok(());
        }
        let (registry, stop, interval) =
            (Arc::downgrade(self), Arc::clone(&self.stop), self.interval);
        thread::Builder::new().name("leases".into()).spawn(move || {
            while !stop.wait(interval) {
                let Some(registry) = registry.upgrade() else { break };
                registry.look();
            }
        })?;
        watched.started = true;
        Ok(())
    }

    fn look(&self) -> usize {
        let now = self.clock.now();
        // Taken out, so that nobody who is given a lease waits for a look.
        let mut leases = std::mem::take(&mut lock(&self.watched).leases);
        leases.retain(|lease| lease.upgrade().is_some_and(|lease| lease.check(now).is_ok()));
        let mut watched = lock(&self.watched);
        watched.leases.append(&mut leases);
        watched.leases.len()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        *lock(&self.stop.stopped) = true;
        self.stop.changed.notify_all();
    }
}

impl Stop {
    /// Waits so long, or until it is over; says whether it is.
    fn wait(&self, interval: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.changed.wait_timeout_while(stopped, interval, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leave to go on. A clone is the same lease.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use zt_core::lease::{DEFAULT_INTERVAL, Ended, Leases};
/// use zt_core::time::{ManualClock, Timestamp};
///
/// let now = Timestamp::from_secs(1_000);
/// let leases = Leases::new(ManualClock::at(now), DEFAULT_INTERVAL);
/// let expires = Timestamp::from_secs(2_000);
/// let connection = leases.grant(move |now| {
///     if now < expires { Ok(()) } else { Err(Ended::Expired) }
/// })?;
///
/// // A call over the connection rests on policy besides.
/// let allowed = Arc::new(AtomicBool::new(true));
/// let policy = Arc::clone(&allowed);
/// let call = connection.and(move |_now| {
///     if policy.load(Ordering::Relaxed) { Ok(()) } else { Err(Ended::Policy) }
/// });
/// assert!(call.check(now).is_ok());
/// allowed.store(false, Ordering::Relaxed);
/// assert_eq!(call.check(now), Err(Ended::Policy));
/// assert!(connection.check(now).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

// One allocation holds a lease and its support.
struct Shared<S: ?Sized = dyn Support> {
    registry: Arc<Registry>,
    parent: Option<Lease>,
    ended: OnceLock<(Ended, Instant)>,
    waiting: Mutex<Waiting>,
    support: S,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Lease {
    fn new(
        registry: &Arc<Registry>,
        parent: Option<Self>,
        support: impl Support + 'static,
    ) -> Self {
        let shared: Arc<Shared> = Arc::new(Shared {
            registry: Arc::clone(registry),
            parent,
            ended: OnceLock::new(),
            waiting: Mutex::default(),
            support,
        });
        lock(&registry.watched).leases.push(Arc::downgrade(&shared));
        Self(shared)
    }

    /// A lease that rests on what this one does, and on `support`.
    #[must_use]
    pub fn and(&self, support: impl Support + 'static) -> Self {
        Self::new(&self.0.registry, Some(self.clone()), support)
    }

    /// Whether it lasts at `now`.
    ///
    /// # Errors
    ///
    /// [`Ended`] says why it does not. It never will again.
    pub fn check(&self, now: Timestamp) -> Result<(), Ended> {
        self.0.check(now)
    }

    /// Why it has ended, if that was found already. Nobody is asked.
    #[must_use]
    pub fn has_ended(&self) -> Option<Ended> {
        self.0.ended.get().map(|(why, _)| *why)
    }

    /// When its end was found, by a clock that nobody sets.
    #[must_use]
    pub fn ended_at(&self) -> Option<Instant> {
        self.0.ended.get().map(|(_, at)| *at)
    }

    /// Ready once it has ended.
    pub fn ended(&self) -> Ending {
        Ending { lease: self.clone(), place: None }
    }

    /// Ends it, unless it has ended.
    pub fn end(&self, why: Ended) {
        self.0.end(why);
    }
}

impl Shared {
    fn check(&self, now: Timestamp) -> Result<(), Ended> {
        if let Some(ended) = self.ended.get() {
            return Err(ended.0);
        }
        // Work goes on with what a panic leaves behind only in so far as it ends.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            self.parent.as_ref().map_or(Ok(()), |parent| parent.check(now))?;
            self.support.check(now)
        }));
        asked.unwrap_or(Err(Ended::Closed)).map_err(|why| self.end(why))
    }

    fn end(&self, why: Ended) -> Ended {
        let (first, _) = *self.ended.get_or_init(|| (why, Instant::now()));
        let wakers = std::mem::take(&mut lock(&self.waiting).wakers);
        wakers.into_values().for_each(Waker::wake);
        first
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}

/// Ready once a lease has ended, with the reason.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ending {
    lease: Lease,
    place: Option<(u64, Waker)>,
}

impl Future for Ending {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(ended) = self.lease.has_ended() {
            return Poll::Ready(ended);
        }
        if self.place.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let shared = Arc::clone(&self.lease.0);
        let mut waiting = lock(&shared.waiting);
        let place = self.place.as_ref().map_or(waiting.next, |(place, _)| *place);
        waiting.next = waiting.next.max(place.saturating_add(1));
        waiting.wakers.insert(place, cx.waker().clone());
        self.place = Some((place, cx.waker().clone()));
        drop(waiting);
        // It may have ended before anyone could be woken.
        self.lease.has_ended().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((place, _)) = &self.place {
            lock(&self.lease.0.waiting).wakers.remove(place);
        }
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("lease", &self.lease).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread::Thread;

    use super::*;
    use crate::time::ManualClock;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const OFTEN: Duration = Duration::from_millis(5);
    const NEVER: Duration = Duration::from_secs(3_600);

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait(lease: &Lease) -> Ended {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut ending = pin!(lease.ended());
        let began = Instant::now();
        loop {
            if let Poll::Ready(ended) = ending.as_mut().poll(&mut Context::from_waker(&waker)) {
                return ended;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "nobody was woken");
            thread::park_timeout(Duration::from_secs(10));
        }
    }

    fn switch() -> (Arc<AtomicBool>, impl Support + 'static) {
        let on = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&on);
        let support = move |_now: Timestamp| {
            if seen.load(Ordering::SeqCst) { Ok(()) } else { Err(Ended::Identity) }
        };
        (on, support)
    }

    #[test]
    fn a_lease_ends_within_an_interval_of_what_it_rests_on() {
        let leases = Leases::new(ManualClock::at(NOW), OFTEN);
        let (on, support) = switch();
        let lease = leases.grant(support).unwrap();
        assert_eq!(lease.check(NOW), Ok(()));
        on.store(false, Ordering::SeqCst);
        assert_eq!(wait(&lease), Ended::Identity);
    }

    #[test]
    fn a_check_does_not_wait_for_the_next_look_and_tells_those_who_wait() {
        let leases = Leases::new(ManualClock::at(NOW), NEVER);
        let (on, support) = switch();
        let lease = leases.grant(support).unwrap();
        let waits = lease.clone();
        let waiting = thread::spawn(move || wait(&waits));
        on.store(false, Ordering::SeqCst);
        assert_eq!(lease.check(NOW), Err(Ended::Identity));
        assert_eq!(waiting.join().unwrap(), Ended::Identity);
    }

    #[test]
    fn a_lease_that_has_ended_stays_so() {
        let leases = Leases::new(ManualClock::at(NOW), NEVER);
        let lease =
            leases.grant(|now| if now < NOW { Ok(()) } else { Err(Ended::Expired) }).unwrap();
        assert_eq!(lease.check(NOW), Err(Ended::Expired));
        assert_eq!(lease.check(Timestamp::EPOCH), Err(Ended::Expired));
        lease.end(Ended::Closed);
        assert_eq!(lease.has_ended(), Some(Ended::Expired));
    }

    #[test]
    fn a_lease_that_rests_on_two_ends_with_either_and_takes_nothing_along() {
        let leases = Leases::new(ManualClock::at(NOW), OFTEN);
        let (connected, connection) = switch();
        let connection = leases.grant(connection).unwrap();
        let call = connection.and(|_now| Err(Ended::Token));
        let other = connection.and(|_now| Ok(()));
        assert_eq!(wait(&call), Ended::Token);
        assert_eq!(connection.check(NOW), Ok(()));
        connected.store(false, Ordering::SeqCst);
        assert_eq!(wait(&other), Ended::Identity);
    }

    #[test]
    fn a_support_that_panics_is_gone_and_the_others_are_looked_at() {
        let leases = Leases::new(ManualClock::at(NOW), OFTEN);
        let broken = leases.grant(|_now: Timestamp| -> Result<(), Ended> { panic!("broken") });
        let broken = broken.unwrap();
        let (on, support) = switch();
        let lease = leases.grant(support).unwrap();
        assert_eq!(wait(&broken), Ended::Closed);
        on.store(false, Ordering::SeqCst);
        assert_eq!(wait(&lease), Ended::Identity);
    }

    #[test]
    fn leases_that_are_dropped_or_ended_are_forgotten() {
        let leases = Leases::new(ManualClock::at(NOW), NEVER);
        let kept = leases.grant(|_now| Ok(())).unwrap();
        drop(leases.grant(|_now| Ok(())).unwrap());
        let ended = leases.grant(|_now| Ok(())).unwrap();
        ended.end(Ended::Closed);
        assert_eq!((leases.len(), leases.look(), leases.len()), (3, 1, 1));
        assert_eq!(kept.check(NOW), Ok(()));
    }

    #[test]
    fn ten_thousand_leases_are_looked_at_by_one_thread() {
        let leases = Leases::new(ManualClock::at(NOW), NEVER);
        let asked = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..10_000)
            .map(|_| {
                let asked = Arc::clone(&asked);
                let count = move |_now: Timestamp| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                leases.grant(count).unwrap()
            })
            .collect();
        assert_eq!(leases.look(), all.len());
        assert_eq!(asked.load(Ordering::Relaxed), all.len());
    }

    #[test]
    fn an_ending_that_is_dropped_is_woken_no_more() {
        let leases = Leases::new(ManualClock::at(NOW), NEVER);
        let lease = leases.grant(|_now| Ok(())).unwrap();
        {
            let mut ending = pin!(lease.ended());
            let mut context = Context::from_waker(Waker::noop());
            assert!(ending.as_mut().poll(&mut context).is_pending());
            assert_eq!(lock(&lease.0.waiting).wakers.len(), 1);
        }
        assert_eq!(lock(&lease.0.waiting).wakers.len(), 0);
    }
}
