//! What there is to read in a page.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A page of docs/.
pub fn page(name: &str) -> String {
    read(Path::new("docs").join(name))
}

/// The pages of docs/ that these tests hold.
pub const PAGES: [&str; 7] = [
    "kubernetes.md",
    "limits.md",
    "migrating.md",
    "not-a-library.md",
    "oidc-issuers.md",
    "production.md",
    "spire.md",
];

/// Everything of ours that is written in Markdown, from the root on.
pub fn everything() -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(&root(), Path::new(""), &mut found);
    found.sort();
    found
}

fn find(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let name = entry.unwrap().file_name();
        let path = folder.join(&name);
        let is_ours = !["target", "node_modules", ".git"].iter().any(|other| name == *other);
        if root.join(&path).is_dir() && is_ours {
            find(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// A fenced block: what stands behind its fence, and what is in it.
pub struct Block {
    pub info: String,
    pub text: String,
}

/// The fenced blocks of a text, and the lines that are in none.
pub fn split(text: &str) -> (Vec<Block>, Vec<&str>) {
    let (mut blocks, mut prose, mut open) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                blocks.push(Block { info: info.to_owned(), text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block: &mut Block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => prose.push(line),
        }
    }
    assert!(!open, "a fence that is not closed");
    (blocks, prose)
}

/// The one block of a page with this behind its fence.
pub fn block(page: &str, info: &str) -> String {
    let (blocks, _) = split(page);
    let mut found = blocks.into_iter().filter(|block| block.info == info);
    let block = found.next().unwrap_or_else(|| panic!("no block {info:?}"));
    assert!(found.next().is_none(), "several blocks {info:?}");
    block.text
}

/// All Rust of a page.
pub fn rust(page: &str) -> String {
    let (blocks, _) = split(page);
    blocks.iter().filter(|block| block.info.starts_with("rust")).map(|block| &*block.text).collect()
}

/// The rows of all tables of a page, without their heads, each with its cells.
pub fn rows(page: &str) -> Vec<Vec<String>> {
    let (_, prose) = split(page);
    let is_row = |line: &&str| line.starts_with('|');
    let is_rule = |line: &str| line.starts_with("|---");
    let mut rows = Vec::new();
    for (at, line) in prose.iter().enumerate().filter(|(_, line)| is_row(line)) {
        let is_head = prose.get(at + 1).is_some_and(|next| is_rule(next));
        if !is_head && !is_rule(line) {
            let cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
            rows.push(cells.collect());
        }
    }
    rows
}

/// What stands between backticks outside of fences.
pub fn code(page: &str) -> Vec<String> {
    let (_, prose) = split(page);
    let prose = prose.join("\n");
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The text of every file of Rust below a folder.
pub fn sources() -> String {
    let mut text = String::new();
    for name in ["zt-core", "zt-identity", "zt-policy", "zt-tls", "zt-tower"] {
        add(&root().join(name).join("src"), &mut text);
    }
    text
}

fn add(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
