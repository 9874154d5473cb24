//! Time and allocations of one operation.

use std::time::{Duration, Instant};

/// Repetitions of each piece of work, in turns.
const ROUNDS: usize = 201;
/// How long one repetition takes at least: long beside the clock, and short beside the slice of
/// time after which a busy machine takes the core away, so that this hits few of them.
const ROUND: Duration = Duration::from_micros(500);
/// How long a piece of work is done before it is measured, at least.
const WARM_UP: Duration = Duration::from_millis(20);
/// Operations over which allocations are counted, at most.
const COUNTED: u64 = 64;

/// One operation.
pub(crate) type Work = Box<dyn FnMut()>;

/// What one operation costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) ns: f64,
    pub(crate) allocs: f64,
}

/// The median cost of each piece of work.
pub(crate) fn measure(works: &mut [&mut Work]) -> Vec<Cost> {
    let batches: Vec<u64> = works.iter_mut().map(|work| batch(work)).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); works.len()];
    for round in 0..ROUNDS {
        for turn in 0..works.len() {
            // Nobody is always first, or always behind the same other.
            let at = (round + turn) % works.len();
            let at = if round % 2 == 0 { at } else { works.len() - 1 - at };
            times[at].push(time(works[at], batches[at]).as_secs_f64() * 1e9 / batches[at] as f64);
        }
    }
    let mut costs = Vec::with_capacity(works.len());
    for ((work, batch), mut times) in works.iter_mut().zip(batches).zip(times) {
        times.sort_by(f64::total_cmp);
        costs.push(Cost { ns: times[ROUNDS / 2], allocs: allocations(work, COUNTED.min(batch)) });
    }
    costs
}

/// How many operations fill one repetition, found out while warming up.
fn batch(work: &mut Work) -> u64 {
    let (began, mut size) = (Instant::now(), 1);
    loop {
        let took = time(work, size);
        if began.elapsed() >= WARM_UP && took >= ROUND {
            return size;
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

fn allocations(work: &mut Work, times: u64) -> f64 {
    let counted = allocation_counter::measure(|| repeat(work, times));
    counted.count_total as f64 / times as f64
}

/// Not inlined, so that a profiler can be told to look at nothing else.
#[inline(never)]
pub(crate) fn repeat(work: &mut Work, times: u64) {
    for _ in 0..times {
        work();
    }
}
