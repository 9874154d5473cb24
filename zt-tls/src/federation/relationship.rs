//! What we have to be told of a trust domain to federate with it.

use zt_core::spiffe::TrustDomain;

use super::error::FederationError;
use super::profile::Profile;
use super::url::EndpointUrl;

/// A foreign trust domain, where its bundle is served, and how whoever serves it proves who they are:
/// three things that are stated, and of which none follows from another (SPIFFE Federation §5.1, F-02).
///
/// The document does not say whose it is. What is served there is believed to be the bundle of this
/// trust domain, and of no other.
#[derive(Clone, Debug)]
pub struct Relationship {
    trust_domain: TrustDomain,
    url: EndpointUrl,
    profile: Profile,
}

impl Relationship {
    /// The bundle of `trust_domain` is at `url`, whose server proves itself by `profile`.
    ///
    /// # Errors
    ///
    /// [`FederationError::NoFirstBundle`] when the endpoint serves itself and the profile has no bundle
    /// to begin with.
    pub fn new(
        trust_domain: TrustDomain,
        url: EndpointUrl,
        profile: Profile,
    ) -> Result<Self, FederationError> {
        if profile.is_self_serving(&trust_domain) && profile.bundle().is_none() {
            return Err(FederationError::NoFirstBundle { trust_domain });
        }
        Ok(Self { trust_domain, url, profile })
    }

    /// The foreign trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Where its bundle is served.
    #[must_use]
    pub const fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// How the server proves who it is.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// All of it in one line.
    pub(super) fn line(&self) -> String {
        let endpoint = self.profile.endpoint().map_or("-", |endpoint| endpoint.as_str());
        format!("{} {endpoint} {}", self.profile.name(), self.url)
    }
}
