//! A program that runs beside us and ends with us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::peer::Outcome;

/// How long a program may take to start, and to answer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A running program. It is killed when this is dropped.
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
}

impl Process {
    /// Starts it; what it says of errors goes to a file in `folder`.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        folder: &Path,
    ) -> Outcome<Self> {
        let errors = folder.join("errors.txt");
        let stderr = File::create(&errors).map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Self { child, input, output, errors })
    }

    /// The next line that it says.
    pub async fn line(&mut self) -> Outcome<String> {
        match timeout(LIMIT, self.output.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            _ => Err(format!("it says nothing: {}", self.errors())),
        }
    }

    /// Gives it an empty line.
    pub async fn nudge(&mut self) -> Outcome<()> {
        self.input.write_all(b"\n").await.map_err(|error| error.to_string())
    }

    /// Waits until it listens.
    pub async fn listens(&mut self, at: SocketAddr) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(at).await.is_err() {
            self.goes_on(began, "listen")?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// An error once it has ended, or has taken too long.
    pub fn goes_on(&mut self, since: Instant, to: &str) -> Outcome<()> {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) || since.elapsed() > LIMIT {
            return Err(format!("it does not {to}: {}", self.errors()));
        }
        Ok(())
    }

    /// What it said of errors, and of how it goes.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Its number.
    pub fn id(&self) -> Outcome<u32> {
        self.child.id().ok_or_else(|| format!("it has ended: {}", self.errors()))
    }

    /// The end of what it said.
    pub fn errors(&self) -> String {
        let text = self.said();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

/// A port that nobody listened at a moment ago, for programs that cannot choose one.
pub fn free_port() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}
