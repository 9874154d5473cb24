//! Many questions of one caller at once, and which of many things a caller may see.
//!
//! What all of them share is done once: caller and context are numbered, and the memory of the
//! thread is lent, for the first of them; the others bring their action and their resource. The
//! answers are those that the requests would get one by one.
//!
//! # Limits
//!
//! Each request has the [limits](crate::decide#limits) of a request that is asked alone. Where the
//! memory that requests share is used up, the next one begins with all of it, so that nothing is
//! denied because of what was asked before it.

use zt_core::decision::{Decision, Permit};
use zt_core::principal::Principal;
use zt_core::request::{Action, Context, Request, Resource, SubjectKind};
use zt_core::verified::Verified;

use crate::decide::{Asked, Known, Run, Scratch};
use crate::evaluate::{OnForbidError, Outcome};
use crate::model::load::{Caller, load_caller, load_target};
use crate::set::{PolicySet, answer, with_scratch};
use crate::term::Stop;

impl PolicySet {
    /// Decides several requests of one caller, in their order: as many as there are actions with
    /// their resources. Each has a decision of its own, with the answers to all of its questions.
    ///
    /// ```
    /// # use zt_core::danger;
    /// use zt_core::principal::{Principal, Workload};
    /// use zt_core::request::{Action, Context, Resource};
    /// use zt_core::spiffe::SpiffeId;
    /// use zt_core::time::Timestamp;
    /// use zt_policy::set::PolicySet;
    ///
    /// let policies = PolicySet::parse(
    ///     "orders",
    ///     r#"permit (principal, action == Action::"read", resource is Order);"#,
    /// )?;
    /// # let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart")?);
    /// # let caller = danger::verified(Principal::new(cart));
    /// let (read, refund) = (Action::new("read"), Action::new("refund"));
    /// let (order, context) = (Resource::new("Order", "42"), Context::at(Timestamp::from_secs(0)));
    /// let decisions = policies.decide_all(&caller, &context, [(&read, &order), (&refund, &order)]);
    /// let allowed: Vec<bool> = decisions.iter().map(|decision| decision.is_allowed()).collect();
    /// assert_eq!(allowed, [true, false]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decide_all<'r>(
        &self,
        caller: &'r Verified<Principal>,
        context: &'r Context,
        asked: impl IntoIterator<Item = (&'r Action, &'r Resource)>,
    ) -> Vec<Decision> {
        let asked = asked.into_iter();
        let mut decisions = Vec::with_capacity(asked.size_hint().0);
        self.each(caller, context, asked, Wanted::All, |request, answers| {
            decisions.push(answers.decision(self, &request));
        });
        decisions
    }

    /// Those of the candidates that the caller may do `action` to, in their order, each as the
    /// permit that lets it be done. Nothing is told of the others, and no decision is left to be
    /// recorded: where each has to be, [`decide_all`](Self::decide_all) makes them.
    ///
    /// ```
    /// # use zt_core::danger;
    /// use zt_core::principal::{Principal, User, Workload};
    /// use zt_core::request::{Action, Context, Resource};
    /// use zt_core::spiffe::SpiffeId;
    /// use zt_core::time::Timestamp;
    /// use zt_policy::set::PolicySet;
    ///
    /// let policies = PolicySet::parse(
    ///     "orders",
    ///     r#"permit (principal is Workload, action, resource);
    ///     permit (principal is User, action, resource)
    ///     when { resource.owner == principal.subject };"#,
    /// )?;
    /// # let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart")?);
    /// # let alice = User::new("https://login.example.com", "alice");
    /// # let caller = danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice));
    /// let orders = [("1", "alice"), ("2", "bob"), ("3", "alice")]
    ///     .map(|(id, owner)| Resource::new("Order", id).with("owner", owner));
    /// let context = Context::at(Timestamp::from_secs(0));
    /// let seen = policies.search(&caller, &Action::new("read"), &context, &orders);
    /// let ids: Vec<&str> = seen.iter().map(|permit| permit.resource().id()).collect();
    /// assert_eq!(ids, ["1", "3"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn search<'r>(
        &self,
        caller: &'r Verified<Principal>,
        action: &'r Action,
        context: &'r Context,
        candidates: impl IntoIterator<Item = &'r Resource>,
    ) -> Vec<Permit> {
        let mut permits = Vec::new();
        let asked = candidates.into_iter().map(|resource| (action, resource));
        self.each(caller, context, asked, Wanted::Permits, |request, answers| {
            if answers.allow() {
                permits.extend(answers.decision(self, &request).permit());
            }
        });
        permits
    }

    fn each<'r>(
        &self,
        caller: &'r Verified<Principal>,
        context: &'r Context,
        asked: impl IntoIterator<Item = (&'r Action, &'r Resource)>,
        wanted: Wanted,
        mut answered: impl FnMut(Request<'r>, Answers),
    ) {
        let mut asked = asked.into_iter();
        let mut next = asked.next();
        with_scratch(|scratch| {
            while next.is_some() {
                let mut shared = Shared::begin(self, scratch, caller, context);
                let mut is_first = true;
                while let Some((action, resource)) = next {
                    let answers = shared.ask(action, resource, wanted);
                    if answers.are_over_limit() && !is_first {
                        break;
                    }
                    is_first = false;
                    answered(Request::new(caller, action, resource, context), answers);
                    next = asked.next();
                }
            }
        });
    }
}

/// Whether a question has to be asked whose answer can change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Permits,
}

/// A caller whose requests are asked one after the other.
struct Shared<'a> {
    run: Result<(Run<'a>, Caller, Known), Stop>,
    on_forbid_error: OnForbidError,
}

/// The answers to all questions of one request.
struct Answers {
    workload: Result<Outcome, Stop>,
    /// Of none where there is no user, or where it is not asked.
    user: Option<Result<Outcome, Stop>>,
}

impl<'a> Shared<'a> {
    fn begin(
        set: &'a PolicySet,
        scratch: &'a mut Scratch,
        caller: &Principal,
        context: &Context,
    ) -> Self {
        Self { run: begin(set, scratch, caller, context), on_forbid_error: set.forbid_error() }
    }

    fn ask(&mut self, action: &Action, resource: &Resource, wanted: Wanted) -> Answers {
        let (run, caller, known) = match &mut self.run {
            Ok((run, caller, known)) => (run, *caller, *known),
            Err(stop) => return Answers::none(*stop),
        };
        run.forget(known);
        let target = match load_target(run, action, resource) {
            Ok(target) => target,
            Err(stop) => return Answers::none(stop),
        };
        let mut ask = |asked: Asked| run.outcome(asked, self.on_forbid_error);
        let workload = ask(caller.workload_asks(target));
        let is_asked = wanted == Wanted::All || is_allow(&workload);
        let user = caller.user_asks(target).filter(|_| is_asked).map(ask);
        Answers { workload, user }
    }
}

fn begin<'a>(
    set: &'a PolicySet,
    scratch: &'a mut Scratch,
    caller: &Principal,
    context: &Context,
) -> Result<(Run<'a>, Caller, Known), Stop> {
    let mut run = Run::begin(&set.program().ok_or(Stop::Full)?.0, scratch)?;
    let caller = load_caller(&mut run, caller, context)?;
    let known = run.mark();
    Ok((run, caller, known))
}

impl Answers {
    const fn none(stop: Stop) -> Self {
        Self { workload: Err(stop), user: None }
    }

    fn all(&self) -> impl Iterator<Item = &Result<Outcome, Stop>> {
        std::iter::once(&self.workload).chain(&self.user)
    }

    fn are_over_limit(&self) -> bool {
        self.all().any(|outcome| matches!(outcome, Err(Stop::Full) | Ok(Outcome::OverLimit)))
    }

    fn allow(&self) -> bool {
        self.all().all(is_allow)
    }

    /// As [`PolicySet::decide`](zt_core::decision::Decide::decide) makes it. A question that was
    /// not asked is denied as an error.
    fn decision(self, set: &PolicySet, request: &Request<'_>) -> Decision {
        let (mut workload, mut user) = (Some(self.workload), self.user);
        Decision::of(request, set.version(), |question| {
            let outcome = match question.subject().kind() {
                SubjectKind::Workload => workload.take(),
                SubjectKind::User => user.take(),
                _ => None,
            };
            answer(outcome.unwrap_or(Err(Stop::Error)))
        })
    }
}

const fn is_allow(outcome: &Result<Outcome, Stop>) -> bool {
    matches!(outcome, Ok(Outcome::Allow { .. } | Outcome::AllowByDefault))
}

#[cfg(test)]
mod tests;
