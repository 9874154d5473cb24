//! Why a text is not read, and where.

use std::fmt;

use zt_core::fault::Fault;

use crate::name::NotAnEntityType;
use crate::policy::CannotLink;

/// How many problems one text is refused for at most; what comes after is not reported.
pub(crate) const MAX_REFUSALS: usize = 20;

/// A text was not read: everything that was found to be wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotCedar {
    /// The name of the text, such as that of a file.
    pub source: String,
    /// What is wrong, one at least, in the order of the text.
    pub refusals: Vec<Refusal>,
}

impl NotCedar {
    /// Whose fault it is: whoever wrote the text.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// One problem in a line, as `<source>:<line>:<column>: <problem>`.
impl fmt::Display for NotCedar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Refusal { line, column, problem }) in self.refusals.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{line}:{column}: {problem}", self.source)?;
        }
        Ok(())
    }
}

impl std::error::Error for NotCedar {}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is too long.
    #[error("it has {len} bytes, and {limit} are the most that are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is nested too deeply.
    #[error("it is nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Something else has to stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What has to.
        expected: String,
        /// What does, quoted and cut.
        found: String,
    },
    /// Cedar has no meaning for it, or none that is evaluated here.
    #[error("{node} is not supported")]
    Unsupported {
        /// The thing.
        node: String,
    },
    /// A reserved word stands where an identifier has to.
    #[error("{word:?} is reserved and cannot be a name")]
    Reserved {
        /// The word.
        word: String,
    },
    /// A string is not ended.
    #[error("the string has no end")]
    UnendedString,
    /// A string holds an escape that does not exist, or a bare carriage return.
    #[error("{escape:?} is not an escape that a string may have")]
    Escape {
        /// The escape.
        escape: String,
    },
    /// A number does not fit into 64 bits.
    #[error("{number} does not fit into 64 bits")]
    NumberTooLarge {
        /// The number, cut.
        number: String,
    },
    /// There is no variable of this name.
    #[error("there is no variable {name:?}; a type is followed by `::\"id\"`")]
    UnknownVariable {
        /// The name.
        name: String,
    },
    /// There is no function or method of this name.
    #[error("there is no {style} {name:?}")]
    UnknownFunction {
        /// Function or method, as it was called.
        style: &'static str,
        /// The name.
        name: String,
    },
    /// A method has the wrong number of arguments.
    #[error("{name} takes {expected} arguments, found {found}")]
    Arity {
        /// The method.
        name: &'static str,
        /// How many it takes.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A name is there twice.
    #[error("{what} {name:?} is there twice")]
    Duplicate {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A field has to be there.
    #[error("the field {field:?} is missing")]
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// A field cannot be there.
    #[error("{field:?} is not a field that is known here")]
    UnknownField {
        /// The field.
        field: String,
    },
    /// An extension makes no value of its argument.
    #[error("not a value: {why}")]
    NotAValue {
        /// Why.
        why: String,
    },
    /// Parents form a circle.
    #[error("{entity} lies below itself")]
    Circular {
        /// An entity of the circle.
        entity: String,
    },
    /// A slot stands where it has no meaning.
    #[error("{slot} cannot stand here")]
    MisplacedSlot {
        /// The slot.
        slot: String,
    },
    /// An action in a scope is of another type.
    #[error("{entity} is not an action: its type has to be `Action`, in any namespace")]
    NotAnAction {
        /// The entity.
        entity: String,
    },
    /// A name is not that of an entity type.
    #[error(transparent)]
    NotAnEntityType(#[from] NotAnEntityType),
    /// A template cannot be linked.
    #[error(transparent)]
    CannotLink(#[from] CannotLink),
    /// It is no schema, or a policy does not fit the schema: as upstream says it.
    #[error("{why}")]
    Schema {
        /// Why.
        why: String,
    },
}

impl Problem {
    pub(crate) fn expected(expected: &str, found: &str) -> Self {
        Self::Expected { expected: expected.into(), found: found.into() }
    }
}

/// A problem and the byte at which it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: usize,
    pub(crate) problem: Problem,
}

impl Found {
    pub(crate) fn new(at: usize, problem: impl Into<Problem>) -> Self {
        Self { at, problem: problem.into() }
    }
}

/// Turns bytes into lines and columns.
pub(crate) fn not_cedar(source: &str, text: &str, found: Vec<Found>) -> NotCedar {
    let refusals = found.into_iter().map(|Found { at, problem }| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        Refusal { line, column: last_line.chars().count().saturating_add(1), problem }
    });
    NotCedar { source: source.into(), refusals: refusals.collect() }
}

/// The text in quotes, cut, for a message.
pub(crate) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() { format!("{:?}", cut + "…") } else { format!("{cut:?}") }
}
