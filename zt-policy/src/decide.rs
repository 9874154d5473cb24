//! What a [`Program`] answers.
//!
//! The answer is that of [`evaluate`](crate::evaluate), found in another order:
//!
//! 1. the request and what it knows of its entities is numbered;
//! 2. the index shows the policies that it does not rule out;
//! 3. of these, each whose answer could still matter is asked: its scope, then its conditions;
//! 4. the first forbid that applies denies, then the first that errs, then the first permit that
//!    applies allows.
//!
//! All of it happens in a [`Scratch`], whose memory the next decision uses again: once it has grown
//! to what requests need, nothing is allocated.
//!
//! # Limits
//!
//! What a request brings is limited to [`MAX_TEXT`] bytes of texts, [`MAX_ITEMS`] members of sets
//! and as many fields of records, those included that the evaluation of one policy makes, to
//! [`MAX_OVERLAY`] entities with [`MAX_ITEMS`] parents, each of its entities to [`MAX_ANCESTORS`]
//! that it is in, and each value to [`MAX_VALUE_DEPTH`](crate::value::MAX_VALUE_DEPTH). What an
//! answer takes is limited to [`MAX_WORK`]. Beyond, the answer is [`Outcome::OverLimit`], which
//! denies.
//!
//! # Cost
//!
//! A decision costs what it takes to
//!
//! - number what the request brings, in proportion to it: a hash and one look into a table for each
//!   name and text. A [`Handle`] saves that of a name, a [`Prepared`] request all of it;
//! - look into the index: once for the principal and each entity that it is in, once for the
//!   resource and each that it is in, once for their types, and once for each path that conditions
//!   compare. In each of these it looks for the action and each that it is in;
//! - ask the policies found there.
//!
//! It does not depend on how many other policies there are, nor on how many entities. It grows with
//! the ancestors of principal and resource, times those of the action where an anchor has policies
//! for more than eight actions; with the number of different paths; and with the policies that
//! nothing tells apart before they are asked. Where 16 policies or more share an anchor and an
//! action, they are told apart by a second anchor, which costs a look for each ancestor and each
//! path; a third is not used. The benches `policy/ancestors-*`, `policy/actions-*` and
//! `policy/hot-*` show each of these.

mod query;
mod rule;
mod run;
mod value;

use std::sync::Arc;

pub use self::query::{Handle, Name, Prepared, Query};
pub(crate) use self::run::{Asked, Known, Run};
use self::run::{Climbs, Memory};
use crate::compile::MAX_ANCESTORS;
use crate::entity::{Entities, Request};
use crate::evaluate::{OnForbidError, Outcome};
use crate::program::Program;
use crate::symbol::{Capacity, Layer, Workbench};

/// The most bytes that all texts of one request may have together.
pub const MAX_TEXT: usize = 1024 * 1024;

/// The most members that all sets of one request may have together, and the most fields that all
/// records may.
pub const MAX_ITEMS: usize = 64 * 1024;

/// The most entities that one request may know something about.
pub const MAX_OVERLAY: usize = 64;

/// The most work that one question may take: policies that the index finds, nodes of their
/// expressions, members of sets that are looked at one by one. It is some ten milliseconds.
pub const MAX_WORK: u32 = 4 * 1024 * 1024;

/// As [`MAX_ANCESTORS`], before those that are reached on several ways are counted once.
const MAX_CLIMBED: usize = 4 * MAX_ANCESTORS;

const CAPACITY: Capacity = Capacity { things: MAX_ITEMS, bytes: MAX_TEXT, items: MAX_ITEMS };

/// The memory of decisions, used again by the next.
#[derive(Debug, Default)]
pub struct Scratch {
    layer: Layer,
    bench: Workbench,
    memory: Memory,
    climbs: Climbs,
    asked: usize,
}

impl Scratch {
    /// With no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many policies the last answer has asked: those that the index could not rule out, but
    /// for those whose answer could change nothing any more.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.asked
    }
}

/// What a program answers, with the name of a policy that it lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ruling<'p> {
    /// Yes, by this permit and perhaps others.
    Allow {
        /// The first permit that applies.
        policy: &'p Arc<str>,
    },
    /// Yes: no policy applies, and no policy selects whom the program's
    /// [default](crate::evaluate::default) asks about.
    AllowByDefault,
    /// No: a forbid applies.
    Forbidden {
        /// The first forbid that applies.
        policy: &'p Arc<str>,
    },
    /// No: a forbid could not be evaluated.
    Error {
        /// The first forbid that erred.
        policy: &'p Arc<str>,
    },
    /// No: no permit applies.
    NotPermitted,
    /// No: the request is more than a decision takes.
    OverLimit,
}

impl<'p> Ruling<'p> {
    /// Whether it is yes.
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow { .. } | Self::AllowByDefault)
    }

    /// The policy that determined it, if it was one.
    #[must_use]
    pub fn policy(self) -> Option<&'p str> {
        match self {
            Self::Allow { policy } | Self::Forbidden { policy } | Self::Error { policy } => {
                Some(policy)
            }
            Self::AllowByDefault | Self::NotPermitted | Self::OverLimit => None,
        }
    }
}

impl From<Ruling<'_>> for Outcome {
    fn from(ruling: Ruling<'_>) -> Self {
        let own = Arc::clone;
        match ruling {
            Ruling::Allow { policy } => Self::Allow { policy: own(policy) },
            Ruling::AllowByDefault => Self::AllowByDefault,
            Ruling::Forbidden { policy } => Self::Forbidden { policy: own(policy) },
            Ruling::Error { policy } => Self::Error { policy: own(policy) },
            Ruling::NotPermitted => Self::NotPermitted,
            Ruling::OverLimit => Self::OverLimit,
        }
    }
}

/// Which policies apply to one request, and which err, in the order of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// The permits that apply.
    pub permits: Vec<Arc<str>>,
    /// The forbids that apply.
    pub forbids: Vec<Arc<str>>,
    /// The policies that err.
    pub errors: Vec<Arc<str>>,
}

impl Program {
    /// The answer to one request, of which `overlay` knows more than the program: entities of its
    /// [own](Entities::own), whose attributes and parents are added to those of the program.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use zt_policy::cedar::text;
    /// use zt_policy::decide::Scratch;
    /// use zt_policy::entity::{Entities, Request};
    /// use zt_policy::evaluate::{OnForbidError, Outcome};
    /// use zt_policy::name::{EntityType, EntityUid};
    /// use zt_policy::program::Program;
    ///
    /// let policies = text::policies("p", r#"@id("all") permit (principal, action, resource);"#)?;
    /// let program = Program::compile(&policies, &Entities::new())?;
    /// let uid = |kind, id| Ok::<_, Box<dyn std::error::Error>>(EntityUid::new(EntityType::parse(kind)?, id));
    /// let request = Request {
    ///     principal: uid("User", "alice")?,
    ///     action: uid("Action", "read")?,
    ///     resource: uid("Doc", "d")?,
    ///     context: Arc::default(),
    /// };
    /// let mut scratch = Scratch::new();
    /// let outcome = program.decide(&mut scratch, &request, &Entities::new(), OnForbidError::Deny);
    /// assert_eq!(outcome, Outcome::Allow { policy: "all".into() });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn decide(
        &self,
        scratch: &mut Scratch,
        request: &Request,
        overlay: &Entities,
        on_forbid_error: OnForbidError,
    ) -> Outcome {
        self.rule(scratch, &Query::of(request).with_overlay(overlay), on_forbid_error).into()
    }

    /// The answer to a [`Query`], which has an example.
    #[must_use]
    pub fn rule<'p>(
        &'p self,
        scratch: &mut Scratch,
        query: &Query<'_>,
        on_forbid_error: OnForbidError,
    ) -> Ruling<'p> {
        let answer = Run::begin(&self.0, scratch).and_then(|mut run| {
            let asked = run.load(query)?;
            run.first(asked, on_forbid_error)
        });
        answer.map_or(Ruling::OverLimit, |first| first.ruling(&self.0, on_forbid_error))
    }

    /// The answer to a request that is asked again and again; [`Prepared`] has an example.
    #[must_use]
    pub fn rule_prepared<'p>(
        &'p self,
        prepared: &mut Prepared,
        on_forbid_error: OnForbidError,
    ) -> Ruling<'p> {
        let run = prepared.run(self);
        let answer = run.and_then(|(mut run, asked)| run.first(asked, on_forbid_error));
        answer.map_or(Ruling::OverLimit, |first| first.ruling(&self.0, on_forbid_error))
    }

    /// Asks every policy, without an index: for explaining and for tests. `None` beyond a
    /// [limit](self#limits).
    #[must_use]
    pub fn count(
        &self,
        scratch: &mut Scratch,
        request: &Request,
        overlay: &Entities,
    ) -> Option<Counted> {
        let mut count = || {
            let mut run = Run::begin(&self.0, scratch)?;
            let asked = run.load(&Query::of(request).with_overlay(overlay))?;
            run.count(asked)
        };
        count().ok()
    }
}
