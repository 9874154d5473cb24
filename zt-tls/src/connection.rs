//! Both ends of a mutually authenticated connection, and the peer that its handshake proves.
//!
//! [`Acceptor`] and [`Connector`] are made from the two things that they cannot do without: a
//! source of our own identity and of the bundles we trust, and an authorizer that says which of
//! the proven peers may connect. What they set and nobody can unset:
//!
//! 1. TLS 1.3 alone (M-07);
//! 2. the peer presents an X509-SVID that verifies against the bundle of its own trust domain and
//!    the revocation lists of the source, at the time of the handshake, and that the authorizer
//!    admits;
//! 3. no resumption, no tickets, no early data: every connection asks the verifier (M-01);
//! 4. our own certificate is the source's current one; once it has expired, handshakes fail;
//! 5. no key log, no process-global provider.
//!
//! A rustls verifier hands out no data, so the peer is read from the leaf again once the handshake
//! is done. If the source changed in between, the chain is verified again under what it holds now
//! (M-13).

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock};
use zt_identity::matcher::Authorizer;
use zt_identity::revocation::Revocation;
use zt_identity::source::X509Source;

use crate::provider;
use crate::resolver::SvidResolver;
use crate::verifier::PeerVerifier;

pub use crate::verifier::Refused;

/// What is set before an [`Acceptor`] or a [`Connector`] is built.
#[derive(Clone)]
struct Settings {
    source: X509Source,
    authorizer: Authorizer,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    alpn: Vec<Vec<u8>>,
    revocation: Revocation,
}

impl Settings {
    fn new(source: X509Source, authorizer: Authorizer) -> Self {
        Self {
            source,
            authorizer,
            clock: Arc::new(SystemClock),
            provider: provider::ring(),
            alpn: Vec::new(),
            revocation: Revocation::default(),
        }
    }

    fn parts(self) -> Result<(Arc<PeerVerifier>, Arc<SvidResolver>), BuildError> {
        let Self { source, authorizer, clock, provider, alpn: _, revocation } = self;
        let resolver = SvidResolver::new(source.clone(), Arc::clone(&clock), Arc::clone(&provider))
            .map_err(BuildError::Identity)?;
        let verifier = PeerVerifier::new(source, authorizer, clock, provider, revocation);
        Ok((Arc::new(verifier), Arc::new(resolver)))
    }
}

macro_rules! settings {
    ($builder:ident, $built:ident) => {
        impl $builder {
            /// Takes the time from here; from the operating system by default.
            #[must_use]
            pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
                self.0.clock = Arc::new(clock);
                self
            }

            /// Uses this cryptography; `ring` by default.
            #[must_use]
            pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
                self.0.provider = provider;
                self
            }

            /// Asks this of the revocation lists that the source holds; by default those that
            /// there are count.
            #[must_use]
            pub const fn revocation(mut self, revocation: Revocation) -> Self {
                self.0.revocation = revocation;
                self
            }

            /// Offers these protocols (ALPN, RFC 7301), the preferred one first; none by default.
            #[must_use]
            pub fn alpn<P: Into<Vec<u8>>>(
                mut self,
                protocols: impl IntoIterator<Item = P>,
            ) -> Self {
                self.0.alpn = protocols.into_iter().map(Into::into).collect();
                self
            }
        }

        impl fmt::Debug for $builder {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($builder))
                    .field("source", &self.0.source)
                    .field("authorizer", &self.0.authorizer)
                    .finish_non_exhaustive()
            }
        }

        impl fmt::Debug for $built {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($built))
                    .field("verifier", &self.verifier)
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Makes an [`Acceptor`].
#[derive(Clone)]
pub struct AcceptorBuilder(Settings);

settings!(AcceptorBuilder, Acceptor);

impl AcceptorBuilder {
    /// The acceptor.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the provider cannot do TLS 1.3 or cannot use our key.
    pub fn build(self) -> Result<Acceptor, BuildError> {
        let provider = Arc::clone(&self.0.provider);
        let alpn = self.0.alpn.clone();
        let (verifier, resolver) = self.0.parts()?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(BuildError::Provider)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(resolver);
        config.alpn_protocols = alpn;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Acceptor { config: Arc::new(config), verifier })
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
pub struct Acceptor {
    config: Arc<rustls::ServerConfig>,
    verifier: Arc<PeerVerifier>,
}

impl Acceptor {
    /// An acceptor for peers that `authorizer` admits.
    ///
    /// # Errors
    ///
    /// As [`AcceptorBuilder::build`].
    pub fn new(source: X509Source, authorizer: Authorizer) -> Result<Self, BuildError> {
        Self::builder(source, authorizer).build()
    }

    /// An acceptor with more to be set.
    #[must_use]
    pub fn builder(source: X509Source, authorizer: Authorizer) -> AcceptorBuilder {
        AcceptorBuilder(Settings::new(source, authorizer))
    }

    /// The rustls config, for servers that do their own handshakes. It demands and verifies
    /// exactly as the acceptor does; a
    /// `Verified<Peer>` comes from the acceptor alone.
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.config)
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
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.verifier.clock()
    }

    /// Does the handshake over `stream`.
    ///
    /// It has no time limit of its own: put one around it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] when the peer does not prove who it is, or may not connect.
    #[cfg(feature = "tokio")]
    pub async fn accept<IO>(&self, stream: IO) -> Result<ServerStream<IO>, HandshakeError>
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
    ) -> Result<ServerStream<IO>, (HandshakeError, Option<IO>)>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let generation = self.verifier.generation();
        let handshake = tokio_rustls::TlsAcceptor::from(self.config()).accept(stream);
        let tls = match handshake.into_fallible().await {
            Ok(tls) => tls,
            Err((error, stream)) => return Err((error.into(), Some(stream))),
        };
        match self.verifier.peer(tls.get_ref().1.peer_certificates(), generation) {
            Ok(peer) => Ok(ServerStream { tls, peer }),
            Err(refused) => Err((refused.into(), None)),
        }
    }
}

/// Makes a [`Connector`].
#[derive(Clone)]
pub struct ConnectorBuilder(Settings);

settings!(ConnectorBuilder, Connector);

impl ConnectorBuilder {
    /// The connector.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the provider cannot do TLS 1.3 or cannot use our key.
    pub fn build(self) -> Result<Connector, BuildError> {
        let provider = Arc::clone(&self.0.provider);
        let alpn = self.0.alpn.clone();
        let (verifier, resolver) = self.0.parts()?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(BuildError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(resolver);
        config.alpn_protocols = alpn;
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        Ok(Connector { config: Arc::new(config), verifier })
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
}

impl Connector {
    /// A connector to servers that `authorizer` admits.
    ///
    /// # Errors
    ///
    /// As [`ConnectorBuilder::build`].
    pub fn new(source: X509Source, authorizer: Authorizer) -> Result<Self, BuildError> {
        Self::builder(source, authorizer).build()
    }

    /// A connector with more to be set.
    #[must_use]
    pub fn builder(source: X509Source, authorizer: Authorizer) -> ConnectorBuilder {
        ConnectorBuilder(Settings::new(source, authorizer))
    }

    /// The rustls config, for clients that do their own handshakes: reqwest, hyper-rustls. It
    /// presents and verifies exactly as the connector does.
    #[must_use]
    pub fn config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Does the handshake over `stream`. `host` is sent as SNI when it is a DNS name, for proxies
    /// that route by it; it is not compared with anything.
    ///
    /// It has no time limit of its own: put one around it.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] when the server does not prove who it is, or is not one that may answer.
    #[cfg(feature = "tokio")]
    pub async fn connect<IO>(
        &self,
        host: rustls_pki_types::ServerName<'static>,
        stream: IO,
    ) -> Result<ClientStream<IO>, HandshakeError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let generation = self.verifier.generation();
        let tls = tokio_rustls::TlsConnector::from(self.config()).connect(host, stream).await?;
        let peer = self.verifier.peer(tls.get_ref().1.peer_certificates(), generation)?;
        Ok(ClientStream { tls, peer })
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

#[cfg(feature = "tokio")]
mod stream {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use zt_core::peer::Peer;
    use zt_core::verified::Verified;

    use super::{fmt, io};

    macro_rules! stream {
        ($(#[$doc:meta])* $name:ident, $tls:ty) => {
            $(#[$doc])*
            pub struct $name<IO> {
                pub(super) tls: $tls,
                pub(super) peer: Verified<Peer>,
            }

            impl<IO> $name<IO> {
                /// The other end, as its handshake proved it.
                pub fn peer(&self) -> &Verified<Peer> {
                    &self.peer
                }

                /// The protocol that both ends agreed on (ALPN).
                #[must_use]
                pub fn alpn(&self) -> Option<&[u8]> {
                    self.tls.get_ref().1.alpn_protocol()
                }
            }

            impl<IO> fmt::Debug for $name<IO> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name))
                        .field("peer", self.peer.id())
                        .finish_non_exhaustive()
                }
            }

            impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for $name<IO> {
                fn poll_read(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buf: &mut ReadBuf<'_>,
                ) -> Poll<io::Result<()>> {
                    Pin::new(&mut self.tls).poll_read(cx, buf)
                }
            }

            impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for $name<IO> {
                fn poll_write(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    buf: &[u8],
                ) -> Poll<io::Result<usize>> {
                    Pin::new(&mut self.tls).poll_write(cx, buf)
                }

                fn poll_flush(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                ) -> Poll<io::Result<()>> {
                    Pin::new(&mut self.tls).poll_flush(cx)
                }

                fn poll_shutdown(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                ) -> Poll<io::Result<()>> {
                    Pin::new(&mut self.tls).poll_shutdown(cx)
                }

                fn poll_write_vectored(
                    mut self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    bufs: &[io::IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    Pin::new(&mut self.tls).poll_write_vectored(cx, bufs)
                }

                fn is_write_vectored(&self) -> bool {
                    self.tls.is_write_vectored()
                }
            }
        };
    }

    stream! {
        /// A connection that a peer opened, with that peer.
        ServerStream, tokio_rustls::server::TlsStream<IO>
    }

    stream! {
        /// A connection that we opened, with the server at its other end.
        ClientStream, tokio_rustls::client::TlsStream<IO>
    }
}

#[cfg(feature = "tokio")]
pub use stream::{ClientStream, ServerStream};

/// An acceptor or a connector cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The provider has no cipher suite or key exchange for TLS 1.3.
    #[error("the provider cannot do TLS 1.3")]
    Provider(#[source] rustls::Error),
    /// The provider cannot sign with the key of our identity.
    #[error("the provider cannot use the key of our identity")]
    Identity(#[source] rustls::Error),
}

impl BuildError {
    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Provider(_) | Self::Identity(_) => Fault::Caller,
        }
    }
}

/// A handshake failed; the peer was told by an alert and nothing else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// TLS failed: the peer presented no certificate, one that does not verify, or one that the
    /// authorizer does not admit; or it does not speak TLS 1.3; or the stream broke.
    #[error("the handshake failed")]
    Tls(#[from] io::Error),
    /// What we trust changed during the handshake, and the peer is not part of it any more.
    #[error("the peer is refused since the trust bundles changed")]
    Changed(#[from] Refused),
}

impl HandshakeError {
    /// Whose fault it is: the peer's, unless what we judge it by is stale.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.refused().map_or(Fault::Peer, Refused::fault)
    }

    /// Why the verifier refused the peer, if it did.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Changed(refused) => Some(refused),
            Self::Tls(error) => {
                let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
                Refused::from_tls(tls)
            }
        }
    }
}
