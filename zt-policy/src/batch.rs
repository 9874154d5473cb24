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
        let mut decisions = Vec::new();
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
mod tests {
    use zt_core::danger;
    use zt_core::decision::{Decide, DenyReason};
    use zt_core::principal::{User, Workload};
    use zt_core::spiffe::SpiffeId;
    use zt_core::time::Timestamp;

    use super::*;
    use crate::decide::MAX_TEXT;

    #[expect(clippy::disallowed_methods, reason = "a test needs a caller")]
    fn alice() -> Verified<Principal> {
        let cart = Workload::new(SpiffeId::parse("spiffe://example.org/cart").unwrap());
        let alice = User::new("https://issuer", "alice");
        danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice))
    }

    const OWNERS: &str = r#"
        @id("all") permit (principal is Workload, action == Action::"read", resource);
        @id("own") permit (principal is User, action, resource)
        when { resource.owner == principal.subject };
    "#;

    fn order(id: u32, owner: &str) -> Resource {
        Resource::new("Order", id.to_string()).with("owner", owner)
    }

    fn now() -> Context {
        Context::at(Timestamp::EPOCH)
    }

    fn found(permits: &[Permit]) -> Vec<&str> {
        permits.iter().map(|permit| permit.resource().id()).collect()
    }

    #[test]
    fn a_search_keeps_the_order_and_asks_both_questions() {
        let set = PolicySet::parse("p", OWNERS).unwrap();
        let (caller, context) = (alice(), now());
        let orders = [order(3, "alice"), order(1, "bob"), order(2, "alice")];
        let read = Action::new("read");
        let permits = set.search(&caller, &read, &context, &orders);
        assert_eq!(found(&permits), ["3", "2"]);
        assert!(permits[0].covers(&read, &orders[0]).is_ok());
        assert!(permits[0].covers(&read, &orders[2]).is_err());
        // The user may, the workload may not.
        assert!(set.search(&caller, &Action::new("write"), &context, &orders).is_empty());
    }

    #[test]
    fn every_request_has_a_decision_that_is_its_own_with_both_answers() {
        let set = PolicySet::parse("p", OWNERS).unwrap().with_generation(9);
        let (caller, context) = (alice(), now());
        let (read, write) = (Action::new("read"), Action::new("write"));
        let orders = [order(1, "alice"), order(2, "bob")];
        let asked = [(&read, &orders[0]), (&write, &orders[0]), (&read, &orders[1])];
        let decisions = set.decide_all(&caller, &context, asked);
        assert_eq!(decisions.len(), 3);
        for (decision, (action, resource)) in decisions.iter().zip(asked) {
            assert!(decision.is_of(&Request::new(&caller, action, resource, &context)));
            assert_eq!((decision.answers().count(), decision.version().generation), (2, 9));
        }
        let allowed: Vec<bool> = decisions.iter().map(Decision::is_allowed).collect();
        assert_eq!(allowed, [true, false, false]);
        assert!(set.decide_all(&caller, &context, []).is_empty());
    }

    #[test]
    fn what_cannot_be_asked_is_denied_and_leaves_nothing_behind() {
        let set = PolicySet::parse("p", OWNERS).unwrap();
        let (caller, context, read) = (alice(), now(), Action::new("read"));
        let deep = (0..40).fold(zt_core::attribute::Value::from(1), |inner, _| {
            zt_core::attribute::Value::Set([inner].into())
        });
        // The first attribute of the second is read before its second is refused.
        let posing = Resource::new("User", "root");
        let deep = Resource::new("Order", "x").with("owner", "alice").with("z", deep);
        let unowned = Resource::new("Order", "y");
        let all = [order(1, "alice"), posing, deep, unowned, order(2, "alice")];
        let decisions = set.decide_all(&caller, &context, all.iter().map(|order| (&read, order)));
        let reasons: Vec<_> = decisions
            .iter()
            .map(|decision| decision.answers().map(|(_, answer)| answer.denied()).collect())
            .collect::<Vec<Vec<_>>>();
        let (yes, error) = (vec![None, None], vec![Some(DenyReason::Error); 2]);
        let no = vec![None, Some(DenyReason::NotPermitted)];
        assert_eq!(reasons, [yes.clone(), error.clone(), error, no, yes]);
        assert_eq!(found(&set.search(&caller, &read, &context, &all)), ["1", "2"]);
    }

    #[test]
    fn a_caller_who_cannot_ask_is_denied_everything() {
        let set = PolicySet::parse("p", "permit (principal, action, resource);").unwrap();
        let (caller, context, read) = (alice(), now().with("user", "root"), Action::new("read"));
        let orders = [order(1, "alice"), order(2, "alice")];
        let decisions = set.decide_all(&caller, &context, orders.iter().map(|one| (&read, one)));
        assert_eq!(decisions.len(), 2);
        for decision in decisions {
            assert_eq!(decision.answers().count(), 2);
            assert_eq!(decision.denial().unwrap().reason, DenyReason::Error);
        }
        assert!(set.search(&caller, &read, &context, &orders).is_empty());
    }

    #[test]
    fn what_was_asked_before_takes_no_room_from_what_is_asked_next() {
        let set = PolicySet::parse("p", OWNERS).unwrap();
        let (caller, context, read) = (alice(), now(), Action::new("read"));
        // Each fits alone, no two fit together, and the last fits nowhere.
        let long = |id: u32, len: usize| {
            Resource::new("Order", format!("{id}{}", "x".repeat(len))).with("owner", "alice")
        };
        let mut all: Vec<_> = (0..4).map(|id| long(id, MAX_TEXT / 3 * 2)).collect();
        all.push(long(4, MAX_TEXT));
        all.push(order(5, "alice"));
        let asked = all.iter().map(|resource| (&read, resource));
        let together = set.decide_all(&caller, &context, asked);
        for (decision, resource) in together.iter().zip(&all) {
            let alone = set.decide(&Request::new(&caller, &read, resource, &context));
            assert_eq!(decision.denial(), alone.denial());
            assert_eq!(decision.is_allowed(), resource.id().len() < MAX_TEXT);
        }
        assert_eq!(set.search(&caller, &read, &context, &all).len(), 5);
    }
}
