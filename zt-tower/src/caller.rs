//! Who calls, as a handler finds it in the request's extensions.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use zt_core::principal::{Principal, User, Workload};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

/// The proven caller of a request: one value in its extensions (H-02), cheap to clone.
///
/// [`Authenticate`](crate::authenticate::Authenticate) puts it there, in place of any that was
/// there before, and [`Authorize`](crate::authorize::Authorize) puts what it may do beside it, where
/// [`Permitted::of`](crate::authorize::Permitted::of) finds it. Two are equal when the same is proven of
/// both, whatever they may do. Of a caller that is kept for longer than its request, keep what is
/// [proven](Self::proven): leave is of one request. It cannot be made from anything but a proof:
///
/// ```compile_fail,E0277
/// use zt_core::principal::Principal;
/// use zt_tower::caller::Caller;
///
/// fn claim(principal: Principal) -> Caller {
///     principal.into()
/// }
/// ```
#[derive(Clone)]
pub struct Caller {
    principal: Verified<Principal>,
    until: Timestamp,
    source: Option<IpAddr>,
    // What it may do, as the layer within knows it. Another value in the extensions would make many of
    // their tables grow.
    beside: Option<Arc<dyn Any + Send + Sync>>,
}

impl Caller {
    /// Everyone behind the request.
    pub const fn principal(&self) -> &Verified<Principal> {
        &self.principal
    }

    /// The workload that calls.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        self.principal.workload()
    }

    /// The user on whose behalf it calls.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.principal.user()
    }

    /// Until when this is proven at the latest: what goes on for so long has to prove it again.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// The address that a proxy forwards for, where one is
    /// trusted to say so.
    #[must_use]
    pub const fn forwarded_from(&self) -> Option<IpAddr> {
        self.source
    }

    pub(crate) fn set_beside(&mut self, beside: Arc<dyn Any + Send + Sync>) {
        self.beside = Some(beside);
    }

    pub(crate) fn beside<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.beside.clone()?.downcast().ok()
    }

    /// The same without what it may do in this request.
    #[must_use]
    pub fn proven(&self) -> Self {
        Self { principal: self.principal.clone(), beside: None, ..*self }
    }

    /// The same, proven until this moment and no longer.
    pub(crate) fn ends(self, until: Timestamp) -> Self {
        Self { until: self.until.min(until), ..self }
    }

    pub(crate) const fn forwarded(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }
}

/// For authentication of your own in front of [`Authorize`](crate::authorize::Authorize), and for
/// tests of handlers. It is proven for ever.
impl From<Verified<Principal>> for Caller {
    fn from(principal: Verified<Principal>) -> Self {
        Self { principal, until: Timestamp::MAX, source: None, beside: None }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        let facts = |caller: &Self| (caller.until, caller.source);
        facts(self) == facts(other) && self.principal == other.principal
    }
}

impl Eq for Caller {}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("principal", &self.principal)
            .field("until", &self.until)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
