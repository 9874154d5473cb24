#![no_main]

use libfuzzer_sys::fuzz_target;
use zt_fuzz::keys;
use zt_identity::oidc::configuration::{AuthenticationConfiguration, ConfigurationError};

fuzz_target!(|text: &str| {
    let Ok(configuration) = AuthenticationConfiguration::from_yaml(text) else { return };
    let issuers = configuration.with_keys::<ConfigurationError>(|_| Ok(keys())).expect("verifiers");
    assert_eq!(issuers.iter().count(), configuration.issuers().len());
});
