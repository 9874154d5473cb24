//! Which peers we believe, as rustls asks it.
//!
//! A chain is accepted when it verifies as an X509-SVID under the current bundles and the revocation
//! lists beside them (`zt-identity` has the rules), and the authorizer admits its ID. Clients and servers are judged alike: a
//! SPIFFE peer is known by its ID, never by a host name.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeId;
use zt_core::time::Clock;
use zt_core::verified::Verified;
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::Revocation;
use zt_identity::source::{X509Material, X509Source};
use zt_identity::x509_svid::{X509Svid, X509SvidError, X509SvidVerifier};

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

/// Judges peers by the current bundles of a source.
pub(crate) struct PeerVerifier {
    source: X509Source,
    authorizer: Authorizer,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    svids: X509SvidVerifier,
}

impl PeerVerifier {
    pub(crate) fn new(
        source: X509Source,
        authorizer: Authorizer,
        clock: Arc<dyn Clock>,
        provider: Arc<CryptoProvider>,
        revocation: Revocation,
    ) -> Self {
        let svids = X509SvidVerifier::new().with_revocation(revocation);
        Self { source, authorizer, clock, provider, svids }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn generation(&self) -> u64 {
        self.source.generation()
    }

    /// The peer of a handshake that has just finished and that began under `generation`.
    #[cfg(feature = "tokio")]
    #[expect(
        clippy::disallowed_methods,
        reason = "the handshake is done: its peer signed with the key of a leaf that `verify` \
                  accepted, under the generation that is still the current one or again just now"
    )]
    pub(crate) fn peer(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        generation: u64,
    ) -> Result<Verified<zt_core::peer::Peer>, Refused> {
        let chain = chain.unwrap_or_default();
        let material = self.source.load();
        let peer = if material.generation() == generation {
            let leaf = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
            let read = zt_identity::profile::Leaf::read(leaf, self.svids.key_usage_criticality())
                .map_err(|error| Refused::svid(error.into()))?;
            zt_core::peer::Peer::new(read.id().to_owned(), read.validity(), leaf, generation)
        } else {
            let svid = self.verify(chain, &material)?;
            let id = svid.id().to_owned();
            zt_core::peer::Peer::new(id, svid.validity(), svid.leaf(), material.generation())
        };
        Ok(zt_core::danger::verified(peer))
    }

    fn verify<'c>(
        &self,
        chain: &'c [CertificateDer<'_>],
        material: &X509Material,
    ) -> Result<Verified<X509Svid<'c>>, Refused> {
        let svid = self
            .svids
            .verify(chain, material.bundles(), self.clock.now())
            .map_err(Refused::svid)?;
        if !self.authorizer.authorizes(svid.id()) {
            return Err(Refused::NotAdmitted { id: svid.id().to_owned() });
        }
        Ok(svid)
    }

    fn verify_in_handshake(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let mut chain = Vec::with_capacity(intermediates.len().saturating_add(1));
        chain.push(CertificateDer::from(leaf.as_ref()));
        chain.extend(intermediates.iter().map(|der| CertificateDer::from(der.as_ref())));
        self.verify(&chain, &self.source.load()).map(|_svid| ()).map_err(Refused::into_tls)
    }

    fn verify_signature(
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

/// TLS 1.2 is not offered, so its signatures are never asked about.
fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify_in_handshake(leaf, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, leaf, signature)
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
        self.verify_in_handshake(leaf, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("source", &self.source)
            .field("authorizer", &self.authorizer)
            .finish_non_exhaustive()
    }
}
