//! A bounded queue between the request path and a sink (A-04).
//!
//! The request path pays for an enqueue; one thread writes batches to the sink: what comes after a
//! pause at once, and then what has gathered in 5 ms, or 256 records if they are there sooner, so that
//! neither a thread is woken nor a file written for each of many. What happens when the queue is full
//! is chosen, and counted:
//!
//! - [`BackPressure::Deny`]: the record is refused, and with it the request;
//! - [`BackPressure::Wait`]: the request waits for room, up to a limit, and is then refused;
//! - [`BackPressure::Drop`]: the request goes on, and the record is lost.
//!
//! Anyone can be refused, and as often as he likes. So records of [refusals](Record::refusal), but for those
//! [by](Record::by) a caller who is known in full, take half of the places at most under `Deny` and `Drop`: no
//! flood of them keeps out the callers who are known. Under `Wait` they may fill the queue, but wait only
//! while less than half of the places to wait are taken: a flood delays the callers who are known.
//!
//! A sink that fails is offered the same batch again every 100 ms under the first two, so that the
//! queue fills and requests are refused until it recovers; under `Drop` the batch is lost. An
//! append that succeeded means *enqueued*: a crash of the process loses at most the records in the
//! queue and one batch.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::{Record, RecordSink};
use crate::fault::Fault;

/// Records in the queue unless chosen otherwise: some 10 MB, and 64 MB where every path is as long as one
/// may be.
const DEFAULT_CAPACITY: usize = 8_192;
/// Records that the sink is offered at once, at most.
const BATCH: usize = 256;
/// Refusals that anyone can bring about take at most one place in so many.
const REFUSALS: usize = 2;
/// How long records gather after a batch, unless enough are there before: short beside what whoever
/// follows the records notices, long beside what it takes to wake a thread.
const GATHERING: Duration = Duration::from_millis(5);
/// How long a sink that failed is left alone.
const RETRY: Duration = Duration::from_millis(100);

/// What happens to a record, and to its request, when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackPressure {
    /// Refuse it at once: the default.
    Deny,
    /// Wait for room, at most this long, then refuse it. As many requests may wait as the queue
    /// has places, and half as many when one is refused before it is known who calls; one more is
    /// refused at once.
    Wait(Duration),
    /// Let the request go on and lose the record.
    Drop,
}

/// Makes a [`RecordQueue`].
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    capacity: usize,
    back_pressure: BackPressure,
}

impl Builder {
    /// Holds at most this many records; 8,192 by default, at least 1.
    #[must_use]
    pub fn capacity(mut self, records: usize) -> Self {
        self.capacity = records.max(1);
        self
    }

    /// Does this when the queue is full.
    #[must_use]
    pub const fn back_pressure(mut self, choice: BackPressure) -> Self {
        self.back_pressure = choice;
        self
    }

    /// Starts the thread that writes to `sink`, and one that ends waits where the choice is to
    /// wait.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub fn start(self, sink: impl RecordSink + 'static) -> io::Result<RecordQueue> {
        let shared = Arc::new(Shared {
            capacity: self.capacity,
            back_pressure: self.back_pressure,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            deadline: Condvar::new(),
        });
        let queue = RecordQueue { handle: Arc::new(Handle(Arc::clone(&shared))) };
        if matches!(self.back_pressure, BackPressure::Wait(_)) {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("zt-record-wait".into()).spawn(move || {
                let _closes = CloseOnExit(&shared);
                shared.watch();
            })?;
        }
        thread::Builder::new().name("zt-record".into()).spawn(move || {
            let _closes = CloseOnExit(&shared);
            shared.write(sink);
        })?;
        Ok(queue)
    }
}

/// A bounded queue of records in front of a sink. A clone is the same queue.
///
/// When the last clone is dropped the thread writes what is left and ends; [`RecordQueue::close`]
/// waits for that.
///
/// ```
/// use std::time::Duration;
/// use zt_core::record::{BackPressure, JsonLines, Record, RecordQueue};
/// use zt_core::request::Context;
/// use zt_core::time::Timestamp;
///
/// let records = RecordQueue::builder()
///     .back_pressure(BackPressure::Wait(Duration::from_millis(50)))
///     .start(JsonLines::new(std::io::sink()))?;
///
/// let arrived = Context::at(Timestamp::from_secs(0));
/// records.append_blocking(Record::refusal(&arrived, None, "no_credential"))?;
/// records.close(Duration::from_secs(1))?;
/// assert_eq!(records.stats().written, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RecordQueue {
    handle: Arc<Handle>,
}

impl RecordQueue {
    /// A queue that denies when it is full, unless told otherwise.
    #[must_use]
    pub const fn builder() -> Builder {
        Builder { capacity: DEFAULT_CAPACITY, back_pressure: BackPressure::Deny }
    }

    /// Enqueues `record` now; the future tells what came of it, and is ready unless the choice is to
    /// wait and the queue is full. It needs no runtime. Dropping it before it is ready takes the
    /// record back.
    pub fn append(&self, record: Record) -> Append {
        Append(match self.handle.0.offer(record) {
            Offered::Settled(outcome) => Offer::Settled(outcome),
            Offered::Waits(ticket) => Offer::Waits(Arc::clone(&self.handle.0), ticket),
        })
    }

    /// Enqueues `record` from code that may block.
    ///
    /// # Errors
    ///
    /// As the future of [`RecordQueue::append`].
    pub fn append_blocking(&self, record: Record) -> Result<(), AppendError> {
        let mut append = pin!(self.append(record));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = TaskContext::from_waker(&waker);
        loop {
            match append.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.0.lock().stats
    }

    /// Refuses further records and waits until those in the queue are written.
    ///
    /// # Errors
    ///
    /// [`Unwritten`] when that takes longer than `limit`, or the sink has died, or it failed and
    /// records were lost by that.
    pub fn close(&self, limit: Duration) -> Result<(), Unwritten> {
        self.handle.0.close();
        let mut state = self.handle.0.lock();
        let end = Instant::now().checked_add(limit);
        loop {
            let (left, now) = (state.pending(), Instant::now());
            let records = left.saturating_add(state.lost);
            if records == 0 {
                return Ok(());
            }
            let wait = end.map_or(limit, |end| end.saturating_duration_since(now));
            if left == 0 || wait.is_zero() || state.dead {
                return Err(Unwritten { records });
            }
            state = wait_on(&self.handle.0.progress, state, wait);
        }
    }
}

impl fmt::Debug for RecordQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordQueue")
            .field("capacity", &self.handle.0.capacity)
            .field("back_pressure", &self.handle.0.back_pressure)
            .field("stats", &self.stats())
            .finish()
    }
}

/// What became of the records offered since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Taken into the queue.
    pub enqueued: u64,
    /// Written by the sink.
    pub written: u64,
    /// Refused, and their requests with them.
    pub refused: u64,
    /// Lost: by choice, under [`BackPressure::Drop`], or because the sink still failed when the queue
    /// was closed.
    pub dropped: u64,
    /// Failures of the sink, of whole batches.
    pub sink_failures: u64,
}

/// The record was not enqueued, so the request it is about must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full, or its places for refusals are, and stayed so for as long as the choice was to
    /// wait.
    #[error("the queue of records is full")]
    Full,
    /// The queue was closed, or its sink panicked.
    #[error("the queue of records is closed")]
    Closed,
}

impl AppendError {
    /// Whose fault it is: that of what the records are written to.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Full | Self::Closed => Fault::Authority,
        }
    }
}

/// A queue was closed and not all of its records could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{records} records are not written")]
#[non_exhaustive]
pub struct Unwritten {
    /// How many are left, or were lost since it was closed.
    pub records: usize,
}

/// The enqueuing of one record: see [`RecordQueue::append`].
#[must_use = "whether the record was enqueued is known when this is awaited"]
pub struct Append(Offer);

enum Offer {
    Settled(Result<(), AppendError>),
    /// At this place among those who wait.
    Waits(Arc<Shared>, u64),
}

impl Future for Append {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Offer::Waits(queue, ticket) = &self.0
            && let Offered::Settled(outcome) = queue.ask(*ticket, context.waker())
        {
            self.0 = Offer::Settled(outcome);
        }
        match self.0 {
            Offer::Settled(outcome) => Poll::Ready(outcome),
            Offer::Waits(..) => Poll::Pending,
        }
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        if let Offer::Waits(queue, ticket) = &self.0 {
            let gone = queue.lock().waiting.remove(ticket);
            drop(gone); // unlocked: see `Waiting`
        }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").finish_non_exhaustive()
    }
}

enum Offered {
    Settled(Result<(), AppendError>),
    Waits(u64),
}

// The clones of a queue share one handle; the threads hold `Shared` itself, so that the last clone
// to go closes the queue.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Shared {
    capacity: usize,
    back_pressure: BackPressure,
    state: Mutex<State>,
    /// There is something to write, or the queue was closed.
    work: Condvar,
    /// Something was written, or the writer died.
    progress: Condvar,
    /// Someone began to wait, or the queue was closed.
    deadline: Condvar,
}

#[derive(Default)]
struct State {
    records: VecDeque<Record>,
    /// How many of them are refusals that anyone can bring about.
    refusals: usize,
    /// How many the sink is being offered.
    in_flight: usize,
    writer: Writer,
    /// Those who wait for room, by ticket, hence in the order they came.
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    /// How many were lost since the queue was closed, as the sink failed.
    lost: usize,
    closed: bool,
    /// The writer is gone: its sink panicked.
    dead: bool,
    stats: Stats,
}

/// What the thread that writes is at: it is woken when it waits for what there is, and once.
#[derive(Default)]
enum Writer {
    /// It looks before it waits again.
    #[default]
    Busy,
    /// It waits until there are enough records, or a while is over.
    Gathers,
    /// It waits for a record.
    Idle,
}

/// A waker runs code of an executor, which may poll or drop tasks that use this queue. So it is
/// woken, and dropped, while the state is not locked.
struct Waiting {
    record: Record,
    until: Instant,
    waker: Waker,
    /// It was woken, as its wait is over.
    told: bool,
}

impl State {
    fn pending(&self) -> usize {
        self.records.len().saturating_add(self.in_flight)
    }

    fn enqueue(&mut self, record: Record) {
        self.refusals = self.refusals.saturating_add(usize::from(record.is_of_anyone()));
        self.records.push_back(record);
        self.stats.enqueued = self.stats.enqueued.saturating_add(1);
    }

    /// Whether the thread that writes waits for no more than what is there, and has to be woken.
    fn wakes_writer(&mut self, enough: usize) -> bool {
        let wakes = match self.writer {
            Writer::Busy => false,
            Writer::Gathers => self.records.len() >= enough,
            Writer::Idle => true,
        };
        if wakes {
            self.writer = Writer::Busy;
        }
        wakes
    }

    fn refuse(&mut self, error: AppendError) -> Offered {
        self.stats.refused = self.stats.refused.saturating_add(1);
        Offered::Settled(Err(error))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places refusals have that anyone can bring about: one at least.
    fn places_of_refusals(&self) -> usize {
        self.capacity.div_ceil(REFUSALS)
    }

    /// Whether there is a place for this record.
    fn has_room(&self, state: &State, record: &Record) -> bool {
        let shares = match self.back_pressure {
            BackPressure::Deny | BackPressure::Drop => record.is_of_anyone(),
            BackPressure::Wait(_) => false,
        };
        state.records.len() < self.capacity
            && (!shares || state.refusals < self.places_of_refusals())
    }

    /// The request path: one record offered for the first time. Whoever waits has yet to ask.
    fn offer(&self, record: Record) -> Offered {
        let mut state = self.lock();
        if state.closed {
            return state.refuse(AppendError::Closed);
        }
        if self.has_room(&state, &record) {
            state.enqueue(record);
            let wakes = state.wakes_writer(self.enough());
            drop(state);
            if wakes {
                self.work.notify_one();
            }
            return Offered::Settled(Ok(()));
        }
        match self.back_pressure {
            BackPressure::Deny => state.refuse(AppendError::Full),
            BackPressure::Drop => {
                state.stats.dropped = state.stats.dropped.saturating_add(1);
                Offered::Settled(Ok(()))
            }
            BackPressure::Wait(limit) => {
                let Some(until) = Instant::now().checked_add(limit) else {
                    return state.refuse(AppendError::Full);
                };
                let may_wait =
                    if record.is_of_anyone() { self.places_of_refusals() } else { self.capacity };
                if state.waiting.len() >= may_wait {
                    return state.refuse(AppendError::Full);
                }
                let ticket = state.next_ticket;
                state.next_ticket = ticket.saturating_add(1);
                let waker = Waker::noop().clone();
                state.waiting.insert(ticket, Waiting { record, until, waker, told: false });
                drop(state);
                self.deadline.notify_one();
                Offered::Waits(ticket)
            }
        }
    }

    /// The request path: one who waits asks again.
    fn ask(&self, ticket: u64, waker: &Waker) -> Offered {
        let mut state = self.lock();
        let closed = state.closed;
        let Some(waiting) = state.waiting.get_mut(&ticket) else {
            return Offered::Settled(Ok(()));
        };
        let late = Instant::now() >= waiting.until;
        if !closed && !late {
            let before = mem::replace(&mut waiting.waker, waker.clone());
            drop(state);
            drop(before);
            return Offered::Waits(ticket);
        }
        let gone = state.waiting.remove(&ticket);
        let refused = state.refuse(if closed { AppendError::Closed } else { AppendError::Full });
        drop(state);
        drop(gone);
        refused
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wakers: Vec<_> = state.waiting.values().map(|waiting| waiting.waker.clone()).collect();
        drop(state);
        self.work.notify_all();
        self.deadline.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The thread that writes: batch after batch until the queue is closed and empty.
    fn write(&self, mut sink: impl RecordSink) {
        let mut batch = VecDeque::new();
        while self.next_batch(&mut batch) {
            let records = batch.make_contiguous();
            while sink.append(records).is_err() {
                if !self.try_again() {
                    self.settle(false);
                    break;
                }
            }
            self.settle(true);
            batch.clear();
            self.gather();
        }
    }

    /// How many records there are when it is not worth while to wait for more.
    fn enough(&self) -> usize {
        BATCH.min(self.capacity / 2)
    }

    /// Lets records gather, but not where the queue is closed.
    fn gather(&self) {
        let (enough, mut state) = (self.enough(), self.lock());
        state.writer = Writer::Gathers;
        let gathers = |state: &mut State| !state.closed && state.records.len() < enough;
        let waited = self.work.wait_timeout_while(state, GATHERING, gathers);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.writer = Writer::Busy;
    }

    /// Takes the next records, in place of none, and lets those who wait move up; or says that all is
    /// done.
    fn next_batch(&self, batch: &mut VecDeque<Record>) -> bool {
        let mut state = self.lock();
        while state.records.is_empty() {
            if state.closed {
                return false;
            }
            state.writer = Writer::Idle;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Busy;
        if state.records.len() <= BATCH {
            mem::swap(&mut state.records, batch);
            state.refusals = 0;
        } else {
            batch.extend(state.records.drain(..BATCH));
            let gone = batch.iter().filter(|record| record.is_of_anyone()).count();
            state.refusals = state.refusals.saturating_sub(gone);
        }
        state.in_flight = batch.len();
        let mut wakers = Vec::new();
        while !state.closed && state.records.len() < self.capacity {
            let Some((_, waiting)) = state.waiting.pop_first() else { break };
            state.enqueue(waiting.record);
            wakers.push(waiting.waker);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// The sink failed: whether to offer the batch again, after a while. A queue that was closed
    /// gives the sink no further chance.
    fn try_again(&self) -> bool {
        let mut state = self.lock();
        state.stats.sink_failures = state.stats.sink_failures.saturating_add(1);
        if state.closed || self.back_pressure == BackPressure::Drop {
            return false;
        }
        // What is enqueued meanwhile does not shorten it.
        drop(self.work.wait_timeout_while(state, RETRY, |state| !state.closed));
        true
    }

    /// Nothing is in flight any more: it was written, or lost.
    fn settle(&self, written: bool) {
        let mut state = self.lock();
        let size = mem::take(&mut state.in_flight);
        let stats = &mut state.stats;
        let count = if written { &mut stats.written } else { &mut stats.dropped };
        *count = count.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        if state.closed && !written {
            state.lost = state.lost.saturating_add(size);
        }
        drop(state);
        self.progress.notify_all();
    }

    /// The thread that ends waits: wakes whoever has waited long enough.
    fn watch(&self) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            let (mut late, mut next) = (Vec::new(), None);
            // All wait equally long, so their waits end in the order of the tickets.
            for waiting in state.waiting.values_mut() {
                if waiting.until > now {
                    next = Some(waiting.until);
                    break;
                }
                if !mem::replace(&mut waiting.told, true) {
                    late.push(waiting.waker.clone());
                }
            }
            if !late.is_empty() {
                drop(state);
                late.into_iter().for_each(Waker::wake);
                state = self.lock();
                continue;
            }
            state = match next {
                Some(next) => wait_on(&self.deadline, state, next.saturating_duration_since(now)),
                None => self.deadline.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn wait_on<'s>(
    condvar: &Condvar,
    state: MutexGuard<'s, State>,
    limit: Duration,
) -> MutexGuard<'s, State> {
    condvar.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
}

/// Closes the queue when one of its threads ends, however it ends: a sink or a waker that panics must
/// not leave requests that believe they are recorded, or that wait for ever.
struct CloseOnExit<'s>(&'s Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.lock().dead = thread::panicking();
        self.0.close();
        self.0.progress.notify_all();
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::decision::{Answer, Decision, PolicyVersion};
    use crate::principal::{Principal, Workload};
    use crate::request::{Action, Context, Request, Resource};
    use crate::spiffe::SpiffeId;
    use crate::time::Timestamp;
    use crate::verified::Verified;

    fn web() -> Verified<Principal> {
        let id = SpiffeId::parse("spiffe://example.org/web").unwrap();
        Verified::mint(Principal::new(Workload::new(id)))
    }

    fn record(n: usize) -> Record {
        let caller = web();
        let (action, resource) = (Action::new("read"), Resource::new("Order", "1"));
        let context = Context::at(Timestamp::from_secs(i64::try_from(n).unwrap()));
        let request = Request::new(&caller, &action, &resource, &context);
        let decision =
            Decision::of(&request, PolicyVersion::default(), |_| Answer::not_permitted());
        Record::of(&decision)
    }

    fn refusal() -> Record {
        Record::refusal(&Context::at(Timestamp::EPOCH), None, "no_credential")
    }

    /// A sink that stands still until it is let go, and fails while it is told to.
    #[derive(Clone, Default)]
    struct Gate {
        open: Arc<(Mutex<bool>, Condvar)>,
        fails: Arc<AtomicBool>,
        attempts: Arc<AtomicUsize>,
        seen: Arc<Mutex<Vec<Record>>>,
    }

    impl Gate {
        fn let_go(&self) {
            *self.open.0.lock().unwrap() = true;
            self.open.1.notify_all();
        }
    }

    impl RecordSink for Gate {
        fn append(&mut self, records: &[Record]) -> io::Result<()> {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            let open = self.open.0.lock().unwrap();
            drop(self.open.1.wait_while(open, |open| !*open).unwrap());
            if self.fails.load(Ordering::SeqCst) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.seen.lock().unwrap().extend_from_slice(records);
            Ok(())
        }
    }

    /// A queue of two whose sink stands still with one record in its hands, and which is full.
    fn full(choice: BackPressure) -> (RecordQueue, Gate) {
        let gate = Gate::default();
        let queue =
            RecordQueue::builder().capacity(2).back_pressure(choice).start(gate.clone()).unwrap();
        queue.append_blocking(record(0)).unwrap();
        while gate.attempts.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        queue.append_blocking(record(1)).unwrap();
        queue.append_blocking(record(2)).unwrap();
        (queue, gate)
    }

    fn seen(gate: &Gate) -> Vec<Record> {
        gate.seen.lock().unwrap().clone()
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_full_queue_denies_by_default() {
        let (queue, gate) = full(BackPressure::Deny);
        assert_eq!(queue.append_blocking(record(3)), Err(AppendError::Full));
        gate.let_go();
        queue.close(SOON).unwrap();
        assert_eq!(seen(&gate), [record(0), record(1), record(2)]);
        let stats = queue.stats();
        assert_eq!((stats.enqueued, stats.written, stats.refused), (3, 3, 1));
    }

    #[test]
    fn a_full_queue_drops_and_counts_when_told_to() {
        let (queue, gate) = full(BackPressure::Drop);
        assert_eq!(queue.append_blocking(record(3)), Ok(()));
        gate.let_go();
        queue.close(SOON).unwrap();
        assert_eq!(seen(&gate).len(), 3);
        assert_eq!(queue.stats().dropped, 1);
    }

    /// A queue of five places and a batch under way, in which refusals have been as far as there were
    /// places for them.
    fn flooded(choice: BackPressure) -> (RecordQueue, Gate) {
        let (gate, queue) = (Gate::default(), RecordQueue::builder().capacity(5));
        let queue = queue.back_pressure(choice).start(gate.clone()).unwrap();
        queue.append_blocking(refusal()).unwrap();
        while gate.attempts.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        let refused = (0..8).filter(|_| queue.append_blocking(refusal()).is_err()).count();
        assert_eq!(refused, if choice == BackPressure::Deny { 5 } else { 0 });
        assert_eq!((queue.stats().enqueued, queue.handle.0.lock().refusals), (4, 3));
        (queue, gate)
    }

    #[test]
    fn refusals_leave_half_of_the_places_to_callers_who_are_known() {
        for choice in [BackPressure::Deny, BackPressure::Drop] {
            let (queue, gate) = flooded(choice);
            let known = refusal().by(&web());
            queue.append_blocking(known.clone()).unwrap();
            queue.append_blocking(record(1)).unwrap();
            assert_eq!(queue.append_blocking(record(2)).is_ok(), choice == BackPressure::Drop);
            let stats = queue.stats();
            assert_eq!((stats.enqueued, stats.refused + stats.dropped), (6, 6));
            gate.let_go();
            queue.close(SOON).unwrap();
            assert_eq!(seen(&gate)[4..], [known, record(1)]);
        }
    }

    #[test]
    fn decisions_do_not_count_against_the_places_of_refusals() {
        let (gate, queue) = (Gate::default(), RecordQueue::builder().capacity(5));
        let queue = queue.start(gate.clone()).unwrap();
        queue.append_blocking(record(0)).unwrap();
        while gate.attempts.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        (1..4).for_each(|n| queue.append_blocking(record(n)).unwrap());
        queue.append_blocking(refusal()).unwrap();
        gate.let_go();
        while queue.stats().written < 5 {
            thread::yield_now();
        }
        assert_eq!(queue.handle.0.lock().refusals, 0);
    }

    #[test]
    fn refusals_that_a_batch_leaves_behind_are_counted_still() {
        let (gate, queue) = (Gate::default(), RecordQueue::builder().capacity(3 * BATCH));
        let queue = queue.start(gate.clone()).unwrap();
        queue.append_blocking(record(0)).unwrap();
        while gate.attempts.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        (0..BATCH + 10).for_each(|_| queue.append_blocking(refusal()).unwrap());
        let mut batch = VecDeque::new();
        assert!(queue.handle.0.next_batch(&mut batch));
        assert_eq!((batch.len(), queue.handle.0.lock().refusals), (BATCH, 10));
        gate.let_go();
    }

    #[test]
    fn refusals_leave_half_of_the_places_to_wait_to_callers_who_are_known() {
        let (queue, _gate) = full(BackPressure::Wait(SOON));
        let mut context = TaskContext::from_waker(Waker::noop());
        let mut first = pin!(queue.append(refusal()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.append_blocking(refusal()), Err(AppendError::Full));
        let mut known = pin!(queue.append(record(3)));
        assert!(known.as_mut().poll(&mut context).is_pending());
    }

    #[test]
    fn waiting_ends_when_there_is_room() {
        let (queue, gate) = full(BackPressure::Wait(SOON));
        let (done, outcome) = mpsc::channel();
        let waiter = queue.clone();
        let thread = thread::spawn(move || done.send(waiter.append_blocking(record(3))).unwrap());
        while queue.handle.0.lock().waiting.is_empty() {
            thread::yield_now();
        }
        assert!(outcome.try_recv().is_err());
        gate.let_go();
        assert_eq!(outcome.recv_timeout(SOON), Ok(Ok(())));
        thread.join().unwrap();
        queue.close(SOON).unwrap();
        assert_eq!(seen(&gate), [record(0), record(1), record(2), record(3)]);
    }

    #[test]
    fn waiting_ends_at_its_limit_though_the_sink_stands_still() {
        let (queue, _gate) = full(BackPressure::Wait(Duration::from_millis(20)));
        assert_eq!(queue.append_blocking(record(3)), Err(AppendError::Full));
        assert!(queue.handle.0.lock().waiting.is_empty());
    }

    #[test]
    fn no_more_may_wait_than_the_queue_has_places() {
        let (queue, _gate) = full(BackPressure::Wait(SOON));
        let mut context = TaskContext::from_waker(Waker::noop());
        let mut waiting: Vec<_> = (3..5).map(|n| queue.append(record(n))).collect();
        for append in &mut waiting {
            assert!(pin!(append).poll(&mut context).is_pending());
        }
        assert_eq!(queue.append_blocking(record(5)), Err(AppendError::Full));
        waiting.pop(); // a request that is cancelled gives its place back
        let mut next = pin!(queue.append(record(6)));
        assert!(next.as_mut().poll(&mut context).is_pending());
    }

    #[test]
    fn a_request_that_is_cancelled_while_it_waits_leaves_no_record() {
        let (queue, gate) = full(BackPressure::Wait(SOON));
        let mut append = Box::pin(queue.append(record(3)));
        assert!(append.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
        drop(append);
        gate.let_go();
        queue.close(SOON).unwrap();
        assert_eq!(seen(&gate).len(), 3);
    }

    #[test]
    fn a_sink_that_fails_is_offered_the_same_records_until_it_recovers() {
        let (queue, gate) = full(BackPressure::Deny);
        gate.fails.store(true, Ordering::SeqCst);
        gate.let_go();
        while gate.attempts.load(Ordering::SeqCst) < 3 {
            thread::yield_now();
        }
        assert_eq!(queue.append_blocking(record(3)), Err(AppendError::Full));
        gate.fails.store(false, Ordering::SeqCst);
        while queue.stats().written < 3 {
            thread::yield_now();
        }
        queue.close(SOON).unwrap();
        assert_eq!(seen(&gate), [record(0), record(1), record(2)]);
        assert!(queue.stats().sink_failures >= 2);
    }

    #[test]
    fn a_sink_that_panics_closes_the_queue() {
        struct Panics;
        impl RecordSink for Panics {
            fn append(&mut self, _: &[Record]) -> io::Result<()> {
                panic!("the sink is broken");
            }
        }
        let queue = RecordQueue::builder().start(Panics).unwrap();
        queue.append_blocking(record(0)).unwrap();
        while !queue.handle.0.lock().dead {
            thread::yield_now();
        }
        assert_eq!(queue.append_blocking(record(1)), Err(AppendError::Closed));
        assert_eq!(queue.close(SOON), Err(Unwritten { records: 1 }));
    }

    #[test]
    fn closing_says_what_could_not_be_written() {
        let (queue, _gate) = full(BackPressure::Deny);
        assert_eq!(queue.close(Duration::from_millis(10)), Err(Unwritten { records: 3 }));
        assert_eq!(queue.append_blocking(record(3)), Err(AppendError::Closed));
    }

    #[test]
    fn a_sink_that_fails_is_left_alone_however_much_is_enqueued() {
        let gate = Gate::default();
        gate.fails.store(true, Ordering::SeqCst);
        gate.let_go();
        let queue = RecordQueue::builder().start(gate.clone()).unwrap();
        let begun = Instant::now();
        for n in 0..100 {
            queue.append_blocking(record(n)).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        let attempts = gate.attempts.load(Ordering::SeqCst);
        let most = begun.elapsed().as_millis() / RETRY.as_millis() + 1;
        assert!(u128::try_from(attempts).unwrap() <= most, "{attempts} attempts");
    }

    #[test]
    fn many_records_are_written_in_few_batches_and_one_after_a_pause_at_once() {
        let gate = Gate::default();
        gate.let_go();
        let queue = RecordQueue::builder().start(gate.clone()).unwrap();
        let written = |count: u64| {
            while queue.stats().written < count {
                thread::yield_now();
            }
            gate.attempts.load(Ordering::SeqCst)
        };
        queue.append_blocking(record(0)).unwrap();
        assert_eq!(written(1), 1);
        let begun = Instant::now();
        for n in 1..=200 {
            queue.append_blocking(record(n)).unwrap();
        }
        let attempts = u128::try_from(written(201)).unwrap();
        let most = begun.elapsed().as_millis() / GATHERING.as_millis() + 3;
        assert!(attempts <= most, "{attempts} attempts where {most} are due");
        let expected: Vec<_> = (0..=200).map(record).collect();
        assert_eq!(seen(&gate), expected);
    }

    #[test]
    fn the_thread_that_writes_is_woken_once_for_what_it_waits_for() {
        let mut state = State::default();
        let mut wakes = |writer, enough| {
            state.writer = writer;
            state.enqueue(record(0));
            [state.wakes_writer(enough), state.wakes_writer(enough)]
        };
        assert_eq!(wakes(Writer::Idle, 256), [true, false]);
        assert_eq!(wakes(Writer::Gathers, 3), [false, false]);
        assert_eq!(wakes(Writer::Gathers, 3), [true, false]);
        assert_eq!(wakes(Writer::Busy, 0), [false, false]);
    }

    #[test]
    fn closing_says_what_a_sink_that_fails_has_lost() {
        let (queue, gate) = full(BackPressure::Deny);
        gate.fails.store(true, Ordering::SeqCst);
        gate.let_go();
        assert_eq!(queue.close(SOON), Err(Unwritten { records: 3 }));
        assert_eq!(queue.close(SOON), Err(Unwritten { records: 3 }));
        assert_eq!(queue.stats().dropped, 3);
    }

    #[test]
    fn whoever_is_woken_may_use_the_queue_at_once() {
        // As an executor does that polls, or drops, a task where it is woken.
        struct Uses(RecordQueue, mpsc::Sender<Stats>);
        impl Wake for Uses {
            fn wake(self: Arc<Self>) {
                let _ = self.1.send(self.0.stats());
            }
        }
        let ends: [fn(&RecordQueue, &Gate); 3] = [
            |_, gate| gate.let_go(),
            |queue, _| assert!(queue.close(Duration::ZERO).is_err()),
            |_, _| {}, // the wait ends by itself
        ];
        for end in ends {
            let (queue, gate) = full(BackPressure::Wait(Duration::from_millis(200)));
            let (tell, told) = mpsc::channel();
            let waker = Waker::from(Arc::new(Uses(queue.clone(), tell)));
            let mut append = Box::pin(queue.append(record(3)));
            assert!(append.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
            let (ended, end_told) = mpsc::channel();
            let (clone, opened) = (queue.clone(), gate.clone());
            thread::spawn(move || {
                end(&clone, &opened);
                let _ = ended.send(());
            });
            told.recv_timeout(SOON).expect("the queue is not locked");
            end_told.recv_timeout(SOON).expect("it returns");
            gate.let_go();
        }
    }

    #[test]
    fn dropping_the_last_clone_still_writes_what_was_enqueued() {
        let (queue, gate) = full(BackPressure::Wait(SOON));
        let clone = queue.clone();
        drop(queue);
        drop(clone);
        gate.let_go();
        while seen(&gate).len() < 3 {
            thread::yield_now();
        }
    }

    #[test]
    fn every_record_is_accounted_for_however_waits_failures_and_cancellations_interleave() {
        struct Flaky(Gate, usize);
        impl RecordSink for Flaky {
            fn append(&mut self, records: &[Record]) -> io::Result<()> {
                self.1 += 1;
                self.0.fails.store(self.1.is_multiple_of(50), Ordering::SeqCst);
                self.0.append(records)
            }
        }
        for round in 0..4 {
            let gate = Gate::default();
            gate.let_go();
            let limit = Duration::from_millis(if round % 2 == 0 { 1 } else { 200 });
            let queue = RecordQueue::builder().capacity(3).back_pressure(BackPressure::Wait(limit));
            let queue = queue.start(Flaky(gate.clone(), round)).unwrap();
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        let (mut taken, mut perhaps) = (0_u64, 0_u64);
                        for n in 0..200 {
                            let mut append = Box::pin(queue.append(record(n)));
                            let waker = Waker::from(Arc::new(Unpark(thread::current())));
                            let mut context = TaskContext::from_waker(&waker);
                            let mut polled = append.as_mut().poll(&mut context);
                            if (n + writer) % 5 == 0 && polled.is_pending() {
                                perhaps += 1; // cancelled, perhaps after it moved up
                                continue;
                            }
                            while polled.is_pending() {
                                thread::park_timeout(SOON);
                                polled = append.as_mut().poll(&mut context);
                            }
                            taken += u64::from(matches!(polled, Poll::Ready(Ok(()))));
                        }
                        (taken, perhaps)
                    })
                })
                .collect();
            if round == 3 {
                thread::sleep(Duration::from_millis(20));
                let _ = queue.close(Duration::ZERO);
            }
            let told = writers.into_iter().map(|writer| writer.join().unwrap());
            let (taken, perhaps) = told.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let closed = queue.close(SOON);
            let stats = queue.stats();
            assert_eq!(stats.enqueued, stats.written + stats.dropped);
            assert!(
                (taken..=taken + perhaps).contains(&stats.enqueued),
                "{taken} {perhaps} {stats:?}"
            );
            assert_eq!(closed.is_err(), stats.dropped > 0, "{closed:?} {stats:?}");
            assert_eq!(u64::try_from(seen(&gate).len()).unwrap(), stats.written);
            assert!(queue.handle.0.lock().waiting.is_empty());
        }
    }

    #[test]
    fn many_writers_lose_nothing_and_keep_their_own_order() {
        let gate = Gate::default();
        gate.let_go();
        let queue = RecordQueue::builder()
            .capacity(4)
            .back_pressure(BackPressure::Wait(SOON))
            .start(gate.clone())
            .unwrap();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let queue = queue.clone();
                thread::spawn(move || {
                    for n in 0..500 {
                        queue.append_blocking(record(writer * 1_000 + n)).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        queue.close(SOON).unwrap();
        let seen = seen(&gate);
        assert_eq!(seen.len(), 2_000);
        for writer in 0..4 {
            let own: Vec<_> = (0..500).map(|n| record(writer * 1_000 + n)).collect();
            let kept: Vec<_> = seen.iter().filter(|r| own.contains(r)).cloned().collect();
            assert_eq!(kept, own);
        }
    }
}
