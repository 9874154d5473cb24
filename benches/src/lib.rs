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

mod load;
mod measure;
mod row;

use std::hint::black_box;

pub use load::{Load, Reference, Side, Window};
use measure::{Cost, Work, measure};
use row::{Measured, Row};

/// One piece of work, done by us and by others.
pub struct Scenario {
    name: &'static str,
    // What it takes to do the work is put together when it is asked for.
    prepare: Option<Prepare>,
}

enum Prepare {
    Works(Box<dyn FnOnce() -> Works>),
    Load(Box<dyn FnOnce() -> Load>),
}

/// The work of a scenario.
pub struct Works {
    ours: Kind,
    peers: Vec<Peer>,
}

/// What is measured.
enum Kind {
    /// Time and allocations.
    Time(Work),
    /// Bytes that are kept.
    Memory(Box<dyn FnMut() -> u64>),
}

struct Peer {
    name: &'static str,
    work: Result<Kind, &'static str>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Works").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario named `<area>/<case>` and our way to do its work once.
    pub fn new<T>(name: &'static str, ours: impl FnMut() -> T + 'static) -> Self {
        Self::of(name, || Works::new(ours))
    }

    /// A scenario named `<area>/<case>` whose work is put together only if it is measured.
    pub fn of(name: &'static str, prepare: impl FnOnce() -> Works + 'static) -> Self {
        Self { name, prepare: Some(Prepare::Works(Box::new(prepare))) }
    }

    /// A scenario named `<area>/<case>` in which servers are put under load.
    pub fn load(name: &'static str, prepare: impl FnOnce() -> Load + 'static) -> Self {
        Self { name, prepare: Some(Prepare::Load(Box::new(prepare))) }
    }

    /// A peer's way to do the same work once.
    #[must_use]
    pub fn peer<T>(self, name: &'static str, theirs: impl FnMut() -> T + 'static) -> Self {
        self.with(move |works| works.peer(name, theirs))
    }

    /// A peer that cannot do this work, and why.
    #[must_use]
    pub fn peer_cannot(self, name: &'static str, reason: &'static str) -> Self {
        self.with(move |works| works.peer_cannot(name, reason))
    }

    fn with(mut self, add: impl FnOnce(Works) -> Works + 'static) -> Self {
        let works = self.works().expect("it does its work here, and has not run");
        Self::of(self.name, move || add(works()))
    }

    /// What it takes to do the work here, where that is what it measures.
    fn works(&mut self) -> Option<Box<dyn FnOnce() -> Works>> {
        match self.prepare.take()? {
            Prepare::Works(prepare) => Some(prepare),
            Prepare::Load(_) => None,
        }
    }

    fn run(&mut self) -> Vec<Row> {
        match self.prepare.take().expect("a scenario runs once") {
            Prepare::Works(prepare) => prepare().run(self.name),
            Prepare::Load(prepare) => prepare().run(self.name),
        }
    }
}

impl Works {
    /// Our way to do the work once.
    pub fn new<T>(ours: impl FnMut() -> T + 'static) -> Self {
        Self { ours: Kind::Time(work(ours)), peers: Vec::new() }
    }

    /// What we make and keep, whose memory is measured.
    pub fn memory<T>(ours: impl FnMut() -> T + 'static) -> Self {
        Self { ours: Kind::Memory(kept(ours)), peers: Vec::new() }
    }

    /// A peer's way to do the same work once.
    #[must_use]
    pub fn peer<T>(mut self, name: &'static str, theirs: impl FnMut() -> T + 'static) -> Self {
        let work = match self.ours {
            Kind::Time(_) => Kind::Time(work(theirs)),
            Kind::Memory(_) => Kind::Memory(kept(theirs)),
        };
        self.peers.push(Peer { name, work: Ok(work) });
        self
    }

    /// A peer that cannot do this work, and why.
    #[must_use]
    pub fn peer_cannot(mut self, name: &'static str, reason: &'static str) -> Self {
        self.peers.push(Peer { name, work: Err(reason) });
        self
    }

    fn run(mut self, scenario: &'static str) -> Vec<Row> {
        let mut kinds: Vec<&mut Kind> = vec![&mut self.ours];
        kinds.extend(self.peers.iter_mut().filter_map(|peer| peer.work.as_mut().ok()));
        let mut measured = measure_all(kinds).into_iter();
        let ours = measured.next().expect("our own work is always measured");
        let row = |peer| Row { scenario, ours, peer, note: None };
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
        let kind = match peer {
            None => &mut self.ours,
            Some(name) => {
                self.peers.iter_mut().find(|peer| peer.name == name)?.work.as_mut().ok()?
            }
        };
        match kind {
            Kind::Time(work) => Some(work),
            Kind::Memory(_) => None,
        }
    }
}

fn measure_all(kinds: Vec<&mut Kind>) -> Vec<Measured> {
    let (mut works, mut kept) = (Vec::new(), Vec::new());
    for kind in kinds {
        match kind {
            Kind::Time(work) => works.push(work),
            Kind::Memory(make) => kept.push(Measured::Bytes(make())),
        }
    }
    let costs = if works.is_empty() { Vec::new() } else { measure(&mut works) };
    costs.into_iter().map(|cost: Cost| Measured::Time(cost)).chain(kept).collect()
}

fn work<T>(mut work: impl FnMut() -> T + 'static) -> Work {
    Box::new(move || {
        black_box(work());
    })
}

fn kept<T>(mut make: impl FnMut() -> T + 'static) -> Box<dyn FnMut() -> u64> {
    Box::new(move || measure::kept(&mut make))
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
    measure::repeat(scenario.works()?().work(peer.copied())?, times);
    Some(())
}
