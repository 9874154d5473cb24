//! What a client has to be told before there is one.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::url::Url;
use openidconnect::{IssuerUrl, PostLogoutRedirectUrl, RedirectUrl};
use zt_core::fault::Fault;
use zt_core::secret::Secret;

use super::metadata::Provider;
use super::relying_party::{Parts, RelyingParty};
use crate::claims::LeewayTooLong;
use crate::excerpt::excerpt;
use crate::oidc::id_token::{IdTokenVerifier, IdTokenVerifierError};
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::oidc::keys::IssuerKeys;
use crate::oidc::refresh::{DiscoverError, RefreshOptions};

/// How long a login may take, unless stated otherwise.
pub const DEFAULT_LOGIN_LIFETIME: Duration = Duration::from_secs(600);
/// How long a login may take at most.
pub const MAX_LOGIN_LIFETIME: Duration = Duration::from_secs(3600);

/// A [`RelyingParty`] in the making.
#[must_use]
#[derive(Clone, Debug)]
pub struct RelyingPartyBuilder {
    issuer: Issuer,
    client_id: Arc<str>,
    client_secret: Option<Secret<String>>,
    redirect_uri: String,
    post_logout_redirect_uri: Option<String>,
    scopes: Vec<Arc<str>>,
    login_lifetime: Duration,
    leeway: Option<Duration>,
    keys: Option<IssuerKeys>,
    fetch: RefreshOptions,
}

impl RelyingParty {
    /// Begins a client, by the name that the provider with this `https` URL knows it by.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL cannot name a provider.
    pub fn builder(issuer: &str, client_id: &str) -> Result<RelyingPartyBuilder, IssuerError> {
        Issuer::parse(issuer).map(|issuer| Self::for_issuer(issuer, client_id))
    }

    /// Begins a client of this provider.
    pub fn for_issuer(issuer: Issuer, client_id: &str) -> RelyingPartyBuilder {
        RelyingPartyBuilder {
            issuer,
            client_id: client_id.into(),
            client_secret: None,
            redirect_uri: String::new(),
            post_logout_redirect_uri: None,
            scopes: Vec::new(),
            login_lifetime: DEFAULT_LOGIN_LIFETIME,
            leeway: None,
            keys: None,
            fetch: RefreshOptions::default(),
        }
    }
}

impl RelyingPartyBuilder {
    /// How the client shows the token endpoint who it is: without whitespace around it. A client
    /// without a secret is a public one, which PKCE alone protects.
    pub fn client_secret(mut self, secret: impl Into<String>) -> Self {
        let secret = Secret::new(secret.into());
        self.client_secret = Some(Secret::new(secret.expose().trim().to_owned()));
        self
    }

    /// Where the provider sends browsers back to: an `https` URL of this application, or one of
    /// this machine. The provider has to know it.
    pub fn redirect_uri(mut self, uri: &str) -> Self {
        self.redirect_uri = uri.to_owned();
        self
    }

    /// Where the provider sends browsers that have signed out. The provider has to know it.
    pub fn post_logout_redirect_uri(mut self, uri: &str) -> Self {
        self.post_logout_redirect_uri = Some(uri.to_owned());
        self
    }

    /// Adds a scope beside `openid`, such as `email` or `offline_access`.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// How long a user may take to sign in, 10 minutes unless stated otherwise, and an hour at most.
    pub fn login_lifetime(mut self, lifetime: Duration) -> Self {
        self.login_lifetime = lifetime;
        self
    }

    /// How far clocks may be apart: 60 s unless stated otherwise, and at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = Some(leeway);
        self
    }

    /// Keys of the provider that are fetched already, instead of ones that this client fetches.
    pub fn keys(mut self, keys: IssuerKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How keys and everything else of the provider are fetched.
    pub fn fetch(mut self, options: RefreshOptions) -> Self {
        self.fetch = options;
        self
    }

    /// The client. It is there at once, also when the provider is down.
    ///
    /// # Errors
    ///
    /// [`RelyingPartyError`] when something is missing or cannot be.
    pub fn build(self) -> Result<RelyingParty, RelyingPartyError> {
        if self.login_lifetime > MAX_LOGIN_LIFETIME {
            return Err(RelyingPartyError::LoginLifetime { lifetime: self.login_lifetime });
        }
        let issuer = IssuerUrl::new(self.issuer.as_str().to_owned())
            .map_err(|_| RelyingPartyError::Issuer)?;
        let redirect_uri = RedirectUrl::from_url(own_url("redirect_uri", &self.redirect_uri)?);
        let after = self.post_logout_redirect_uri.as_deref();
        let after = after.map(|uri| own_url("post_logout_redirect_uri", uri)).transpose()?;
        let provider = Provider::new(self.issuer.clone(), &self.fetch)?;
        let patience = self.fetch.patience();
        let keys = match self.keys {
            Some(keys) => keys,
            None => IssuerKeys::discover(self.issuer.clone(), self.fetch)?,
        };
        let id_tokens = IdTokenVerifier::new(self.issuer.clone(), &self.client_id, keys.clone())?;
        let id_tokens = match self.leeway {
            Some(leeway) => id_tokens.with_leeway(leeway)?,
            None => id_tokens,
        };
        Ok(RelyingParty(Arc::new(Parts {
            provider,
            issuer,
            client_id: self.client_id,
            client_secret: self.client_secret,
            redirect_uri,
            post_logout_redirect_uri: after.map(PostLogoutRedirectUrl::from_url),
            scopes: self.scopes,
            login_lifetime: self.login_lifetime,
            patience,
            keys,
            id_tokens,
        })))
    }
}

/// `https`, or `http` on this machine, without a fragment (RFC 6749 §3.1.2, RFC 9700 §2.6).
fn own_url(name: &'static str, url: &str) -> Result<Url, RelyingPartyError> {
    let refused = || RelyingPartyError::Url { name, found: excerpt(url) };
    let without_query = url.split('?').next().unwrap_or_default();
    if url.contains('#')
        || (Issuer::parse(without_query).is_err() && Issuer::loopback(without_query).is_err())
    {
        return Err(refused());
    }
    Url::parse(url).map_err(|_| refused())
}

/// Why there can be no such client.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelyingPartyError {
    /// The provider has no URL that can be asked.
    #[error("the URL of the provider cannot be asked")]
    Issuer,
    /// The application cannot be reached there, or not safely.
    #[error("the {name} is no https URL, nor one of this machine: {found:?}")]
    Url {
        /// What it is the place of.
        name: &'static str,
        /// The place, cut; empty where none was given.
        found: String,
    },
    /// A login may take too long.
    #[error("a login of {lifetime:?}, and at most {MAX_LOGIN_LIFETIME:?} are granted")]
    LoginLifetime {
        /// How long.
        lifetime: Duration,
    },
    /// The keys of the provider cannot be fetched at all.
    #[error(transparent)]
    Keys(#[from] DiscoverError),
    /// The client has no name, or the keys are those of another provider.
    #[error(transparent)]
    IdTokens(#[from] IdTokenVerifierError),
    /// The leeway is too long.
    #[error(transparent)]
    Leeway(#[from] LeewayTooLong),
}

impl RelyingPartyError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::JwkSet;

    fn builder() -> RelyingPartyBuilder {
        RelyingParty::builder("https://login.example.com", "shop")
            .unwrap()
            .keys(IssuerKeys::fixed(JwkSet::default()))
            .redirect_uri("https://shop.example/signed-in?from=provider")
    }

    #[test]
    fn an_application_is_reached_over_https_or_on_this_machine() {
        assert!(builder().build().is_ok());
        assert!(builder().redirect_uri("http://127.0.0.1:8080/signed-in").build().is_ok());
        for bad in ["", "http://shop.example/", "https://a/#b", "https://u@a/", "shop:signed-in"] {
            let refused = builder().redirect_uri(bad).build().unwrap_err();
            assert!(matches!(refused, RelyingPartyError::Url { name: "redirect_uri", .. }));
            let refused = builder().post_logout_redirect_uri(bad).build().unwrap_err();
            assert!(matches!(refused, RelyingPartyError::Url { .. }), "{bad}");
        }
    }

    #[test]
    fn a_client_has_limits_and_a_name() {
        let refused = builder().login_lifetime(Duration::from_secs(3601)).build().unwrap_err();
        assert!(matches!(refused, RelyingPartyError::LoginLifetime { .. }));
        let refused = builder().leeway(Duration::from_secs(301)).build().unwrap_err();
        assert!(matches!(refused, RelyingPartyError::Leeway(_)));
        let nameless = RelyingParty::builder("https://login.example.com", "").unwrap();
        let nameless = nameless
            .keys(IssuerKeys::fixed(JwkSet::default()))
            .redirect_uri("https://shop.example/signed-in");
        assert!(matches!(nameless.build().unwrap_err(), RelyingPartyError::IdTokens(_)));
    }

    #[test]
    fn a_client_shows_no_secret() {
        let builder = builder().client_secret("s3cret\n");
        assert!(!format!("{builder:?}").contains("s3cret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("s3cret"));
    }
}
