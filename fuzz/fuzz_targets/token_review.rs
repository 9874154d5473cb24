#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::service_account::TokenReview;

fuzz_target!(|answer: &[u8]| {
    if TokenReview::from_json(answer).is_ok() {
        let theirs: serde_json::Value = serde_json::from_slice(answer).expect("it is JSON");
        let status = &theirs["status"];
        assert!(theirs["kind"] == "TokenReview" && status["authenticated"] == true);
        assert!(status["error"].as_str().unwrap_or_default().is_empty());
    }
});
