//! Why an expression has no value.

use std::sync::Arc;

use zt_core::fault::Fault;

use crate::extension::Malformed;
use crate::name::EntityUid;
use crate::policy::Slot;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// An operand has the wrong type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the operator takes.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// An attribute or tag was read of an entity that is not known.
    #[error("entity {entity} is not known")]
    NoSuchEntity {
        /// The entity.
        entity: EntityUid,
    },
    /// An attribute was read that is not there.
    #[error("{of} has no attribute {name:?}")]
    NoSuchAttribute {
        /// The entity, or `record`.
        of: String,
        /// The attribute.
        name: Arc<str>,
    },
    /// A tag was read that is not there.
    #[error("{entity} has no tag {tag:?}")]
    NoSuchTag {
        /// The entity.
        entity: EntityUid,
        /// The tag.
        tag: Arc<str>,
    },
    /// The result does not fit into 64 bits.
    #[error("{operation:?} is out of range")]
    Overflow {
        /// The operator or function.
        operation: &'static str,
    },
    /// The constructor of an extension type was given something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A function of an extension has the wrong number of arguments.
    #[error("{function} takes {expected} arguments, found {found}")]
    Arity {
        /// The function.
        function: &'static str,
        /// How many it takes, the receiver of a method counted.
        expected: usize,
        /// How many it was given.
        found: usize,
    },
    /// A template was asked as if it were a policy.
    #[error("the slot {slot} is not linked")]
    Unlinked {
        /// The slot.
        slot: Slot,
    },
}

impl EvaluationError {
    /// Whose fault it is: that of whoever wrote the policy or left out the fact that it reads. The
    /// peer learns of a denial and of nothing else.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
