//! Which peers we believe, as rustls asks it.
//!
//! A chain is accepted when it verifies as an X509-SVID under the current bundles and the revocation
//! lists beside them (`zt-identity` has the rules), and the authorizer admits its ID. Clients and
//! servers are judged alike: a SPIFFE peer is known by its ID, never by a host name.
//!
//! A verdict holds for one generation of bundles and lists and one of the authorizer ([`Under`]).
//! When either moves on, whoever was believed is judged again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zt_core::fault::Fault;
use zt_core::peer::{End, Peer};
use zt_core::snapshot::Versioned;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Clock;
use zt_core::verified::Verified;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::profile::Leaf;
use zt_identity::revocation::Revocation;
use zt_identity::source::{X509Material, X509Source};
use zt_identity::x509_svid::{X509Svid, X509SvidError, X509SvidVerifier};

use crate::admission::Admission;

/// The number of bundles that were replaced before they were looked at.
#[cfg(feature = "tokio")]
const UNKNOWN: u64 = 0;

/// Why a peer was refused. It reaches logs and records; the peer learns an alert.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Its certificates are not a valid X509-SVID.
    #[error("the peer's X509-SVID does not verify")]
    Svid(#[source] Arc<X509SvidError>),
    /// Its ID is proven, and the authorizer does not admit it.
    #[error("the authorizer does not admit {id}")]
    NotAdmitted {
        /// The ID.
        id: SpiffeId,
    },
}

impl Refused {
    /// Whose fault it is: the peer's, unless a root or a revocation list of ours is stale.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Svid(error) => error.fault(),
            Self::NotAdmitted { .. } => Fault::Peer,
        }
    }

    /// The refusal inside an error of rustls, if that is what it is.
    #[must_use]
    pub fn from_tls(error: &rustls::Error) -> Option<&Self> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error
        else {
            return None;
        };
        other.downcast_ref()
    }

    fn svid(error: X509SvidError) -> Self {
        Self::Svid(Arc::new(error))
    }

    fn into_tls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

/// What a verdict was reached under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Under {
    source: u64,
    admission: u64,
}

/// Judges peers by the current bundles of a source.
pub(crate) struct PeerVerifier {
    source: X509Source,
    admission: Admission,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    svids: X509SvidVerifier,
    demanded: bool,
    // Bundles and lists as they were last looked at.
    seen: ArcSwapOption<Seen>,
    looking: Mutex<()>,
}

/// Many generations of a source bring a new identity of ours and the same trust.
struct Seen {
    generation: u64,
    trust: u64,
    bundles: BundleSet,
}

impl PeerVerifier {
    pub(crate) fn new(
        source: X509Source,
        admission: Admission,
        clock: Arc<dyn Clock>,
        provider: Arc<CryptoProvider>,
        revocation: Revocation,
    ) -> Self {
        let svids = X509SvidVerifier::new().with_revocation(revocation);
        let (seen, looking) = (ArcSwapOption::empty(), Mutex::new(()));
        Self { source, admission, clock, provider, svids, demanded: true, seen, looking }
    }

    /// The same verifier for clients that may leave their certificate out.
    pub(crate) fn optional(self) -> Self {
        Self { demanded: false, ..self }
    }

    pub(crate) const fn source(&self) -> &X509Source {
        &self.source
    }

    /// What a handshake that begins now is judged under, unless that changes before its end.
    #[cfg(feature = "tokio")]
    pub(crate) fn under(&self) -> Under {
        Under { source: self.source.generation(), admission: self.admission.generation() }
    }

    /// The peer of a handshake that has just finished and that began under `began`.
    #[cfg(feature = "tokio")]
    #[expect(
        clippy::disallowed_methods,
        reason = "the handshake is done: its peer signed with the key of a leaf that `verify` \
                  accepted, under the generations that are still the current ones or again just now"
    )]
    pub(crate) fn peer(
        &self,
        end: End,
        chain: &[CertificateDer<'_>],
        began: Under,
    ) -> Result<(Verified<Peer>, Standing), Refused> {
        let admission = self.admission.load();
        let material = self.source.load();
        let now = Under { source: material.generation(), admission: admission.generation() };
        let peer = if now == began {
            let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
            let read = Leaf::read(leaf, self.svids.key_usage_criticality())
                .map_err(|error| Refused::svid(error.into()))?;
            Peer::at(end, read.id().to_owned(), read.validity(), leaf, now.source)
        } else {
            let svid = self.judge(chain, &material, &admission)?;
            Peer::at(end, svid.id().to_owned(), svid.validity(), svid.leaf(), now.source)
        };
        let standing = Standing { trust: self.trust(&material), admission: now.admission };
        Ok((zt_core::danger::verified(peer), standing))
    }

    /// Judges a chain that was believed before; cheap while nothing has changed since, unless it
    /// has to be done `anew`.
    #[cfg(feature = "tokio")]
    pub(crate) fn still(
        &self,
        chain: &[CertificateDer<'_>],
        standing: Standing,
        anew: bool,
    ) -> Result<Standing, Refused> {
        let admission = self.admission.load();
        let material = self.source.load();
        let now = Standing { trust: self.trust(&material), admission: admission.generation() };
        if anew || now != standing || now.trust == UNKNOWN {
            let _svid = self.judge(chain, &material, &admission)?;
        }
        Ok(now)
    }

    /// A number for bundles and lists that stays while they do.
    #[cfg(feature = "tokio")]
    fn trust(&self, material: &Versioned<X509Material>) -> u64 {
        let generation = material.generation();
        if let Some(seen) = &*self.seen.load()
            && seen.generation == generation
        {
            return seen.trust;
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.load_full();
        let (trust, bundles) = match &seen {
            // Somebody was faster; what is older than what was seen has no number of its own.
            Some(seen) if seen.generation == generation => return seen.trust,
            Some(seen) if seen.generation > generation => return UNKNOWN,
            Some(seen) if seen.bundles == *material.bundles() => (seen.trust, seen.bundles.clone()),
            Some(_) | None => (generation, material.bundles().clone()),
        };
        self.seen.store(Some(Arc::new(Seen { generation, trust, bundles })));
        trust
    }

    fn judge<'c>(
        &self,
        chain: &'c [CertificateDer<'_>],
        material: &X509Material,
        authorizer: &Authorizer,
    ) -> Result<Verified<X509Svid<'c>>, Refused> {
        let svid = self
            .svids
            .verify(chain, material.bundles(), self.clock.now())
            .map_err(Refused::svid)?;
        if !authorizer.authorizes(svid.id()) {
            return Err(Refused::NotAdmitted { id: svid.id().to_owned() });
        }
        Ok(svid)
    }

    fn judge_in_handshake(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let mut chain = Vec::with_capacity(intermediates.len().saturating_add(1));
        chain.push(CertificateDer::from(leaf.as_ref()));
        chain.extend(intermediates.iter().map(|der| CertificateDer::from(der.as_ref())));
        self.judge(&chain, &self.source.load(), &self.admission.load())
            .map(|_svid| ())
            .map_err(Refused::into_tls)
    }

    fn verify_tls12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        #[cfg(feature = "tls12")]
        {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
        }
        #[cfg(not(feature = "tls12"))]
        {
            let _ = (message, leaf, signature);
            Err(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into())
        }
    }

    fn verify_tls13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a peer that was believed was last judged under.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    trust: u64,
    admission: u64,
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demanded
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge_in_handshake(leaf, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge_in_handshake(leaf, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("source", &self.source)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
