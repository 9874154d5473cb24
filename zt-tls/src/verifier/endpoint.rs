//! A bundle endpoint that proves itself by an X509-SVID.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Clock;
use zt_identity::bundle::BundleSet;
use zt_identity::matcher::Authorizer;
use zt_identity::x509_svid::X509SvidVerifier;

use super::{Refused, Signatures, chain, judge, svids};

/// Judges the one server that an endpoint may be, by one bundle: that of its trust domain as it is
/// when a fetch begins (SPIFFE Federation §5.2.2, F-05).
pub(crate) struct EndpointVerifier {
    bundles: BundleSet,
    endpoint: Authorizer,
    clock: Arc<dyn Clock>,
    signatures: Signatures,
    svids: X509SvidVerifier,
}

impl EndpointVerifier {
    pub(crate) fn new(
        endpoint: SpiffeId,
        bundles: BundleSet,
        clock: Arc<dyn Clock>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let (endpoint, svids) = (Authorizer::id(endpoint), svids(&provider));
        Self { bundles, endpoint, clock, signatures: Signatures(provider), svids }
    }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = chain(leaf, intermediates);
        let _svid = judge(&self.svids, &chain, &self.bundles, &self.endpoint, self.clock.now())
            .map_err(Refused::into_tls)?;
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

impl fmt::Debug for EndpointVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointVerifier").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
