//! How a server is reached that is asked something, or told a secret.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use zt_core::fault::Fault;

use crate::oidc::fetch::{Fetcher, HttpClient};

/// How long an answer may take in all, unless stated otherwise (T-20).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a server is authenticated and how long it may take. The default trusts the root
/// certificates of this machine, and waits for [`DEFAULT_TIMEOUT`].
///
/// No redirect is followed. A server that is on this machine, and was named as such, is reached
/// over plain HTTP, and trusted for being here.
#[must_use]
#[derive(Clone, Debug)]
pub struct Transport {
    tls: Option<ClientConfig>,
    client: Option<Arc<dyn HttpClient>>,
    timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Self { tls: None, client: None, timeout: DEFAULT_TIMEOUT }
    }
}

impl Transport {
    /// How the server is authenticated, instead of by the root certificates of this machine; and
    /// with which certificate we are, where it asks for one (RFC 8705).
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Authenticates the server by these roots, and by no others.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when there is none, or one that cannot be a root.
    pub fn roots<'r>(
        self,
        roots: impl IntoIterator<Item = CertificateDer<'r>>,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.into_owned()).map_err(tls_error)?;
        }
        if store.is_empty() {
            return Err(tls_error(rustls::Error::General("no root".into())));
        }
        Ok(self.tls(builder()?.with_root_certificates(store).with_no_client_auth()))
    }

    /// Asks by this client, instead of by one of our own; how it authenticates the server is its
    /// own affair then.
    pub fn client(mut self, client: impl HttpClient + 'static) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// How long an answer may take in all, [`DEFAULT_TIMEOUT`] unless stated otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) const fn patience(&self) -> Duration {
        self.timeout
    }

    /// What fetches documents, over plain HTTP where the server was named as one on this machine.
    pub(crate) fn fetcher(&self, loopback: bool) -> Result<Fetcher, TlsError> {
        Ok(match (&self.client, &self.tls) {
            (Some(client), _) => Fetcher::with_client(Arc::clone(client), self.timeout),
            (None, Some(tls)) => Fetcher::new(tls.clone(), self.timeout),
            (None, None) => Fetcher::new(default_tls(loopback)?, self.timeout),
        })
    }
}

fn default_tls(loopback: bool) -> Result<ClientConfig, TlsError> {
    let builder = if loopback {
        builder()?.with_root_certificates(RootCertStore::empty())
    } else {
        builder()?.with_native_roots().map_err(tls_error)?
    };
    Ok(builder.with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls_error)
}

fn tls_error(error: impl StdError + Send + Sync + 'static) -> TlsError {
    TlsError(Arc::new(error))
}

/// The root certificates, given ones or those of this machine, cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the root certificates cannot be used")]
pub struct TlsError(#[source] pub(super) Arc<dyn StdError + Send + Sync>);

impl TlsError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
