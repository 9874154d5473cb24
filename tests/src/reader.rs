//! Whoever follows a [page](crate::page): a shell, the files in its folder, and what stays up.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::page::{Placed, Step, Wrong, changed, compare, is_told};

/// How long a command may take, and what stays up to be up: a first build takes minutes.
const BUILT: Duration = Duration::from_secs(1200);
/// How long what stays up may take to say something that happened.
const SAID: Duration = Duration::from_secs(30);
/// In front of the folder that a command left the shell in.
const MARK: &str = "\u{1e}";

/// A shell in a folder, and what it keeps up.
pub struct Reader {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    shell: Child,
    stdin: ChildStdin,
    printed: Receiver<String>,
    staying: Option<Staying>,
    /// What goes beside each `Cargo.toml` that is written: the versions that are tested.
    lock_file: Option<PathBuf>,
}

impl Reader {
    /// Begins in this folder, with these variables beside those of the process.
    pub fn new(folder: &Path, variables: &[(&str, &str)]) -> std::io::Result<Self> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let variables: Vec<(String, String)> = variables.collect();
        let mut shell = Command::new("sh")
            .current_dir(folder)
            .envs(variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = shell.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let printed = lines(shell.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?);
        let folder = folder.to_owned();
        Ok(Self { folder, variables, shell, stdin, printed, staying: None, lock_file: None })
    }

    /// Builds with the versions of this `Cargo.lock`.
    pub fn with_lock_file(mut self, path: &Path) -> Self {
        self.lock_file = Some(path.into());
        self
    }

    /// Does what a step of a page says.
    pub fn follow(&mut self, placed: &Placed) -> Result<(), Wrong> {
        let outcome = match &placed.step {
            Step::Write { path, text } => self.write(path, text),
            Step::Change { path, hunks } => {
                self.read(path).and_then(|file| self.write(path, &changed(&file, hunks)?))
            }
            Step::Whole { path, text } => self.read(path).and_then(|file| {
                let same = file == *text;
                if same { Ok(()) } else { Err(Wrong(format!("{path} is by now\n{file}"))) }
            }),
            Step::Run { command, prints } => self
                .run(command)
                .and_then(|printed| compare(prints, &printed))
                .map_err(|Wrong(why)| Wrong(format!("$ {command}\n{why}"))),
            Step::Stay { command, prints } => self
                .stay(command, prints)
                .map_err(|Wrong(why)| Wrong(format!("$ {command}\n{why}"))),
            Step::Says { prints } => match &self.staying {
                Some(staying) => prints.iter().try_for_each(|told| staying.says(told)),
                None => Err(Wrong("nothing stays up".into())),
            },
        };
        let at = format!("line {}, {}", placed.line, placed.heading);
        outcome.map_err(|Wrong(why)| Wrong(format!("{at}: {why}")))
    }

    fn read(&self, path: &str) -> Result<String, Wrong> {
        fs::read_to_string(self.folder.join(path))
            .map_err(|error| Wrong(format!("{path}: {error}")))
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Wrong> {
        let target = self.folder.join(path);
        let folder = target.parent().unwrap_or(&self.folder);
        let mut written = fs::create_dir_all(folder).and_then(|()| fs::write(&target, text));
        if let (true, Some(lock_file)) = (path.ends_with("Cargo.toml"), &self.lock_file) {
            written =
                written.and_then(|()| fs::copy(lock_file, folder.join("Cargo.lock"))).map(drop);
        }
        written.map_err(|error| Wrong(format!("{path}: {error}")))
    }

    /// All that the command prints, on either stream.
    fn run(&mut self, command: &str) -> Result<String, Wrong> {
        let script = format!("{{ {command}\n}} </dev/null 2>&1\nprintf '\\n\\036%s\\n' \"$PWD\"\n");
        let sent = self.stdin.write_all(script.as_bytes()).and_then(|()| self.stdin.flush());
        sent.map_err(|error| Wrong(format!("the shell is gone: {error}")))?;
        let (mut printed, deadline) = (String::new(), Instant::now() + BUILT);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.printed.recv_timeout(left);
            let line =
                line.map_err(|_| Wrong(format!("it never ended, and printed\n{printed}")))?;
            if let Some(folder) = line.strip_prefix(MARK) {
                self.folder = folder.into();
                return Ok(printed.trim_end().to_owned());
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }

    fn stay(&mut self, command: &str, prints: &[String]) -> Result<(), Wrong> {
        self.staying = None;
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command} 2>&1")])
            .current_dir(&self.folder)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| Wrong(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| Wrong("no output".into()))?;
        let staying = self.staying.insert(Staying { child, printed: lines(stdout) });
        let deadline = Instant::now() + BUILT;
        for told in prints {
            let left = deadline.saturating_duration_since(Instant::now());
            match staying.printed.recv_timeout(left) {
                Ok(line) if is_told(told, &line) => {}
                Ok(line) => {
                    let rest: Vec<String> = staying.printed.try_iter().collect();
                    let rest = rest.join("\n");
                    return Err(Wrong(format!(
                        "the page says\n{told}\nand this was printed\n{line}\n{rest}"
                    )));
                }
                Err(_) => return Err(Wrong(format!("it never printed\n{told}"))),
            }
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A command that stays up until this is dropped.
struct Staying {
    child: Child,
    printed: Receiver<String>,
}

impl Staying {
    fn says(&self, told: &str) -> Result<(), Wrong> {
        let (mut others, deadline) = (String::new(), Instant::now() + SAID);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) if is_told(told, &line) => return Ok(()),
                Ok(line) => others = format!("{others}{line}\n"),
                Err(_) => {
                    return Err(Wrong(format!(
                        "it never said\n{told}\nand this was printed\n{others}"
                    )));
                }
            }
        }
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // With what it has started itself.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}
