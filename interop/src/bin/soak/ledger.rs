//! What became of every request.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::outage::{Outages, Verdict};

/// How many of what went wrong are told in full.
const TOLD: usize = 20;

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Three requests at once on one HTTP/2 connection, for as long as the server keeps it.
    Http2,
    /// Requests of a second and a half on one HTTP/2 connection, for as long as the server keeps it.
    Slow,
    /// One request after the other on one HTTP/1.1 connection, for four seconds.
    Http1,
    /// Each request on a connection of its own.
    Fresh,
    /// Bytes there and back on a stream, for four seconds, at a server that never asks the lease.
    Stream,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Http2, Self::Slow, Self::Http1, Self::Fresh, Self::Stream];

    const fn name(self) -> &'static str {
        match self {
            Self::Http2 => "HTTP/2, kept",
            Self::Slow => "HTTP/2, slow",
            Self::Http1 => "HTTP/1.1, kept",
            Self::Fresh => "HTTP/1.1, new",
            Self::Stream => "stream, kept",
        }
    }

    /// Within which time of the last server being told a peer has to be refused. A server of HTTP
    /// asks before each request, so it is refused at once. Streams are looked at once a second, and
    /// break a second after that; one more is for a machine that is busy.
    pub const fn bound(self) -> Duration {
        match self {
            Self::Http2 | Self::Slow | Self::Http1 | Self::Fresh => Duration::ZERO,
            Self::Stream => Duration::from_secs(3),
        }
    }
}

/// One request.
#[derive(Debug)]
pub struct Asked<'a> {
    pub kind: Kind,
    pub client: &'a str,
    pub from: Instant,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    kinds: [Row; 5],
    told: usize,
}

#[derive(Clone, Debug, Default)]
struct Row {
    answered: u64,
    refused: u64,
    dropped: u64,
    lingered: u64,
    moved: u64,
    connections: u64,
    latest: Duration,
    times: Times,
}

impl Ledger {
    /// Enters a request that has just ended, and says what it was.
    pub fn enter(&self, asked: Asked<'_>, outages: &Outages) -> Verdict {
        let to = Instant::now();
        let Asked { kind, client, from, failed } = asked;
        let (verdict, late) = outages.judge(from, to, failed.is_none(), kind.bound());
        let mut books = self.0.lock().unwrap();
        let row = &mut books.kinds[kind as usize];
        match verdict {
            Verdict::Answered => row.answered += 1,
            Verdict::Refused => row.refused += 1,
            Verdict::Dropped => row.dropped += 1,
            Verdict::Lingered => row.lingered += 1,
        }
        if failed.is_none() {
            row.times.note(to - from);
        }
        row.latest = row.latest.max(late.unwrap_or_default());
        if matches!(verdict, Verdict::Dropped | Verdict::Lingered) && books.told < TOLD {
            let why = failed.unwrap_or_else(|| format!("{late:?} late"));
            let took = (to - from).as_millis();
            println!("{verdict:?}: {} of {client}, {took} ms: {why}", kind.name());
            books.told += 1;
        }
        verdict
    }

    /// A client made a connection.
    pub fn connected(&self, kind: Kind) {
        self.0.lock().unwrap().kinds[kind as usize].connections += 1;
    }

    /// A request found its connection closed before it was sent, and took another one.
    pub fn moved(&self, kind: Kind) {
        self.0.lock().unwrap().kinds[kind as usize].moved += 1;
    }

    /// Answered, refused, dropped, lingered.
    pub fn counts(&self) -> [u64; 4] {
        self.0.lock().unwrap().kinds.iter().fold([0; 4], |[a, b, c, d], row| {
            [a + row.answered, b + row.refused, c + row.dropped, d + row.lingered]
        })
    }

    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let [answered, refused, dropped, lingered] = self.counts();
        if dropped + lingered > 0 {
            findings.push(format!("{dropped} requests were dropped, {lingered} lingered"));
        }
        if answered == 0 || refused == 0 {
            findings.push(format!("{answered} requests were answered, {refused} refused"));
        }
        findings
    }

    pub fn report(&self) -> String {
        let mut text = String::from(
            "kind             connections  answered   refused  dropped  lingered  moved   p50 ms   \
             p99 ms   max ms  last answer after\n",
        );
        for (kind, row) in Kind::ALL.iter().zip(&self.0.lock().unwrap().kinds) {
            let Row { connections, answered, refused, dropped, lingered, moved, .. } = row;
            let [p50, p99, max] = row.times.report();
            let latest = row.latest.as_millis();
            let bound = kind.bound().as_millis();
            let _ = writeln!(
                text,
                "{:<16} {connections:>11} {answered:>9} {refused:>9} {dropped:>8} {lingered:>9} \
                 {moved:>6} {p50:>8.1} {p99:>8.1} {max:>8.1}  {latest} ms (bound {bound} ms)",
                kind.name()
            );
        }
        text
    }
}

/// Times in buckets, each a twelfth longer than the one before.
#[derive(Clone, Debug)]
struct Times {
    buckets: Vec<u64>,
    longest: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: vec![0; 256], longest: Duration::ZERO }
    }
}

impl Times {
    const GROWTH: f64 = 13.0 / 12.0;

    fn note(&mut self, time: Duration) {
        let micros = (time.as_micros() as f64).max(1.0);
        let bucket = (micros.ln() / Self::GROWTH.ln()) as usize;
        let last = self.buckets.len() - 1;
        self.buckets[bucket.min(last)] += 1;
        self.longest = self.longest.max(time);
    }

    fn report(&self) -> [f64; 3] {
        [self.quantile(0.5), self.quantile(0.99), self.longest.as_secs_f64() * 1_000.0]
    }

    fn quantile(&self, part: f64) -> f64 {
        let wanted = part * self.buckets.iter().sum::<u64>() as f64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen as f64 >= wanted && seen > 0 {
                let upto = Self::GROWTH.powi(bucket as i32 + 1) / 1_000.0;
                return upto.min(self.longest.as_secs_f64() * 1_000.0);
            }
        }
        0.0
    }
}
