//! What a provider says about itself, as far as a login needs it (OpenID Connect Discovery §3).
//!
//! A document is taken when, in this order:
//!
//! 1. it is one strict JSON object, and `issuer` is the provider, byte for byte (Discovery §4.3);
//! 2. `authorization_endpoint`, `token_endpoint` and, where it is there, `end_session_endpoint` are
//!    `https`, or on this machine when the provider is, without a fragment;
//! 3. `code_challenge_methods_supported`, where it is there, holds `S256`: without it the code of
//!    another login could be slipped in (RFC 9700 §2.1.1, §4.8.2).
//!
//! It is fetched when it is first needed, again after an hour, and counts for a day while it cannot
//! be fetched. After a failure nobody asks again for 5 seconds.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::url::Url;
use tokio::sync::Mutex;
use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use crate::excerpt::excerpt;
use crate::json::Object;
use crate::oidc::fetch::{FetchError, Fetcher};
use crate::oidc::issuer::Issuer;
use crate::oidc::refresh::{DiscoverError, RefreshOptions};

const FRESH_FOR: Duration = Duration::from_secs(3600);
const USABLE_FOR: Duration = Duration::from_secs(24 * 3600);
const BACKOFF: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) end_session_endpoint: Option<Url>,
    /// Whether every response names its issuer (RFC 9207 §3).
    pub(super) names_itself: bool,
    /// Whether the secret of a client is taken from the body of a request alone.
    pub(super) secret_in_body: bool,
}

impl Metadata {
    fn parse(document: &[u8], issuer: &Issuer) -> Result<Self, ProviderError> {
        let document = Object::parse(document).map_err(FetchError::Discovery)?;
        let text = |name| document.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        if text("issuer") != issuer.as_str() {
            return Err(FetchError::OtherIssuer { found: excerpt(text("issuer")) }.into());
        }
        let end_session = document.get("end_session_endpoint");
        let list = |name| document.get(name).and_then(|value| value.as_strings());
        if list("code_challenge_methods_supported").is_some_and(|known| !known.contains(&"S256")) {
            return Err(ProviderError::NoPkce);
        }
        let secrets = list("token_endpoint_auth_methods_supported");
        let secrets = secrets.unwrap_or_else(|| vec!["client_secret_basic"]);
        Ok(Self {
            authorization_endpoint: endpoint(
                issuer,
                "authorization_endpoint",
                text("authorization_endpoint"),
            )?,
            token_endpoint: endpoint(issuer, "token_endpoint", text("token_endpoint"))?,
            end_session_endpoint: end_session
                .map(|_| endpoint(issuer, "end_session_endpoint", text("end_session_endpoint")))
                .transpose()?,
            names_itself: document
                .get("authorization_response_iss_parameter_supported")
                .and_then(|value| value.as_bool())
                .unwrap_or_default(),
            secret_in_body: !secrets.contains(&"client_secret_basic")
                && secrets.contains(&"client_secret_post"),
        })
    }
}

fn endpoint(issuer: &Issuer, name: &'static str, url: &str) -> Result<Url, ProviderError> {
    let refused = || ProviderError::Endpoint { name, found: excerpt(url) };
    if !issuer.admits_keys_at(url) || url.contains('#') {
        return Err(refused());
    }
    Url::parse(url).map_err(|_| refused())
}

/// The provider, as it was last heard of.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: Issuer,
    discovery_url: String,
    fetcher: Fetcher,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    failure: Option<(ProviderError, Timestamp)>,
}

impl Provider {
    pub(super) fn new(issuer: Issuer, options: &RefreshOptions) -> Result<Self, DiscoverError> {
        let discovery_url = options.discovery_url_of(&issuer)?;
        let fetcher = options.fetcher(&issuer)?;
        Ok(Self { issuer, discovery_url, fetcher, heard: Mutex::default() })
    }

    pub(super) const fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, ProviderError> {
        let mut heard = self.heard.lock().await;
        if let Some(metadata) = heard.within(FRESH_FOR, now) {
            return Ok(metadata);
        }
        if let Some(failure) = heard.recent_failure(now) {
            return heard.within(USABLE_FOR, now).ok_or(failure);
        }
        match self.fetch().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *heard = Heard { metadata: Some((Arc::clone(&metadata), now)), failure: None };
                Ok(metadata)
            }
            Err(failure) => {
                heard.failure = Some((failure.clone(), now));
                heard.within(USABLE_FOR, now).ok_or(failure)
            }
        }
    }

    async fn fetch(&self) -> Result<Metadata, ProviderError> {
        let document = self.fetcher.get(&self.discovery_url, &["application/json"]).await?;
        Metadata::parse(&document.body, &self.issuer)
    }
}

impl Heard {
    fn within(&self, time: Duration, now: Timestamp) -> Option<Arc<Metadata>> {
        let (metadata, since) = self.metadata.as_ref()?;
        (now.since(*since) < time).then(|| Arc::clone(metadata))
    }

    fn recent_failure(&self, now: Timestamp) -> Option<ProviderError> {
        let (failure, since) = self.failure.as_ref()?;
        (now.since(*since) < BACKOFF).then(|| failure.clone())
    }
}

/// Why there is no provider to sign in at.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Its discovery document cannot be had.
    #[error("the discovery document of the provider cannot be had")]
    Discovery(#[from] FetchError),
    /// One of its endpoints may not be asked.
    #[error("the provider has no {name} that may be asked: {found:?}")]
    Endpoint {
        /// What it is called in the discovery document.
        name: &'static str,
        /// What is there, cut; empty when there is nothing.
        found: String,
    },
    /// It has no use for PKCE with S256.
    #[error("the provider does not support PKCE with S256")]
    NoPkce,
}

impl ProviderError {
    /// Whose fault it is: that of the authority.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(changes: Value) -> Result<Metadata, ProviderError> {
        let mut document = json!({
            "issuer": "https://login.example.com",
            "authorization_endpoint": "https://login.example.com/auth?tenant=1",
            "token_endpoint": "https://tokens.example.com/token",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        let issuer = Issuer::parse("https://login.example.com").unwrap();
        Metadata::parse(document.to_string().as_bytes(), &issuer)
    }

    #[test]
    fn the_document_is_that_of_the_provider() {
        assert!(parse(json!({})).is_ok());
        let refused = parse(json!({"issuer": "https://login.example.com/"}));
        let error = ProviderError::Discovery(FetchError::OtherIssuer { found: String::new() });
        assert_eq!(std::mem::discriminant(&refused.unwrap_err()), std::mem::discriminant(&error));
    }

    #[test]
    fn endpoints_are_https_without_a_fragment() {
        for name in ["authorization_endpoint", "token_endpoint", "end_session_endpoint"] {
            for bad in [
                json!("http://login.example.com/x"),
                json!("https://login.example.com/x#y"),
                json!("https://user@login.example.com/x"),
                json!("https://[/x"),
                json!("javascript:alert(1)"),
                json!(null),
                json!(1),
            ] {
                let refused = parse(json!({name: bad}));
                assert!(matches!(refused, Err(ProviderError::Endpoint { .. })), "{name} {bad}");
            }
        }
        let good = parse(json!({"end_session_endpoint": "https://login.example.com/end"}));
        assert!(good.unwrap().end_session_endpoint.is_some());
        assert_eq!(parse(json!({})).unwrap().end_session_endpoint, None);
    }

    #[test]
    fn a_provider_that_knows_pkce_knows_s256() {
        assert!(parse(json!({"code_challenge_methods_supported": ["plain", "S256"]})).is_ok());
        for other in [json!([]), json!(["plain"])] {
            let refused = parse(json!({"code_challenge_methods_supported": other}));
            assert!(matches!(refused, Err(ProviderError::NoPkce)));
        }
    }

    #[test]
    fn the_secret_goes_into_a_header_unless_the_provider_takes_it_in_the_body_alone() {
        for (methods, in_body) in [
            (json!(["client_secret_basic", "client_secret_post"]), false),
            (json!(["client_secret_post", "private_key_jwt"]), true),
            (json!(["private_key_jwt"]), false),
            (json!(null), false),
        ] {
            let metadata = parse(json!({"token_endpoint_auth_methods_supported": methods}));
            assert_eq!(metadata.unwrap().secret_in_body, in_body, "{methods}");
        }
    }

    #[test]
    fn what_was_heard_counts_for_a_while() {
        let now = Timestamp::from_secs(1_800_000_000);
        let metadata = Arc::new(parse(json!({})).unwrap());
        let heard = Heard { metadata: Some((metadata, now)), failure: None };
        assert!(heard.within(FRESH_FOR, now.saturating_add(FRESH_FOR)).is_none());
        assert!(heard.within(USABLE_FOR, now.saturating_add(FRESH_FOR)).is_some());
        assert!(heard.within(USABLE_FOR, now.saturating_add(USABLE_FOR)).is_none());
    }
}
