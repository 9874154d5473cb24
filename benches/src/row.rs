//! How a measurement is shown.

use serde_json::Value;

use crate::load::Window;
use crate::measure::Cost;

/// Ours beside one peer, if there is one and it can do the work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) ours: Measured,
    pub(crate) peer: Option<(&'static str, Result<Measured, &'static str>)>,
    pub(crate) note: Option<Note>,
}

/// What there is to say beside the numbers, as a line and as members of the object.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) members: Value,
}

/// What was measured of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    /// What one operation costs.
    Time(Cost),
    /// What is kept.
    Bytes(u64),
    /// What a server under load spends on a request.
    Load(Window),
}

/// The line above all rows.
pub(crate) fn head() -> String {
    format!(
        "{:<28} {:>10} {:>10} {:>7}   {:<24} {:>10} {:>10} {:>8} {:>10}",
        "scenario", "ours", "p99", "allocs", "peer", "peer's", "p99", "allocs", "ratio"
    )
}

impl Row {
    pub(crate) fn json(&self) -> Value {
        let mut object = serde_json::json!({ "scenario": self.scenario });
        self.ours.put(&mut object, "ours");
        match self.peer {
            None => {}
            Some((name, Ok(measured))) => {
                object["peer"] = name.into();
                measured.put(&mut object, "peer");
                object["ratio"] = round(self.ours.ratio(measured)).into();
            }
            Some((name, Err(reason))) => {
                object["peer"] = name.into();
                object["reason"] = reason.into();
            }
        }
        for (name, value) in self.note.iter().filter_map(|note| note.members.as_object()).flatten()
        {
            object[name.as_str()] = value.clone();
        }
        object
    }

    pub(crate) fn line(&self) -> String {
        match &self.note {
            Some(note) => format!("{}\n  {}", self.numbers(), note.text),
            None => self.numbers(),
        }
    }

    fn numbers(&self) -> String {
        let [took, p99, allocs] = self.ours.columns();
        let ours = format!("{:<28} {took:>10} {p99:>10} {allocs:>7}", self.scenario);
        match self.peer {
            None => ours,
            Some((name, Ok(measured))) => {
                let [took, p99, allocs] = measured.columns();
                let ratio = self.ours.ratio(measured);
                format!("{ours}   {name:<24} {took:>10} {p99:>10} {allocs:>8} {ratio:>9.2}x")
            }
            Some((name, Err(reason))) => format!("{ours}   {name:<24} cannot: {reason}"),
        }
    }
}

impl Measured {
    fn put(self, object: &mut Value, whose: &str) {
        match self {
            Self::Time(cost) => {
                object[format!("{whose}_ns")] = round(cost.ns).into();
                object[format!("{whose}_p99_ns")] = round(cost.p99).into();
                object[format!("{whose}_allocs")] = round(cost.allocs).into();
            }
            Self::Bytes(bytes) => object[format!("{whose}_bytes")] = bytes.into(),
            Self::Load(window) => window.put(object, whose),
        }
    }

    fn columns(self) -> [String; 3] {
        match self {
            Self::Time(cost) => [time(cost.ns), time(cost.p99), round(cost.allocs).to_string()],
            Self::Bytes(bytes) => [format!("{:.1} MB", bytes as f64 / 1e6), "".into(), "".into()],
            Self::Load(window) => [time(window.cpu_ns), time(window.p99_ns), "".into()],
        }
    }

    fn ratio(self, peer: Self) -> f64 {
        peer.size() / self.size()
    }

    fn size(self) -> f64 {
        match self {
            Self::Time(cost) => cost.ns,
            Self::Bytes(bytes) => bytes as f64,
            Self::Load(window) => window.cpu_ns,
        }
    }
}

pub(crate) fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

pub(crate) fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.1} ns"),
        1e3..1e6 => format!("{:.2} us", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}
