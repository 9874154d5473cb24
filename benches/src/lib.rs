//! A runner for benches that compare.
//!
//! A [`Scenario`] is one piece of work done by us and by each peer that can do it. The work of ours
//! and of the peers is repeated in one process, in turns and in a changing order, so that a noisy
//! machine is noisy for all of them, and the medians are compared. Allocations are counted, not
//! estimated, on the thread that does the work.
//!
//! ```text
//! cargo bench -p zt-benches                  a table of all scenarios
//! cargo bench -p zt-benches -- core/         those whose name contains `core/`
//! cargo bench -p zt-benches -- --json        one JSON object a line
//! ```
//!
//! `--once SCENARIO TIMES [PEER]` does the work so many times and measures nothing: it is there for
//! a profiler to look at.

mod measure;
mod row;

use std::hint::black_box;

use measure::{Work, measure};
use row::Row;

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
    pub fn new<T>(name: &'static str, ours: impl FnMut() -> T + 'static) -> Self {
        Self { name, ours: work(ours), peers: Vec::new() }
    }

    /// A peer's way to do the same work once.
    #[must_use]
    pub fn peer<T>(mut self, name: &'static str, theirs: impl FnMut() -> T + 'static) -> Self {
        self.peers.push(Peer { name, work: Ok(work(theirs)) });
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

    /// The work of `peer`, or ours.
    fn work(&mut self, peer: Option<&str>) -> Option<&mut Work> {
        match peer {
            None => Some(&mut self.ours),
            Some(name) => self.peers.iter_mut().find(|peer| peer.name == name)?.work.as_mut().ok(),
        }
    }
}

fn work<T>(mut work: impl FnMut() -> T + 'static) -> Work {
    Box::new(move || {
        black_box(work());
    })
}

/// Does what the command line says: measures the scenarios that it names, all of them by default.
pub fn main(mut scenarios: Vec<Scenario>) {
    // cargo says `--bench` to every bench.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["--once", name, times, peer @ ..] => once(&mut scenarios, name, times, peer.first()),
        ["--json", names @ ..] => report(&mut scenarios, names, |row| row.json().to_string()),
        names => {
            println!("{}", row::head());
            report(&mut scenarios, names, Row::line)
        }
    };
    if done.is_none() {
        eprintln!("no such work: {}; there are", arguments.join(" "));
        scenarios.iter().for_each(|scenario| eprintln!("  {}", scenario.name));
        std::process::exit(2);
    }
}

fn report(scenarios: &mut [Scenario], names: &[&str], show: impl Fn(&Row) -> String) -> Option<()> {
    let named = |it: &Scenario| names.is_empty() || names.iter().any(|name| it.name.contains(name));
    let mut ran = None;
    for scenario in scenarios.iter_mut().filter(|scenario| named(scenario)) {
        scenario.run().iter().for_each(|row| println!("{}", show(row)));
        ran = Some(());
    }
    ran
}

fn once(scenarios: &mut [Scenario], name: &str, times: &str, peer: Option<&&str>) -> Option<()> {
    let times = times.parse().ok()?;
    let scenario = scenarios.iter_mut().find(|scenario| scenario.name == name)?;
    measure::repeat(scenario.work(peer.copied())?, times);
    Some(())
}
