//! The walls: which crate may use which, and within a crate, which module.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may use of this workspace, also in its tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("zt-core", &[]),
    ("zt-identity", &["zt-core"]),
    ("zt-policy", &["zt-core"]),
    ("zt-tls", &["zt-core", "zt-identity"]),
    ("zt-tower", &["zt-core", "zt-identity"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file without its comments and its unit tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of a crate in the order of its `lib.rs`.
fn modules(lib: &str) -> Vec<String> {
    code(lib)
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?;
            Some(rest.strip_suffix(';')?.to_owned())
        })
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first path segments behind every `crate::` in `code`.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) || code[..at].ends_with("$") {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let mut depth = 0;
        let group = rest.strip_prefix('{').map(|rest| {
            rest.split(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth < 0
            })
            .next()
            .unwrap_or_default()
        });
        match group {
            None => found.push(rest.split(|c| !is_word(c)).next().unwrap_or_default().to_owned()),
            Some(group) => {
                let mut depth = 0;
                let heads = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth == 0 && c == ','
                });
                found.extend(heads.filter_map(|head| {
                    let head = head.trim();
                    let name = head.split(|c| !is_word(c)).next().unwrap_or_default();
                    (!name.is_empty()).then(|| name.to_owned())
                }));
            }
        }
    }
    found
}

/// The top-level module that a file belongs to; `None` for `lib.rs`.
fn owner(src: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix(src).expect("below src");
    let first = relative.components().next().expect("a component").as_os_str();
    let name = Path::new(first).file_stem().expect("a name").to_string_lossy().into_owned();
    (name != "lib").then_some(name)
}

/// Every use that goes down or round, as "file: module uses module".
fn wrong_uses(src: &Path) -> Vec<String> {
    let order: BTreeMap<_, _> =
        modules(&read(src.join("lib.rs"))).into_iter().enumerate().map(|(n, m)| (m, n)).collect();
    let mut wrong = Vec::new();
    for file in rust_files(src) {
        let Some(own) = owner(src, &file) else { continue };
        let Some(place) = order.get(&own) else {
            wrong.push(format!("{}: not a module of lib.rs", file.display()));
            continue;
        };
        for used in uses(&code(&read(&file))) {
            match order.get(&used) {
                Some(other) if other <= place => {}
                Some(_) => wrong.push(format!("{}: {own} uses {used}, below it", file.display())),
                None => wrong.push(format!("{}: crate::{used} is no module", file.display())),
            }
        }
    }
    wrong
}

#[test]
fn a_module_uses_only_those_above_it() {
    let wrong: Vec<_> =
        MAY_USE.iter().flat_map(|(name, _)| wrong_uses(&root().join(name).join("src"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_uses_only_those_below_it() {
    for (name, allowed) in MAY_USE {
        let manifest = read(root().join(name).join("Cargo.toml"));
        for (other, _) in MAY_USE {
            let used = manifest.lines().any(|line| {
                line.strip_prefix(other).is_some_and(|rest| !rest.starts_with(['-', '_']))
            });
            assert!(!used || other == name || allowed.contains(other), "{name} uses {other}");
        }
    }
}

/// What a default build of the middleware adds to the crates below it (H-01).
#[test]
fn the_middleware_brings_four_crates_and_no_more() {
    let manifest = read(root().join("zt-tower/Cargo.toml"));
    let (_, rest) = manifest.split_once("[dependencies]\n").expect("dependencies");
    let (dependencies, _) = rest.split_once("\n[").expect("another table");
    let mut demanded: Vec<_> = dependencies
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("optional = true"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .collect();
    demanded.sort_unstable();
    let allowed = [
        "http",
        "pin-project-lite",
        "thiserror",
        "tower-layer",
        "tower-service",
        "zt-core",
        "zt-identity",
    ];
    assert_eq!(demanded, allowed, "thiserror is what zt-core has");
    assert!(!manifest.contains("\ndefault = "), "no feature is on by itself");
}

#[test]
fn every_library_crate_takes_the_lint_table_and_says_what_crates_io_asks() {
    for (name, _) in MAY_USE {
        let manifest = read(root().join(name).join("Cargo.toml"));
        for line in [
            "[lints]\nworkspace = true",
            "license.workspace = true",
            "rust-version.workspace = true",
            "description = ",
            "documentation = ",
            "readme = \"README.md\"",
            "keywords = ",
            "categories.workspace = true",
            "[package.metadata.docs.rs]\nall-features = true",
        ] {
            assert!(manifest.contains(line), "{name}: {line}");
        }
    }
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let example = read(root().join("examples/src/bin/service.rs"));
    let (_title, code) = example.split_once("\n\n").expect("a title, then code");
    assert!(read(root().join("README.md")).contains(&format!("```rust,ignore\n{code}```")));
}

#[test]
fn every_test_that_the_architecture_names_is_there() {
    let architecture = read(root().join("ARCHITECTURE.md"));
    let folders =
        ["zt-core", "zt-identity", "zt-policy", "zt-tls", "zt-tower", "tests", "examples"];
    let code: String =
        folders.iter().flat_map(|folder| rust_files(&root().join(folder))).map(read).collect();
    let mut named = 0;
    for name in architecture.split('`').skip(1).step_by(2) {
        // Tests are sentences: four words at least.
        let is_test = name.matches('_').count() >= 3
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if is_test {
            assert!(code.contains(&format!("fn {name}(")), "no test is named {name}");
            named += 1;
        }
    }
    assert!(named > 30, "only {named} tests are named");
}

#[test]
fn the_walk_sees_what_it_is_to_forbid() {
    let code = code(
        "use crate::a;\nuse crate::{b::{c, d}, e};\n// crate::x\nlet y = crate::f::g();\n#[cfg(test)]\nmod tests { use crate::z; }",
    );
    assert_eq!(uses(&code), ["a", "b", "e", "f"]);
    assert_eq!(modules("mod one;\npub mod two;\n// mod three;\n"), ["one", "two"]);

    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write("lib.rs", "pub mod above;\nmod below;\n");
    write("above.rs", "use crate::below::Thing;\n");
    write("below.rs", "use crate::above::Other;\nuse crate::Root;\n");
    write("stray.rs", "");
    let wrong = wrong_uses(dir.path()).join("\n");
    assert!(wrong.contains("above uses below"), "{wrong}");
    assert!(wrong.contains("crate::Root is no module"), "{wrong}");
    assert!(wrong.contains("stray.rs: not a module"), "{wrong}");
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
}
