#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_identity::oidc::discovery::keys_url;
use zt_identity::oidc::issuer::Issuer;

fuzz_target!(|document: &[u8]| {
    let issuer = Issuer::parse("https://login.example.com").expect("an issuer");
    if let Ok(url) = keys_url(&issuer, document) {
        let json: serde_json::Value = serde_json::from_slice(document).expect("it is JSON");
        assert_eq!(json["issuer"], issuer.as_str());
        assert!(url.starts_with("https://") && json["jwks_uri"] == url);
    }
});
