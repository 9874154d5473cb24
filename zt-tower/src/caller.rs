//! Who calls, as a handler finds it in the request's extensions.

use zt_core::principal::{Principal, User, Workload};
use zt_core::verified::Verified;

/// The proven caller of a request: one value in its extensions (H-02), cheap to clone.
///
/// [`Authenticate`](crate::authenticate::Authenticate) puts it there, in place of any that was
/// there before. It cannot be made from anything but a proof:
///
/// ```compile_fail,E0277
/// use zt_core::principal::Principal;
/// use zt_tower::caller::Caller;
///
/// fn claim(principal: Principal) -> Caller {
///     principal.into()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Verified<Principal>);

impl Caller {
    /// Everyone behind the request.
    pub const fn principal(&self) -> &Verified<Principal> {
        &self.0
    }

    /// The workload that calls.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        self.0.workload()
    }

    /// The user on whose behalf it calls.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.0.user()
    }
}

/// For authentication of your own in front of [`Authorize`](crate::authorize::Authorize), and for
/// tests of handlers.
impl From<Verified<Principal>> for Caller {
    fn from(principal: Verified<Principal>) -> Self {
        Self(principal)
    }
}
