//! How a measurement is shown.

use serde_json::Value;

use crate::measure::Cost;

/// Ours beside one peer, if there is one and it can do the work.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) ours: Cost,
    pub(crate) peer: Option<(&'static str, Result<Cost, &'static str>)>,
}

/// The line above all rows.
pub(crate) fn head() -> String {
    format!(
        "{:<28} {:>12} {:>8}   {:<24} {:>12} {:>8} {:>10}",
        "scenario", "ours", "allocs", "peer", "peer's", "allocs", "ratio"
    )
}

impl Row {
    pub(crate) fn json(&self) -> Value {
        let mut object = serde_json::json!({
            "scenario": self.scenario,
            "ours_ns": round(self.ours.ns),
            "ours_allocs": round(self.ours.allocs),
        });
        match self.peer {
            None => {}
            Some((name, Ok(cost))) => {
                object["peer"] = name.into();
                object["peer_ns"] = round(cost.ns).into();
                object["peer_allocs"] = round(cost.allocs).into();
                object["ratio"] = round(cost.ns / self.ours.ns).into();
            }
            Some((name, Err(reason))) => {
                object["peer"] = name.into();
                object["reason"] = reason.into();
            }
        }
        object
    }

    pub(crate) fn line(&self) -> String {
        let (took, allocs) = (time(self.ours.ns), round(self.ours.allocs));
        let ours = format!("{:<28} {took:>12} {allocs:>8}", self.scenario);
        match self.peer {
            None => ours,
            Some((name, Ok(cost))) => format!(
                "{ours}   {name:<24} {:>12} {:>8} {:>9.2}x",
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
