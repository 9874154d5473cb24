//! Lines that a person likes to look at: coloured on a terminal, plain elsewhere, 120 columns.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use zt_examples::client::Answer;

pub use zt_examples::chain;

const TITLE: usize = 23;
const CALLER: usize = 18;
const REQUEST: usize = 23;
const ANSWER: usize = 14;
const WHY: usize = 32;

/// One scene, or one request.
pub struct Line<'a> {
    /// Whether it went as expected, where something was.
    pub expected: Option<bool>,
    pub title: &'a str,
    pub caller: &'a str,
    pub request: &'a str,
    pub answer: &'a str,
    pub allowed: bool,
    pub why: &'a str,
    /// None where no policy was asked.
    pub deciding: Option<Duration>,
}

/// Where lines are shown.
#[derive(Clone, Copy)]
pub struct Screen {
    colour: bool,
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Self {
        let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: std::io::stdout().is_terminal() && !asked_not_to }
    }

    pub fn text(self, text: &str) {
        put(text);
    }

    pub fn dim(self, text: &str) {
        put(&self.paint(DIM, text));
    }

    pub fn heading(self, text: &str) {
        put(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// The names of the columns.
    pub fn columns(self, first: &str) {
        let row = format!(
            "  {first:TITLE$}{:CALLER$}{:REQUEST$}{:ANSWER$}{:WHY$}deciding",
            "caller", "request", "answer", "decided by, or why not"
        );
        put(&format!("\n{}", self.paint(DIM, row.trim_end())));
    }

    pub fn line(self, line: &Line<'_>) {
        let mark = match line.expected {
            Some(true) => self.paint(GREEN, "✓"),
            Some(false) => self.paint(RED, "✗"),
            None => " ".into(),
        };
        let answer = fit(line.answer, ANSWER);
        let deciding = line.deciding.map_or_else(|| format!("{:>8}", "-"), micros);
        put(&format!(
            "{mark} {}{}{}{}{}{}",
            self.paint(BOLD, &fit(line.title, TITLE)),
            fit(line.caller, CALLER),
            fit(line.request, REQUEST),
            self.paint(if line.allowed { GREEN } else { YELLOW }, &answer),
            fit(line.why, WHY),
            self.paint(DIM, &deciding),
        ));
    }

    /// The last line: whether all is well.
    pub fn verdict(self, well: bool, text: &str) {
        put(&format!("\n{}", self.paint(if well { GREEN } else { RED }, text)));
    }

    fn paint(self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.into() }
    }
}

/// Whoever reads may have left, as `head` does: the outcome counts all the same.
fn put(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// As wide as the column, with a space at its end; what does not fit is cut.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return format!("{text:width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}… ")
}

fn micros(time: Duration) -> String {
    format!("{:>5} µs", time.as_micros())
}

/// An answer, as its column says it.
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Http { status, challenge, .. } => {
            let step_up = challenge
                .as_deref()
                .is_some_and(|challenge| challenge.contains("insufficient_user_authentication"));
            if step_up {
                format!("{} step up", status.as_u16())
            } else {
                status.as_u16().to_string()
            }
        }
        Answer::Alert(alert) => format!("TLS alert {}", u8::from(*alert)),
    }
}

/// What is behind everything.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
