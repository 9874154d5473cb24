//! A compiled policy set: flat, numbered, never changed.

mod rule;
mod selection;

use std::fmt;
use std::sync::Arc;

use foldhash::quality::RandomState;

pub(crate) use self::rule::Rule;
pub(crate) use self::selection::Selection;
use crate::evaluate::default::DefaultEffect;
use crate::expr::{BinaryOp, Function};
use crate::index::Index;
use crate::pattern::Pattern;
use crate::symbol::{EntityNo, Facts, Kind, Layer, Span, Symbol, Term, trim};

/// The place of a node among the nodes of its program.
pub(crate) type NodeNo = u32;

/// Policies and the entities beneath them, compiled: made once, shared by everyone who decides,
/// never changed. A clone shares all of it.
///
/// It answers as [`evaluate`](crate::evaluate) does, policy for policy. Its cost is that of the
/// policies that an index of their scopes and conditions cannot rule out, not of all.
#[derive(Clone)]
pub struct Program(pub(crate) Arc<Tables>);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("policies", &self.0.rules.len()).finish_non_exhaustive()
    }
}

impl Program {
    /// How many policies it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.rules.len()
    }

    /// Whether it has none, and so denies everything, unless its default allows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// What it answers where no policy applies.
    #[must_use]
    pub fn default_effect(&self) -> DefaultEffect {
        let selection = self.0.selection.as_ref();
        selection.map_or(DefaultEffect::Deny, |it| DefaultEffect::AllowUnselected(it.side))
    }
}

/// What a program consists of. Things refer to one another by their places.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) hasher: RandomState,
    pub(crate) layer: Layer,
    pub(crate) vocabulary: Vocabulary,
    /// By their symbols.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) code: Code,
    /// What is known of each entity, as far as anything is.
    pub(crate) facts: Vec<Option<Facts>>,
    /// The entities above each entity, sorted, without itself, as far as there are any.
    pub(crate) above: Vec<Span>,
    pub(crate) ancestors: Vec<EntityNo>,
    pub(crate) index: Index,
    /// What policies select, where the rest is allowed.
    pub(crate) selection: Option<Selection>,
}

impl Tables {
    /// Whether a policy or an entity of the program names an entity of this type, or the type.
    pub(crate) fn names_kind(&self, kind: Symbol) -> bool {
        self.kinds.get(kind.at()).is_some_and(|kind| kind.is_named)
    }

    /// Whether there may be an entity of this type and ID.
    pub(crate) fn may_have(&self, kind: Symbol, id: &str) -> bool {
        self.kinds.get(kind.at()).is_some_and(|kind| kind.may_have(id))
    }

    /// The entities above one entity, as far as the program knows.
    pub(crate) fn above(&self, entity: EntityNo) -> &[EntityNo] {
        self.above.get(entity.at()).copied().unwrap_or_default().of(&self.ancestors)
    }
}

/// What a scope asks of a principal or a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ScopeTest {
    Any,
    Eq(EntityNo),
    In(EntityNo),
    Is(Symbol),
    IsIn(Symbol, EntityNo),
}

impl ScopeTest {
    /// The entity that it names.
    pub(crate) const fn anchor(self) -> Option<EntityNo> {
        match self {
            Self::Eq(entity) | Self::In(entity) | Self::IsIn(_, entity) => Some(entity),
            Self::Any | Self::Is(_) => None,
        }
    }

    /// The type that it names.
    pub(crate) const fn kind(self) -> Option<Symbol> {
        match self {
            Self::Is(kind) | Self::IsIn(kind, _) => Some(kind),
            Self::Any | Self::Eq(_) | Self::In(_) => None,
        }
    }
}

/// What a scope asks of an action.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActionTest {
    Any,
    Eq(EntityNo),
    /// In the only one, or in any of several of these, places in [`Code::entities`].
    InAny(Span),
}

/// Expressions and what they refer to.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) nodes: Vec<Node>,
    pub(crate) children: Vec<NodeNo>,
    pub(crate) fields: Vec<(Symbol, NodeNo)>,
    pub(crate) names: Vec<Symbol>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) entities: Vec<EntityNo>,
    pub(crate) conditions: Vec<(NodeNo, bool)>,
    /// For each policy its places in `conditions`, as far as there are any.
    pub(crate) conditions_of: Vec<Span>,
    /// What scopes ask with `is … in`.
    pub(crate) kinds_within: Vec<(Symbol, EntityNo)>,
    /// What scopes of actions ask with `in`, places in `entities`.
    pub(crate) groups: Vec<Span>,
    /// Whether a policy asks for an attribute of this name, by its symbol.
    pub(crate) read: Vec<bool>,
    /// Whether a policy looks at the context other than by its attributes.
    pub(crate) reads_whole_context: bool,
}

impl Code {
    /// Whether a policy asks for an attribute of this name.
    pub(crate) fn reads(&self, name: Symbol) -> bool {
        self.read.get(name.at()).copied().unwrap_or(false)
    }

    /// Gives back memory that no more is put into.
    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.children.shrink_to_fit();
        self.fields.shrink_to_fit();
        self.names.shrink_to_fit();
        self.patterns.shrink_to_fit();
        self.entities.shrink_to_fit();
        self.conditions.shrink_to_fit();
        trim(&mut self.conditions_of);
        self.kinds_within.shrink_to_fit();
        self.groups.shrink_to_fit();
        trim(&mut self.read);
    }
}

/// One operation. Spans lie in the lists of [`Code`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    Constant(Term),
    Principal,
    Action,
    Resource,
    Context,
    Not(NodeNo),
    Neg(NodeNo),
    And(Span),
    Or(Span),
    If { test: NodeNo, then: NodeNo, otherwise: NodeNo },
    Binary(BinaryOp, NodeNo, NodeNo),
    IsEmpty(NodeNo),
    Attribute(NodeNo, Symbol),
    Has(NodeNo, Span),
    Like(NodeNo, u32),
    Is(NodeNo, Symbol, Option<NodeNo>),
    Set(Span),
    Record(Span),
    Call(Function, Span),
}

macro_rules! vocabulary {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// The words of the model of requests, numbered in every program.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Vocabulary {
            $(pub(crate) $name: Option<Symbol>,)*
        }

        impl Vocabulary {
            /// Numbers the words.
            ///
            /// # Errors
            ///
            /// What `number` says.
            pub(crate) fn new<E>(
                mut number: impl FnMut(&'static str) -> Result<Symbol, E>,
            ) -> Result<Self, E> {
                Ok(Self { $($name: Some(number($text)?),)* })
            }
        }
    };
}

vocabulary! {
    workload_type = "Workload",
    workload_path_type = "WorkloadPath",
    trust_domain_type = "TrustDomain",
    cluster_type = "KubernetesCluster",
    namespace_type = "KubernetesNamespace",
    user_type = "User",
    role_type = "Role",
    group_type = "Group",
    action_type = "Action",
    route_type = "Route",
    time = "time",
    source = "source",
    workload = "workload",
    user = "user",
    device = "device",
    trust_domain = "trust_domain",
    path = "path",
    issuer = "issuer",
    namespace = "namespace",
    name = "name",
    subject = "subject",
    client = "client",
    scopes = "scopes",
    roles = "roles",
    groups = "groups",
    acr = "acr",
    amr = "amr",
    auth_time = "auth_time",
    id = "id",
}
