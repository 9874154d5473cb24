//! The keys of one issuer, which readers never wait for.
//!
//! [`IssuerKeys`] is a cheap handle on an immutable [`JwkSet`]: verifiers read it without a lock,
//! and whoever obtains keys replaces it as a whole (T-21). Keys that are too old, or were never
//! there, are an error of their own, which is the authority's fault and not the token's (T-23).

use std::fmt;
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::snapshot::Guard;
use zt_core::time::Timestamp;
use zt_core::watch::Watch;

use crate::jwk::JwkSet;
use crate::oidc::issuer::Issuer;
use crate::oidc::published::{NOTHING_YET, Published};

#[cfg(feature = "http")]
use {
    crate::oidc::fetch::FetchError,
    crate::oidc::refresh::{DiscoverError, Refresh, RefreshOptions},
    std::pin::pin,
    std::time::Duration,
};

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
    #[cfg(feature = "http")]
    refresh: Option<Refresh>,
    // Ends with the last handle.
    _watch: Option<Watch>,
}

impl IssuerKeys {
    /// Keys that never change and never grow old: for tests, and for issuers whose keys are
    /// distributed like configuration.
    #[must_use]
    pub fn fixed(set: JwkSet) -> Self {
        let (publisher, keys) = Self::pushed();
        publisher.publish(set, Timestamp::MAX);
        keys
    }

    /// Keys that somebody else obtains, in a way of their own, and publishes. There are none until
    /// then.
    #[must_use]
    pub fn pushed() -> (KeyPublisher, Self) {
        let published = Arc::new(Published::nothing());
        (KeyPublisher(Arc::clone(&published)), Self::of(published, None))
    }

    pub(super) fn of(published: Arc<Published>, watch: Option<Watch>) -> Self {
        Self(Arc::new(Inner {
            issuer: None,
            published,
            #[cfg(feature = "http")]
            refresh: None,
            _watch: watch,
        }))
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

    /// Until when the keys count if nobody says again that they hold; `None` before there were any.
    /// It is what to be warned by: long before it, keys that are looked after have a later one.
    #[must_use]
    pub fn usable_until(&self) -> Option<Timestamp> {
        // In this order, as `current` does.
        let usable_until = self.0.published.usable_until();
        (self.generation() != NOTHING_YET).then_some(usable_until)
    }

    /// The number of the current key set; it changes with every change of the keys.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.published.set.generation()
    }

    #[cfg(test)]
    pub(super) fn replace(&self, set: JwkSet, usable_until: Timestamp) {
        self.0.published.replace(set, usable_until);
    }

    /// Says that a token named a key that is not in the set. Where keys are fetched, this asks for
    /// a fetch, which happens in the background and not more often than its limit allows.
    pub(crate) fn report_unknown(&self) {
        self.0.published.ask();
    }
}

#[cfg(feature = "http")]
impl IssuerKeys {
    /// Fetches the keys of `issuer` by OpenID Connect Discovery, and keeps them fresh in the
    /// background for as long as a clone of this handle lives.
    ///
    /// It returns at once, also when the issuer is down: until the first fetch succeeds there are
    /// no keys, and verification answers [`KeysUnavailable`]. Wait for them with
    /// [`IssuerKeys::ready`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use zt_identity::oidc::access_token::AccessTokenVerifier;
    /// use zt_identity::oidc::issuer::Issuer;
    /// use zt_identity::oidc::keys::IssuerKeys;
    /// use zt_identity::oidc::refresh::RefreshOptions;
    ///
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::parse("https://login.example.com")?;
    /// let keys = IssuerKeys::discover(issuer.clone(), RefreshOptions::default())?;
    /// keys.ready(Duration::from_secs(10)).await?;
    /// let tokens = AccessTokenVerifier::for_issuer(issuer).audience("orders").keys(keys).build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DiscoverError`] when there is no tokio runtime here, or no trusted root certificates.
    pub fn discover(issuer: Issuer, options: RefreshOptions) -> Result<Self, DiscoverError> {
        let published = Arc::new(Published::nothing());
        let refresh = Refresh::start(issuer.clone(), Arc::clone(&published), options)?;
        let (issuer, refresh) = (Some(issuer), Some(refresh));
        Ok(Self(Arc::new(Inner { issuer, published, refresh, _watch: None })))
    }

    /// Waits until there are keys, for `limit` at most. Nobody has to: it is for a start-up that
    /// wants to serve its first request.
    ///
    /// # Errors
    ///
    /// [`KeysUnavailable`] when there are none by then; they are still being fetched.
    pub async fn ready(&self, limit: Duration) -> Result<(), KeysUnavailable> {
        let now = || self.0.refresh.as_ref().map_or(Timestamp::EPOCH, Refresh::now);
        let available = async {
            loop {
                let mut changed = pin!(self.0.published.changed.notified());
                changed.as_mut().enable();
                if self.current(now()).is_ok() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(limit, available).await;
        self.current(now()).map(|_| ())
    }

    /// Waits until the keys are others than those of this generation, for `limit` at most.
    #[cfg(feature = "login")]
    pub(super) async fn changed_since(&self, generation: u64, limit: Duration) {
        let changed = async {
            loop {
                let mut changed = pin!(self.0.published.changed.notified());
                changed.as_mut().enable();
                if self.generation() != generation || self.0.refresh.is_none() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(limit, changed).await;
    }

    /// Why the last fetch failed; `None` when it succeeded.
    #[must_use]
    pub fn last_failure(&self) -> Option<FetchError> {
        self.0.published.failure()
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

/// Who publishes the keys of an issuer, where that is neither [a file](IssuerKeys::from_file) nor
/// the issuer itself.
#[derive(Debug)]
pub struct KeyPublisher(Arc<Published>);

impl KeyPublisher {
    /// Publishes these keys, which count until then. Every reader sees them from now on; a verdict
    /// that was made under others counts no more.
    pub fn publish(&self, set: JwkSet, usable_until: Timestamp) {
        self.0.replace(set, usable_until);
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
