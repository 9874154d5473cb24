//! The server's end.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use zt_core::peer::Peer;
#[cfg(feature = "tokio")]
use zt_core::time::Timestamp;
use zt_core::time::{Clock, Validity};
use zt_core::verified::Verified;
#[cfg(feature = "tokio")]
use zt_identity::source::NoIdentity;
use zt_identity::source::{Withdrawn, X509Source};

use super::error::BuildError;
#[cfg(feature = "tokio")]
use super::error::HandshakeError;
use super::settings::{Client, Settings, settings};
#[cfg(feature = "tokio")]
use super::standing::Connections;
#[cfg(feature = "tokio")]
use super::stream::ServerStream;
use crate::admission::Admission;
use crate::events::Counts;
use crate::health::{Health, Updates};
use crate::resolver::{SvidResolver, WebResolver};
use crate::verifier::PeerVerifier;
use crate::web::WebIdentity;

/// Makes an [`Acceptor`].
#[derive(Clone)]
pub struct AcceptorBuilder<P = Verified<Peer>> {
    settings: Settings,
    own: Own,
    clients: Option<(X509Source, Admission)>,
    demanded: bool,
    client: PhantomData<fn() -> P>,
}

settings!(impl AcceptorBuilder<P>);

impl AcceptorBuilder<Verified<Peer>> {
    /// Lets clients leave their certificate out. One that presents a certificate has to prove it
    /// and to be admitted all the same.
    ///
    /// What is built then is of another type, so that nobody takes a client of it for a proven one:
    ///
    /// ```compile_fail,E0308
    /// # use zt_core::{peer::Peer, verified::Verified};
    /// # use zt_identity::{Authorizer, X509Source};
    /// # async fn serve(source: X509Source, members: Authorizer, tcp: tokio::net::TcpStream) {
    /// let acceptor = zt_tls::Acceptor::builder(source, members).optional_clients().build().unwrap();
    /// let stream = acceptor.accept(tcp).await.unwrap();
    /// let peer: &Verified<Peer> = stream.peer(); // it is an `Option`
    /// # }
    /// ```
    #[must_use]
    pub fn optional_clients(self) -> AcceptorBuilder<Option<Verified<Peer>>> {
        let Self { settings, own, clients, .. } = self;
        AcceptorBuilder { settings, own, clients, demanded: false, client: PhantomData }
    }
}

impl<P: Client> AcceptorBuilder<P> {
    /// Presents this certificate of the Web PKI instead of our SVID, for clients that know servers
    /// by their hosts. Clients are still judged by the source.
    #[must_use]
    pub fn web_identity(mut self, identity: WebIdentity) -> Self {
        self.own = Own::Web(identity);
        self
    }

    /// The acceptor.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the provider cannot do what is asked for or cannot use our key.
    pub fn build(self) -> Result<Acceptor<P>, BuildError> {
        let Self { settings, own, clients, demanded, .. } = self;
        own.validity()?;
        let provider = settings.provider()?;
        let counts = Arc::new(Counts::new(settings.observer.clone()));
        let resolver: Arc<dyn ResolvesServerCert> = match &own {
            Own::Web(web) => Arc::new(WebResolver::new(web.clone(), settings.clock.clone())),
            Own::Svid(source) => Arc::new(
                SvidResolver::new(
                    source.clone(),
                    settings.clock.clone(),
                    Arc::clone(&provider),
                    Arc::clone(&counts),
                )
                .map_err(BuildError::Identity)?,
            ),
        };
        let verifier = clients.map(|(source, admission)| {
            let clock = settings.clock.clone();
            let provider = Arc::clone(&provider);
            let verifier =
                PeerVerifier::new(source, admission, clock, provider, settings.revocation);
            Arc::new(if demanded { verifier } else { verifier.optional() })
        });
        let config = config(&settings, provider, verifier.clone(), resolver)?;
        Ok(Acceptor {
            config: Arc::new(config),
            own,
            verifier,
            counts: Arc::clone(&counts),
            clock: settings.clock.clone(),
            #[cfg(feature = "tokio")]
            connections: Connections::new(settings.clock, settings.lasting, counts),
            client: PhantomData,
        })
    }
}

fn config(
    settings: &Settings,
    provider: Arc<rustls::crypto::CryptoProvider>,
    verifier: Option<Arc<PeerVerifier>>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<rustls::ServerConfig, BuildError> {
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.versions())
        .map_err(BuildError::Provider)?;
    let mut config = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
    }
    .with_cert_resolver(resolver);
    config.alpn_protocols.clone_from(&settings.alpn);
    // M-01: a connection that is resumed asks no verifier.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
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
    Ok(config)
}

/// What we are known by.
#[derive(Clone, Debug)]
enum Own {
    Svid(X509Source),
    Web(WebIdentity),
}

impl Own {
    fn validity(&self) -> Result<Validity, Withdrawn> {
        match self {
            Self::Svid(source) => match source.load().identity() {
                Ok(identity) => Ok(identity.validity()),
                Err(withdrawn) => Err(withdrawn.clone()),
            },
            Self::Web(web) => Ok(web.validity()),
        }
    }

    /// Whether there is something to present.
    #[cfg(feature = "tokio")]
    fn check(&self, now: Timestamp) -> Result<(), NoIdentity> {
        Ok(self.validity()?.check(now)?)
    }
}

/// The server's end: demands an X509-SVID of every peer.
///
/// ```
/// # use zt_core::{spiffe::TrustDomain, time::{Clock, SystemClock}};
/// # use zt_identity::authority::Authority;
/// use zt_identity::matcher::Authorizer;
/// use zt_tls::Acceptor;
///
/// # let domain = TrustDomain::from_name("example.org")?;
/// # let authority = Authority::new(domain.clone(), SystemClock.now())?;
/// # let source = authority.source("/ns/shop/sa/orders")?;
/// // `source`: our SVID and the bundles we trust.
/// let acceptor = Acceptor::new(source, Authorizer::member_of(domain))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Acceptor<P = Verified<Peer>> {
    config: Arc<rustls::ServerConfig>,
    own: Own,
    verifier: Option<Arc<PeerVerifier>>,
    counts: Arc<Counts>,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "tokio")]
    connections: Connections,
    client: PhantomData<fn() -> P>,
}

impl Acceptor<Verified<Peer>> {
    /// An acceptor for peers that the authorizer admits.
    ///
    /// # Errors
    ///
    /// As [`AcceptorBuilder::build`].
    pub fn new(source: X509Source, admits: impl Into<Admission>) -> Result<Self, BuildError> {
        Self::builder(source, admits).build()
    }

    /// An acceptor with more to be set. Whom it admits is an
    /// [`Authorizer`](zt_identity::matcher::Authorizer), or an [`Admission`] that is replaced while
    /// it runs.
    #[must_use]
    pub fn builder(source: X509Source, admits: impl Into<Admission>) -> AcceptorBuilder {
        AcceptorBuilder {
            settings: Settings::new(),
            own: Own::Svid(source.clone()),
            clients: Some((source, admits.into())),
            demanded: true,
            client: PhantomData,
        }
    }
}

impl Acceptor<Option<Verified<Peer>>> {
    /// An acceptor that presents a certificate of the Web PKI and asks no client for one: each of
    /// its connections is from nobody.
    #[must_use]
    pub fn for_anyone(identity: WebIdentity) -> AcceptorBuilder<Option<Verified<Peer>>> {
        AcceptorBuilder {
            settings: Settings::new(),
            own: Own::Web(identity),
            clients: None,
            demanded: false,
            client: PhantomData,
        }
    }
}

impl<P: Client> Acceptor<P> {
    /// The rustls config, for servers that do their own handshakes. It demands and verifies
    /// exactly as the acceptor does; a `Verified<Peer>` comes from the acceptor alone, as does the
    /// end of a connection whose peer is not supported any more. Servers that take connections from
    /// elsewhere, such as `axum::serve` and tonic, lose neither with `listen::Listener`.
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What judges clients, for a rustls config of your own; nothing where none is asked for a
    /// certificate. Such a config has to turn resumption and tickets off, as [`Acceptor::config`]
    /// does: a connection that is resumed asks no verifier.
    #[must_use]
    pub fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let verifier = Arc::clone(self.verifier.as_ref()?);
        Some(verifier)
    }

    /// The same acceptor, which offers `protocols` if it offered none so far.
    #[cfg(feature = "serve")]
    pub(crate) fn or_alpn(mut self, protocols: &[&[u8]]) -> Self {
        if self.config.alpn_protocols.is_empty() {
            let config = Arc::make_mut(&mut self.config);
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        }
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
        let source = self.verifier.as_ref().map(|verifier| verifier.source());
        Health::of(self.own.validity().ok(), source, &self.counts, self.clock.now())
    }

    /// Where to note how updates go, for [`Acceptor::health`].
    #[must_use]
    pub fn updates(&self) -> Updates {
        Updates::new(Arc::clone(&self.counts))
    }

    #[cfg(feature = "serve")]
    pub(crate) const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// How long a stream works after its connection has ended.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn grace(&self) -> std::time::Duration {
        self.connections.grace()
    }

    #[cfg(feature = "serve")]
    pub(crate) fn with_grace(mut self, grace: std::time::Duration) -> Self {
        self.connections = self.connections.with_grace(grace);
        self
    }

    /// Does the handshake over `stream`.
    ///
    /// It has no time limit of its own: put one around it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] when the peer does not prove who it is, or may not connect, or when our own
    /// identity was withdrawn or has expired.
    #[cfg(feature = "tokio")]
    pub async fn accept<IO>(&self, stream: IO) -> Result<ServerStream<IO, P>, HandshakeError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        match self.shake_hands(stream).await {
            Ok(stream) => Ok(stream),
            Err((error, refused)) => {
                let_alert_arrive(refused).await;
                Err(error)
            }
        }
    }

    /// Does the handshake, and hands back a stream that was refused, with an alert on its way.
    #[cfg(feature = "tokio")]
    pub(crate) async fn shake_hands<IO>(
        &self,
        stream: IO,
    ) -> Result<ServerStream<IO, P>, (HandshakeError, Option<IO>)>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let began = self.verifier.as_ref().map(|verifier| verifier.under());
        let handshake = tokio_rustls::TlsAcceptor::from(self.config()).accept(stream);
        let outcome = match handshake.into_fallible().await {
            Ok(tls) => self.admit(tls, began).map_err(|error| (error, None)),
            Err((error, stream)) => match self.own.check(self.clock.now()) {
                Ok(()) => Err((error.into(), Some(stream))),
                Err(nothing) => Err((nothing.into(), Some(stream))),
            },
        };
        outcome.inspect_err(|(error, _)| self.counts.refused(error.reason(), error))
    }

    #[cfg(feature = "tokio")]
    fn admit<IO>(
        &self,
        tls: tokio_rustls::server::TlsStream<IO>,
        began: Option<crate::verifier::Under>,
    ) -> Result<ServerStream<IO, P>, HandshakeError> {
        use zt_core::peer::End;

        // Withdrawn since it was presented, perhaps.
        self.own.check(self.clock.now())?;
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let proof = match (&self.verifier, began) {
            (Some(verifier), Some(began)) if !chain.is_empty() => {
                let (peer, standing) = verifier.peer(End::Client, chain, began)?;
                Some((Arc::clone(verifier), peer, standing))
            }
            _ => None,
        };
        let peer = P::of(proof.as_ref().map(|(_, peer, _)| peer.clone()))
            .ok_or(HandshakeError::NoCertificate)?;
        let watched = self.connections.register(proof, chain)?;
        Ok(ServerStream::new(tls, peer, watched))
    }
}

impl<P> fmt::Debug for Acceptor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for AcceptorBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptorBuilder")
            .field("clients", &self.clients)
            .field("own", &self.own)
            .field("demanded", &self.demanded)
            .finish_non_exhaustive()
    }
}

/// In TLS 1.3 a client speaks before it knows that it was refused. Closing a socket with bytes
/// unread resets the connection, and the alert that says why is lost on the way: so hear the client
/// out, for a while.
#[cfg(feature = "tokio")]
pub(crate) async fn let_alert_arrive<IO>(stream: Option<IO>)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What is read at most: some first request.
    const BYTES: u64 = 16 * 1024;
    /// How long is waited for it at most.
    const TIME: std::time::Duration = std::time::Duration::from_secs(1);

    let Some(mut stream) = stream else { return };
    let hear_out = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(BYTES), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(TIME, hear_out).await;
}

#[cfg(test)]
mod tests {
    use zt_core::spiffe::TrustDomain;
    use zt_core::time::Timestamp;
    use zt_identity::authority::Authority;
    use zt_identity::matcher::Authorizer;

    use super::*;

    #[test]
    fn without_a_provider_nothing_is_built() {
        let domain = TrustDomain::from_name("example.org").unwrap();
        let authority = Authority::new(domain.clone(), Timestamp::from_secs(1_800_000_000));
        let source = authority.unwrap().source("/orders").unwrap();
        let mut builder = Acceptor::builder(source, Authorizer::member_of(domain));
        // As where neither `ring` nor `aws-lc-rs` is on.
        builder.settings.provider = None;
        assert!(matches!(builder.build(), Err(BuildError::NoProvider)));
    }
}
