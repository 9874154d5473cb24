//! A page of the documentation, read as its reader does: files are written and changed, commands are
//! run, and what they print is compared with what the page says.
//!
//! | a block of code | does |
//! |---|---|
//! | ` ```rust src/main.rs ` | writes the file, in whatever folder the commands have gone to |
//! | ` ```diff src/main.rs ` | changes the file: the lines of a hunk stand in it once; `@@` is between hunks |
//! | ` ```rust src/main.rs whole ` | says what the file is by now |
//! | ` ```console ` | runs each line that begins with `$ `, in one shell, and says all that it prints |
//! | ` ```console stays ` | the same for one command that stays up, until the next one of these |
//! | ` ```console says ` | lines that it has printed since; there may be others between them |
//! | ` ```text ` | does nothing |
//!
//! A block of any other kind is an error. In what is printed, `…` stands for whatever is different
//! each time, within a line that says something else as well.

use std::fmt;

/// What a block of a page is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The file is written.
    Write { path: String, text: String },
    /// The file is changed.
    Change { path: String, hunks: Vec<Hunk> },
    /// The file is this by now.
    Whole { path: String, text: String },
    /// The command runs, and prints these lines.
    Run { command: String, prints: Vec<String> },
    /// The command stays up, once it has printed these lines.
    Stay { command: String, prints: Vec<String> },
    /// What stays up has printed these lines since.
    Says { prints: Vec<String> },
}

/// A step, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The heading above it.
    pub heading: String,
    /// The line of the page, from 1.
    pub line: usize,
    pub step: Step,
}

/// Lines that are replaced by others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hunk {
    before: Vec<String>,
    after: Vec<String>,
}

/// What is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn wrong<T>(text: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(text.into()))
}

/// The steps of a page, in its order.
pub fn parse(markdown: &str) -> Result<Vec<Placed>, Wrong> {
    let (mut steps, mut heading) = (Vec::new(), String::new());
    let mut lines = markdown.lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        if let Some(title) = text.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_owned();
        }
        let Some(info) = text.strip_prefix("```") else { continue };
        let body: Vec<&str> =
            lines.by_ref().map(|(text, _)| text).take_while(|text| *text != "```").collect();
        let steps_of_block = block(info, &body)
            .map_err(|Wrong(why)| Wrong(format!("line {line}, {heading}: {why}")))?;
        let place = |step| Placed { heading: heading.clone(), line, step };
        steps.extend(steps_of_block.into_iter().map(place));
    }
    Ok(steps)
}

fn block(info: &str, body: &[&str]) -> Result<Vec<Step>, Wrong> {
    let words: Vec<&str> = info.split_whitespace().collect();
    let text = || body.iter().map(|line| format!("{line}\n")).collect::<String>();
    Ok(match *words {
        ["text"] => Vec::new(),
        ["console"] => commands(body)?
            .into_iter()
            .map(|(command, prints)| Step::Run { command, prints })
            .collect(),
        ["console", "stays"] => match commands(body)?.as_slice() {
            [(command, prints)] if !prints.is_empty() => {
                vec![Step::Stay { command: command.clone(), prints: prints.clone() }]
            }
            _ => return wrong("what stays is one command, and prints something"),
        },
        ["console", "says"] => {
            let prints = body.iter().map(|line| (*line).to_owned()).collect();
            vec![Step::Says { prints: told(prints)? }]
        }
        ["diff", path] => vec![Step::Change { path: path.into(), hunks: hunks(body)? }],
        [_, path, "whole"] => vec![Step::Whole { path: path.into(), text: text() }],
        [language, path] if language != "console" => {
            vec![Step::Write { path: path.into(), text: text() }]
        }
        _ => return wrong(format!("nobody knows what a block of {info:?} does")),
    })
}

/// Each command, and what it prints. One that ends with a backslash goes on in the next line.
fn commands(body: &[&str]) -> Result<Vec<(String, Vec<String>)>, Wrong> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((command, _))) if command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, prints))) => prints.push((*line).to_owned()),
            (None, None) => return wrong("the first line is no command"),
        }
    }
    if commands.is_empty() {
        return wrong("there is no command");
    }
    commands.into_iter().map(|(command, prints)| Ok((command, told(prints)?))).collect()
}

/// A line that is nothing but `…` would say nothing.
fn told(prints: Vec<String>) -> Result<Vec<String>, Wrong> {
    match prints.iter().find(|line| line.contains('…') && line.trim_matches(['…', ' ']).is_empty())
    {
        Some(_) => wrong("a line that is nothing but `…`"),
        None => Ok(prints),
    }
}

fn hunks(body: &[&str]) -> Result<Vec<Hunk>, Wrong> {
    let hunks: Vec<Hunk> = body.split(|line| *line == "@@").map(hunk).collect::<Result<_, _>>()?;
    match hunks.iter().find(|hunk| hunk.before.is_empty() || hunk.before == hunk.after) {
        Some(_) => wrong("a hunk that says nowhere where it belongs, or changes nothing"),
        None => Ok(hunks),
    }
}

fn hunk(lines: &[&str]) -> Result<Hunk, Wrong> {
    let mut hunk = Hunk::default();
    for line in lines {
        let (kind, text) = line.split_at_checked(1).unwrap_or((" ", ""));
        match kind {
            " " => {
                hunk.before.push(text.into());
                hunk.after.push(text.into());
            }
            "-" => hunk.before.push(text.into()),
            "+" => hunk.after.push(text.into()),
            _ => return wrong(format!("{line:?} is no line of a diff")),
        }
    }
    Ok(hunk)
}

/// The file with its hunks changed, in whatever order they stand.
pub fn changed(file: &str, hunks: &[Hunk]) -> Result<String, Wrong> {
    let mut lines: Vec<&str> = file.lines().collect();
    for Hunk { before, after } in hunks {
        let places: Vec<usize> = lines
            .windows(before.len())
            .enumerate()
            .filter(|(_, window)| window == before)
            .map(|(at, _)| at)
            .collect();
        let &[at] = places.as_slice() else {
            return wrong(format!("{} times in the file:\n{}", places.len(), before.join("\n")));
        };
        lines.splice(at..at + before.len(), after.iter().map(String::as_str));
    }
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// Whether a line that was printed is the one that the page tells.
pub fn is_told(told: &str, printed: &str) -> bool {
    let mut parts = told.trim_end().split('…');
    let mut rest = printed.trim_end();
    let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Compares all that was printed with what the page tells.
pub fn compare(told: &[String], printed: &str) -> Result<(), Wrong> {
    let lines: Vec<&str> = printed.lines().collect();
    let same = told.len() == lines.len()
        && told.iter().zip(&lines).all(|(told, printed)| is_told(told, printed));
    if same {
        return Ok(());
    }
    wrong(format!("the page says\n{}\nand this was printed\n{printed}", told.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# First

```toml Cargo.toml
[package]
```

## Second

```diff src/main.rs
 a
-b
+c
@@
+d
 e
```

```console
$ curl one \\
  two
body
$ true
```

```console stays
$ serve
up
```

```console says
refused: …
```

```text
$ nothing
```
";

    #[test]
    fn a_page_is_read_in_its_order() {
        let steps = parse(PAGE).unwrap();
        let places: Vec<_> = steps.iter().map(|step| (&*step.heading, step.line)).collect();
        let second = |line| ("Second", line);
        assert_eq!(
            places,
            [("First", 3), second(9), second(18), second(18), second(25), second(30)]
        );
        let run = |step: usize| match &steps[step].step {
            Step::Run { command, prints } => (command.as_str(), prints.join("|")),
            other => panic!("{other:?}"),
        };
        assert_eq!(run(2), ("curl one \\\n  two", "body".into()));
        assert_eq!(run(3), ("true", String::new()));
    }

    #[test]
    fn a_block_that_would_do_nothing_is_wrong() {
        for page in [
            "```\nx\n```",
            "```rust\nfn main() {}\n```",
            "```console later\n$ true\n```",
            "```console\nno command\n```",
            "```console\n```",
            "```console\n$ true\n…\n```",
            "```console stays\n$ serve\n```",
            "```diff a\n+b\n```",
            "```diff a\n b\n```",
            "```diff a\n*b\n```",
        ] {
            assert!(parse(page).is_err(), "{page}");
        }
    }

    #[test]
    fn a_hunk_stands_once_in_the_file_and_in_whole_lines() {
        let change = |file: &str, diff: &[&str]| changed(file, &hunks(diff).unwrap());
        assert_eq!(
            change("a\nb\ne\n", &[" a", "-b", "+c", "@@", "+d", " e"]).unwrap(),
            "a\nc\nd\ne\n"
        );
        assert_eq!(change("a\nb\n", &["-a"]).unwrap(), "b\n");
        assert!(change("xa\n", &["-a", "+b"]).is_err());
        assert!(change("ax\n", &["-a", "+b"]).is_err());
        assert!(change("a\nb\na\n", &["-a", "+b"]).is_err());
        assert!(change("a\na\n", &["-a", "+b"]).is_err());
    }

    #[test]
    fn what_is_printed_is_what_the_page_tells() {
        let compare = |told: &str, printed: &str| {
            compare(&told.lines().map(str::to_owned).collect::<Vec<_>>(), printed).is_ok()
        };
        assert!(compare("", ""));
        assert!(compare("a\nb", "a\nb\n"));
        assert!(compare("id … at …, done", "id 7 at 12:00, done\n"));
        assert!(compare("ends…", "ends\n"));
        for (told, printed) in [
            ("a", ""),
            ("", "a\n"),
            ("a", "a\nb\n"),
            ("a\nb", "b\na\n"),
            ("403", "4030"),
            ("403", "200"),
            ("a …c", "a b"),
            ("ab…bc", "abc"),
            ("a…b…c", "a c"),
            ("a…", "x a"),
            ("…a", "a x"),
        ] {
            assert!(!compare(told, printed), "{told:?} {printed:?}");
        }
    }
}
