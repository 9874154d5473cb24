//! Chromium without a window.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::peers::present;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/browser.mjs");
const PROGRAM: &str = "chromium-headless-shell";

/// Whether it is here, and node to drive it.
///
/// # Panics
///
/// When it is not and `ZT_REQUIRE_PEERS=1` is set.
pub fn is_present() -> bool {
    present(&[&["node", "--version"], &[PROGRAM, "--version"]])
}

/// A browser with one page, until it is dropped.
#[derive(Debug)]
pub struct Chromium {
    driver: Child,
    /// `None` when it is to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What a page shows.
#[derive(Debug)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its text, as a reader sees it.
    pub text: String,
}

impl Chromium {
    /// Starts it, with a new profile in this folder.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(profile: &Path) -> Self {
        let mut driver = Command::new("node")
            .args([SCRIPT, PROGRAM])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let commands = driver.stdin.take();
        let answers = BufReader::new(driver.stdout.take().expect("piped"));
        Self { driver, commands, answers }
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) -> Page {
        self.command(&json!(["go", url]))
    }

    /// Clicks what this selector finds, which leads to another page.
    pub fn click(&mut self, selector: &str) -> Page {
        self.command(&json!(["click", selector]))
    }

    /// Types into the field that this selector finds.
    pub fn fill(&mut self, selector: &str, text: &str) -> Page {
        self.command(&json!(["fill", selector, text]))
    }

    /// Takes a picture of the page, in PNG.
    pub fn screenshot(&mut self, path: &Path) -> Page {
        self.command(&json!(["screenshot", path]))
    }

    fn command(&mut self, command: &Value) -> Page {
        writeln!(self.commands.as_ref().expect("piped"), "{command}").expect("it runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("its output");
        let page: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(page["error"].is_null(), "{command}: {}", page["error"]);
        let text = |name: &str| page[name].as_str().expect("text").to_owned();
        Page { url: text("url"), title: text("title"), text: text("text") }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The end of its input ends it, and Chromium with it.
        self.commands = None;
        let _ = self.driver.wait();
    }
}
