//! The keys of one issuer, which readers never wait for.
//!
//! [`IssuerKeys`] is a cheap handle on an immutable [`JwkSet`]: verifiers read it without a lock,
//! and whoever obtains keys replaces it as a whole (T-21). Keys that are too old, or were never
//! there, are an error of their own, which is the authority's fault and not the token's (T-23).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use zt_core::fault::Fault;
use zt_core::snapshot::{Guard, Snapshot};
use zt_core::time::Timestamp;

use crate::jwk::JwkSet;
use crate::oidc::issuer::Issuer;

/// A handle on the keys of one issuer; a clone shares them.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::jwk::JwkSet;
/// use zt_identity::oidc::keys::IssuerKeys;
///
/// let keys = IssuerKeys::fixed(JwkSet::parse(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///      "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?);
/// assert!(keys.current(Timestamp::EPOCH).unwrap().key("2026-11").is_some());
/// # Ok::<(), zt_identity::jwk::JwkSetError>(())
/// ```
#[derive(Clone)]
pub struct IssuerKeys(Arc<Inner>);

struct Inner {
    issuer: Option<Issuer>,
    published: Arc<Published>,
    on_unknown: Option<OnUnknown>,
}

type OnUnknown = Box<dyn Fn() + Send + Sync>;

impl IssuerKeys {
    /// Keys that never change and never grow old: for tests, and for issuers whose keys are
    /// distributed like configuration.
    #[must_use]
    pub fn fixed(set: JwkSet) -> Self {
        let published = Published::nothing();
        published.replace(set, Timestamp::MAX);
        Self(Arc::new(Inner { issuer: None, published: Arc::new(published), on_unknown: None }))
    }

    /// The issuer whose keys these are, where they were obtained from it.
    #[must_use]
    pub fn issuer(&self) -> Option<&Issuer> {
        self.0.issuer.as_ref()
    }

    /// The keys that count at `now`, for the length of a call.
    ///
    /// # Errors
    ///
    /// [`KeysUnavailable`] when there are none; no token can be verified then.
    pub fn current(&self, now: Timestamp) -> Result<Guard<JwkSet>, KeysUnavailable> {
        // A set is published before its time is extended, and read after it: who sees the new
        // time sees the new set too.
        let usable_until = self.0.published.usable_until();
        let set = self.0.published.set.load();
        if set.generation() == NOTHING_YET {
            return Err(KeysUnavailable::NeverObtained);
        }
        if set.is_empty() {
            return Err(KeysUnavailable::NoUsableKey);
        }
        if now > usable_until {
            return Err(KeysUnavailable::Stale { now, usable_until });
        }
        Ok(set)
    }

    /// The number of the current key set; it changes with every change of the keys.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.published.set.generation()
    }

    /// Says that a token named a key that is not in the set. Where keys are fetched, this asks for
    /// a fetch, which happens in the background and not more often than its limit allows.
    pub(crate) fn report_unknown(&self) {
        if let Some(on_unknown) = &self.0.on_unknown {
            on_unknown();
        }
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerKeys")
            .field("issuer", &self.0.issuer)
            .field("generation", &self.generation())
            .field("usable_until", &self.0.published.usable_until())
            .finish_non_exhaustive()
    }
}

/// The generation of a snapshot that nothing was published in.
const NOTHING_YET: u64 = 1;

/// What whoever obtains keys shares with the readers.
struct Published {
    set: Snapshot<JwkSet>,
    // Beside the set and not in it: a fetch that brings the same keys extends their time and
    // leaves their generation alone.
    usable_until: AtomicI64,
}

impl Published {
    fn nothing() -> Self {
        let never = AtomicI64::new(i64::MIN);
        Self { set: Snapshot::new(JwkSet::default()), usable_until: never }
    }

    fn replace(&self, set: JwkSet, usable_until: Timestamp) {
        self.set.replace(set);
        self.extend(usable_until);
    }

    fn extend(&self, usable_until: Timestamp) {
        self.usable_until.store(usable_until.as_micros(), Ordering::Release);
    }

    fn usable_until(&self) -> Timestamp {
        Timestamp::from_micros(self.usable_until.load(Ordering::Acquire))
    }
}

/// Why no token of an issuer can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysUnavailable {
    /// No key set was obtained yet.
    #[error("the issuer's keys were not obtained yet")]
    NeverObtained,
    /// The issuer publishes no key that is usable.
    #[error("the issuer has no usable key")]
    NoUsableKey,
    /// The keys could not be refreshed for too long.
    #[error("the issuer's keys were usable until {usable_until}, and it is {now}")]
    Stale {
        /// The moment asked about.
        now: Timestamp,
        /// Until when they counted.
        usable_until: Timestamp,
    },
}

impl KeysUnavailable {
    /// Whose fault it is: that of the authority. A token that cannot be judged is not a bad token.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}
