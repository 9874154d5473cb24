//! Which certificate we present: the current one, while it is valid.
//!
//! An identity that the provider cannot sign with is not presented: the one before it is, until that
//! expires. Of one that was withdrawn nothing is presented.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zt_core::time::{Clock, Validity};
use zt_identity::source::X509Source;

use crate::events::Counts;
use crate::web::WebIdentity;

/// Presents the current SVID of a source; none at all once that has expired, so that the
/// handshake fails here and not at the peer.
pub(crate) struct SvidResolver {
    source: X509Source,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    counts: Arc<Counts>,
    // The key of one generation, loaded once: loading costs more than using.
    loaded: ArcSwapOption<Loaded>,
    loading: Mutex<()>,
}

struct Loaded {
    // The generation that was looked at, which is a later one than that of the key where the
    // provider could not use what it brought.
    generation: u64,
    // None where the identity was withdrawn.
    key: Option<Key>,
}

#[derive(Clone)]
struct Key {
    validity: Validity,
    certified: Arc<CertifiedKey>,
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
        counts: Arc<Counts>,
    ) -> Result<Self, rustls::Error> {
        let (loaded, loading) = (ArcSwapOption::empty(), Mutex::new(()));
        let resolver = Self { source, clock, provider, counts, loaded, loading };
        resolver.loaded.store(Some(Arc::new(resolver.load()?)));
        Ok(resolver)
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let loaded = match self.loaded.load_full() {
            Some(loaded) if loaded.generation == self.source.generation() => loaded,
            _ => self.renew()?,
        };
        let key = loaded.key.as_ref()?;
        key.validity.check(self.clock.now()).ok()?;
        Some(Arc::clone(&key.certified))
    }

    fn renew(&self) -> Option<Arc<Loaded>> {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.loaded.load_full();
        let generation = self.source.generation();
        if before.as_ref().is_some_and(|loaded| loaded.generation >= generation) {
            return before;
        }
        let renewed = match (self.load(), before) {
            (Ok(loaded), _) => loaded,
            (Err(error), before) => {
                self.counts.updated(Some(&error));
                Loaded { generation, key: before?.key.clone() }
            }
        };
        let renewed = Arc::new(renewed);
        self.loaded.store(Some(Arc::clone(&renewed)));
        Some(renewed)
    }

    fn load(&self) -> Result<Loaded, rustls::Error> {
        let material = self.source.load();
        let generation = material.generation();
        let Ok(identity) = material.identity() else { return Ok(Loaded { generation, key: None }) };
        let chain = identity.chain().to_vec();
        let key = identity.key().expose().clone_key();
        let certified = Arc::new(CertifiedKey::from_der(chain, key, &self.provider)?);
        Ok(Loaded { generation, key: Some(Key { validity: identity.validity(), certified }) })
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

/// Presents a certificate of the Web PKI, while it counts.
#[derive(Debug)]
pub(crate) struct WebResolver {
    identity: WebIdentity,
    clock: Arc<dyn Clock>,
}

impl WebResolver {
    pub(crate) const fn new(identity: WebIdentity, clock: Arc<dyn Clock>) -> Self {
        Self { identity, clock }
    }
}

impl ResolvesServerCert for WebResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.identity.presented(self.clock.now())
    }
}
