//! Policies that are tried beside those in force, and decide nothing.
//!
//! [`Shadowed`] answers as what it shadows does, and then asks a second decider, the *shadow*, the
//! same question:
//!
//! 1. the answer is made, and is the caller's, before the shadow is asked. Nothing that the shadow
//!    does changes it: not its answer, its errors, its absence, nor a panic, which is caught and
//!    counted;
//! 2. where a shadow allows what is denied or denies what is allowed, or denies it for another
//!    reason, the hook is told. Names of policies may differ;
//! 3. a shadow that has no policies to answer with is not compared: its staleness is its own.
//!
//! Without a shadow nothing is asked twice. With one, a decision costs both, and the hook is called
//! in its time: hand over what takes longer, or compare [one of several](Shadowed::one_of).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use zt_core::decision::{Decide, Decision, DenyReason};
use zt_core::request::Request;
use zt_core::snapshot::Snapshot;

type OnDifference = Box<dyn Fn(&Difference<'_>) + Send + Sync>;

/// A decider, and another that is tried beside it.
///
/// ```
/// # use zt_core::danger;
/// use std::sync::mpsc;
/// use zt_core::decision::Decide;
/// use zt_core::principal::{Principal, Workload};
/// use zt_core::request::{Action, Context, Request, Resource};
/// use zt_core::spiffe::SpiffeId;
/// use zt_core::time::Timestamp;
/// use zt_policy::set::PolicySet;
/// use zt_policy::shadow::Shadowed;
///
/// let live = PolicySet::parse("live", "permit (principal, action, resource);")?;
/// let draft = PolicySet::parse("draft", r#"permit (principal, action == Action::"read", resource);"#)?;
/// let (tell, told) = mpsc::channel();
/// let policies = Shadowed::new(live, Some(draft)).on_difference(move |difference| {
///     let _ = tell.send((difference.request.action().clone(), difference.shadow.is_allowed()));
/// });
/// # let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart")?);
/// # let caller = danger::verified(Principal::new(cart));
/// let (write, order) = (Action::new("write"), Resource::new("Order", "42"));
/// let context = Context::at(Timestamp::from_secs(0));
/// let decision = policies.decide(&Request::new(&caller, &write, &order, &context));
/// assert!(decision.is_allowed());
/// assert_eq!(told.try_recv()?, (write, false));
/// assert_eq!(policies.counts().differed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shadowed<D, S> {
    live: D,
    shadow: Snapshot<Option<S>>,
    on_difference: Option<OnDifference>,
    one_of: u64,
    decided: AtomicU64,
    compared: AtomicU64,
    differed: AtomicU64,
    failed: AtomicU64,
}

/// A request that the shadow answers differently.
#[derive(Debug)]
#[non_exhaustive]
pub struct Difference<'a> {
    /// What was asked.
    pub request: Request<'a>,
    /// The decision that counts.
    pub live: &'a Decision,
    /// What the shadow would have decided. It yields no permit.
    pub shadow: &'a Decision,
}

impl Difference<'_> {
    /// Whether the caller would be told something else: not only another reason for no.
    #[must_use]
    pub fn changes_answer(&self) -> bool {
        self.live.is_allowed() != self.shadow.is_allowed()
    }
}

/// What became of the comparisons so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Requests that the shadow was asked and could answer.
    pub compared: u64,
    /// Of these, those that it answered differently.
    pub differed: u64,
    /// Requests at which the shadow or the hook panicked.
    pub failed: u64,
}

impl<D, S> Shadowed<D, S> {
    /// `live` decides; `shadow`, if there is one, is tried.
    pub fn new(live: D, shadow: Option<S>) -> Self {
        Self {
            live,
            shadow: Snapshot::new(shadow),
            on_difference: None,
            one_of: 1,
            decided: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            differed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Calls this for every difference, in the thread that decides.
    #[must_use]
    pub fn on_difference(mut self, hook: impl Fn(&Difference<'_>) + Send + Sync + 'static) -> Self {
        self.on_difference = Some(Box::new(hook));
        self
    }

    /// Asks the shadow about one of so many requests only; of 0 as of 1.
    #[must_use]
    pub fn one_of(mut self, requests: u64) -> Self {
        self.one_of = requests.max(1);
        self
    }

    /// Tries another shadow from now on, or none.
    pub fn replace(&self, shadow: Option<S>) {
        self.shadow.replace(shadow);
    }

    /// What decides.
    pub const fn live(&self) -> &D {
        &self.live
    }

    /// What became of the comparisons so far.
    pub fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            compared: self.compared.load(Ordering::Relaxed),
            differed: self.differed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl<D: Decide, S: Decide> Decide for Shadowed<D, S> {
    fn decide(&self, request: &Request<'_>) -> Decision {
        let decision = self.live.decide(request);
        // Whatever it leaves half done is the shadow's own, and no answer depends on it.
        let compared = catch_unwind(AssertUnwindSafe(|| self.compare(request, &decision)));
        if compared.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        decision
    }
}

impl<D, S: Decide> Shadowed<D, S> {
    fn compare(&self, request: &Request<'_>, live: &Decision) {
        let shadow = self.shadow.load();
        let Some(shadow) = &**shadow else { return };
        if self.one_of > 1
            && !self.decided.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_of)
        {
            return;
        }
        let shadow = shadow.decide(request);
        if reasons(&shadow).any(|reason| reason == Some(DenyReason::Unavailable)) {
            return;
        }
        self.compared.fetch_add(1, Ordering::Relaxed);
        if reasons(live).eq(reasons(&shadow)) {
            return;
        }
        self.differed.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = &self.on_difference {
            hook(&Difference { request: *request, live, shadow: &shadow });
        }
    }
}

fn reasons(decision: &Decision) -> impl Iterator<Item = Option<DenyReason>> {
    decision.answers().map(|(_, answer)| answer.denied())
}

impl<D: fmt::Debug, S: fmt::Debug> fmt::Debug for Shadowed<D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadowed")
            .field("live", &self.live)
            .field("shadow", &self.shadow)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use zt_core::danger;
    use zt_core::decision::{Answer, PolicyVersion};
    use zt_core::principal::{Principal, User, Workload};
    use zt_core::request::{Action, Context, Resource};
    use zt_core::spiffe::SpiffeId;
    use zt_core::time::Timestamp;
    use zt_core::verified::Verified;

    use super::*;
    use crate::set::PolicySet;

    #[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
    fn alice() -> Verified<Principal> {
        let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart").unwrap());
        let alice = User::new("https://issuer", "alice");
        danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice))
    }

    const ALL: &str = "permit (principal, action, resource);";

    fn set(text: &str) -> PolicySet {
        PolicySet::parse("p", text).unwrap()
    }

    fn decide(policies: &impl Decide, action: &str) -> Decision {
        let (action, order) = (Action::new(action), Resource::new("Order", "1"));
        let context = Context::at(Timestamp::EPOCH);
        policies.decide(&Request::new(&alice(), &action, &order, &context))
    }

    /// Decides nothing, in one of two ways.
    struct Broken {
        panics: bool,
    }

    impl Decide for Broken {
        fn decide(&self, request: &Request<'_>) -> Decision {
            assert!(!self.panics, "a shadow that panics");
            Decision::of(request, PolicyVersion::default(), |_| Answer::unavailable())
        }
    }

    fn counts(compared: u64, differed: u64, failed: u64) -> ShadowCounts {
        ShadowCounts { compared, differed, failed }
    }

    #[test]
    fn a_difference_is_told_and_changes_nothing() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let draft = set(r#"permit (principal, action == Action::"read", resource);"#);
        let shadowed = Shadowed::new(set(ALL), Some(draft)).on_difference(move |difference| {
            assert!(difference.live.is_allowed() && difference.changes_answer());
            telling.lock().unwrap().push(difference.request.action().to_string());
        });
        for action in ["read", "write", "read"] {
            assert!(decide(&shadowed, action).is_allowed());
        }
        assert_eq!(*told.lock().unwrap(), ["write"]);
        assert_eq!(shadowed.counts(), counts(3, 1, 0));
    }

    #[test]
    fn a_shadow_that_would_allow_allows_nothing() {
        let shadowed = Shadowed::new(set("forbid (principal, action, resource);"), Some(set(ALL)));
        assert!(!decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(1, 1, 0));
    }

    #[test]
    fn another_reason_is_a_difference_and_another_policy_is_none() {
        let shadowed = Shadowed::new(set(ALL), Some(set(&format!("@id(\"other\") {ALL}"))));
        assert!(decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(1, 0, 0));
        let forbids = set("forbid (principal, action, resource);");
        let other = set(r#"permit (principal, action == Action::"x", resource);"#);
        let shadowed = Shadowed::new(forbids, Some(other))
            .on_difference(|difference| assert!(!difference.changes_answer()));
        assert!(!decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(1, 1, 0));
    }

    #[test]
    fn a_shadow_that_is_broken_unavailable_or_gone_changes_nothing() {
        let shadowed = Shadowed::new(set(ALL), Some(Broken { panics: true }));
        assert!(decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(0, 0, 1));
        shadowed.replace(Some(Broken { panics: false }));
        assert!(decide(&shadowed, "read").is_allowed());
        shadowed.replace(None);
        assert!(decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(0, 0, 1));
    }

    #[test]
    fn a_hook_that_panics_is_counted_and_changes_nothing() {
        let shadowed = Shadowed::new(set(ALL), Some(set("forbid (principal, action, resource);")))
            .on_difference(|_| panic!("a hook that panics"));
        assert!(decide(&shadowed, "read").is_allowed());
        assert_eq!(shadowed.counts(), counts(1, 1, 1));
    }

    #[test]
    fn one_of_several_requests_is_compared() {
        let shadowed = Shadowed::new(set(ALL), Some(set(ALL))).one_of(4);
        for _ in 0..8 {
            assert!(decide(&shadowed, "read").is_allowed());
        }
        assert_eq!(shadowed.counts(), counts(2, 0, 0));
        let every = Shadowed::new(set(ALL), Some(set(ALL))).one_of(0);
        assert!(decide(&every, "read").is_allowed());
        assert_eq!(every.counts(), counts(1, 0, 0));
    }
}
