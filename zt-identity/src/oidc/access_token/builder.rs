//! What a verifier has to be told before there is one.

use std::sync::Arc;
use std::time::Duration;

use zt_core::fault::Fault;

use super::rules::RulesBuilder;
use super::{AccessTokenVerifier, TYPES, TYPES_AND_JWT};
use crate::algorithm::Algorithm;
use crate::claims::{EmptyAudience, LeewayTooLong};
use crate::oidc::claim_mapping::{ClaimMapping, MappingError};
use crate::oidc::claim_path::ClaimPath;
use crate::oidc::issuer::Issuer;
use crate::oidc::keys::IssuerKeys;
use crate::oidc::signed::{KeysOfAnother, Signer};

/// An [`AccessTokenVerifier`] in the making.
#[must_use]
#[derive(Clone, Debug)]
pub struct AccessTokenVerifierBuilder {
    issuer: Issuer,
    rules: RulesBuilder,
    keys: Option<IssuerKeys>,
    types: &'static [&'static str],
    algorithms: Arc<[Algorithm]>,
}

impl AccessTokenVerifierBuilder {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            rules: RulesBuilder::default(),
            keys: None,
            types: TYPES,
            algorithms: Algorithm::ALL.into(),
        }
    }

    /// Adds a name of this service: a token has to be for one of those that were added.
    pub fn audience(mut self, name: impl Into<Arc<str>>) -> Self {
        self.rules.audiences.push(name.into());
        self
    }

    /// Demands that a token is for all of the names that were added.
    pub fn require_all_audiences(mut self) -> Self {
        self.rules.all_audiences = true;
        self
    }

    /// Verifies with the keys that the issuer publishes, fetched by discovery and kept fresh in
    /// the background with the default [`RefreshOptions`](crate::oidc::refresh::RefreshOptions).
    ///
    /// # Errors
    ///
    /// As [`IssuerKeys::discover`].
    #[cfg(feature = "http")]
    pub fn discover(self) -> Result<Self, crate::oidc::refresh::DiscoverError> {
        let keys = IssuerKeys::discover(self.issuer.clone(), Default::default())?;
        Ok(self.keys(keys))
    }

    /// The keys of the issuer.
    pub fn keys(mut self, keys: IssuerKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// How far clocks may be apart: 60 s unless stated otherwise, and at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Refuses tokens that are issued for longer than this; no limit unless stated otherwise.
    pub fn max_lifetime(mut self, max: Duration) -> Self {
        self.rules.max_lifetime = Some(max);
        self
    }

    /// Also admits the type `JWT`, for providers that predate RFC 9068; see the
    /// [module](super#providers-that-predate-rfc-9068) for what that costs.
    pub fn admit_jwt_type(mut self) -> Self {
        self.types = TYPES_AND_JWT;
        self.rules.untyped = true;
        self
    }

    /// Admits signatures by these algorithms only, instead of all of [`Algorithm::ALL`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How claims become a user, instead of [`ClaimMapping::default`].
    pub fn mapping(mut self, mapping: ClaimMapping) -> Self {
        self.rules.mapping = mapping;
        self
    }

    /// Where the user's roles stand; `roles` unless stated otherwise.
    pub fn roles_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.rules.mapping = self.rules.mapping.roles(path, "");
        self
    }

    /// Where the user's groups stand; `groups` unless stated otherwise.
    pub fn groups_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.rules.mapping = self.rules.mapping.groups(path, "");
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`VerifierError`] when there is no audience, when there are no keys or those of another
    /// issuer, when the leeway is too long, when no algorithm is admitted, and when the mapping
    /// cannot be meant as it is.
    pub fn build(self) -> Result<AccessTokenVerifier, VerifierError> {
        let rules = self.rules.build()?;
        let keys = self.keys.ok_or(VerifierError::NoKeys)?;
        let signer = Signer::new(self.issuer, keys)
            .map_err(|KeysOfAnother { issuer }| VerifierError::KeysOfAnother { issuer })?;
        if self.algorithms.is_empty() {
            return Err(VerifierError::NoAlgorithm);
        }
        Ok(AccessTokenVerifier { signer, rules, types: self.types, algorithms: self.algorithms })
    }
}

/// Why a verifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// No audience was given, or one without a name.
    #[error(transparent)]
    Audience(#[from] EmptyAudience),
    /// No keys were given.
    #[error("a verifier needs the issuer's keys")]
    NoKeys,
    /// The keys are those of another issuer.
    #[error("the keys are those of {issuer}")]
    KeysOfAnother {
        /// Whose keys they are.
        issuer: Issuer,
    },
    /// The leeway is too long.
    #[error(transparent)]
    Leeway(#[from] LeewayTooLong),
    /// The mapping of claims cannot be meant as it is.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// No algorithm is admitted.
    #[error("a verifier needs an algorithm that it admits")]
    NoAlgorithm,
}

impl VerifierError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
