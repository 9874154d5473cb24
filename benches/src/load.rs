//! What a server spends on a request while another process loads it.
//!
//! A window is a number of requests to one server. Windows of all servers take turns, in a changing
//! order, and what counts is the difference between the windows of one turn: of nine, the median.

use std::time::Duration;

use serde_json::{Value, json};

use crate::measure::turns;
use crate::row::{Measured, Note, Row, round, time};

/// Turns, of one window each.
const TURNS: usize = 9;

/// What one window was.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// CPU time of the server, for one request, in nanoseconds.
    pub cpu_ns: f64,
    /// Requests that were answered in a second.
    pub rate: f64,
    /// What half of the requests took at most, as the client saw it, in nanoseconds.
    pub p50_ns: f64,
    /// What 99 in 100 took at most.
    pub p99_ns: f64,
}

/// A server under load, with its name.
pub struct Side {
    name: &'static str,
    window: Box<dyn FnMut() -> Window>,
}

impl Side {
    /// A server of this name, and how it is put under load once.
    pub fn new(name: &'static str, window: impl FnMut() -> Window + 'static) -> Self {
        Self { name, window: Box::new(window) }
    }
}

/// A service without what is measured, with ours, and with that of a peer.
pub struct Load {
    /// Without.
    pub bare: Side,
    /// With ours.
    pub ours: Side,
    /// With that of a peer.
    pub peer: Side,
    /// What ours may cost a request, on the machine that goals are set on.
    pub limit: Duration,
    /// What tells how fast this machine is.
    pub reference: Reference,
}

/// Something that took so long on the machine that goals are set on, and how long it takes here.
pub struct Reference {
    /// What it is.
    pub name: &'static str,
    /// There.
    pub there: Duration,
    /// Here.
    pub here: Box<dyn FnOnce() -> Duration>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Load {
    pub(crate) fn run(self, scenario: &'static str) -> Vec<Row> {
        let Self { bare, ours, peer, limit, reference } = self;
        let names = [bare.name, peer.name];
        let mut sides = [bare, ours, peer].map(|side| (side.window, Vec::new()));
        for at in turns(TURNS, sides.len()) {
            let (window, windows) = &mut sides[at];
            windows.push(window());
        }
        let [bare, ours, peer] = sides.map(|(_, windows)| windows);
        let limit_ns = limit.as_secs_f64() * 1e9;
        let speed = (reference.here)().as_secs_f64() / reference.there.as_secs_f64();
        let (more, peer_more) = (Extra::of(&ours, &bare), Extra::of(&peer, &bare));
        let there = more.median / speed;
        let met = if there <= limit_ns { "met" } else { "not met" };
        let judged = format!(
            "which is {} on a machine where {} takes {:.2} of what it takes here, where it may be {}: \
             {met}",
            time(there),
            reference.name,
            1.0 / speed,
            time(limit_ns),
        );
        let ratio = peer_more.median / more.median;
        let judgements = [judged, format!("{} takes {peer_more}, {ratio:.0} times that", names[1])];
        let members = [
            json!({
                "there_ns": round(there),
                "limit_ns": limit_ns,
                "met": met == "met",
                "machine": round(speed),
            }),
            json!({ "peer_extra_ns": round(peer_more.median), "extra_ratio": round(ratio) }),
        ];
        let mut rows = Vec::new();
        for ((name, theirs), (judged, mut members)) in
            names.into_iter().zip([&bare, &peer]).zip(judgements.into_iter().zip(members))
        {
            let (mine, theirs) = (Window::median(&ours), Window::median(theirs));
            more.put(&mut members);
            let text = format!("{}; ours takes {more}, {judged}", mine.beside(&theirs));
            rows.push(Row {
                scenario,
                ours: Measured::Load(mine),
                peer: Some((name, Ok(Measured::Load(theirs)))),
                note: Some(Note { text, members }),
            });
        }
        rows
    }
}

impl Window {
    fn median(windows: &[Self]) -> Self {
        let of = |what: fn(&Self) -> f64| sorted(windows.iter().map(what))[windows.len() / 2];
        Self {
            cpu_ns: of(|window| window.cpu_ns),
            rate: of(|window| window.rate),
            p50_ns: of(|window| window.p50_ns),
            p99_ns: of(|window| window.p99_ns),
        }
    }

    fn beside(&self, other: &Self) -> String {
        format!(
            "{:.0} requests a second beside {:.0}, half of them in {} beside {}",
            self.rate,
            other.rate,
            time(self.p50_ns),
            time(other.p50_ns)
        )
    }

    pub(crate) fn put(&self, object: &mut Value, whose: &str) {
        object[format!("{whose}_cpu_ns")] = round(self.cpu_ns).into();
        object[format!("{whose}_p50_ns")] = round(self.p50_ns).into();
        object[format!("{whose}_p99_ns")] = round(self.p99_ns).into();
        object[format!("{whose}_per_second")] = self.rate.round().into();
    }
}

/// By how much the CPU time of a request differs, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Extra {
    median: f64,
    least: f64,
    most: f64,
}

impl Extra {
    fn of(with: &[Window], without: &[Window]) -> Self {
        let pairs = with.iter().zip(without);
        let all = sorted(pairs.map(|(with, without)| with.cpu_ns - without.cpu_ns));
        Self { median: all[all.len() / 2], least: all[0], most: all[all.len() - 1] }
    }

    fn put(&self, object: &mut Value) {
        object["extra_ns"] = round(self.median).into();
        object["extra_least_ns"] = round(self.least).into();
        object["extra_most_ns"] = round(self.most).into();
    }
}

impl std::fmt::Display for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, least, most } = *self;
        write!(f, "{} more ({} to {})", time(median), time(least), time(most))
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<_> = numbers.collect();
    all.sort_by(f64::total_cmp);
    all
}
