//! Cases that this project did not write.
//!
//! They live in `../shared/conformance` beside the workspace, or where `ZT_CONFORMANCE_DIR` says.
//! Where they are missing a test says that it was skipped; with `ZT_REQUIRE_CONFORMANCE=1` it
//! fails instead.

use std::path::{Path, PathBuf};

/// A file or folder of the conformance data; `None` when the data is not there and not required.
///
/// # Panics
///
/// When the data is missing and `ZT_REQUIRE_CONFORMANCE=1` is set, or when the data is there and
/// this part of it is not.
pub fn path(relative: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("ZT_CONFORMANCE_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
    };
    if !root.is_dir() {
        let required = std::env::var_os("ZT_REQUIRE_CONFORMANCE").is_some_and(|v| v == "1");
        assert!(!required, "conformance data is required and missing: {}", root.display());
        println!("conformance {relative}: skipped, as {} is not there", root.display());
        return None;
    }
    let path = root.join(relative);
    assert!(path.exists(), "conformance data has no {}", path.display());
    Some(path)
}

/// A JSON file of the conformance data, as [`path`].
///
/// # Panics
///
/// As [`path`], and when the file is not JSON.
pub fn json(relative: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(path(relative)?).expect("readable");
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// Counts the cases of one set; a case that is answered differently on purpose is named with its
/// reason, and has to differ.
#[derive(Debug)]
pub struct Tally {
    set: &'static str,
    deviations: &'static [(&'static str, &'static str)],
    passed: usize,
    deviated: Vec<String>,
    failures: Vec<String>,
}

impl Tally {
    /// A count for `set`, with the names and reasons of the cases that we answer differently.
    #[must_use]
    pub fn new(set: &'static str, deviations: &'static [(&'static str, &'static str)]) -> Self {
        Self { set, deviations, passed: 0, deviated: Vec::new(), failures: Vec::new() }
    }

    /// Counts one case: `Ok` when we answered as the data says, else what differed.
    pub fn case(&mut self, name: impl Into<String>, outcome: Result<(), String>) {
        let name = name.into();
        let deviates = self.deviations.iter().any(|(listed, _)| *listed == name);
        match (outcome, deviates) {
            (Ok(()), false) => self.passed += 1,
            (Err(_), true) => self.deviated.push(name),
            (Err(why), false) => self.failures.push(format!("{name}: {why}")),
            (Ok(()), true) => {
                self.failures.push(format!("{name}: listed as a deviation, and it passes"));
            }
        }
    }

    /// Prints the count and fails below the total.
    ///
    /// # Panics
    ///
    /// When a case failed, when there was no case, or when a listed deviation did not occur.
    pub fn finish(self) {
        let total = self.passed + self.failures.len() + self.deviated.len();
        let answered = self.passed + self.deviated.len();
        println!("conformance {}: {answered}/{total}", self.set);
        for (name, reason) in self.deviations {
            println!("  on purpose otherwise: {name}: {reason}");
            assert!(self.deviated.iter().any(|seen| seen == name), "no case is named {name}");
        }
        assert!(total > 0, "conformance {}: no case was run", self.set);
        assert!(
            self.failures.is_empty(),
            "conformance {}: {} failed\n{}",
            self.set,
            self.failures.len(),
            self.failures.join("\n")
        );
    }
}
