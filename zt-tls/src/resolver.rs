//! Which certificate we present: the current one of the source, while it is valid.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zt_core::time::Clock;
use zt_identity::source::X509Source;

/// Presents the current SVID of a source; none at all once that has expired, so that the
/// handshake fails here and not at the peer.
pub(crate) struct SvidResolver {
    source: X509Source,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    // The key of one generation, loaded once: loading costs more than using.
    loaded: ArcSwapOption<Loaded>,
}

struct Loaded {
    generation: u64,
    key: Arc<CertifiedKey>,
}

impl SvidResolver {
    /// Resolves to the SVIDs of `source`.
    ///
    /// # Errors
    ///
    /// When the provider cannot sign with the key that the source holds now.
    pub(crate) fn new(
        source: X509Source,
        clock: Arc<dyn Clock>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let resolver = Self { source, clock, provider, loaded: ArcSwapOption::empty() };
        resolver.load()?;
        Ok(resolver)
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let material = self.source.load();
        material.identity().validity().check(self.clock.now()).ok()?;
        match &*self.loaded.load() {
            Some(loaded) if loaded.generation == material.generation() => {
                Some(Arc::clone(&loaded.key))
            }
            _ => self.load().ok(),
        }
    }

    fn load(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let material = self.source.load();
        let identity = material.identity();
        let chain = identity.chain().to_vec();
        let key = identity.key().expose().clone_key();
        let key = Arc::new(CertifiedKey::from_der(chain, key, &self.provider)?);
        let generation = material.generation();
        self.loaded.store(Some(Arc::new(Loaded { generation, key: Arc::clone(&key) })));
        Ok(key)
    }
}

impl ResolvesServerCert for SvidResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl ResolvesClientCert for SvidResolver {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for SvidResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidResolver").field("source", &self.source).finish_non_exhaustive()
    }
}
