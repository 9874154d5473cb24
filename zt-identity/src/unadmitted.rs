//! What counts once, and was not counted yet.
//!
//! Verification is pure, so it cannot know what was sent before. What it yields is [`Unadmitted`]:
//! nothing can be read from it until whoever keeps the names of the past has looked (T-31, T-32).

use std::fmt;
use std::hash::{Hash, Hasher};

use zt_core::danger;
use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::sha256_of_parts;

/// The name of something that counts once: a digest over what it is, who issued it, and its `jti`.
///
/// Its size is fixed, and no two things share one by running into each other.
#[derive(Clone, Copy)]
pub struct ReplayId {
    digest: [u8; 32],
    holder: Option<[u8; 32]>,
}

impl ReplayId {
    pub(crate) fn of(kind: &str, issuer: &str, jti: &str) -> Self {
        Self::of_parts(&[kind.as_bytes(), issuer.as_bytes(), jti.as_bytes()])
    }

    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        Self::from_bytes(sha256_of_parts(parts))
    }

    /// That of something which the holder of this key makes.
    pub(crate) const fn made_by(self, holder: [u8; 32]) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// The name with these bytes, such as a store gave back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { digest: bytes, holder: None }
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The thumbprint of the key whose holder makes as many such names as they like, as those of DPoP
    /// proofs; `None` where an issuer makes them, who is trusted anyway. A store that is bounded can
    /// keep one holder from filling it.
    #[must_use]
    pub const fn holder(&self) -> Option<&[u8; 32]> {
        self.holder.as_ref()
    }
}

/// The bytes say everything: they are over the holder, too.
impl PartialEq for ReplayId {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ReplayId {}

impl Hash for ReplayId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayId(..)")
    }
}

/// A `T` that is verified, and may have been sent before.
///
/// It cannot be read, only admitted:
///
/// ```compile_fail,E0599
/// # use zt_identity::oidc::logout_token::LogoutToken;
/// # use zt_identity::unadmitted::Unadmitted;
/// fn subject(token: Unadmitted<LogoutToken>) {
///     token.subject();
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Unadmitted<T> {
    value: T,
    id: ReplayId,
    until: Timestamp,
}

impl<T> Unadmitted<T> {
    pub(crate) const fn new(value: T, id: ReplayId, until: Timestamp) -> Self {
        Self { value, id, until }
    }

    /// The name to remember.
    #[must_use]
    pub const fn id(&self) -> &ReplayId {
        &self.id
    }

    /// Until when the name has to be remembered, that moment included; after that the value would be refused anyway.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Admits the value when its name was absent. The function inserts the name where it is
    /// absent, in one step, and says whether it was; what cannot be remembered is not absent.
    ///
    /// # Errors
    ///
    /// [`Replayed`] when the name was there.
    pub fn admit(
        self,
        insert_if_absent: impl FnOnce(&ReplayId, Timestamp) -> bool,
    ) -> Result<Verified<T>, Replayed> {
        if !insert_if_absent(&self.id, self.until) {
            return Err(Replayed);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "its verifier made this value, and it was not sent before"
        )]
        let verified = danger::verified(self.value);
        Ok(verified)
    }
}

/// Something that counts once was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token was sent before")]
#[non_exhaustive]
pub struct Replayed;

impl Replayed {
    /// Whose fault it is: that of whoever sent it.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }

    /// What it is called in records and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "token_replayed"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_value_is_admitted_once() {
        let mut seen = HashSet::new();
        let mut admit = |jti: &str| {
            let id = ReplayId::of("logout", "https://issuer", jti);
            Unadmitted::new((), id, Timestamp::EPOCH).admit(|id, _| seen.insert(*id)).is_ok()
        };
        assert!(admit("1"));
        assert!(admit("2"));
        assert!(!admit("1"));
    }

    #[test]
    fn parts_of_a_name_do_not_run_into_each_other() {
        assert_ne!(ReplayId::of("a", "bc", "d"), ReplayId::of("ab", "c", "d"));
        assert_ne!(ReplayId::of("a", "b", "cd"), ReplayId::of("a", "bc", "d"));
    }
}
