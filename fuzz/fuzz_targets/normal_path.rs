#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_tower::path::NormalPath;

fuzz_target!(|path: &str| {
    if let Ok(normal) = NormalPath::parse(path) {
        assert!(normal.as_str().eq_ignore_ascii_case(path));
        assert_eq!(NormalPath::parse(normal.as_str()), Ok(normal.clone()));
        assert!(!normal.as_str().split('/').any(|segment| segment == "." || segment == ".."));
    }
});
