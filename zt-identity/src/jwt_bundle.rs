//! The keys that sign JWT-SVIDs, of each trust domain, never of several at once.
//!
//! A key is taken from a document when, in this order:
//!
//! 1. the document is a SPIFFE bundle ([`SpiffeBundle`]), or a plain key set of at most
//!    [`MAX_SET_LEN`](crate::jwk::MAX_SET_LEN) bytes, as the Workload API hands it out;
//! 2. its `use` is `jwt-svid` in a SPIFFE bundle (JWT-SVID §6.1, B-03, J-11), and `jwt-svid`,
//!    `sig` or absent in a plain key set;
//! 3. it is sound and has a `kid` that no other of them has (J-05, [`jwk`](crate::jwk)).
//!
//! A key that breaks a rule is left out. A bundle that has none left is a bundle: it vouches for
//! nobody, and takes the place of the one before (B-01).
//!
//! A [`JwtBundleSet`] answers for one trust domain at a time (J-10). It has no way to pool them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use zt_core::spiffe::{TrustDomain, TrustDomainRef};

use crate::bundle::{SpiffeBundle, SpiffeBundleError};
use crate::json::Object;
use crate::jwk::{Jwk, JwkSet, JwkSetError, SkippedJwk};

const IN_SPIFFE_BUNDLE: &[Option<&str>] = &[Some("jwt-svid")];
const IN_KEY_SET: &[Option<&str>] = &[None, Some("sig"), Some("jwt-svid")];

/// The keys that vouch for the workloads of one trust domain. A clone shares them.
///
/// ```
/// use zt_core::spiffe::TrustDomain;
/// use zt_identity::jwt_bundle::JwtBundle;
///
/// let bundle = JwtBundle::from_spiffe_bundle(TrustDomain::from_name("example.org")?, br#"{
///     "spiffe_sequence": 7, "keys": [
///         {"use": "x509-svid", "kty": "EC", "crv": "P-256", "x5c": ["..."]},
///         {"use": "jwt-svid", "kty": "EC", "crv": "P-256", "kid": "2026-11",
///          "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
///          "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#)?;
/// assert!(bundle.key("2026-11").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwtBundle {
    trust_domain: TrustDomain,
    keys: Arc<JwkSet>,
}

impl JwtBundle {
    /// A bundle that vouches for nobody: every JWT-SVID of the trust domain is refused.
    #[must_use]
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, keys: Arc::default() }
    }

    /// Reads a plain key set, as `FetchJWTBundles` of the Workload API hands it out.
    ///
    /// # Errors
    ///
    /// [`JwkSetError`] when the document is no key set.
    pub fn from_jwks(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Self, JwkSetError> {
        let keys = JwkSet::parse_for_uses(bytes, IN_KEY_SET)?.into();
        Ok(Self { trust_domain, keys })
    }

    /// Reads the keys for JWT-SVIDs out of a SPIFFE bundle, as bundle endpoints publish it.
    ///
    /// # Errors
    ///
    /// [`SpiffeBundleError`] when the document is no bundle.
    pub fn from_spiffe_bundle(
        trust_domain: TrustDomain,
        bytes: &[u8],
    ) -> Result<Self, SpiffeBundleError> {
        Ok(SpiffeBundle::from_json(bytes)?.jwt_bundle(trust_domain))
    }

    /// The trust domain that it vouches for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&Jwk> {
        self.keys.key(kid)
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What is remembered of keys that have vouched for something.
    pub(crate) fn edition(&self) -> Edition {
        Edition(Arc::downgrade(&self.keys))
    }

    /// The keys for JWT-SVIDs that were left out, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedJwk] {
        self.keys.skipped()
    }
}

/// The very keys of a bundle and its clones: those of another reading are others, whatever they are.
#[derive(Clone, Debug)]
pub(crate) struct Edition(Weak<JwkSet>);

impl Edition {
    /// Whether these are the keys of this bundle. Their place is not given to others while this lasts.
    pub(crate) fn is_of(&self, bundle: &JwtBundle) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&bundle.keys))
    }
}

impl SpiffeBundle {
    /// The bundle that vouches for the JWT-SVIDs of `trust_domain`. When no key is usable it
    /// vouches for nobody.
    #[must_use]
    pub fn jwt_bundle(&self, trust_domain: TrustDomain) -> JwtBundle {
        let document = self.jwt_key_set();
        // What cannot be read, though it was read before, vouches for nobody.
        let keys = Object::parse(document.as_bytes())
            .ok()
            .and_then(|document| JwkSet::from_document(&document, IN_SPIFFE_BUNDLE).ok())
            .unwrap_or_default();
        JwtBundle { trust_domain, keys: keys.into() }
    }
}

/// The bundles of several trust domains, each for itself.
///
/// ```
/// use zt_core::spiffe::TrustDomain;
/// use zt_identity::jwt_bundle::{JwtBundle, JwtBundleSet};
///
/// let ours = TrustDomain::from_name("example.org")?;
/// let bundles = JwtBundleSet::new().with(JwtBundle::empty(ours.clone()));
/// assert!(bundles.get(ours.borrowed()).is_some());
/// assert!(bundles.get(TrustDomain::from_name("example.com")?.borrowed()).is_none());
/// # Ok::<(), zt_core::spiffe::SpiffeIdError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct JwtBundleSet(BTreeMap<TrustDomain, JwtBundle>);

impl JwtBundleSet {
    /// No bundles: nobody is believed.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// These bundles and one more, which takes the place of an earlier one of its trust domain.
    #[must_use]
    pub fn with(mut self, bundle: JwtBundle) -> Self {
        self.0.insert(bundle.trust_domain.clone(), bundle);
        self
    }

    /// These bundles without the one of this trust domain.
    #[must_use]
    pub fn without(mut self, trust_domain: TrustDomainRef<'_>) -> Self {
        self.0.remove(trust_domain.as_str());
        self
    }

    /// The bundle of this trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: TrustDomainRef<'_>) -> Option<&JwtBundle> {
        self.0.get(trust_domain.as_str())
    }

    /// All bundles, in the order of their trust domains.
    pub fn iter(&self) -> impl Iterator<Item = &JwtBundle> {
        self.0.values()
    }
}

impl FromIterator<JwtBundle> for JwtBundleSet {
    fn from_iter<I: IntoIterator<Item = JwtBundle>>(bundles: I) -> Self {
        bundles.into_iter().fold(Self::new(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::JwkError;
    use crate::minted;

    fn domain() -> TrustDomain {
        TrustDomain::from_name("example.org").unwrap()
    }

    /// A key set of one key for each of these uses, named by its place; `""` is no use at all.
    fn document(uses: &[&str]) -> String {
        let keys = uses.iter().enumerate().map(|(place, name)| {
            let mut key = minted::Issuer::p256().jwk(&place.to_string());
            if !name.is_empty() {
                key.insert_str(1, &format!(r#""use":"{name}","#));
            }
            key
        });
        format!(r#"{{"keys":[{}],"spiffe_sequence":1}}"#, keys.collect::<Vec<_>>().join(","))
    }

    const USES: [&str; 6] = ["jwt-svid", "x509-svid", "wit-svid", "JWT-SVID", "sig", ""];

    #[test]
    fn a_spiffe_bundle_gives_the_keys_for_jwt_svids_and_no_others() {
        let bundle = JwtBundle::from_spiffe_bundle(domain(), document(&USES).as_bytes()).unwrap();
        assert!(bundle.key("0").is_some());
        assert_eq!((bundle.len(), bundle.skipped().len()), (1, 0));
    }

    #[test]
    fn a_key_set_of_the_workload_api_need_not_name_a_use_and_gives_no_keys_of_others() {
        let bundle = JwtBundle::from_jwks(domain(), document(&USES).as_bytes()).unwrap();
        let refused = |found: &str| JwkError::Use { found: found.into() };
        let reasons: Vec<_> = bundle.skipped().iter().map(|key| key.reason.clone()).collect();
        assert_eq!(reasons, ["x509-svid", "wit-svid", "JWT-SVID"].map(refused));
        let taken: Vec<_> = (0..6).filter(|kid| bundle.key(&kid.to_string()).is_some()).collect();
        assert_eq!(taken, [0, 4, 5]);
    }

    #[test]
    fn a_document_without_keys_is_refused_and_one_with_none_vouches_for_nobody() {
        for bad in ["{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert!(JwtBundle::from_spiffe_bundle(domain(), bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(JwtBundle::from_spiffe_bundle(domain(), br#"{"keys":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn of_two_keys_of_one_name_neither_counts() {
        let key = minted::Issuer::p256().jwk("k1");
        let both = format!(r#"{{"keys":[{key},{key}]}}"#);
        assert!(JwtBundle::from_jwks(domain(), both.as_bytes()).unwrap().is_empty());
    }
}
