//! Which peers we believe, as rustls asks it.
//!
//! A chain is accepted when it verifies as an X509-SVID under the current bundles and the revocation
//! lists beside them (`zt-identity` has the rules), and the authorizer admits its ID. Clients and
//! servers are judged alike: a SPIFFE peer is known by its ID, never by a host name.
//!
//! A verdict holds for one generation of bundles and lists and one of the authorizer. When either
//! moves on, whoever was believed is judged again.

#[cfg(feature = "federation")]
mod endpoint;
#[cfg(feature = "tokio")]
mod standing;

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zt_core::fault::Fault;
use zt_core::spiffe::SpiffeId;
use zt_core::time::{Clock, Timestamp};
use zt_core::verified::Verified;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::Revocation;
use zt_identity::signature::SignatureAlgorithms;
use zt_identity::source::{X509Material, X509Source};
use zt_identity::x509_svid::{X509Svid, X509SvidError, X509SvidVerifier};

#[cfg(feature = "federation")]
pub(crate) use self::endpoint::EndpointVerifier;
#[cfg(feature = "tokio")]
use self::standing::Trust;
#[cfg(feature = "tokio")]
pub(crate) use self::standing::{Standing, Under};
use crate::admission::Admission;

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
    admission: Admission,
    clock: Arc<dyn Clock>,
    signatures: Signatures,
    svids: X509SvidVerifier,
    demanded: bool,
    #[cfg(feature = "tokio")]
    trust: Trust,
}

impl PeerVerifier {
    pub(crate) fn new(
        source: X509Source,
        admission: Admission,
        clock: Arc<dyn Clock>,
        provider: Arc<CryptoProvider>,
        revocation: Revocation,
    ) -> Self {
        let svids = svids(&provider).with_revocation(revocation);
        Self {
            source,
            admission,
            clock,
            signatures: Signatures(provider),
            svids,
            demanded: true,
            #[cfg(feature = "tokio")]
            trust: Trust::default(),
        }
    }

    /// The same verifier for clients that may leave their certificate out.
    pub(crate) fn optional(self) -> Self {
        Self { demanded: false, ..self }
    }

    pub(crate) const fn source(&self) -> &X509Source {
        &self.source
    }

    fn judge<'c>(
        &self,
        chain: &'c [CertificateDer<'_>],
        material: &X509Material,
        authorizer: &Authorizer,
    ) -> Result<Verified<X509Svid<'c>>, Refused> {
        judge(&self.svids, chain, material.bundles(), authorizer, self.clock.now())
    }

    fn judge_in_handshake(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        self.judge(&chain(leaf, intermediates), &self.source.load(), &self.admission.load())
            .map(|_svid| ())
            .map_err(Refused::into_tls)
    }
}

/// Verifies chains by the cryptography of this provider, as far as it is allowed.
fn svids(provider: &CryptoProvider) -> X509SvidVerifier {
    let provided = provider.signature_verification_algorithms.all;
    X509SvidVerifier::new().with_signature_algorithms(SignatureAlgorithms::among(provided))
}

/// The rules for a peer, under these bundles and this authorizer.
fn judge<'c>(
    svids: &X509SvidVerifier,
    chain: &'c [CertificateDer<'_>],
    bundles: &BundleSet,
    authorizer: &Authorizer,
    now: Timestamp,
) -> Result<Verified<X509Svid<'c>>, Refused> {
    let svid = svids.verify(chain, bundles, now).map_err(Refused::svid)?;
    if !authorizer.authorizes(svid.id()) {
        return Err(Refused::NotAdmitted { id: svid.id().to_owned() });
    }
    Ok(svid)
}

/// Checks that whoever presents a certificate has its key.
struct Signatures(Arc<CryptoProvider>);

impl Signatures {
    fn verify_tls12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        #[cfg(feature = "tls12")]
        {
            let algorithms = &self.0.signature_verification_algorithms;
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
        verify_tls13_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A leaf and what follows it, as one chain.
fn chain<'c>(leaf: &'c [u8], intermediates: &'c [CertificateDer<'_>]) -> Vec<CertificateDer<'c>> {
    let mut chain = Vec::with_capacity(intermediates.len().saturating_add(1));
    chain.push(CertificateDer::from(leaf));
    chain.extend(intermediates.iter().map(|der| CertificateDer::from(der.as_ref())));
    chain
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
        self.signatures.verify_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
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
        self.signatures.verify_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
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
