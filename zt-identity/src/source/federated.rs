//! Bundles of other trust domains, put and taken away one by one.

use std::collections::BTreeMap;

use zt_core::spiffe::{TrustDomain, TrustDomainRef};

use super::error::PutBundleError;

/// What was put, and in which order its trust domain says it belongs.
#[derive(Debug)]
pub(super) struct Federated<B>(BTreeMap<TrustDomain, Put<B>>);

#[derive(Debug)]
struct Put<B> {
    bundle: B,
    // The greatest that was seen.
    sequence: Option<u64>,
}

impl<B> Federated<B> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes a bundle, unless it is older than the one that is there (Federation §5.2.2; B-04). One
    /// without a sequence cannot be shown to be, and does not make the known one forgotten.
    pub(super) fn put(
        &mut self,
        trust_domain: &TrustDomain,
        bundle: B,
        sequence: Option<u64>,
    ) -> Result<(), PutBundleError> {
        let known = self.0.get(trust_domain.as_str()).and_then(|put| put.sequence);
        if let (Some(known), Some(offered)) = (known, sequence)
            && offered < known
        {
            let trust_domain = trust_domain.clone();
            return Err(PutBundleError::Older { trust_domain, known, offered });
        }
        self.0.insert(trust_domain.clone(), Put { bundle, sequence: sequence.or(known) });
        Ok(())
    }

    pub(super) fn remove(&mut self, trust_domain: TrustDomainRef<'_>) {
        self.0.remove(trust_domain.as_str());
    }

    /// All but the one of the trust domain that is ours, for which nobody else speaks.
    pub(super) fn foreign_to(&self, own: TrustDomainRef<'_>) -> impl Iterator<Item = &B> {
        let foreign = self.0.iter().filter(move |(domain, _)| domain.as_str() != own.as_str());
        foreign.map(|(_, put)| &put.bundle)
    }
}
