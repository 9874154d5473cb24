//! A runner for benches that compare.
//!
//! A [`Scenario`] is one piece of work done by us and by each peer that can do it. Ours and the
//! peers' repetitions are interleaved in one process, so that a noisy machine is noisy for all of
//! them, and the medians are compared. Allocations are counted, not estimated.
//!
//! ```text
//! cargo bench -p zt-benches                  a table of all scenarios
//! cargo bench -p zt-benches -- core/         those whose name contains `core/`
//! cargo bench -p zt-benches -- --json        one JSON object a line
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Repetitions of each piece of work, interleaved.
const ROUNDS: usize = 21;
/// How long one repetition takes at least.
const ROUND: Duration = Duration::from_millis(4);
/// Operations over which allocations are counted.
const COUNTED: u64 = 64;

type Work = Box<dyn FnMut()>;

/// One piece of work, done by us and by others.
pub struct Scenario {
    name: &'static str,
    ours: Work,
    peers: Vec<Peer>,
}

struct Peer {
    name: &'static str,
    work: Result<Work, &'static str>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario named `<area>/<case>` and our way to do its work once.
    pub fn new<T>(name: &'static str, mut ours: impl FnMut() -> T + 'static) -> Self {
        let ours = Box::new(move || {
            black_box(ours());
        });
        Self { name, ours, peers: Vec::new() }
    }

    /// A peer's way to do the same work once.
    #[must_use]
    pub fn peer<T>(mut self, name: &'static str, mut work: impl FnMut() -> T + 'static) -> Self {
        let work: Work = Box::new(move || {
            black_box(work());
        });
        self.peers.push(Peer { name, work: Ok(work) });
        self
    }

    /// A peer that cannot do this work, and why.
    #[must_use]
    pub fn peer_cannot(mut self, name: &'static str, reason: &'static str) -> Self {
        self.peers.push(Peer { name, work: Err(reason) });
        self
    }

    fn run(&mut self) -> Vec<Row> {
        let mut works: Vec<&mut Work> = vec![&mut self.ours];
        works.extend(self.peers.iter_mut().filter_map(|peer| peer.work.as_mut().ok()));
        let mut measured = measure(&mut works).into_iter();
        let ours = measured.next().expect("our own work is always measured");
        let row = |peer| Row { scenario: self.name, ours, peer };
        if self.peers.is_empty() {
            return vec![row(None)];
        }
        let peers = self.peers.iter().map(|peer| match peer.work {
            Ok(_) => (peer.name, Ok(measured.next().expect("each peer is measured"))),
            Err(reason) => (peer.name, Err(reason)),
        });
        peers.map(|peer| row(Some(peer))).collect()
    }
}

/// What one operation costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    ns: f64,
    allocs: f64,
}

#[derive(Debug)]
struct Row {
    scenario: &'static str,
    ours: Cost,
    peer: Option<(&'static str, Result<Cost, &'static str>)>,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        let mut object = serde_json::json!({
            "scenario": self.scenario,
            "ours_ns": round(self.ours.ns),
            "ours_allocs": self.ours.allocs,
        });
        match self.peer {
            None => {}
            Some((name, Ok(cost))) => {
                object["peer"] = name.into();
                object["peer_ns"] = round(cost.ns).into();
                object["peer_allocs"] = cost.allocs.into();
                object["ratio"] = round(cost.ns / self.ours.ns).into();
            }
            Some((name, Err(reason))) => {
                object["peer"] = name.into();
                object["reason"] = reason.into();
            }
        }
        object
    }

    fn line(&self) -> String {
        let ours = format!(
            "{:<28} {:>12} {:>8}",
            self.scenario,
            time(self.ours.ns),
            round(self.ours.allocs)
        );
        match self.peer {
            None => ours,
            Some((name, Ok(cost))) => format!(
                "{ours}   {name:<24} {:>12} {:>8} {:>9.1}x",
                time(cost.ns),
                round(cost.allocs),
                cost.ns / self.ours.ns
            ),
            Some((name, Err(reason))) => format!("{ours}   {name:<24} cannot: {reason}"),
        }
    }
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.1} ns"),
        1e3..1e6 => format!("{:.2} us", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

/// The median cost of each piece of work, their repetitions interleaved.
fn measure(works: &mut [&mut Work]) -> Vec<Cost> {
    let batches: Vec<u64> = works.iter_mut().map(|work| batch(work)).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); works.len()];
    for _ in 0..ROUNDS {
        for ((work, batch), times) in works.iter_mut().zip(&batches).zip(&mut times) {
            let began = Instant::now();
            for _ in 0..*batch {
                work();
            }
            times.push(began.elapsed().as_secs_f64() * 1e9 / *batch as f64);
        }
    }
    let allocations = works.iter_mut().zip(&batches).map(|(work, batch)| {
        let counted = COUNTED.min(*batch);
        let info = allocation_counter::measure(|| (0..counted).for_each(|_| work()));
        info.count_total as f64 / counted as f64
    });
    times
        .iter_mut()
        .zip(allocations)
        .map(|(times, allocs)| {
            times.sort_by(f64::total_cmp);
            Cost { ns: times[ROUNDS / 2], allocs }
        })
        .collect()
}

/// How many operations fill one repetition; warms up on the way.
fn batch(work: &mut Work) -> u64 {
    let mut size = 1;
    loop {
        let began = Instant::now();
        for _ in 0..size {
            work();
        }
        if began.elapsed() >= ROUND || size >= 1 << 24 {
            return size;
        }
        size *= 2;
    }
}

/// Runs the scenarios that the command line names, all of them by default.
pub fn main(scenarios: Vec<Scenario>) {
    let mut json = false;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            "--bench" => {} // cargo says so to every bench
            _ => names.push(argument),
        }
    }
    let mut ran = 0;
    if !json {
        println!(
            "{:<28} {:>12} {:>8}   {:<24} {:>12} {:>8} {:>10}",
            "scenario", "ours", "allocs", "peer", "peer's", "allocs", "ratio"
        );
    }
    for mut scenario in scenarios {
        if !names.is_empty() && !names.iter().any(|name| scenario.name.contains(name.as_str())) {
            continue;
        }
        ran += 1;
        for row in scenario.run() {
            println!("{}", if json { row.json().to_string() } else { row.line() });
        }
    }
    if ran == 0 {
        eprintln!("no scenario is named like {names:?}");
        std::process::exit(2);
    }
}
