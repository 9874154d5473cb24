//! Kinds of resources, the types of their attributes, and resources that fit them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use zt_core::attribute::Value as Fact;
use zt_core::fault::Fault;
use zt_core::request::Resource;

use super::SchemaError;
use crate::model::{OWN_TYPES, ROUTE};
use crate::name::is_entity_type;

/// The type of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Long,
    /// Text.
    String,
    /// An IP address.
    Ip,
    /// A moment.
    Time,
    /// A set of values of one type; [`Type::set`] makes it.
    Set(Box<Type>),
    /// Named values: each with its type, and whether it is always there; [`Type::record`] makes it.
    Record(BTreeMap<Arc<str>, (Type, bool)>),
}

impl Type {
    /// A set of these.
    #[must_use]
    pub fn set(of: Self) -> Self {
        Self::Set(Box::new(of))
    }

    /// Named values, all of which are always there.
    #[must_use]
    pub fn record<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, Self)>) -> Self {
        let field = |(name, of): (N, Self)| (name.into(), (of, true));
        Self::Record(fields.into_iter().map(field).collect())
    }

    /// Whether a value is of this type. It recurses as deep as the type is nested.
    #[must_use]
    pub fn admits(&self, value: &Fact) -> bool {
        match (self, value) {
            (Self::Bool, Fact::Bool(_))
            | (Self::Long, Fact::Long(_))
            | (Self::String, Fact::String(_))
            | (Self::Ip, Fact::Ip(_))
            | (Self::Time, Fact::Time(_)) => true,
            (Self::Set(of), Fact::Set(members)) => members.iter().all(|member| of.admits(member)),
            (Self::Record(fields), Fact::Record(values)) => {
                let all_fit = values
                    .iter()
                    .all(|(name, value)| fields.get(name).is_some_and(|(of, _)| of.admits(value)));
                all_fit
                    && fields
                        .iter()
                        .all(|(name, (_, always))| !always || values.get(name).is_some())
            }
            _ => false,
        }
    }
}

/// As Cedar's schemas write it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("Bool"),
            Self::Long => f.write_str("Long"),
            Self::String => f.write_str("String"),
            Self::Ip => f.write_str("ipaddr"),
            Self::Time => f.write_str("datetime"),
            Self::Set(of) => write!(f, "Set<{of}>"),
            Self::Record(fields) => {
                f.write_str("{")?;
                for (place, (name, (of, always))) in fields.iter().enumerate() {
                    let (comma, mark) = (if place == 0 { "" } else { ", " }, mark(*always));
                    write!(f, "{comma}{name:?}{mark}: {of}")?;
                }
                f.write_str("}")
            }
        }
    }
}

pub(super) const fn mark(always: bool) -> &'static str {
    if always { "" } else { "?" }
}

/// Named types, each with whether it is always there.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) BTreeMap<Arc<str>, (Type, bool)>);

impl Fields {
    pub(super) fn with(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.0.insert(name.into(), (of, true));
        self
    }

    pub(super) fn may_have(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.0.insert(name.into(), (of, false));
        self
    }

    /// Adds one that may be there, unless the name is taken.
    pub(super) fn add(
        &mut self,
        whose: &'static str,
        name: Arc<str>,
        of: Type,
    ) -> Option<SchemaError> {
        if self.0.contains_key(&name) {
            return Some(SchemaError::TwoAttributes { of: whose, name });
        }
        self.0.insert(name, (of, false));
        None
    }
}

/// A kind of resources: its name, the attributes that they have, and what they may lie in.
#[derive(Clone, Debug)]
pub struct Kind {
    // INVARIANT: the name of an entity type, and none of the model's but `Route`.
    name: Arc<str>,
    fields: Fields,
    parents: BTreeSet<Arc<str>>,
}

impl Kind {
    /// Resources without attributes.
    ///
    /// # Errors
    ///
    /// [`KindError`] when the name is not that of an entity type, or is one of the model's.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, KindError> {
        let name = name.into();
        if !is_entity_type(&name) {
            return Err(KindError::NotAnEntityType { name: name.chars().take(64).collect() });
        }
        if OWN_TYPES.contains(&&*name) || *name == *ROUTE {
            return Err(KindError::OwnType { name });
        }
        Ok(Self { name, fields: Fields::default(), parents: BTreeSet::new() })
    }

    /// The paths and routes of HTTP.
    pub(super) fn route() -> Self {
        let name: Arc<str> = ROUTE.into();
        let fields = Fields::default().may_have("path", Type::String);
        Self { fields, parents: BTreeSet::from([name.clone()]), name }
    }

    /// Which always have this attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.fields = self.fields.with(name, of);
        self
    }

    /// Which may have this attribute.
    #[must_use]
    pub fn may_have(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.fields = self.fields.may_have(name, of);
        self
    }

    /// Which may lie in something of this kind.
    #[must_use]
    pub fn within(mut self, kind: impl Into<Arc<str>>) -> Self {
        self.parents.insert(kind.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the kinds that its resources may lie in.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.parents.iter().map(|parent| &**parent)
    }

    pub(super) const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// A resource of this kind, to be described.
    pub fn resource(&self, id: impl AsRef<str>) -> Draft<'_> {
        Draft { kind: self, resource: Resource::new(&self.name, id), misfit: None }
    }
}

/// A resource that is being described.
#[derive(Clone, Debug)]
#[must_use = "a draft is no resource until it is built"]
pub struct Draft<'k> {
    kind: &'k Kind,
    resource: Resource,
    misfit: Option<Misfit>,
}

impl Draft<'_> {
    /// With an attribute.
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<Fact>) -> Self {
        let (name, value) = (name.into(), value.into());
        let misfit = match self.kind.fields.0.get(&name) {
            Some((of, _)) if of.admits(&value) => None,
            Some((of, _)) => {
                Some(Misfit::Type { kind: self.kind(), name: name.clone(), expected: of.clone() })
            }
            None => Some(Misfit::NoSuchAttribute { kind: self.kind(), name: name.clone() }),
        };
        self.misfit = self.misfit.or(misfit);
        self.resource = self.resource.with(name, value);
        self
    }

    /// Which lies in another.
    pub fn within(mut self, kind: impl Into<Arc<str>>, id: impl AsRef<str>) -> Self {
        let parent = kind.into();
        if !self.kind.parents.contains(&parent) {
            let misfit = Misfit::NotWithin { kind: self.kind(), parent: parent.clone() };
            self.misfit.get_or_insert(misfit);
        }
        self.resource = self.resource.within(parent, id);
        self
    }

    /// The resource.
    ///
    /// # Errors
    ///
    /// [`Misfit`] names the first thing that its kind does not have, or an attribute that is
    /// missing.
    pub fn build(self) -> Result<Resource, Misfit> {
        if let Some(misfit) = self.misfit {
            return Err(misfit);
        }
        for (name, (_, always)) in &self.kind.fields.0 {
            if *always && self.resource.attributes().get(name).is_none() {
                return Err(Misfit::Missing { kind: self.kind(), name: name.clone() });
            }
        }
        Ok(self.resource)
    }

    fn kind(&self) -> Arc<str> {
        Arc::clone(&self.kind.name)
    }
}

/// Why a name is not that of a kind of resources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// It is not the name of an entity type.
    #[error("{name:?} is not the name of an entity type")]
    NotAnEntityType {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// It is one of the model's.
    #[error("{name} is a type of the model")]
    OwnType {
        /// The name.
        name: Arc<str>,
    },
}

impl KindError {
    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Why a resource is not of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Its kind has no such attribute.
    #[error("{} has no attribute {name:?}", one(kind))]
    NoSuchAttribute {
        /// The kind.
        kind: Arc<str>,
        /// The attribute.
        name: Arc<str>,
    },
    /// An attribute has another type.
    #[error("the attribute {name:?} of {} is a {expected}", one(kind))]
    Type {
        /// The kind.
        kind: Arc<str>,
        /// The attribute.
        name: Arc<str>,
        /// Its type.
        expected: Type,
    },
    /// An attribute that is always there is not.
    #[error("{} without its attribute {name:?}", one(kind))]
    Missing {
        /// The kind.
        kind: Arc<str>,
        /// The attribute.
        name: Arc<str>,
    },
    /// Its kind lies in no such thing.
    #[error("{} lies in no {parent}", one(kind))]
    NotWithin {
        /// The kind.
        kind: Arc<str>,
        /// What it was to lie in.
        parent: Arc<str>,
    },
}

fn one(kind: &str) -> String {
    let article = if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {kind}")
}

impl Misfit {
    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
