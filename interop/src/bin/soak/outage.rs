//! When a peer was to be refused, and what that says of a request.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many outages are remembered: those that a request under way could have met, and more.
const REMEMBERED: usize = 16;

/// A time in which somebody is to be refused. It begins and ends over a moment, in which the news
/// reaches one server after the other: within those moments a request may go either way.
#[derive(Clone, Copy, Debug)]
struct Outage {
    begins: Instant,
    began: Option<Instant>,
    ends: Option<Instant>,
    ended: Option<Instant>,
}

/// The outages of one peer.
#[derive(Debug, Default)]
pub struct Outages(Mutex<Vec<Outage>>);

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded, as it should.
    Answered,
    /// It failed, as it should.
    Refused,
    /// It failed, and should not have.
    Dropped,
    /// It succeeded, and should not have.
    Lingered,
}

impl Outages {
    /// Servers are about to be told to refuse.
    pub fn begins(&self) {
        let mut outages = self.0.lock().unwrap();
        if outages.len() >= REMEMBERED {
            outages.remove(0);
        }
        let begins = Instant::now();
        outages.push(Outage { begins, began: None, ends: None, ended: None });
    }

    /// All of them were told.
    pub fn began(&self) {
        self.last(|outage| outage.began = Some(Instant::now()));
    }

    /// Servers are about to be told to accept again.
    pub fn ends(&self) {
        self.last(|outage| outage.ends = Some(Instant::now()));
    }

    /// All of them were told.
    pub fn ended(&self) {
        self.last(|outage| outage.ended = Some(Instant::now()));
    }

    fn last(&self, change: impl FnOnce(&mut Outage)) {
        if let Some(outage) = self.0.lock().unwrap().last_mut() {
            change(outage);
        }
    }

    /// What a request from `from` to `to` was, where a refusal has to work after `bound`; and how
    /// long after all servers were told it succeeded, if it did.
    pub fn judge(
        &self,
        from: Instant,
        to: Instant,
        succeeded: bool,
        bound: Duration,
    ) -> (Verdict, Option<Duration>) {
        let outages = self.0.lock().unwrap();
        if !succeeded {
            let met = |outage: &Outage| {
                to >= outage.begins && outage.ended.is_none_or(|ended| from <= ended)
            };
            let refused = outages.iter().any(met);
            return (if refused { Verdict::Refused } else { Verdict::Dropped }, None);
        }
        // What is under way when a server is told may finish, so the beginning counts.
        let late = outages.iter().find_map(|outage| {
            let before_end = outage.ends.is_none_or(|ends| to < ends);
            let after = from.checked_duration_since(outage.began?)?;
            before_end.then_some(after)
        });
        match late {
            Some(after) if after > bound => (Verdict::Lingered, late),
            Some(_) | None => (Verdict::Answered, late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(20);

    /// Refused from second 1 to second 2, each told over 100 ms.
    fn outages(zero: Instant) -> Outages {
        let at = |ms| Some(zero + Duration::from_millis(ms));
        Outages(Mutex::new(vec![Outage {
            begins: at(1_000).unwrap(),
            began: at(1_100),
            ends: at(2_000),
            ended: at(2_100),
        }]))
    }

    #[test]
    fn what_a_request_was_follows_from_when_it_was_made() {
        let zero = Instant::now();
        let outages = outages(zero);
        let judge = |from, to, succeeded| {
            let at = |ms| zero + Duration::from_millis(ms);
            outages.judge(at(from), at(to), succeeded, BOUND).0
        };
        for (from, to, of_success, of_failure) in [
            (100, 900, Verdict::Answered, Verdict::Dropped),
            (900, 1_000, Verdict::Answered, Verdict::Refused),
            (1_050, 1_060, Verdict::Answered, Verdict::Refused),
            (1_110, 1_900, Verdict::Answered, Verdict::Refused),
            (1_121, 1_122, Verdict::Lingered, Verdict::Refused),
            (1_900, 2_001, Verdict::Answered, Verdict::Refused),
            (2_050, 2_300, Verdict::Answered, Verdict::Refused),
            (2_101, 2_300, Verdict::Answered, Verdict::Dropped),
        ] {
            assert_eq!(judge(from, to, true), of_success, "{from} to {to}");
            assert_eq!(judge(from, to, false), of_failure, "{from} to {to}");
        }
    }

    #[test]
    fn an_outage_without_end_goes_on() {
        let outages = Outages::default();
        let zero = Instant::now();
        assert_eq!(outages.judge(zero, zero, false, BOUND).0, Verdict::Dropped);
        outages.begins();
        outages.began();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(outages.judge(later, later, false, BOUND).0, Verdict::Refused);
        assert_eq!(outages.judge(later, later, true, BOUND).0, Verdict::Lingered);
        outages.ends();
        outages.ended();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(outages.judge(later, later, true, BOUND).0, Verdict::Answered);
    }
}
