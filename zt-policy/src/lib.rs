//! Cedar policies, evaluated in process: deny by default, errors fail closed.
//!
//! A [`PolicySet`] is read from text, from JSON or from a folder, and answers
//! requests through [`Decide`](zt_core::decision::Decide). The language is Cedar
//! [4.6](cedar::LANGUAGE_VERSION) as `cedar-policy` 4.14 accepts it, without a schema, and so is its meaning, but for one thing: a
//! `forbid` that cannot be evaluated denies, where upstream skips it and so lets a typo open a
//! door. [`OnForbidError`](evaluate::OnForbidError) turns that back.
//!
//! ```
//! use zt_core::decision::Decide;
//! use zt_core::principal::{Principal, User, Workload};
//! use zt_core::request::{Action, Context, Request, Resource};
//! use zt_core::spiffe::SpiffeId;
//! use zt_core::time::Timestamp;
//! use zt_policy::set::PolicySet;
//! # use zt_core::danger;
//!
//! let policies = PolicySet::parse(
//!     "orders.cedar",
//!     r#"
//!     @id("shop-calls")
//!     permit (principal in WorkloadPath::"spiffe://example.org/ns/shop", action, resource is Order);
//!
//!     @id("owner-reads")
//!     permit (principal in Role::"customer", action == Action::"read", resource is Order)
//!     when { resource.owner == principal.subject }
//!     unless { context has device && !context.device.managed };
//!     "#,
//! )?;
//!
//! // In a service these come verified from the connection and from the token.
//! # let cart = Workload::new(SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart")?);
//! # let alice = User::new("https://login.example.com", "alice").with_roles(["customer"]);
//! # let caller = danger::verified(Principal::new(cart)).on_behalf_of(danger::verified(alice));
//! let (read, context) = (Action::new("read"), Context::at(Timestamp::from_secs(1_800_000_000)));
//! let order = Resource::new("Order", "42").with("owner", "alice");
//! let decision = policies.decide(&Request::new(&caller, &read, &order, &context));
//! let permit = decision.permit()?;
//! permit.covers(&read, &order)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`LivePolicies`] keeps to the policies of a folder while they are edited.
//!
//! A set is compiled when it is loaded. A decision asks the policies that an index of their scopes
//! and conditions does not rule out, however many others there are, and allocates nothing once its
//! thread is warm. [`PolicySet::explain`](set::PolicySet::explain) says why it was what it was.
//!
//! [`PolicySet::decide_all`](set::PolicySet::decide_all) decides many requests of one caller,
//! [`PolicySet::search`](set::PolicySet::search) keeps of many resources those that a caller may see,
//! and [`PolicySet::reach`](set::PolicySet::reach) says which to look for. A [`Shadowed`] tries other
//! policies beside those in force.
//!
//! How workloads, users, resources and the context of a request look in Cedar is said in
//! [`model`], and to a validator in [`schema::SCHEMA`].
//!
//! # Limits
//!
//! | what | at most |
//! |---|---|
//! | a text or JSON | [`cedar::MAX_LEN`] bytes |
//! | nesting of an expression | [`expr::MAX_DEPTH`]; chains of `&&` and `\|\|` count once |
//! | nesting of the value of an attribute | [`value::MAX_VALUE_DEPTH`] |
//! | the name of an entity type | [`name::MAX_TYPE_LEN`] bytes |
//! | the files of a folder | [`folder::MAX_FILES`] |
//! | the ancestors of an entity of a request | [`compile::MAX_ANCESTORS`] |
//! | the texts of a request | [`decide::MAX_TEXT`] bytes |
//! | the members of the sets of a request; the fields of its records | [`decide::MAX_ITEMS`] |
//! | the entities that a request knows; their parents | [`decide::MAX_OVERLAY`]; [`decide::MAX_ITEMS`] |
//! | the work of one question: policies, nodes, members | [`decide::MAX_WORK`] |
//!
//! What is read beyond a limit is refused; a request beyond one is denied as an error.
//!
//! # Features
//!
//! - `cedar-upstream`: policies are validated against a schema when they are loaded, by
//!   `cedar-policy`, which brings some 90 crates and asks for Rust 1.89. It is off by default, and
//!   decisions are made without it.
//!
//! # What it does not do
//!
//! Without `cedar-upstream` it validates against no schema: what a policy misspells shows when it
//! is evaluated. It has no partial evaluation. A template is read and linked in JSON; in text, where
//! nothing can link it, it is refused when it is loaded into a set.

// In this order: a module uses only those above it.
pub mod name;
pub mod pattern;
pub mod extension;
pub mod value;
pub mod expr;
pub mod policy;
pub mod entity;
pub mod evaluate;
pub mod cedar;
mod symbol;
mod term;
mod index;
pub mod program;
pub mod compile;
mod written;
pub mod decide;
pub mod explain;
pub mod model;
pub mod schema;
pub mod set;
pub mod batch;
pub mod reach;
pub mod lint;
pub mod folder;
pub mod live;
pub mod shadow;
pub mod meter;
#[cfg(feature = "cedar-upstream")]
pub mod validate;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use live::LivePolicies;
pub use set::PolicySet;
pub use shadow::Shadowed;
