#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_tls::federation::EndpointUrl;

fuzz_target!(|text: &str| {
    let base = EndpointUrl::parse("https://a.test:8443/b").unwrap();
    for taken in [EndpointUrl::parse(text), base.redirect(text)].into_iter().flatten() {
        // Names of other scripts are looked into by others.
        let Ok(url) = url::Url::parse(taken.as_str()) else { return assert!(text.contains("--")) };
        assert_eq!((url.scheme(), url.username(), url.password()), ("https", "", None));
        let host = url.host_str().unwrap().trim_matches(['[', ']']).to_owned();
        assert!(host.eq_ignore_ascii_case(taken.host()) || host.contains(':'), "{host}");
        assert_eq!(url.port_or_known_default(), Some(taken.port()));
    }
});
