//! What is served, and what goes wrong.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use zt_core::spiffe::TrustDomain;

use super::super::Authority;
use crate::bundle::X509Bundle;
use crate::x509_identity::X509Identity;

/// What a Workload API serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    /// With their hints.
    pub(super) identities: Vec<(String, X509Identity)>,
    pub(super) federated: BTreeMap<TrustDomain, Foreign>,
    pub(super) lists: Vec<Vec<u8>>,
    pub(super) fault: Option<AgentFault>,
    pub(super) defect: Option<MessageDefect>,
    pub(super) cuts: u64,
}

/// The bundles of another trust domain.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    pub(super) x509: X509Bundle,
    /// A JWK set.
    pub(super) jwt: String,
}

impl Scene {
    pub(super) fn federate(&mut self, other: &Authority) {
        let foreign = Foreign { x509: other.bundle(), jwt: other.jwt_bundle_document() };
        self.federated.insert(other.trust_domain().clone(), foreign);
    }
}

/// What a call is answered with instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentFault {
    /// `PERMISSION_DENIED`: the workload is not registered.
    Denied,
    /// `INVALID_ARGUMENT`.
    InvalidArgument,
    /// `UNIMPLEMENTED`.
    Unimplemented,
    /// `UNAVAILABLE`.
    Unavailable,
    /// `INTERNAL`.
    Internal,
}

impl AgentFault {
    pub(super) fn status(self) -> Status {
        let (code, message) = match self {
            Self::Denied => (Code::PermissionDenied, "no identity issued"),
            Self::InvalidArgument => (Code::InvalidArgument, "the call is not understood"),
            Self::Unimplemented => (Code::Unimplemented, "not done here"),
            Self::Unavailable => (Code::Unavailable, "not yet"),
            Self::Internal => (Code::Internal, "something broke"),
        };
        Status::new(code, message)
    }
}

/// What is wrong with the messages that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageDefect {
    /// Nothing is in them.
    Empty,
    /// The first SVID, or the first JWT-SVID, has no ID.
    NoId,
    /// The first SVID has no chain, or the first JWT-SVID no token.
    NoSvid,
    /// The first SVID has no key.
    NoKey,
    /// The first SVID has no bundle.
    NoBundle,
    /// The first SVID, or the first JWT-SVID, has the ID of another workload.
    AnotherId,
    /// The first SVID has the key of another.
    AnotherKey,
    /// The chain of the first SVID is torn in its middle.
    TornChain,
    /// The bundle of the first SVID, or that of the trust domain, is torn in its middle.
    TornBundle,
    /// The bundles of all other trust domains are torn in their middle.
    TornFederatedBundles,
    /// A bundle has the ID of a workload as its key.
    BundleOfAWorkload,
    /// A revocation list is none.
    TornList,
    /// A hint has 1,025 bytes.
    LongHint,
    /// They are longer than 16 MiB.
    TooLong,
}

impl MessageDefect {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Empty,
        Self::NoId,
        Self::NoSvid,
        Self::NoKey,
        Self::NoBundle,
        Self::AnotherId,
        Self::AnotherKey,
        Self::TornChain,
        Self::TornBundle,
        Self::TornFederatedBundles,
        Self::BundleOfAWorkload,
        Self::TornList,
        Self::LongHint,
        Self::TooLong,
    ];
}
