use zt_tower::telemetry::{EVENTS, METRICS, SPANS};

use crate::markdown::{PAGES, code, page, read, rows, sources};

#[test]
fn every_metric_that_a_page_names_is_told() {
    let told: Vec<_> =
        [METRICS, SPANS, EVENTS].concat().iter().map(|emitted| emitted.name).collect();
    let labels: Vec<_> = METRICS.iter().flat_map(|emitted| emitted.labels).copied().collect();
    let mut named = Vec::new();
    let pages = PAGES.map(page).into_iter().chain([read("zt-tower/README.md"), read("README.md")]);
    for page in pages {
        let code = code(&page);
        let is_ours = |name: &&String| name.starts_with("zt.") || name.starts_with("http.server.");
        named.extend(code.iter().filter(is_ours).cloned());
        for name in code.iter().filter(is_ours) {
            assert!(told.contains(&&**name), "{name}");
        }
    }
    assert!(named.len() > 20, "{named:?}");
    for label in ["error.type", "effect", "outcome"] {
        assert!(labels.contains(&label) && page("production.md").contains(&format!("`{label}`")));
    }
}

/// Reasons of records, and of handshakes that were refused.
#[test]
fn every_reason_that_a_page_names_is_given() {
    let sources = sources();
    let mut reasons = 0;
    for name in ["production.md", "spire.md"] {
        for word in code(&page(name)) {
            let is_reason =
                word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            // Methods and fields are said in the same letters.
            let is_known = sources.contains(&format!("\"{word}\""))
                || sources.contains(&format!("fn {word}("))
                || sources.contains(&format!("pub {word}: "));
            assert!(!is_reason || is_known, "{name}: {word}");
            reasons += usize::from(is_reason && sources.contains(&format!("\"{word}\"")));
        }
    }
    assert!(reasons > 10, "{reasons}");
    let outages: Vec<_> =
        rows(&page("production.md")).into_iter().filter(|row| row.len() == 5).collect();
    assert!(outages.iter().any(|row| row[3].contains("keys_unavailable")), "{outages:?}");
}

/// `Type::item` is something that can be looked up: a function, a variant, a constant, a type.
#[test]
fn every_item_that_a_page_names_is_there() {
    let sources = sources();
    let words = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    let mut items = 0;
    for name in PAGES {
        for item in code(&page(name)) {
            let path = item.split(['(', '<']).next().unwrap_or_default();
            let Some((of, last)) = path.rsplit_once("::") else { continue };
            if !words(path) || last.is_empty() {
                continue;
            }
            let of = of.rsplit("::").next().unwrap_or_default();
            if of == "Router" {
                continue; // axum's
            }
            let is_there = [
                format!("fn {last}("),
                format!("fn {last}<"),
                format!("    {last},\n"),
                format!("    {last} {{"),
                format!("    {last}("),
                format!("pub {last}: "),
                format!("const {last}: "),
                format!("struct {last}"),
                format!("mod {last};"),
            ];
            let is_of =
                ["struct", "enum", "trait", "mod", "type"].map(|kind| format!("{kind} {of}"));
            assert!(is_there.iter().any(|text| sources.contains(text)), "{name}: {item}");
            let is_crate = of.starts_with("zt_") || of == "docs";
            assert!(is_crate || is_of.iter().any(|text| sources.contains(text)), "{name}: {item}");
            items += 1;
        }
    }
    assert!(items > 60, "{items}");
}
