//! A set of policies that decides.
//!
//! A set is made from sources when, in this order:
//!
//! 1. every source is read without a problem;
//! 2. none of them has a template: without a link it has no effect, which must not be silent;
//! 3. there is at least one policy: to deny everything, say so with a `forbid`;
//! 4. no two policies have one name, and none has the empty name or that of the [default
//!    answer](ALLOWED_BY_DEFAULT);
//! 5. no expression is nested more than [`MAX_DEPTH`] deep.
//!
//! It answers each question by the rules of [`evaluate`](crate::evaluate); a question that
//! [`model`] cannot put is denied as an error.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zt_core::danger;
use zt_core::decision::{Answer, Decide, Decision, PolicyVersion};
use zt_core::fault::Fault;
use zt_core::request::{Question, Request, SubjectKind};

use crate::cedar::refusal::NotCedar;
use crate::cedar::{est, text};
use crate::compile::CompileError;
use crate::decide::{Run, Scratch};
use crate::entity::Entities;
use crate::evaluate::default::{ALLOWED_BY_DEFAULT, DefaultEffect};
use crate::evaluate::{OnForbidError, Outcome};
use crate::explain::{Explanation, Manner, Redaction};
use crate::expr::MAX_DEPTH;
use crate::model::load::{Loaded, load};
use crate::model::{self, Unaskable};
use crate::policy::Policy;
use crate::program::Program;
use crate::term::Stop;
use crate::written::Written;

/// A text of policies and its name, such as that of its file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, which begins the names of those of its policies that have none.
    pub name: &'a str,
    /// Cedar text.
    pub text: &'a str,
}

/// Policies that decide requests: deny by default, and deny when a forbid cannot be evaluated.
///
/// ```
/// use zt_policy::set::PolicySet;
///
/// let policies = PolicySet::parse(
///     "orders",
///     r#"
///     @id("shop-reads-orders")
///     permit (
///         principal in WorkloadPath::"spiffe://example.org/ns/shop",
///         action == Action::"read",
///         resource is Order
///     );
///     "#,
/// )?;
/// assert_eq!(policies.policies().count(), 1);
/// assert!(PolicySet::parse("orders", "// nothing yet").is_err());
/// # Ok::<(), zt_policy::set::LoadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PolicySet {
    // INVARIANT: not empty, no templates, names are unique, expressions at most MAX_DEPTH deep.
    policies: Written,
    entities: Arc<Entities>,
    // None where the entities are more than a program can hold: it denies everything.
    program: Option<Program>,
    version: PolicyVersion,
    on_forbid_error: OnForbidError,
    default_effect: DefaultEffect,
    redaction: Redaction,
}

impl PolicySet {
    /// The policies of one text.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the first rule of the [module](self) that is broken.
    pub fn parse(name: &str, text: &str) -> Result<Self, LoadError> {
        Self::from_sources(&[Source { name, text }])
    }

    /// The policies of several texts, in their order.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the first rule of the [module](self) that is broken; the problems of
    /// all texts are reported together.
    pub fn from_sources(sources: &[Source<'_>]) -> Result<Self, LoadError> {
        let (mut policies, mut refused) = (Vec::new(), Vec::new());
        for source in sources {
            match text::policies(source.name, source.text) {
                Ok(read) => policies.extend(read),
                Err(not_cedar) => refused.push(not_cedar),
            }
        }
        if !refused.is_empty() {
            return Err(LoadError::NotCedar(refused));
        }
        Self::new(policies, digest(sources))
    }

    /// The policies of a policy set in JSON, as [`est::policy_set`] reads it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the first rule of the [module](self) that is broken.
    pub fn from_json(name: &str, json: &str) -> Result<Self, LoadError> {
        let policies =
            est::policy_set(name, json).map_err(|refused| LoadError::NotCedar(vec![refused]))?;
        Self::new(policies, digest(&[Source { name, text: json }]))
    }

    /// A set of policies that were made elsewhere, with the SHA-256 of what they were made from.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the first rule of the [module](self) that is broken.
    pub fn new(policies: Vec<Policy>, digest: [u8; 32]) -> Result<Self, LoadError> {
        if let Some(template) = policies.iter().find(|policy| policy.is_template()) {
            return Err(LoadError::Template { policy: template.id.clone() });
        }
        if policies.is_empty() {
            return Err(LoadError::Empty);
        }
        check_names(&policies)?;
        check_depth(&policies)?;
        let program = Program::compile(&policies, &Entities::new())?;
        Ok(Self {
            policies: Written::new(policies, program.clone()),
            entities: Arc::default(),
            program: Some(program),
            version: PolicyVersion::new(1, digest),
            on_forbid_error: OnForbidError::default(),
            default_effect: DefaultEffect::Deny,
            redaction: Redaction::default(),
        })
    }

    /// With the number of the reload that brought it; 1 without.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.version.generation = generation;
        self
    }

    /// With entities that every request sees besides its own, such as a hierarchy of roles or of
    /// actions.
    ///
    /// What a request knows of itself wins: see [`Entities::insert`]. Where entities are in so many
    /// others that no [`Program`] can hold it, everything is denied as an error.
    #[must_use]
    pub fn with_entities(mut self, entities: Entities) -> Self {
        if entities != *self.entities {
            self.entities = Arc::new(entities);
            self.compile();
        }
        self
    }

    /// With another answer where no policy applies. To deny is the default; see
    /// [`default`](crate::evaluate::default) for what is allowed otherwise, and
    /// [`PolicySet::warnings`], which tells.
    ///
    /// ```
    /// use zt_policy::evaluate::default::{DefaultEffect, Side};
    /// use zt_policy::set::PolicySet;
    ///
    /// let policies = PolicySet::parse("mesh", r#"permit (principal, action, resource in Namespace::"shop");"#)?;
    /// assert!(policies.warnings().is_empty());
    /// let open = policies.with_default(DefaultEffect::AllowUnselected(Side::Resource));
    /// let warnings: Vec<String> = open.warnings().iter().map(ToString::to_string).collect();
    /// assert_eq!(warnings, ["a request whose resource no policy selects is allowed"]);
    /// # Ok::<(), zt_policy::set::LoadError>(())
    /// ```
    #[must_use]
    pub fn with_default(mut self, default_effect: DefaultEffect) -> Self {
        if default_effect != self.default_effect {
            self.default_effect = default_effect;
            self.compile();
        }
        self
    }

    fn compile(&mut self) {
        let (policies, entities) = (self.policies().collect::<Vec<_>>(), &self.entities);
        self.program = Program::compile_with_default(&policies, entities, self.default_effect).ok();
        if let Some(program) = &self.program {
            self.policies.with_program(program.clone());
        }
    }

    /// With other names of secrets, which [`explain`](Self::explain) does not show.
    #[must_use]
    pub fn with_redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// With another answer where a forbid cannot be evaluated.
    #[must_use]
    pub const fn on_forbid_error(mut self, on_forbid_error: OnForbidError) -> Self {
        self.on_forbid_error = on_forbid_error;
        self
    }

    /// The policies, in the order in which they are asked.
    ///
    /// They are made while they are read: those that a [`Program`] says in full are not kept
    /// besides.
    pub fn policies(&self) -> impl Iterator<Item = Policy> {
        self.policies.policies()
    }

    /// Generation and digest.
    #[must_use]
    pub const fn version(&self) -> PolicyVersion {
        self.version
    }

    /// What decides: the policies and the entities beneath them, compiled.
    #[must_use]
    pub const fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// The entities that every request sees.
    #[must_use]
    pub const fn entities(&self) -> &Arc<Entities> {
        &self.entities
    }

    /// What a forbid does that cannot be evaluated.
    #[must_use]
    pub const fn forbid_error(&self) -> OnForbidError {
        self.on_forbid_error
    }

    /// What it answers where no policy applies.
    #[must_use]
    pub const fn default_effect(&self) -> DefaultEffect {
        self.default_effect
    }

    /// The answer to one question, before it becomes part of a decision.
    ///
    /// # Errors
    ///
    /// [`Unaskable`] when the question cannot be put to Cedar; as a decision it is denied.
    pub fn outcome(&self, question: &Question<'_>) -> Result<Outcome, Unaskable> {
        let answered = with_scratch(|scratch| {
            Session::new(self.program.as_ref(), scratch).ask(question, self.on_forbid_error)
        });
        match answered {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Full) => Ok(Outcome::OverLimit),
            Err(Stop::Error) => model::ask(question, &self.entities).map(|_| Outcome::OverLimit),
        }
    }
}

impl PolicySet {
    /// Why a request is answered as it is, question by question. It takes as long as there are
    /// policies: it is for people, after the decision.
    ///
    /// A question that cannot be put to Cedar is explained by the rule that it breaks. What is over
    /// a limit of [`decide`](crate::decide) is explained as if it were not.
    pub fn explain(
        &self,
        request: &Request<'_>,
    ) -> Vec<(SubjectKind, Result<Explanation, Unaskable>)> {
        let mut explained = Vec::new();
        let policies: Vec<Policy> = self.policies().collect();
        let manner = Manner {
            on_forbid_error: self.on_forbid_error,
            default_effect: self.default_effect,
            redaction: self.redaction.clone(),
        };
        let decision = Decision::of(request, self.version, |question| {
            let explanation = model::ask(question, &self.entities)
                .map(|asked| Explanation::of(&policies, &asked.request, &asked.entities, &manner));
            explained.push((question.subject().kind(), explanation));
            Answer::not_permitted()
        });
        drop(decision);
        explained
    }
}

impl Decide for PolicySet {
    fn decide(&self, request: &Request<'_>) -> Decision {
        with_scratch(|scratch| {
            let mut session = Session::new(self.program.as_ref(), scratch);
            let answer =
                |question: &Question<'_>| answer(session.ask(question, self.on_forbid_error));
            Decision::of(request, self.version, answer)
        })
    }
}

/// The questions of one request, which is numbered once for all of them.
struct Session<'a> {
    run: Result<Run<'a>, Stop>,
    loaded: Option<Result<Loaded, Stop>>,
}

impl<'a> Session<'a> {
    fn new(program: Option<&'a Program>, scratch: &'a mut Scratch) -> Self {
        let run = program.ok_or(Stop::Full).and_then(|program| Run::begin(&program.0, scratch));
        Self { run, loaded: None }
    }

    fn ask(
        &mut self,
        question: &Question<'_>,
        on_forbid_error: OnForbidError,
    ) -> Result<Outcome, Stop> {
        let run = self.run.as_mut().map_err(|stop| *stop)?;
        let loaded = *self.loaded.get_or_insert_with(|| load(run, question.request()));
        run.outcome(loaded?.asked(question)?, on_forbid_error)
    }
}

/// Lends the memory of this thread. Where it is already lent, or gone with its thread, new memory
/// does as well.
pub(crate) fn with_scratch<T>(decide: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    }
    let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let decided = decide(&mut scratch);
    // At the end of the thread there is nowhere to give it back to.
    let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
    decided
}

/// An outcome as an answer.
pub(crate) fn answer(outcome: Result<Outcome, Stop>) -> Answer {
    match outcome {
        Ok(Outcome::Allow { policy }) => allow(policy),
        Ok(Outcome::AllowByDefault) => allow(ALLOWED_BY_DEFAULT),
        Ok(Outcome::Forbidden { policy }) => Answer::forbidden(policy),
        Ok(Outcome::Error { policy }) => Answer::error(Some(policy)),
        Ok(Outcome::NotPermitted) => Answer::not_permitted(),
        Ok(Outcome::OverLimit) | Err(_) => Answer::error(None),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no forbid applies or erred unnoticed, and a permit applies, or the set says to allow \
              what no policy selects: `Run::outcome`"
)]
fn allow(policy: impl Into<Arc<str>>) -> Answer {
    danger::allow(policy)
}

/// Over the name and the text of every source, each behind its length, so that nothing can move
/// from one to the other.
fn digest(sources: &[Source<'_>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in sources.iter().flat_map(|source| [source.name, source.text]) {
        let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hash.update(len.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn check_names(policies: &[Policy]) -> Result<(), LoadError> {
    let mut names = HashSet::new();
    for Policy { id, .. } in policies {
        if id.is_empty() {
            return Err(LoadError::EmptyName);
        }
        if **id == *ALLOWED_BY_DEFAULT {
            return Err(LoadError::ReservedName);
        }
        if !names.insert(id) {
            return Err(LoadError::DuplicateName { policy: id.clone() });
        }
    }
    Ok(())
}

fn check_depth(policies: &[Policy]) -> Result<(), LoadError> {
    let too_deep = policies.iter().find(|policy| {
        policy.conditions.iter().any(|condition| condition.body.is_deeper_than(MAX_DEPTH))
    });
    match too_deep {
        Some(Policy { id, .. }) => Err(LoadError::TooDeep { policy: id.clone() }),
        None => Ok(()),
    }
}

/// Why policies are not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Texts are not Cedar.
    #[error("{}", lines(.0))]
    NotCedar(
        /// All of them.
        Vec<NotCedar>,
    ),
    /// A template is not linked.
    #[error("{policy:?} is a template, which has no effect until it is linked")]
    Template {
        /// The template.
        policy: Arc<str>,
    },
    /// There is no policy.
    #[error("there is no policy; to deny everything, forbid it")]
    Empty,
    /// A policy has the empty name.
    #[error("a policy has an empty name")]
    EmptyName,
    /// A policy has the name of the answer that no policy gives.
    #[error("a policy is named {ALLOWED_BY_DEFAULT:?}, as is what no policy answers")]
    ReservedName,
    /// Two policies have one name.
    #[error("two policies are named {policy:?}")]
    DuplicateName {
        /// The name.
        policy: Arc<str>,
    },
    /// They cannot be compiled.
    #[error(transparent)]
    NotCompiled(#[from] CompileError),
    /// An expression is nested too deeply.
    #[error("policy {policy:?} is nested more than {MAX_DEPTH} deep")]
    TooDeep {
        /// The policy.
        policy: Arc<str>,
    },
}

fn lines(refused: &[NotCedar]) -> String {
    refused.iter().map(NotCedar::to_string).collect::<Vec<_>>().join("\n")
}

impl LoadError {
    /// Whose fault it is: whoever wrote the policies.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests;
