//! The bundles of several trust domains in one document.
//!
//! [`BundleMap::from_json`] accepts bytes when (SPIFFE Trust Domain and Bundle §5.1):
//!
//! 1. there are at most [`MAX_BUNDLE_LEN`], and they are one JSON object, read strictly: a name that
//!    occurs twice, however it is spelled, refuses the document;
//! 2. `trust_domains` is an object (§5.1.1), which may be empty;
//! 3. each of its names is that of a trust domain;
//! 4. each of its values is a bundle ([`SpiffeBundle`]).
//!
//! All of it is taken or nothing, and each bundle is kept with its trust domain. Hints inside of it
//! are those of its bundles, and say nothing about the map.

use std::collections::BTreeMap;

use zt_core::fault::Fault;
use zt_core::spiffe::{SpiffeIdError, TrustDomain, TrustDomainRef};
use zt_core::time::Timestamp;

use super::spiffe::{MAX_BUNDLE_LEN, SpiffeBundle, SpiffeBundleError};
use super::{BundleError, BundleSet};
use crate::excerpt::excerpt;
use crate::json::{JsonError, Object, Value};

/// The bundles of several trust domains, each for itself.
///
/// ```
/// use zt_identity::bundle::{BundleMap, BundleMapError};
///
/// let map = BundleMap::from_json(br#"{"trust_domains": {"example.org": {"keys": []}}}"#)?;
/// assert_eq!(map.iter().count(), 1);
/// # Ok::<(), BundleMapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleMap(BTreeMap<TrustDomain, SpiffeBundle>);

impl BundleMap {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`BundleMapError`] names the first rule that is broken.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleMapError> {
        if bytes.len() > MAX_BUNDLE_LEN {
            return Err(BundleMapError::TooLong { len: bytes.len() });
        }
        let document = Object::parse(bytes)?;
        let bundles = document.get("trust_domains").and_then(Value::as_object);
        let bundles = bundles.ok_or(BundleMapError::NoTrustDomains)?;
        bundles.iter().map(|(name, bundle)| one(name, bundle)).collect::<Result<_, _>>().map(Self)
    }

    /// The bundle of this trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: TrustDomainRef<'_>) -> Option<&SpiffeBundle> {
        self.0.get(trust_domain.as_str())
    }

    /// All bundles, in the order of their trust domains.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &SpiffeBundle)> {
        self.0.iter()
    }

    /// The bundles that vouch for X.509-SVIDs, all at once, and what was left out of them
    /// ([`SpiffeBundle::x509_bundle`]). A trust domain of which nothing remains has a bundle that
    /// vouches for nobody.
    #[must_use]
    pub fn x509_bundles(
        &self,
        now: Timestamp,
    ) -> (BundleSet, Vec<(TrustDomain, usize, BundleError)>) {
        let mut left_out = Vec::new();
        let bundles = self.0.iter().map(|(trust_domain, bundle)| {
            let (bundle, broken) = bundle.x509_bundle(trust_domain.clone(), now);
            left_out.extend(broken.into_iter().map(|(n, why)| (trust_domain.clone(), n, why)));
            bundle
        });
        (bundles.collect(), left_out)
    }
}

fn one(name: &str, bundle: &Value<'_>) -> Result<(TrustDomain, SpiffeBundle), BundleMapError> {
    let trust_domain = TrustDomain::from_name(name)
        .map_err(|source| BundleMapError::TrustDomain { name: excerpt(name), source })?;
    let bundle = bundle.as_object().ok_or(SpiffeBundleError::NoKeys);
    match bundle.and_then(SpiffeBundle::from_object) {
        Ok(bundle) => Ok((trust_domain, bundle)),
        Err(source) => Err(BundleMapError::Bundle { trust_domain, source }),
    }
}

/// Why a document is not a map of bundles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleMapError {
    /// Longer than [`MAX_BUNDLE_LEN`].
    #[error("a bundle map of {len} bytes, and at most {MAX_BUNDLE_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not JSON that is accepted, or a trust domain occurs twice.
    #[error("the bundle map is not JSON that is accepted")]
    Json(#[from] JsonError),
    /// There is no object `trust_domains`.
    #[error("the bundle map has no object \"trust_domains\"")]
    NoTrustDomains,
    /// A name is not that of a trust domain.
    #[error("{name:?} is not a trust domain")]
    TrustDomain {
        /// The name, cut.
        name: String,
        /// Why it is none.
        source: SpiffeIdError,
    },
    /// A value is not a bundle.
    #[error("what the bundle map has for {trust_domain:?} is not a bundle")]
    Bundle {
        /// Of which trust domain.
        trust_domain: TrustDomain,
        /// Why it is none.
        source: SpiffeBundleError,
    },
}

impl BundleMapError {
    /// Whose fault it is: that of whoever publishes the map.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}
