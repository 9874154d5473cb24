//! Time and allocations of one operation.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Repetitions of each piece of work, in turns; fewer where one takes long.
const ROUNDS: usize = 201;
const FEWEST_ROUNDS: usize = 3;
/// How long all repetitions of a piece of work take, about, where each of them takes long.
const LONGEST: Duration = Duration::from_secs(2);
/// How long one repetition takes at least: long beside the clock, and short beside the slice of
/// time after which a busy machine takes the core away, so that this hits few of them.
const ROUND: Duration = Duration::from_micros(500);
/// How long a piece of work is done before it is measured, at least.
const WARM_UP: Duration = Duration::from_millis(20);
/// Operations over which allocations are counted, at most.
const COUNTED: u64 = 64;
/// Samples of which 99 in 100 are quicker than the 99th percentile, at most.
const SAMPLES: usize = 5_000;
/// How long one of them takes at least.
const SAMPLE: Duration = Duration::from_micros(1);

/// One operation.
pub(crate) type Work = Box<dyn FnMut()>;

/// What one operation costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) ns: f64,
    /// The 99th percentile.
    pub(crate) p99: f64,
    pub(crate) allocs: f64,
}

/// The median cost of each piece of work.
pub(crate) fn measure(works: &mut [&mut Work]) -> Vec<Cost> {
    let batches: Vec<Batch> = works.iter_mut().map(|work| batch(work)).collect();
    let rounds = batches.iter().map(Batch::rounds).min().unwrap_or(ROUNDS);
    let mut times = vec![Vec::with_capacity(rounds); works.len()];
    for at in turns(rounds, works.len()) {
        times[at].push(per_operation(works[at], batches[at].size));
    }
    let mut costs = Vec::with_capacity(works.len());
    for ((work, batch), mut times) in works.iter_mut().zip(batches).zip(times) {
        times.sort_by(f64::total_cmp);
        let (ns, p99) = (times[rounds / 2], p99(work, &batch, &times));
        costs.push(Cost { ns, p99, allocs: allocations(work, COUNTED.min(batch.size)) });
    }
    costs
}

/// Whose turn it is, in so many rounds of so many: nobody is always first, or always behind the same
/// other.
pub(crate) fn turns(rounds: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| {
        (0..count).map(move |turn| {
            let at = (round + turn) % count;
            if round % 2 == 0 { at } else { count - 1 - at }
        })
    })
}

/// How many operations fill one repetition, and how long it takes.
struct Batch {
    size: u64,
    took: Duration,
}

impl Batch {
    fn rounds(&self) -> usize {
        let fit = LONGEST.as_nanos() / self.took.as_nanos().max(1);
        usize::try_from(fit).unwrap_or(ROUNDS).clamp(FEWEST_ROUNDS, ROUNDS)
    }
}

/// Found out while warming up.
fn batch(work: &mut Work) -> Batch {
    let (began, mut size) = (Instant::now(), 1);
    loop {
        let took = time(work, size);
        if began.elapsed() >= WARM_UP && took >= ROUND {
            return Batch { size, took };
        }
        if took < ROUND {
            size *= 2;
        }
    }
}

fn time(work: &mut Work, times: u64) -> Duration {
    let began = Instant::now();
    repeat(work, times);
    began.elapsed()
}

fn per_operation(work: &mut Work, times: u64) -> f64 {
    time(work, times).as_secs_f64() * 1e9 / times as f64
}

/// Of short samples, each of as few operations as the clock can tell apart; of the repetitions
/// where one operation is longer than that.
fn p99(work: &mut Work, batch: &Batch, sorted: &[f64]) -> f64 {
    let operation = batch.took.as_secs_f64() / batch.size as f64;
    let samples = (LONGEST.as_secs_f64() / 4.0 / operation.max(SAMPLE.as_secs_f64())) as usize;
    if samples < 2 * sorted.len() {
        return sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)];
    }
    let size = (SAMPLE.as_secs_f64() / operation).ceil().max(1.0) as u64;
    let mut times: Vec<f64> =
        (0..samples.min(SAMPLES)).map(|_| per_operation(work, size)).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

fn allocations(work: &mut Work, times: u64) -> f64 {
    let counted = allocation_counter::measure(|| repeat(work, times));
    counted.count_total as f64 / times as f64
}

/// The bytes of what is made.
pub(crate) fn kept<T>(make: &mut impl FnMut() -> T) -> u64 {
    let mut made = None;
    let counted = allocation_counter::measure(|| made = Some(black_box(make())));
    drop(made);
    u64::try_from(counted.bytes_current).unwrap_or(0)
}

/// Not inlined, so that a profiler can be told to look at nothing else.
#[inline(never)]
pub(crate) fn repeat(work: &mut Work, times: u64) {
    for _ in 0..times {
        work();
    }
}
