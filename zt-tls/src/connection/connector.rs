//! The client's end.

use std::fmt;
use std::sync::Arc;

use zt_core::time::Clock;
use zt_identity::source::X509Source;
use zt_identity::x509_identity::X509Identity;

use super::error::BuildError;
#[cfg(feature = "tokio")]
use super::error::HandshakeError;
use super::settings::{Settings, settings};
#[cfg(feature = "tokio")]
use super::standing::Connections;
#[cfg(feature = "tokio")]
use super::stream::ClientStream;
use crate::admission::Admission;
use crate::events::Counts;
use crate::health::{Health, Updates};
use crate::resolver::SvidResolver;
use crate::verifier::PeerVerifier;

/// Makes a [`Connector`].
#[derive(Clone)]
pub struct ConnectorBuilder {
    settings: Settings,
    source: X509Source,
    admits: Admission,
}

settings!(impl ConnectorBuilder);

impl ConnectorBuilder {
    /// The connector.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the provider cannot do what is asked for or cannot use our key.
    pub fn build(self) -> Result<Connector, BuildError> {
        let Self { settings, source, admits } = self;
        source.load().identity()?;
        let provider = settings.provider()?;
        let counts = Arc::new(Counts::new(settings.observer.clone()));
        let resolver = SvidResolver::new(
            source.clone(),
            settings.clock.clone(),
            Arc::clone(&provider),
            Arc::clone(&counts),
        )
        .map_err(BuildError::Identity)?;
        let verifier = Arc::new(PeerVerifier::new(
            source,
            admits,
            settings.clock.clone(),
            Arc::clone(&provider),
            settings.revocation,
        ));
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(settings.versions())
            .map_err(BuildError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&settings.alpn);
        // M-01: a connection that is resumed asks no verifier.
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        #[cfg(feature = "tls12")]
        {
            config.require_ems = true;
        }
        if let Some(log) = &settings.key_log {
            config.key_log = Arc::clone(log);
        }
        if settings.fips && !config.fips() {
            return Err(BuildError::NotFips);
        }
        Ok(Connector {
            config: Arc::new(config),
            verifier,
            counts: Arc::clone(&counts),
            clock: settings.clock.clone(),
            #[cfg(feature = "tokio")]
            connections: Connections::new(settings.clock, settings.lasting, counts),
        })
    }
}

/// The client's end: presents our X509-SVID and demands one of the server.
///
/// A SPIFFE server is known by its ID, not by a host name, so the authorizer says which IDs may
/// answer.
#[derive(Clone)]
pub struct Connector {
    config: Arc<rustls::ClientConfig>,
    verifier: Arc<PeerVerifier>,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "tokio")]
    connections: Connections,
}

impl Connector {
    /// A connector to servers that the authorizer admits.
    ///
    /// # Errors
    ///
    /// As [`ConnectorBuilder::build`].
    pub fn new(source: X509Source, admits: impl Into<Admission>) -> Result<Self, BuildError> {
        Self::builder(source, admits).build()
    }

    /// A connector with more to be set.
    #[must_use]
    pub fn builder(source: X509Source, admits: impl Into<Admission>) -> ConnectorBuilder {
        ConnectorBuilder { settings: Settings::new(), source, admits: admits.into() }
    }

    /// The rustls config, for clients that do their own handshakes: reqwest, hyper-rustls. It
    /// presents and verifies exactly as the connector does. Connections made with it have no lease:
    /// they are not ended when their server is not supported any more, nor by age. Have the client
    /// keep none, or close them when idle; or take `client::PeerConnector` where that fits.
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The same connector, which offers `protocols` if it offered none so far.
    #[cfg(feature = "client")]
    pub(crate) fn or_alpn(self, protocols: &[&[u8]]) -> Self {
        if self.config.alpn_protocols.is_empty() { self.with_alpn(protocols) } else { self }
    }

    /// The same connector, which offers `protocols`.
    #[cfg(feature = "client")]
    pub(crate) fn with_alpn(mut self, protocols: &[&[u8]]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        self
    }

    /// The clock that handshakes are judged by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How long what we have lasts, and what was counted.
    #[must_use]
    pub fn health(&self) -> Health {
        let source = self.verifier.source();
        let own = source.load().identity().ok().map(X509Identity::validity);
        Health::of(own, Some(source), &self.counts, self.clock.now())
    }

    /// Where to note how updates go, for [`Connector::health`].
    #[must_use]
    pub fn updates(&self) -> Updates {
        Updates::new(Arc::clone(&self.counts))
    }

    /// Does the handshake over `stream`. `host` is sent as SNI when it is a DNS name, for proxies
    /// that route by it; it is not compared with anything.
    ///
    /// It has no time limit of its own: put one around it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] when the server does not prove who it is, or is not one that may answer, or
    /// when our own identity was withdrawn or has expired.
    #[cfg(feature = "tokio")]
    pub async fn connect<IO>(
        &self,
        host: rustls_pki_types::ServerName<'static>,
        stream: IO,
    ) -> Result<ClientStream<IO>, HandshakeError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        // Without one we would be nobody to a server that admits nobody's calls.
        self.check().inspect_err(|error| self.counts.refused(error.reason(), error))?;
        let began = self.verifier.under();
        let connecting = tokio_rustls::TlsConnector::from(self.config()).connect(host, stream);
        let outcome = match connecting.await {
            Ok(tls) => self.admit(tls, began),
            Err(error) => Err(error.into()),
        };
        outcome.inspect_err(|error| self.counts.refused(error.reason(), error))
    }

    /// Whether there is something to present.
    #[cfg(feature = "tokio")]
    fn check(&self) -> Result<(), HandshakeError> {
        let now = self.clock.now();
        Ok(self.verifier.source().load().identity_at(now).map(|_identity| ())?)
    }

    #[cfg(feature = "tokio")]
    fn admit<IO>(
        &self,
        tls: tokio_rustls::client::TlsStream<IO>,
        began: crate::verifier::Under,
    ) -> Result<ClientStream<IO>, HandshakeError> {
        use zt_core::peer::End;

        // Withdrawn since it was presented, perhaps.
        self.check()?;
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let (peer, standing) = self.verifier.peer(End::Server, chain, began)?;
        let proof = Some((Arc::clone(&self.verifier), peer.clone(), standing));
        let watched = self.connections.register(proof, chain)?;
        Ok(ClientStream::new(tls, peer, watched))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder")
            .field("source", &self.source)
            .field("admits", &self.admits)
            .finish_non_exhaustive()
    }
}
