//! What happens to connections, told and counted.
//!
//! An [`Observe`] is told of every connection that is admitted, refused or ended, and of every request
//! that `serve` refuses on a connection that has ended, at the moment it
//! happens and on the thread that it happens on: it counts or hands on, and does not wait. What is
//! counted here besides is read with `health` of an acceptor or connector.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zt_core::fault::Fault;
use zt_core::lease::Ended;
use zt_core::peer::Peer;
use zt_core::spiffe::TrustDomain;
use zt_core::verified::Verified;
use zt_identity::x509_svid::X509SvidError;

use crate::verifier::Refused;

/// Why a connection was refused: one of a few names, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The client presented no certificate.
    NoCertificate,
    /// The chain is longer than is looked at.
    ChainTooLong,
    /// A certificate has not the form of an SVID, or of an authority's.
    Profile,
    /// The leaf has expired, or does not count yet.
    Validity,
    /// There is no bundle for its trust domain.
    TrustDomain,
    /// No path leads to a root of its bundle.
    Path,
    /// It is revoked.
    Revoked,
    /// Whether it is revoked cannot be told: a list is stale or missing, or a root of ours is.
    Unknown,
    /// It is proven, and not admitted.
    NotAdmitted,
    /// The peer does not speak TLS as we do, or did not sign with its key.
    Protocol,
    /// The connection broke.
    Broken,
    /// The handshake took too long, or had to give its place to another.
    TooSlow,
    /// There are as many connections, or handshakes from this source, as there may be.
    TooMany,
    /// We have no identity to present: it was withdrawn, or has expired.
    NoIdentity,
    /// Something of our own is in the way: no thread could be started.
    Internal,
}

impl Reason {
    const ALL: [Self; 15] = [
        Self::NoCertificate,
        Self::ChainTooLong,
        Self::Profile,
        Self::Validity,
        Self::TrustDomain,
        Self::Path,
        Self::Revoked,
        Self::Unknown,
        Self::NotAdmitted,
        Self::Protocol,
        Self::Broken,
        Self::TooSlow,
        Self::TooMany,
        Self::NoIdentity,
        Self::Internal,
    ];

    /// A name for metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::ChainTooLong => "chain_too_long",
            Self::Profile => "profile",
            Self::Validity => "validity",
            Self::TrustDomain => "trust_domain",
            Self::Path => "path",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::NotAdmitted => "not_admitted",
            Self::Protocol => "protocol",
            Self::Broken => "broken",
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::NoIdentity => "no_identity",
            Self::Internal => "internal",
        }
    }
}

impl From<&Refused> for Reason {
    #[expect(clippy::wildcard_enum_match_arm, reason = "further rules are of the form of a chain")]
    fn from(refused: &Refused) -> Self {
        let error = match refused {
            Refused::NotAdmitted { .. } => return Self::NotAdmitted,
            Refused::Svid(error) => &**error,
        };
        match error {
            X509SvidError::EmptyChain => Self::NoCertificate,
            X509SvidError::TooManyCertificates { .. } | X509SvidError::ChainTooLong { .. } => {
                Self::ChainTooLong
            }
            X509SvidError::Validity(_) => Self::Validity,
            X509SvidError::NoBundle { .. } => Self::TrustDomain,
            X509SvidError::Path(error) if error.fault() != Fault::Peer => Self::Unknown,
            X509SvidError::Path(_) => Self::Path,
            X509SvidError::Revocation(error) if error.fault() != Fault::Peer => Self::Unknown,
            X509SvidError::Revocation(_) => Self::Revoked,
            _ => Self::Profile,
        }
    }
}

impl From<&rustls::Error> for Reason {
    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else that TLS can fail by")]
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            other => Refused::from_tls(other).map_or(Self::Protocol, Self::from),
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A handshake is done; without a peer where clients need not present a certificate and this
    /// one did not.
    Admitted {
        /// Who is there.
        peer: Option<&'a Verified<Peer>>,
    },
    /// A connection was refused.
    Refused {
        /// Why, in a word.
        reason: Reason,
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// A connection that was admitted is not supported any more. It ends after its grace.
    Ended {
        /// Who was there.
        peer: Option<&'a Verified<Peer>>,
        /// Why.
        why: Ended,
        /// Why its identity is refused by now, if that is it.
        refused: Option<&'a Refused>,
    },
    /// `serve` refused a request on a connection that had ended, before any service saw it. The
    /// caller was reset and learnt nothing else.
    RequestRefused {
        /// Who asked.
        peer: Option<&'a Verified<Peer>>,
        /// Why the connection had ended.
        why: Ended,
    },
    /// A new identity, new bundles or lists were not taken; the old ones stay until they expire.
    UpdateFailed {
        /// Why not.
        error: &'a (dyn Error + 'static),
    },
    /// The bundle of a trust domain that we federate with was fetched.
    BundleFetched {
        /// Whose it is.
        trust_domain: &'a TrustDomain,
        /// Its sequence, if it has one.
        sequence: Option<u64>,
        /// Whether it is another one than before.
        changed: bool,
    },
    /// The bundle of a trust domain that we federate with was not fetched, not taken or not kept; the
    /// latest stays.
    BundleFailed {
        /// Whose it is.
        trust_domain: &'a TrustDomain,
        /// Why not.
        error: &'a (dyn Error + 'static),
    },
    /// The bundle of a trust domain that we federate with counts no more: its workloads are refused,
    /// and their connections end.
    BundleGone {
        /// Whose it was.
        trust_domain: &'a TrustDomain,
        /// Why.
        why: BundleGone,
    },
}

/// Why a bundle of another trust domain counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BundleGone {
    /// The relationship has ended.
    Ended,
    /// The endpoint has been silent for too long.
    Stale,
}

/// Is told of events. A closure is one.
pub trait Observe: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observe for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were admitted.
    pub admitted: u64,
    /// Connections that ended because what they rested on did.
    pub ended: u64,
    /// Connections that were refused, by reason; reasons that did not occur are left out.
    pub refused: Vec<(Reason, u64)>,
    /// Requests that `serve` refused, as their connection had ended.
    pub refused_requests: u64,
    /// Updates that were not taken since the last one that was.
    pub failed_updates: u64,
}

/// Counts, and tells who wants to be told.
#[derive(Default)]
pub(crate) struct Counts {
    observer: Option<Arc<dyn Observe>>,
    open: AtomicU64,
    admitted: AtomicU64,
    ended: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    refused_requests: AtomicU64,
    failed_updates: AtomicU64,
}

impl Counts {
    pub(crate) fn new(observer: Option<Arc<dyn Observe>>) -> Self {
        Self { observer, ..Self::default() }
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn admitted(&self, peer: Option<&Verified<Peer>>) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::Admitted { peer });
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn refused(&self, reason: Reason, error: &(dyn Error + 'static)) {
        let counted = Reason::ALL.iter().zip(&self.refused);
        if let Some((_, count)) = counted.into_iter().find(|(of, _)| **of == reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(&Event::Refused { reason, error });
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn ended(
        &self,
        peer: Option<&Verified<Peer>>,
        why: Ended,
        refused: Option<&Refused>,
    ) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::Ended { peer, why, refused });
    }

    #[cfg(feature = "serve")]
    pub(crate) fn refused_request(&self, peer: Option<&Verified<Peer>>, why: Ended) {
        self.refused_requests.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::RequestRefused { peer, why });
    }

    pub(crate) fn updated(&self, failure: Option<&(dyn Error + 'static)>) {
        match failure {
            None => self.failed_updates.store(0, Ordering::Relaxed),
            Some(error) => {
                self.failed_updates.fetch_add(1, Ordering::Relaxed);
                self.tell(&Event::UpdateFailed { error });
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Counted {
        let counts = Reason::ALL.into_iter().zip(&self.refused);
        Counted {
            open: self.open.load(Ordering::Relaxed),
            admitted: self.admitted.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            refused: counts
                .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            refused_requests: self.refused_requests.load(Ordering::Relaxed),
            failed_updates: self.failed_updates.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}
