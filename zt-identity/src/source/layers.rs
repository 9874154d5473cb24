//! What material is made of, each part with an owner of its own.

use zt_core::spiffe::{SpiffeId, TrustDomain, TrustDomainRef};

use super::X509Material;
use super::error::{PutBundleError, Withdrawn};
use super::federated::Federated;
use crate::bundle::{BundleSet, X509Bundle};
use crate::x509_identity::X509Identity;

/// An update brings identity, bundles and lists, all at once; federation brings bundles one by one.
/// Neither touches what the other brought.
#[derive(Debug)]
pub(super) struct Layers {
    identity: Result<X509Identity, Withdrawn>,
    bundles: BundleSet,
    federated: Federated<X509Bundle>,
}

impl Layers {
    pub(super) const fn new(identity: X509Identity, bundles: BundleSet) -> Self {
        Self { identity: Ok(identity), bundles, federated: Federated::new() }
    }

    pub(super) fn update(&mut self, identity: X509Identity, bundles: BundleSet) {
        (self.identity, self.bundles) = (Ok(identity), bundles);
    }

    /// Which it was, unless it was withdrawn already.
    pub(super) fn withdraw(&mut self) -> Option<SpiffeId> {
        let id = self.identity.as_ref().ok()?.id().clone();
        self.identity = Err(Withdrawn::of(id.clone()));
        Some(id)
    }

    /// No other trust domain speaks for ours (SPIFFE-ID §2.1, ID-11).
    pub(super) fn put(
        &mut self,
        bundle: X509Bundle,
        sequence: Option<u64>,
    ) -> Result<(), PutBundleError> {
        let trust_domain: TrustDomain = bundle.trust_domain().clone();
        if self.own().as_str() == trust_domain.as_str() {
            return Err(PutBundleError::Own { trust_domain });
        }
        self.federated.put(&trust_domain, bundle, sequence)
    }

    pub(super) fn remove(&mut self, trust_domain: TrustDomainRef<'_>) {
        self.federated.remove(trust_domain);
    }

    /// What readers see. Of a trust domain that both know, what was put counts.
    pub(super) fn material(&self) -> X509Material {
        let federated = self.federated.foreign_to(self.own()).cloned();
        let bundles = federated.fold(self.bundles.clone(), BundleSet::with);
        X509Material { identity: self.identity.clone(), bundles }
    }

    fn own(&self) -> TrustDomainRef<'_> {
        match &self.identity {
            Ok(identity) => identity.id().trust_domain(),
            Err(withdrawn) => withdrawn.id().trust_domain(),
        }
    }
}
