//! What the process takes: memory, file descriptors, tasks, time of the processor.

use std::fmt;
use std::fs;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::ledger::Ledger;

/// Until then nothing is compared: buffers find their size, and the allocator its pages.
const WARM_UP: Duration = Duration::from_secs(60);
/// By how much the memory in use may differ between the first and the last tenth after that.
const MARGIN: (f64, f64) = (0.05, 4.0);
/// How often a line is printed.
const EVERY: Duration = Duration::from_secs(60);
const PAGE: f64 = 4096.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What is in use at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    rss: f64,
    files: usize,
    tasks: usize,
    threads: usize,
}

impl Usage {
    pub fn now() -> Self {
        let memory = fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: f64 = memory.split_whitespace().nth(1).expect("pages").parse().expect("pages");
        let count = |folder: &str| fs::read_dir(folder).expect("Linux").count();
        Self {
            rss: pages * PAGE / MIB,
            files: count("/proc/self/fd"),
            tasks: Handle::current().metrics().num_alive_tasks(),
            threads: count("/proc/self/task"),
        }
    }

    /// Whether there are more files or tasks than at another moment.
    pub const fn grew_over(&self, before: &Self) -> bool {
        self.files > before.files || self.tasks > before.tasks
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss, files, tasks, threads } = self;
        write!(f, "{rss:.1} MiB, {files} files, {tasks} tasks, {threads} threads")
    }
}

/// Usage over time, once a second.
#[derive(Debug)]
pub struct Samples {
    warm_up: Duration,
    taken: Vec<Usage>,
    printed: Duration,
}

impl Samples {
    pub fn new(lasts: Duration) -> Self {
        Self { warm_up: WARM_UP.min(lasts / 4), taken: Vec::new(), printed: Duration::ZERO }
    }

    pub fn heading(&self) -> &'static str {
        "   time  answered   refused  dropped  lingered  in use"
    }

    /// Takes a sample, and says how it goes, now and then.
    pub fn take(&mut self, at: Duration, ledger: &Ledger) -> Option<String> {
        let usage = Usage::now();
        if at >= self.warm_up {
            self.taken.push(usage);
        }
        if at < self.printed {
            return None;
        }
        self.printed += EVERY;
        let [answered, refused, dropped, lingered] = ledger.counts();
        let seconds = at.as_secs();
        Some(format!(
            "{seconds:>6}s {answered:>9} {refused:>9} {dropped:>8} {lingered:>9}  {usage}"
        ))
    }

    /// The means of the first and the last tenth.
    fn ends(&self) -> [Mean; 2] {
        let tenth = (self.taken.len() / 10).max(1).min(self.taken.len());
        [&self.taken[..tenth], &self.taken[self.taken.len() - tenth..]].map(Mean::of)
    }

    pub fn findings(&self) -> Vec<String> {
        let [first, last] = self.ends();
        let mut findings = Vec::new();
        let (part, mib) = MARGIN;
        if last.rss > first.rss * (1.0 + part) + mib {
            findings.push(format!("memory grew from {:.1} to {:.1} MiB", first.rss, last.rss));
        }
        for (what, first, last) in [
            ("files", first.files, last.files),
            ("tasks", first.tasks, last.tasks),
            ("threads", first.threads, last.threads),
        ] {
            if last > first * 1.25 + 10.0 {
                findings.push(format!("{what} in use grew from {first:.0} to {last:.0}"));
            }
        }
        findings
    }

    pub fn report(&self, lasted: Duration) -> String {
        let [first, last] = self.ends();
        let (part, mib) = MARGIN;
        format!(
            "in use    {first} after warming up; {last} at the end (memory may grow by {:.0} % + \
             {mib} MiB)\nprocessor {:.0} % of one core over {} s",
            part * 100.0,
            100.0 * processor_seconds() / lasted.as_secs_f64(),
            lasted.as_secs()
        )
    }
}

/// The mean of several.
struct Mean {
    rss: f64,
    files: f64,
    tasks: f64,
    threads: f64,
}

impl Mean {
    fn of(usages: &[Usage]) -> Self {
        let count = usages.len().max(1) as f64;
        let mean = |of: fn(&Usage) -> f64| usages.iter().map(of).sum::<f64>() / count;
        Self {
            rss: mean(|usage| usage.rss),
            files: mean(|usage| usage.files as f64),
            tasks: mean(|usage| usage.tasks as f64),
            threads: mean(|usage| usage.threads as f64),
        }
    }
}

impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss, files, tasks, threads } = self;
        write!(f, "{rss:.1} MiB, {files:.0} files, {tasks:.0} tasks, {threads:.0} threads")
    }
}

/// What the process has computed, in ticks of 10 ms.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap_or(0.0)).sum();
    ticks / 100.0
}
