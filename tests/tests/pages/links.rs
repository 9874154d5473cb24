use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::markdown::{PAGES, everything, page, read, root, split};

/// What a link to a heading of this text looks like, as forges make it.
fn anchors(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = Vec::new();
    for heading in prose.iter().filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// Where the links of a text lead, those in code left out.
fn targets(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let prose = prose.join("\n");
    // Only what is outside of backticks, with something in their place: a link's text may be code.
    let plain: Vec<&str> = prose.split('`').step_by(2).collect();
    let plain = plain.join("code");
    let mut targets = Vec::new();
    for (at, _) in plain.match_indices("](") {
        let target = plain[at + 2..].split(')').next().unwrap_or_default();
        targets.push(target.split_whitespace().next().unwrap_or_default().to_owned());
    }
    targets
}

/// `folder/target`, without the steps up.
fn resolve(folder: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{target} leads out of the repository"),
            other => path.push(other),
        }
    }
    path
}

/// Why a link of this file leads nowhere.
fn broken(file: &Path, target: &str) -> Option<&'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = file.parent().unwrap_or(Path::new(""));
    let path = if path.is_empty() { file.to_owned() } else { resolve(folder, path) };
    if !root().join(&path).exists() {
        return Some("there is no such file");
    }
    let readme = path.join("README.md");
    let path = if root().join(&readme).exists() { readme } else { path };
    if !anchor.is_empty() && !anchors(&read(&path)).iter().any(|known| known == anchor) {
        return Some("there is no such heading");
    }
    None
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let (mut links, mut wrong) = (0, Vec::new());
    for file in everything() {
        for target in targets(&read(&file)) {
            if target.starts_with("http://") || target.starts_with("https://") {
                continue;
            }
            links += 1;
            if let Some(why) = broken(&file, &target) {
                wrong.push(format!("{}: {target}: {why}", file.display()));
            }
        }
    }
    assert!(links > 150, "{links} links");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_leads_nowhere_is_found() {
    let here = Path::new("docs/spire.md");
    assert_eq!(broken(here, "production.md#alerts"), None);
    assert_eq!(broken(here, "../zt-tls/README.md#other-trust-domains"), None);
    assert_eq!(broken(here, "../zt-tls#other-trust-domains"), None);
    assert_eq!(broken(here, "#registration-entries"), None);
    assert!(broken(here, "nowhere.md").is_some());
    assert!(broken(here, "production.md#nothing").is_some());
    assert!(broken(here, "#nothing").is_some());
    let text = "[a](b.md) `[no](no.md)` [`c`](c.md#d \"title\")\n```text\n[no](no.md)\n```\n";
    assert_eq!(targets(text), ["b.md", "c.md#d"]);
    assert_eq!(anchors("# A `b`: c, d!\n## A\n## A\n"), ["a-b-c-d", "a", "a-1"]);
}

#[test]
fn all_rust_of_the_pages_is_compiled() {
    let lib = read("tests/src/lib.rs");
    for name in PAGES {
        let text = page(name);
        let (blocks, _) = split(&text);
        let rust: Vec<_> = blocks.iter().filter(|block| block.info.starts_with("rust")).collect();
        assert!(rust.iter().all(|block| ["rust", "rust,no_run"].contains(&&*block.info)), "{name}");
        let included = lib.contains(&format!("include_str!(\"../../docs/{name}\")"));
        assert_eq!(included, !rust.is_empty(), "{name}");
    }
}
