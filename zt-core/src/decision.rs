//! The decision about a request, and the permit that an allow yields.
//!
//! Denying is free; allowing is an assertion. An [`Answer`] that allows is made in
//! [`danger`](crate::danger) alone, a [`Decision`] asks every question of its request, and a
//! [`Permit`] comes from a decision that allows and from nothing else.

use std::fmt;
use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::principal::Principal;
use crate::request::{Action, Context, Question, Request, Resource, SubjectKind};

/// Answers requests. It cannot fail: whatever goes wrong is a denial.
///
/// An implementation answers one [`Question`] at a time and lets [`Decision::of`] ask them all;
/// there is no other way to a decision. Take one snapshot of the policy per call, so that all
/// answers come from the same version.
pub trait Decide: Send + Sync {
    /// Decides `request`.
    fn decide(&self, request: &Request<'_>) -> Decision;
}

impl<D: Decide + ?Sized> Decide for Arc<D> {
    fn decide(&self, request: &Request<'_>) -> Decision {
        (**self).decide(request)
    }
}

impl<D: Decide + ?Sized> Decide for &D {
    fn decide(&self, request: &Request<'_>) -> Decision {
        (**self).decide(request)
    }
}

/// Why something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DenyReason {
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A policy could not be evaluated, or a limit was reached.
    Error,
    /// There is no policy that may still be trusted: none was loaded, or it is too old.
    Unavailable,
}

impl DenyReason {
    /// A name for metrics, as records have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not_permitted",
            Self::Error => "error",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "forbidden by policy",
            Self::NotPermitted => "not permitted by any policy",
            Self::Error => "policy could not be evaluated",
            Self::Unavailable => "no current policy is available",
        })
    }
}

/// The answer to one question, with the policy that determined it.
///
/// Anyone can say no:
///
/// ```
/// use zt_core::decision::{Answer, DenyReason};
///
/// assert_eq!(Answer::not_permitted().denied(), Some(DenyReason::NotPermitted));
/// ```
///
/// A yes comes from `danger` only:
///
/// ```compile_fail,E0423
/// let forged = zt_core::decision::Answer(None);
/// ```
///
/// and answers one question once, as it cannot be cloned:
///
/// ```compile_fail,E0308
/// use zt_core::decision::{Answer, Decision};
///
/// fn reuse(decision: &Decision) -> Answer {
///     decision.answers().next().unwrap().1.clone()
/// }
/// ```
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Answer(Verdict);

/// What an answer says, to be kept when the answer itself is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    denied: Option<DenyReason>,
    policy: Option<Arc<str>>,
}

impl Answer {
    pub(crate) const fn allowed(policy: Arc<str>) -> Self {
        Self(Verdict { denied: None, policy: Some(policy) })
    }

    const fn no(reason: DenyReason, policy: Option<Arc<str>>) -> Self {
        Self(Verdict { denied: Some(reason), policy })
    }

    /// No: this policy forbids it.
    pub fn forbidden(policy: impl Into<Arc<str>>) -> Self {
        Self::no(DenyReason::Forbidden, Some(policy.into()))
    }

    /// No: nothing permits it.
    pub const fn not_permitted() -> Self {
        Self::no(DenyReason::NotPermitted, None)
    }

    /// No: an evaluation failed, in this policy if it was one policy's fault.
    pub const fn error(policy: Option<Arc<str>>) -> Self {
        Self::no(DenyReason::Error, policy)
    }

    /// No: there is no policy that may still be trusted.
    pub const fn unavailable() -> Self {
        Self::no(DenyReason::Unavailable, None)
    }

    /// Why it is no, or `None` when it is yes.
    #[must_use]
    pub const fn denied(&self) -> Option<DenyReason> {
        self.0.denied
    }

    /// The policy that determined the answer.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.0.policy.as_deref()
    }

    pub(crate) const fn verdict(&self) -> &Verdict {
        &self.0
    }
}

impl Verdict {
    pub(crate) const fn is_allow(&self) -> bool {
        self.denied.is_none()
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            effect: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<DenyReason>,
            #[serde(skip_serializing_if = "Option::is_none")]
            policy: Option<&'a str>,
        }
        let effect = if self.is_allow() { "allow" } else { "deny" };
        Shown { effect, reason: self.denied, policy: self.policy.as_deref() }.serialize(serializer)
    }
}

/// Which policies decided: their place in the order of reloads, and their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PolicyVersion {
    /// The number of the reload that brought the policies, counted from 1.
    pub generation: u64,
    /// The SHA-256 of the policies' source.
    #[serde(serialize_with = "hex")]
    pub digest: [u8; 32],
}

impl PolicyVersion {
    /// The version with this generation and digest.
    #[must_use]
    pub const fn new(generation: u64, digest: [u8; 32]) -> Self {
        Self { generation, digest }
    }
}

/// Every record has one, so it is put together without the machinery of formats.
fn hex<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    let digit = |half: u8| half.wrapping_add(if half < 10 { b'0' } else { b'a' - 10 });
    let mut text = [0; 64];
    for ([high, low], byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
    }
    serializer.serialize_str(str::from_utf8(&text).map_err(S::Error::custom)?)
}

/// The answers to all questions of one request.
///
/// It cannot be put together by hand or cloned, and it knows whose request it [is
/// of](Decision::is_of), so that it cannot be kept to be used for another.
///
/// ```compile_fail,E0599
/// fn twice(decision: zt_core::decision::Decision) {
///     let copy = decision.clone();
/// }
/// ```
#[must_use = "a decision does nothing until its permit is asked for"]
#[derive(Debug)]
pub struct Decision {
    principal: Principal,
    action: Action,
    resource: Resource,
    context: Context,
    workload: Answer,
    user: Option<Answer>,
    version: PolicyVersion,
}

impl Decision {
    /// Asks every question of `request`: of the workload always, of the user where there is one,
    /// also when the workload was denied, so that the record tells both (H-11).
    pub fn of<'a>(
        request: &Request<'a>,
        version: PolicyVersion,
        mut answer: impl FnMut(&Question<'a>) -> Answer,
    ) -> Self {
        Self {
            principal: request.principal().clone(),
            action: request.action().clone(),
            resource: request.resource().clone(),
            context: request.context().clone(),
            workload: answer(&request.workload_question()),
            user: request.user_question().map(|question| answer(&question)),
            version,
        }
    }

    /// Whether it is the decision of this very request: of this caller, who wants to do this to
    /// that, in this context. Ask before you act on what someone else decided: a decision that was
    /// kept is nobody's leave but the first caller's.
    #[must_use]
    pub fn is_of(&self, request: &Request<'_>) -> bool {
        self.principal == *request.principal()
            && self.action == *request.action()
            && self.resource == *request.resource()
            && self.context == *request.context()
    }

    /// Everyone behind the request.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was to be done.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// What it was to be done to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// When and from where.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// The version of the policies that decided.
    #[must_use]
    pub const fn version(&self) -> PolicyVersion {
        self.version
    }

    pub(crate) fn verdicts(&self) -> (Verdict, Option<Verdict>) {
        (self.workload.verdict().clone(), self.user.as_ref().map(|user| user.verdict().clone()))
    }

    /// Every answer, with whom it is about.
    pub fn answers(&self) -> impl Iterator<Item = (SubjectKind, &Answer)> {
        std::iter::once((SubjectKind::Workload, &self.workload))
            .chain(self.user.iter().map(|answer| (SubjectKind::User, answer)))
    }

    /// Whether every answer is yes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.denial().is_none()
    }

    /// The first answer that is no.
    #[must_use]
    pub fn denial(&self) -> Option<Denied> {
        self.answers()
            .find_map(|(subject, answer)| answer.denied().map(|reason| Denied { subject, reason }))
    }

    /// The permit of a decision that allows.
    ///
    /// # Errors
    ///
    /// [`Denied`] when an answer is no.
    pub fn permit(self) -> Result<Permit, Denied> {
        match self.denial() {
            Some(denied) => Err(denied),
            None => {
                Ok(Permit { action: self.action, resource: self.resource, version: self.version })
            }
        }
    }
}

/// Leave to do one action to one resource.
///
/// A function that does the deed takes the permit and checks it with [`Permit::covers`]: leave to
/// read order 1 is not leave to read order 2. It is spent with the request that it was given for,
/// so it cannot be cloned:
///
/// ```compile_fail,E0599
/// fn keep(permit: &zt_core::decision::Permit) -> zt_core::decision::Permit {
///     permit.clone()
/// }
/// ```
///
/// nor made from nothing:
///
/// ```compile_fail,E0451
/// use zt_core::decision::{Permit, PolicyVersion};
/// use zt_core::request::{Action, Resource};
///
/// let forged = Permit {
///     action: Action::new("refund"),
///     resource: Resource::new("Order", "42"),
///     version: PolicyVersion::default(),
/// };
/// ```
#[must_use]
#[derive(Debug)]
pub struct Permit {
    action: Action,
    resource: Resource,
    version: PolicyVersion,
}

impl Permit {
    /// Checks that this permit is for doing `action` to `resource`.
    ///
    /// # Errors
    ///
    /// [`NotCovered`] when it is for something else: a fault of the program, not of the peer.
    pub fn covers(&self, action: &Action, resource: &Resource) -> Result<(), NotCovered> {
        if self.action == *action && self.resource.is_same(resource) {
            return Ok(());
        }
        Err(NotCovered { permitted: self.to_string(), attempted: format!("{action} {resource}") })
    }

    /// What may be done.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// What it may be done to.
    #[must_use]
    pub const fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The version of the policies that gave leave.
    #[must_use]
    pub const fn version(&self) -> PolicyVersion {
        self.version
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.resource)
    }
}

/// The caller may not do this. It says which of the two questions was answered no and never which
/// rule answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("denied to the {subject}: {reason}")]
#[non_exhaustive]
pub struct Denied {
    /// Whose question was answered no first.
    pub subject: SubjectKind,
    /// Why.
    pub reason: DenyReason,
}

impl Denied {
    /// Whose fault it is: the peer's, unless no current policy was there to be asked.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.reason {
            DenyReason::Forbidden | DenyReason::NotPermitted | DenyReason::Error => Fault::Peer,
            DenyReason::Unavailable => Fault::Authority,
        }
    }
}

/// A permit was held up for something that it does not cover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permit for {permitted} does not cover {attempted}")]
#[non_exhaustive]
pub struct NotCovered {
    /// What the permit is for.
    pub permitted: String,
    /// What was to be done.
    pub attempted: String,
}

impl NotCovered {
    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::{User, Workload};
    use crate::request::Subject;
    use crate::spiffe::SpiffeId;
    use crate::time::Timestamp;
    use crate::verified::Verified;

    fn workload() -> Verified<Principal> {
        let id = SpiffeId::parse("spiffe://example.org/cart").unwrap();
        Verified::mint(Principal::new(Workload::new(id)))
    }

    fn with_user() -> Verified<Principal> {
        workload().on_behalf_of(Verified::mint(User::new("https://issuer", "alice")))
    }

    fn decide(caller: &Verified<Principal>, answer: impl Fn(Subject<'_>) -> Answer) -> Decision {
        let (action, resource) = (Action::new("read"), Resource::new("Order", "1"));
        let context = Context::at(Timestamp::EPOCH);
        let request = Request::new(caller, &action, &resource, &context);
        Decision::of(&request, PolicyVersion::default(), |question| answer(question.subject()))
    }

    fn allow_only(kind: SubjectKind) -> impl Fn(Subject<'_>) -> Answer {
        move |subject| {
            if subject.kind() == kind {
                Answer::allowed("p".into())
            } else {
                Answer::not_permitted()
            }
        }
    }

    #[test]
    fn a_decision_is_of_one_request_and_of_no_other() {
        let (read, write) = (Action::new("read"), Action::new("write"));
        let (order, owned) =
            (Resource::new("Order", "1"), Resource::new("Order", "1").with("o", 1));
        let (now, later) = (Context::at(Timestamp::EPOCH), Context::at(Timestamp::from_secs(1)));
        let (alone, both) = (workload(), with_user());
        let decision = decide(&both, |_| Answer::allowed("p".into()));
        assert!(decision.is_of(&Request::new(&both, &read, &order, &now)));
        for other in [
            Request::new(&alone, &read, &order, &now),
            Request::new(&both, &write, &order, &now),
            Request::new(&both, &read, &owned, &now),
            Request::new(&both, &read, &order, &later),
        ] {
            assert!(!decision.is_of(&other));
        }
    }

    #[test]
    fn a_workload_alone_is_asked_one_question() {
        let decision = decide(&workload(), allow_only(SubjectKind::Workload));
        assert_eq!(decision.answers().count(), 1);
        assert!(decision.permit().is_ok());
    }

    #[test]
    fn with_a_user_both_questions_have_to_allow_and_both_are_kept() {
        for (kind, denied) in
            [(SubjectKind::Workload, SubjectKind::User), (SubjectKind::User, SubjectKind::Workload)]
        {
            let decision = decide(&with_user(), allow_only(kind));
            assert_eq!(decision.answers().count(), 2);
            let refused = decision.permit().unwrap_err();
            assert_eq!((refused.subject, refused.reason), (denied, DenyReason::NotPermitted));
        }
        let both = decide(&with_user(), |_| Answer::allowed("p".into()));
        assert!(both.permit().is_ok());
    }

    #[test]
    fn a_permit_for_order_1_does_not_open_order_2() {
        let permit = decide(&workload(), |_| Answer::allowed("p".into())).permit().unwrap();
        let (read, order) = (Action::new("read"), Resource::new("Order", "1"));
        assert_eq!(permit.covers(&read, &order), Ok(()));
        assert!(permit.covers(&Action::new("refund"), &order).is_err());
        let other = permit.covers(&read, &Resource::new("Order", "2")).unwrap_err();
        assert_eq!(
            other.to_string(),
            r#"a permit for read Order::"1" does not cover read Order::"2""#
        );
    }

    #[test]
    fn no_current_policy_is_nobodys_fault_but_the_authoritys() {
        let denied = decide(&workload(), |_| Answer::unavailable()).permit().unwrap_err();
        assert_eq!(denied.fault(), Fault::Authority);
        let denied = decide(&workload(), |_| Answer::error(None)).permit().unwrap_err();
        assert_eq!(denied.fault(), Fault::Peer);
    }
}
