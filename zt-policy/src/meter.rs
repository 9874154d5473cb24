//! How often is decided, and how.
//!
//! [`Metered`] answers as what it wraps does, and counts: no lock, no allocation, one atomic
//! addition to a decision. Who needs more than counts takes the decision that is handed back.

use std::sync::atomic::{AtomicU64, Ordering};

use zt_core::decision::{Decide, Decision, DenyReason};
use zt_core::request::Request;

/// A decider whose decisions are counted.
///
/// ```
/// use zt_policy::meter::Metered;
/// use zt_policy::set::PolicySet;
///
/// let policies = Metered::new(PolicySet::parse("p", "permit (principal, action, resource);")?);
/// assert_eq!(policies.counts().total(), 0);
/// # Ok::<(), zt_policy::set::LoadError>(())
/// ```
#[derive(Debug, Default)]
pub struct Metered<D> {
    inner: D,
    allowed: AtomicU64,
    forbidden: AtomicU64,
    not_permitted: AtomicU64,
    error: AtomicU64,
    unavailable: AtomicU64,
}

/// How requests were decided, each counted once, under the first answer that is no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DecisionCounts {
    /// All questions were answered with yes.
    pub allowed: u64,
    /// [`DenyReason::Forbidden`]
    pub forbidden: u64,
    /// [`DenyReason::NotPermitted`]
    pub not_permitted: u64,
    /// [`DenyReason::Error`], and reasons that are not known here.
    pub error: u64,
    /// [`DenyReason::Unavailable`]
    pub unavailable: u64,
}

impl DecisionCounts {
    /// All decisions.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.forbidden, self.not_permitted, self.error, self.unavailable]
            .into_iter()
            .fold(self.allowed, u64::saturating_add)
    }
}

impl<D> Metered<D> {
    /// Counts the decisions of `inner`.
    pub const fn new(inner: D) -> Self {
        Self {
            inner,
            allowed: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
            not_permitted: AtomicU64::new(0),
            error: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        }
    }

    /// What decides.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The decisions so far.
    pub fn counts(&self) -> DecisionCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DecisionCounts {
            allowed: read(&self.allowed),
            forbidden: read(&self.forbidden),
            not_permitted: read(&self.not_permitted),
            error: read(&self.error),
            unavailable: read(&self.unavailable),
        }
    }
}

impl<D: Decide> Decide for Metered<D> {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let decision = self.inner.decide(request);
        let count = match decision.denial().map(|denied| denied.reason) {
            None => &self.allowed,
            Some(DenyReason::Forbidden) => &self.forbidden,
            Some(DenyReason::NotPermitted) => &self.not_permitted,
            Some(DenyReason::Unavailable) => &self.unavailable,
            Some(_) => &self.error,
        };
        count.fetch_add(1, Ordering::Relaxed);
        decision
    }
}

#[cfg(test)]
mod tests {
    use zt_core::danger;
    use zt_core::decision::{Answer, PolicyVersion};
    use zt_core::principal::{Principal, Workload};
    use zt_core::request::{Action, Context, Resource};
    use zt_core::spiffe::SpiffeId;
    use zt_core::time::Timestamp;

    use super::*;
    use crate::set::PolicySet;

    struct Unavailable;

    impl Decide for Unavailable {
        fn decide(&self, request: &Request<'_>) -> Decision {
            Decision::of(request, PolicyVersion::default(), |_| Answer::unavailable())
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
    fn decide(policies: &impl Decide, action: &str) -> Decision {
        let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart").unwrap());
        let caller = danger::verified(Principal::new(cart));
        let (action, order) = (Action::new(action), Resource::new("Order", "1"));
        let context = Context::at(Timestamp::EPOCH);
        policies.decide(&Request::new(&caller, &action, &order, &context))
    }

    #[test]
    fn each_decision_is_counted_once_under_its_reason() {
        let text = r#"permit (principal, action == Action::"read", resource);
            forbid (principal, action == Action::"drop", resource);
            forbid (principal, action == Action::"typo", resource) when { context.x };"#;
        let metered = Metered::new(PolicySet::parse("p", text).unwrap());
        for action in ["read", "read", "drop", "typo", "write", "write", "write"] {
            assert_eq!(decide(&metered, action).is_allowed(), action == "read");
        }
        let counts = metered.counts();
        assert_eq!(
            [counts.allowed, counts.forbidden, counts.error, counts.not_permitted],
            [2, 1, 1, 3]
        );
        assert_eq!((counts.total(), counts.unavailable), (7, 0));
        let stale = Metered::new(Unavailable);
        assert!(!decide(&stale, "read").is_allowed());
        assert_eq!(stale.counts().unavailable, 1);
    }
}
