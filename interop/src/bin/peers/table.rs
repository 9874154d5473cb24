//! One line for each case.

use crate::ours::Seen;
use zt_tls::events::Reason;

/// What is to come of a case.
#[derive(Clone, Debug)]
pub enum Expected {
    Answered,
    ByOurs(Reason),
    ByTheirs,
    /// This, to the letter.
    Text(&'static str),
}

impl Expected {
    fn text(&self) -> String {
        match self {
            Self::Answered => "answered".into(),
            Self::ByOurs(reason) => format!("refused by us: {}", reason.name()),
            Self::ByTheirs => "refused by the peer".into(),
            Self::Text(text) => (*text).into(),
        }
    }
}

/// The table, printed as it grows.
#[derive(Default)]
pub struct Table {
    rows: usize,
    deviations: usize,
}

impl Table {
    pub fn heading(&self) {
        row(" ", &["peer", "role", "case", "expected", "outcome"]);
    }

    /// A case of which this was seen; an error is a peer that could not be run.
    pub fn seen(&mut self, of: [&str; 3], expected: &Expected, seen: Result<Seen, String>) {
        let (outcome, detail) = match seen {
            Ok(Seen::Answered) => ("answered".to_owned(), String::new()),
            Ok(Seen::RefusedByOurs(reason)) => {
                (format!("refused by us: {}", reason.name()), String::new())
            }
            Ok(Seen::RefusedByTheirs(why)) => ("refused by the peer".into(), why),
            Err(error) => ("could not be run".into(), error),
        };
        self.add(of, expected, &outcome, &detail);
    }

    /// A case that ended in these words.
    pub fn said(&mut self, of: [&str; 3], expected: &Expected, said: Result<String, String>) {
        match said {
            Ok(said) => self.add(of, expected, &said, ""),
            Err(error) => self.add(of, expected, "failed", &error),
        }
    }

    fn add(
        &mut self,
        [peer, role, case]: [&str; 3],
        expected: &Expected,
        outcome: &str,
        detail: &str,
    ) {
        let expected = expected.text();
        let as_expected = expected == outcome;
        self.rows += 1;
        self.deviations += usize::from(!as_expected);
        let detail = brief(detail);
        let outcome =
            if detail.is_empty() { outcome.into() } else { format!("{outcome} ({detail})") };
        row(if as_expected { "✓" } else { "✗" }, &[peer, role, case, &expected, &outcome]);
    }

    /// Whether all was as expected, and what there was.
    pub fn end(&self) -> bool {
        println!("\n{} cases, {} not as expected", self.rows, self.deviations);
        self.deviations == 0 && self.rows > 0
    }
}

fn row(mark: &str, [peer, role, case, expected, outcome]: &[&str; 5]) {
    println!("{mark} {peer:<17} | {role:<6} | {case:<47} | {expected:<29} | {outcome}");
}

/// The last words of a long story: the cause comes last.
fn brief(text: &str) -> String {
    const MOST: usize = 90;
    let text: Vec<char> =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let from = text.len().saturating_sub(MOST);
    let cut = if from > 0 { "…" } else { "" };
    cut.chars().chain(text[from..].iter().copied()).collect()
}
