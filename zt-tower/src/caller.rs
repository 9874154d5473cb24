//! Who calls, as a handler finds it in the request's extensions.

use std::net::IpAddr;

use zt_core::principal::{Principal, User, Workload};
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::authorize::Permitted;

/// The proven caller of a request: one value in its extensions (H-02), cheap to clone.
///
/// [`Authenticate`](crate::authenticate::Authenticate) puts it there, in place of any that was
/// there before, and [`Authorize`](crate::authorize::Authorize) puts into it what it may do, which
/// [`Permitted::of`] and [`Guard::of`](crate::authorize::Guard::of) find. Two are equal when the same is
/// proven of both, whatever they may do. It cannot be made from anything but a proof:
///
/// ```compile_fail,E0277
/// use zt_core::principal::Principal;
/// use zt_tower::caller::Caller;
///
/// fn claim(principal: Principal) -> Caller {
///     principal.into()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Verified<Principal>,
    until: Timestamp,
    source: Option<IpAddr>,
    // Here, as another value in the extensions would make many tables of extensions grow.
    permitted: Option<Permitted>,
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

    /// The same, permitted this: for authorization of your own in place of
    /// [`Authorize`](crate::authorize::Authorize), and for tests of handlers.
    #[must_use]
    pub fn permitted(mut self, permitted: Permitted) -> Self {
        self.set_permitted(permitted);
        self
    }

    pub(crate) fn set_permitted(&mut self, permitted: Permitted) {
        self.permitted = Some(permitted);
    }

    pub(crate) const fn permit(&self) -> Option<&Permitted> {
        self.permitted.as_ref()
    }

    /// The same, whatever it may do.
    pub(crate) fn proven(&self) -> Self {
        Self { principal: self.principal.clone(), permitted: None, ..*self }
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
        Self { principal, until: Timestamp::MAX, source: None, permitted: None }
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        let facts = |caller: &Self| (caller.until, caller.source);
        facts(self) == facts(other) && self.principal == other.principal
    }
}

impl Eq for Caller {}
