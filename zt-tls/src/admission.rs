//! Who may connect, while that changes.

use std::sync::Arc;

use zt_core::snapshot::{Guard, Snapshot};
use zt_identity::matcher::Authorizer;

/// A handle on an [`Authorizer`] that can be replaced. Clones share it.
///
/// Whoever connects after a replacement is asked by the new one; connections that are open are asked
/// again, and end where it refuses them.
///
/// ```
/// use zt_core::spiffe::{SpiffeId, TrustDomain};
/// use zt_identity::matcher::Authorizer;
/// use zt_tls::admission::Admission;
///
/// let domain = TrustDomain::from_name("example.org")?;
/// let admission = Admission::new(Authorizer::member_of(domain));
/// let cart = SpiffeId::parse("spiffe://example.org/cart")?;
/// assert_eq!(admission.replace(Authorizer::id(cart)), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Admission(Arc<Snapshot<Authorizer>>);

impl Admission {
    /// Admits whom `authorizer` does, until it is replaced.
    #[must_use]
    pub fn new(authorizer: Authorizer) -> Self {
        Self(Arc::new(Snapshot::new(authorizer)))
    }

    /// Admits whom `authorizer` does from now on, and returns its generation.
    pub fn replace(&self, authorizer: Authorizer) -> u64 {
        self.0.replace(authorizer)
    }

    /// The generation of the authorizer in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation()
    }

    /// The authorizer in force, for the length of a call.
    pub fn load(&self) -> Guard<Authorizer> {
        self.0.load()
    }
}

impl From<Authorizer> for Admission {
    fn from(authorizer: Authorizer) -> Self {
        Self::new(authorizer)
    }
}
