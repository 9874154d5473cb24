//! What can be wrong with a certificate, on purpose.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;

use super::template::{
    CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, KEY_ENCIPHERMENT, Template, URI,
};
use crate::certificate::MAX_NAMES;
use crate::der::tag;

const HOUR: Duration = Duration::from_secs(3600);

/// One thing that is wrong with an SVID that an [`Authority`](super::Authority) issues for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Defect {
    /// The leaf has no alternative names at all.
    NoUri,
    /// The leaf has its SPIFFE ID, and another.
    TwoUris,
    /// The leaf has its SPIFFE ID, and a URI that is not even ASCII.
    SecondUriNotAscii,
    /// The leaf has its SPIFFE ID, and a URI whose tag has the constructed bit.
    SecondUriConstructed,
    /// The leaf has its SPIFFE ID, and an IP address of five bytes.
    MalformedName,
    /// The leaf has more names than are read.
    TooManyNames,
    /// The URI of the leaf is longer than a SPIFFE ID may be.
    UriTooLong,
    /// The URI of the leaf has another scheme.
    WrongScheme,
    /// The trust domain in the leaf's SPIFFE ID has upper case.
    UpperCaseTrustDomain,
    /// The leaf's SPIFFE ID has no path.
    RootPath,
    /// The leaf names a workload of trust domain `other.test`.
    OtherTrustDomain,
    /// The leaf is a certificate authority.
    LeafIsCa,
    /// The leaf has no key usage.
    NoKeyUsage,
    /// The leaf's key usage is not critical.
    KeyUsageNotCritical,
    /// The leaf may sign certificates.
    KeyCertSign,
    /// The leaf may sign revocation lists.
    CrlSign,
    /// The leaf may not sign a handshake.
    NoDigitalSignature,
    /// The leaf may be a server and not a client.
    ServerOnly,
    /// The leaf may be a client and not a server.
    ClientOnly,
    /// The leaf has neither a subject nor critical names.
    NamesNotCritical,
    /// The leaf has a critical extension that nobody knows.
    UnknownCritical,
    /// The leaf expired an hour ago.
    Expired,
    /// The leaf counts in an hour.
    NotYetValid,
    /// The leaf is signed by a key that is not its issuer's.
    ForgedSignature,
    /// A byte follows the leaf.
    TrailingByte,
    /// The intermediate is not a certificate authority.
    IntermediateNotCa,
    /// The intermediate has no key usage.
    IntermediateNoKeyUsage,
    /// The intermediate may not sign certificates.
    IntermediateNoKeyCertSign,
    /// The intermediate's SPIFFE ID has a path.
    IntermediateHasPath,
    /// The intermediate is of trust domain `other.test`.
    IntermediateOfOtherDomain,
    /// The intermediate expired an hour ago.
    IntermediateExpired,
    /// The intermediate has no subject.
    IntermediateNoSubject,
    /// The intermediate has a critical extension that nobody knows.
    IntermediateUnknownCritical,
    /// The intermediate may not sign for clients.
    IntermediateServerOnly,
    /// The intermediate may not sign revocation lists.
    IntermediateNoCrlSign,
}

impl Defect {
    /// Whether it is one of the intermediate, so that the chain needs one.
    pub(super) const fn is_of_intermediate(self) -> bool {
        matches!(
            self,
            Self::IntermediateNotCa
                | Self::IntermediateNoKeyUsage
                | Self::IntermediateNoKeyCertSign
                | Self::IntermediateHasPath
                | Self::IntermediateOfOtherDomain
                | Self::IntermediateExpired
                | Self::IntermediateNoSubject
                | Self::IntermediateUnknownCritical
                | Self::IntermediateServerOnly
                | Self::IntermediateNoCrlSign
        )
    }

    pub(super) fn spoil_leaf(self, leaf: &mut Template) {
        let uri = |uri: &str| vec![(URI, uri.as_bytes().to_vec())];
        match self {
            Self::NoUri => leaf.names.clear(),
            Self::TwoUris => leaf.names.push((URI, b"https://example.org/".to_vec())),
            Self::SecondUriNotAscii => leaf.names.push((URI, b"spiffe://td/\xff".to_vec())),
            Self::SecondUriConstructed => {
                leaf.names.push((tag::context_constructed(6), b"\x86\x0bspiffe://td".to_vec()));
            }
            Self::MalformedName => leaf.names.push((tag::context(7), vec![10, 0, 0, 1, 0])),
            Self::TooManyNames => leaf.names.extend(
                (0..MAX_NAMES).map(|n| (tag::context(2), format!("{n}.test").into_bytes())),
            ),
            Self::UriTooLong => {
                leaf.names = uri(&format!("spiffe://td/{}", "a".repeat(2048)));
            }
            Self::WrongScheme => leaf.names = uri("sparfe://example.org/workload"),
            Self::UpperCaseTrustDomain => leaf.names = uri("spiffe://Example.org/workload"),
            Self::RootPath => leaf.names = uri("spiffe://example.org"),
            Self::OtherTrustDomain => leaf.names = uri("spiffe://other.test/workload"),
            Self::LeafIsCa => leaf.ca = true,
            Self::NoKeyUsage => leaf.key_usage = 0,
            Self::KeyUsageNotCritical => leaf.key_usage_critical = false,
            Self::KeyCertSign => leaf.key_usage = DIGITAL_SIGNATURE | KEY_CERT_SIGN,
            Self::CrlSign => leaf.key_usage = DIGITAL_SIGNATURE | CRL_SIGN,
            Self::NoDigitalSignature => leaf.key_usage = KEY_ENCIPHERMENT,
            Self::ServerOnly => leaf.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Self::ClientOnly => leaf.purposes = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Self::NamesNotCritical => leaf.subject.clear(),
            Self::UnknownCritical => leaf.unknown_critical = true,
            Self::Expired => expire(leaf),
            Self::NotYetValid => leaf.not_before = leaf.not_before.saturating_add(HOUR),
            Self::ForgedSignature | Self::TrailingByte => {}
            Self::IntermediateNotCa
            | Self::IntermediateNoKeyUsage
            | Self::IntermediateNoKeyCertSign
            | Self::IntermediateHasPath
            | Self::IntermediateOfOtherDomain
            | Self::IntermediateExpired
            | Self::IntermediateNoSubject
            | Self::IntermediateUnknownCritical
            | Self::IntermediateServerOnly
            | Self::IntermediateNoCrlSign => {}
        }
    }

    pub(super) fn spoil_intermediate(self, intermediate: &mut Template) {
        let uri = |uri: &str| vec![(URI, uri.as_bytes().to_vec())];
        match self {
            Self::IntermediateNotCa => {
                intermediate.ca = false;
                intermediate.path_len = None;
            }
            Self::IntermediateNoKeyUsage => intermediate.key_usage = 0,
            Self::IntermediateNoKeyCertSign => intermediate.key_usage = CRL_SIGN,
            Self::IntermediateNoCrlSign => intermediate.key_usage = KEY_CERT_SIGN,
            Self::IntermediateHasPath => {
                for (_, name) in &mut intermediate.names {
                    name.extend(b"/authority");
                }
            }
            Self::IntermediateOfOtherDomain => intermediate.names = uri("spiffe://other.test"),
            Self::IntermediateExpired => expire(intermediate),
            Self::IntermediateNoSubject => intermediate.subject.clear(),
            Self::IntermediateUnknownCritical => intermediate.unknown_critical = true,
            Self::IntermediateServerOnly => {
                intermediate.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }
            Self::NoUri
            | Self::TwoUris
            | Self::SecondUriNotAscii
            | Self::SecondUriConstructed
            | Self::MalformedName
            | Self::TooManyNames
            | Self::UriTooLong
            | Self::WrongScheme
            | Self::UpperCaseTrustDomain
            | Self::RootPath
            | Self::OtherTrustDomain
            | Self::LeafIsCa
            | Self::NoKeyUsage
            | Self::KeyUsageNotCritical
            | Self::KeyCertSign
            | Self::CrlSign
            | Self::NoDigitalSignature
            | Self::ServerOnly
            | Self::ClientOnly
            | Self::NamesNotCritical
            | Self::UnknownCritical
            | Self::Expired
            | Self::NotYetValid
            | Self::ForgedSignature
            | Self::TrailingByte => {}
        }
    }
}

fn expire(template: &mut Template) {
    template.not_after = template.not_before.saturating_sub(HOUR);
    template.not_before = template.not_after.saturating_sub(HOUR);
}
