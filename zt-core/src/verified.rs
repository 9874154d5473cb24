//! Proof that something was proven.
//!
//! A [`Verified<T>`] exists only because a verifier made it. There is no `From`, `Default`,
//! `Deserialize` or public field, and no way to change what is inside:
//!
//! ```compile_fail,E0423
//! use zt_core::principal::User;
//! use zt_core::verified::Verified;
//!
//! let forged = Verified(User::new("https://login.example.com", "root"));
//! ```
//!
//! ```compile_fail,E0277
//! use zt_core::principal::User;
//! use zt_core::verified::Verified;
//!
//! let forged: Verified<User> = User::new("https://login.example.com", "root").into();
//! ```
//!
//! ```compile_fail,E0277
//! let forged: zt_core::verified::Verified<String> = serde_json::from_str("\"root\"").unwrap();
//! ```
//!
//! ```compile_fail,E0277
//! let forged: zt_core::verified::Verified<String> = Default::default();
//! ```
//!
//! ```compile_fail,E0594
//! fn rewrite(name: &mut zt_core::verified::Verified<String>) {
//!     **name = String::from("root");
//! }
//! ```

use std::ops::Deref;

use serde::{Serialize, Serializer};

use crate::principal::{Device, Principal, User};

/// A `T` that some verifier has proven.
///
/// Reading it is free, through `Deref`; making one is possible only in [`danger`](crate::danger).
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The one constructor; outside of this crate it is `danger::verified`.
    pub(crate) const fn mint(value: T) -> Self {
        Self(value)
    }

    /// The value, without the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Serialize for Verified<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Verified<Principal> {
    /// This principal, calling on behalf of a proven user.
    pub fn on_behalf_of(self, user: Verified<User>) -> Self {
        Self(self.0.with_user(user.0))
    }

    /// This principal, at a proven device.
    pub fn from_device(self, device: Verified<Device>) -> Self {
        Self(self.0.with_device(device.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Workload;
    use crate::spiffe::SpiffeId;

    #[test]
    fn a_user_joins_a_principal_and_leaves_the_workload_alone() {
        let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
        let caller = Verified(Principal::new(Workload::new(id.clone())))
            .on_behalf_of(Verified(User::new("https://issuer", "alice")));
        assert_eq!(caller.workload().id().spiffe(), Some(&id));
        assert_eq!(caller.user().unwrap().subject(), "alice");
    }
}
