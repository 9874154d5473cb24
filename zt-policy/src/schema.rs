//! The model as a schema of Cedar, and the resources of a service beside it.
//!
//! [`SCHEMA`] describes the callers, the context and the HTTP requests of [`model`](crate::model).
//! A [`Schema`] adds to it what a service knows besides: kinds of resources, actions on them, and
//! attributes of callers and context. What it prints is for Cedar's own validator, which finds a
//! misspelt attribute before it denies anyone.
//!
//! The same [`Kind`] that is printed makes the resources, so that what policies were validated
//! against is what they are asked about:
//!
//! ```
//! use zt_policy::schema::{Kind, Schema, Type};
//!
//! let folder = Kind::new("Folder")?;
//! let order = Kind::new("Order")?
//!     .with("owner", Type::String)
//!     .may_have("tags", Type::set(Type::String))
//!     .within("Folder");
//!
//! let resource = order.resource("42").with("owner", "alice").within("Folder", "open").build()?;
//! assert_eq!(resource.to_string(), r#"Order::"42""#);
//! let misfit = order.resource("42").with("ownr", "alice").build().unwrap_err();
//! assert_eq!(misfit.to_string(), r#"an Order has no attribute "ownr""#);
//!
//! let schema = Schema::new().kind(folder).kind(order).action("refund", ["Order"]).text()?;
//! assert!(schema.contains(r#"entity Order in [Folder] = {"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod kind;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zt_core::fault::Fault;

use self::kind::Fields;
pub use self::kind::{Draft, Kind, KindError, Misfit, Type};
use crate::model::{OWN_TYPES, ROUTE};

/// The model as a schema of Cedar, in Cedar's syntax: what [`Schema::new`] prints.
///
/// Attributes that are there or not, and those that a workload has as a SPIFFE ID or as a service
/// account only, are optional. Attributes that issuers add are not in it: say them with
/// [`Schema::user`] and the others.
pub const SCHEMA: &str = include_str!("../schema/zero-trust.cedarschema");

/// The methods of HTTP that are actions on routes (RFC 9110 §9.3, RFC 5789).
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The model, and what a service adds to it.
#[derive(Clone, Debug)]
pub struct Schema {
    workload: Fields,
    user: Fields,
    device: Fields,
    context: Fields,
    kinds: Vec<Kind>,
    /// The kinds of resources of each action.
    actions: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What was added under a name of the model, or twice.
    taken: Option<SchemaError>,
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// The model alone.
    #[must_use]
    pub fn new() -> Self {
        let strings = || Type::set(Type::String);
        let route = || BTreeSet::from([Arc::from(ROUTE)]);
        Self {
            workload: Fields::default()
                .may_have("trust_domain", Type::String)
                .may_have("path", Type::String)
                .may_have("issuer", Type::String)
                .may_have("namespace", Type::String)
                .may_have("name", Type::String),
            user: Fields::default()
                .with("issuer", Type::String)
                .with("subject", Type::String)
                .with("scopes", strings())
                .with("roles", strings())
                .with("groups", strings())
                .with("amr", strings())
                .may_have("client", Type::String)
                .may_have("acr", Type::String)
                .may_have("auth_time", Type::Time),
            device: Fields::default()
                .with("id", Type::String)
                .may_have("managed", Type::Bool)
                .may_have("compliant", Type::Bool)
                .may_have("encrypted", Type::Bool)
                .may_have("os", Type::String)
                .may_have("os_version", Type::String),
            context: Fields::default()
                .with("time", Type::Time)
                .may_have("source", Type::Ip)
                .may_have("risk", Type::Long),
            kinds: vec![Kind::route()],
            actions: METHODS.into_iter().map(|method| (method.into(), route())).collect(),
            taken: None,
        }
    }

    /// With one more kind of resources.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        if self.kinds.iter().any(|known| known.name() == kind.name()) {
            self.taken.get_or_insert(SchemaError::TwoKinds { kind: kind.name().into() });
        }
        self.kinds.push(kind);
        self
    }

    /// With an action that may be done to resources of these kinds, besides those that it may be
    /// done to already.
    #[must_use]
    pub fn action<K: Into<Arc<str>>>(
        mut self,
        name: impl Into<Arc<str>>,
        kinds: impl IntoIterator<Item = K>,
    ) -> Self {
        self.actions.entry(name.into()).or_default().extend(kinds.into_iter().map(Into::into));
        self
    }

    /// With an attribute that a workload may have.
    #[must_use]
    pub fn workload(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.taken = self.taken.or_else(|| self.workload.add("workload", name.into(), of));
        self
    }

    /// With an attribute that a user may have.
    #[must_use]
    pub fn user(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.taken = self.taken.or_else(|| self.user.add("user", name.into(), of));
        self
    }

    /// With a fact that may be known of a device.
    #[must_use]
    pub fn device(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        self.taken = self.taken.or_else(|| self.device.add("device", name.into(), of));
        self
    }

    /// With an attribute that the context may have.
    #[must_use]
    pub fn context(mut self, name: impl Into<Arc<str>>, of: Type) -> Self {
        let name = name.into();
        let is_own = matches!(&*name, "workload" | "user" | "device");
        let taken = || {
            let name = name.clone();
            if is_own {
                return Some(SchemaError::TwoAttributes { of: "context", name });
            }
            self.context.add("context", name, of)
        };
        self.taken = self.taken.take().or_else(taken);
        self
    }

    /// The schema in Cedar's syntax.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] when a name was given away twice, or a kind is named that there is not.
    pub fn text(&self) -> Result<String, SchemaError> {
        if let Some(taken) = &self.taken {
            return Err(taken.clone());
        }
        let parents = self.kinds.iter().flat_map(Kind::parents);
        let targets = self.actions.values().flatten();
        for kind in parents.chain(targets.map(|kind| &**kind)) {
            let is_known = self.kinds.iter().any(|known| known.name() == kind);
            if !is_known && !OWN_TYPES.contains(&kind) {
                return Err(SchemaError::UnknownKind { kind: kind.into() });
            }
        }
        Ok(text::of(self))
    }
}

/// Why a schema is not printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Two kinds have one name.
    #[error("two kinds of resources are named {kind}")]
    TwoKinds {
        /// The name.
        kind: Arc<str>,
    },
    /// Two attributes have one name.
    #[error("the {of} has two attributes named {name:?}")]
    TwoAttributes {
        /// Whose.
        of: &'static str,
        /// The name.
        name: Arc<str>,
    },
    /// A kind was named and not added.
    #[error("there is no kind of resources named {kind:?}")]
    UnknownKind {
        /// The name.
        kind: Arc<str>,
    },
}

impl SchemaError {
    /// Whose fault it is: the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests;
