//! Issuers from a file of YAML, in the shape of Kubernetes' `AuthenticationConfiguration` (T-15).
//!
//! ```yaml
//! apiVersion: apiserver.config.k8s.io/v1
//! kind: AuthenticationConfiguration
//! jwt:
//! - issuer:
//!     url: https://login.example.com
//!     audiences: [orders]
//!   claimValidationRules:
//!   - {claim: hd, requiredValue: example.com}
//!   claimMappings:
//!     username: {claim: sub, prefix: "login:"}
//!     groups: {claim: groups, prefix: "login:"}
//!   userValidationRules:
//!   - {field: groups, forbiddenPrefix: "login:system-"}
//! ```
//!
//! [`AuthenticationConfiguration::from_yaml`] takes a text when, in this order:
//!
//! 1. it has at most [`MAX_CONFIGURATION_LEN`] bytes and is one document of YAML without aliases,
//!    merge keys or a key that is there twice;
//! 2. every field is one of those below: what is not understood is not passed over;
//! 3. version and kind are those above, and there are 1 to
//!    [`MAX_ISSUERS`](crate::oidc::issuers::MAX_ISSUERS) issuers;
//! 4. no rule or mapping is an `expression`: that would be CEL, which is not evaluated here;
//! 5. each issuer's `url` is `https`, with a host and without user, query or fragment, and so is its
//!    `discoveryURL`, which is another one. No URL is there twice;
//! 6. there is an audience, none is empty or there twice, and where there are several
//!    `audienceMatchPolicy` says what is meant;
//! 7. each `certificateAuthority` is PEM with certificates and nothing else;
//! 8. beside every claim that becomes a name its `prefix` is stated, and be it empty; rules say one
//!    thing each;
//! 9. no role or group of one issuer could be taken for that of another
//!    ([`Issuers`]).
//!
//! # Fields
//!
//! Those of Kubernetes mean what they mean there: of `issuer` `url`, `discoveryURL`,
//! `certificateAuthority`, `audiences`, `audienceMatchPolicy` (`MatchAny`); of
//! `claimValidationRules` `claim` and `requiredValue`; of `claimMappings` `username` (`claim`,
//! `prefix`), `groups` (`claim`, `prefix`), `uid` (`claim`) and `extra` (`key`).
//!
//! These are ours: of `issuer` `audienceMatchPolicy: MatchAll`, `signingAlgorithms`, `tokenTypes`
//! (`[at+jwt]`, or with `JWT`: see
//! [`admit_jwt_type`](crate::oidc::access_token::AccessTokenVerifierBuilder::admit_jwt_type)),
//! `leewaySeconds`, `maxLifetimeSeconds` and `keysFile`; of `claimMappings` `roles` (`claim`,
//! `prefix`), `scopes` (`claim`) and the `claim` of `extra`; of `userValidationRules` `field`
//! (`username`, `uid`, `groups`, `roles`) with either `requiredValue` or `forbiddenPrefix`. A `claim`
//! may be a list of names, which lead through nested objects.

mod error;
mod lint;
mod shape;

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

pub use self::error::{ConfigurationError, Lint};
use crate::oidc::access_token::{AccessTokenVerifier, AccessTokenVerifierBuilder};
use crate::oidc::issuer::Issuer;
use crate::oidc::issuers::Issuers;
use crate::oidc::keys::IssuerKeys;

#[cfg(feature = "http")]
use {
    crate::oidc::refresh::{DiscoverError, RefreshOptions},
    zt_core::time::Clock,
};

/// The longest text that is read, in bytes: 64 issuers with two certificates of an authority each.
pub const MAX_CONFIGURATION_LEN: usize = 512 * 1024;

/// Issuers that were loaded and found to be meant as they are.
///
/// ```
/// use zt_identity::oidc::configuration::AuthenticationConfiguration;
///
/// let configuration = AuthenticationConfiguration::from_yaml(r#"
/// apiVersion: apiserver.config.k8s.io/v1
/// kind: AuthenticationConfiguration
/// jwt:
/// - issuer: {url: "https://login.example.com", audiences: [orders]}
///   claimMappings:
///     username: {claim: sub, prefix: ""}
/// "#)?;
/// assert_eq!(configuration.issuers()[0].url().as_str(), "https://login.example.com");
/// // let tokens = configuration.discover(&RefreshOptions::default(), SystemClock)?;
/// # Ok::<(), zt_identity::oidc::configuration::ConfigurationError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuthenticationConfiguration {
    // INVARIANT: verifiers of these, with any keys, are `Issuers`.
    issuers: Vec<IssuerConfiguration>,
}

/// What is configured for one issuer.
#[derive(Clone, Debug)]
pub struct IssuerConfiguration {
    url: Issuer,
    discovery_url: Option<Issuer>,
    certificate_authority: Vec<CertificateDer<'static>>,
    keys_file: Option<Arc<Path>>,
    // INVARIANT: with keys, it builds.
    verifier: AccessTokenVerifierBuilder,
}

impl AuthenticationConfiguration {
    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError`] names the first rule that is broken, and where.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigurationError> {
        lint::configuration(shape::read(text)?, Issuer::parse)
    }

    /// As [`AuthenticationConfiguration::from_yaml`], and issuers on this machine may be reached by
    /// plain `http`: for development and tests.
    ///
    /// # Errors
    ///
    /// As [`AuthenticationConfiguration::from_yaml`].
    pub fn from_yaml_with_loopback(text: &str) -> Result<Self, ConfigurationError> {
        lint::configuration(shape::read(text)?, |url| {
            if url.starts_with("http://") { Issuer::loopback(url) } else { Issuer::parse(url) }
        })
    }

    /// What is configured, in the order of the file.
    #[must_use]
    pub fn issuers(&self) -> &[IssuerConfiguration] {
        &self.issuers
    }

    /// Verifiers for the tokens of all issuers, with keys that are found by `keys`.
    ///
    /// # Errors
    ///
    /// The error of `keys`, and [`ConfigurationError`] when it returns those of another issuer.
    pub fn with_keys<E: From<ConfigurationError>>(
        &self,
        mut keys: impl FnMut(&IssuerConfiguration) -> Result<IssuerKeys, E>,
    ) -> Result<Issuers, E> {
        let mut verifiers = Vec::with_capacity(self.issuers.len());
        for issuer in &self.issuers {
            verifiers.push(issuer.verifier(keys(issuer)?)?);
        }
        Ok(Issuers::new(verifiers).map_err(ConfigurationError::Issuers)?)
    }

    /// Verifiers for the tokens of all issuers, with keys out of their `keysFile` where they have
    /// one, else fetched by discovery and kept fresh in the background. A file of keys that breaks
    /// later is told to nobody, and denies after an hour: who wants to know of it uses
    /// [`AuthenticationConfiguration::with_keys`].
    ///
    /// # Errors
    ///
    /// [`ConfigurationError::Discover`] and [`ConfigurationError::KeyFile`] when an issuer's keys
    /// cannot be looked after.
    #[cfg(feature = "http")]
    pub fn discover(
        &self,
        options: &RefreshOptions,
        clock: impl Clock + Clone + 'static,
    ) -> Result<Issuers, ConfigurationError> {
        self.with_keys(|issuer| match issuer.keys_file() {
            Some(path) => Ok(IssuerKeys::from_file(path, clock.clone(), |_| ())?),
            None => {
                let options = issuer.refresh(options.clone().clock(clock.clone()))?;
                Ok(IssuerKeys::discover(issuer.url().clone(), options)?)
            }
        })
    }
}

impl IssuerConfiguration {
    /// Whose tokens: `url`.
    #[must_use]
    pub const fn url(&self) -> &Issuer {
        &self.url
    }

    /// Where the discovery document is, when it is elsewhere: `discoveryURL`.
    #[must_use]
    pub fn discovery_url(&self) -> Option<&str> {
        self.discovery_url.as_ref().map(Issuer::as_str)
    }

    /// What the issuer's server is authenticated by, instead of the roots of this machine:
    /// `certificateAuthority`.
    #[must_use]
    pub fn certificate_authority(&self) -> &[CertificateDer<'static>] {
        &self.certificate_authority
    }

    /// The file that its keys are in, where they are not fetched: `keysFile`.
    #[must_use]
    pub fn keys_file(&self) -> Option<&Path> {
        self.keys_file.as_deref()
    }

    /// A verifier for its tokens, with these keys.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError::Verifier`] when they are those of another issuer.
    pub fn verifier(&self, keys: IssuerKeys) -> Result<AccessTokenVerifier, ConfigurationError> {
        Ok(self.verifier.clone().keys(keys).build()?)
    }

    /// These options, with what is configured for this issuer.
    #[cfg(feature = "http")]
    fn refresh(&self, options: RefreshOptions) -> Result<RefreshOptions, DiscoverError> {
        let options = match self.certificate_authority.as_slice() {
            [] => options,
            roots => options.roots(roots.iter().cloned())?,
        };
        Ok(match self.discovery_url() {
            None => options,
            Some(url) => options.discovery_url(url),
        })
    }
}

#[cfg(test)]
mod tests;
