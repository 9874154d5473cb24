#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::possession::target::PublicBase;

fuzz_target!(|text: &str| {
    let base = PublicBase::parse("https://a.test/b").unwrap();
    let path = text.strip_prefix("https://a.test/b").unwrap_or(text);
    if base.is_target(text, path) {
        let path = path.split(['?', '#']).next().unwrap();
        assert!(path.is_empty() || path.starts_with('/'), "{path}");
    }
    let _ = PublicBase::parse(text).map(|other| other.is_target(text, "/"));
});
