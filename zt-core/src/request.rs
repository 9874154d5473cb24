//! What is asked: may this caller do this to that, now, from here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use crate::attribute::{Attributes, Value};
use crate::principal::{Principal, User, Workload};
use crate::time::Timestamp;
use crate::verified::Verified;

/// What is to be done, by name: `read`, `GET`, `/shop.Orders/Cancel`. A name of up to 23
/// bytes allocates nothing, and a clone shares a longer one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Action(SmolStr);

impl Action {
    /// The action of this name.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(SmolStr::new(name))
    }

    /// The same, of a name that is part of the program: it allocates nothing.
    ///
    /// ```
    /// use zt_core::request::Action;
    ///
    /// const REFUND: Action = Action::from_static("refund");
    /// assert_eq!(REFUND, Action::new("refund"));
    /// ```
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        Self(SmolStr::new_static(name))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What it is to be done to: a kind, a name among its kind, and attributes that policy may ask
/// for. A clone shares everything.
///
/// ```
/// use zt_core::request::Resource;
///
/// let order = Resource::new("Order", "42").with("owner", "alice").within("Folder", "open");
/// assert_eq!(order.to_string(), r#"Order::"42""#);
/// assert!(order.parents().eq([("Folder", "open")]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    kind: SmolStr,
    id: SmolStr,
    attributes: Attributes,
    // None where there are none, so that most resources allocate nothing for it.
    parents: Option<Arc<BTreeSet<Name>>>,
}

/// Kind and name among its kind.
type Name = (SmolStr, SmolStr);

impl Resource {
    /// A resource without attributes. In Cedar it is the entity `kind::"id"`.
    #[must_use]
    pub fn new(kind: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        Self::of(SmolStr::new(kind), SmolStr::new(id))
    }

    /// The same, of a kind that is part of the program: it allocates nothing but an ID of more than 23
    /// bytes.
    #[must_use]
    pub fn of_kind(kind: &'static str, id: impl AsRef<str>) -> Self {
        Self::of(SmolStr::new_static(kind), SmolStr::new(id))
    }

    const fn of(kind: SmolStr, id: SmolStr) -> Self {
        Self { kind, id, attributes: Attributes::new(), parents: None }
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Self {
        self.attributes = self.attributes.with(name, value);
        self
    }

    /// Which lies in another: an order in a folder, a folder in a project. What that one lies in is
    /// for policy to know.
    #[must_use]
    pub fn within(mut self, kind: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        let parent = (SmolStr::new(kind), SmolStr::new(id));
        Arc::make_mut(self.parents.get_or_insert_default()).insert(parent);
        self
    }

    /// The same, by its kind and name alone.
    pub(crate) fn without_facts(&self) -> Self {
        Self::of(self.kind.clone(), self.id.clone())
    }

    /// Its kind: the entity type.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_str()
    }

    /// Its name among its kind: the entity ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its attributes.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Kind and name of each that it lies in directly, each once, in their order.
    pub fn parents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parents
            .iter()
            .flat_map(|all| all.iter().map(|(kind, id)| (kind.as_str(), id.as_str())))
    }

    /// Whether both name one resource, whatever is known about it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id == other.id
    }
}

/// As an entity of Cedar, quotes and control characters escaped.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{:?}", self.kind(), self.id)
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Uid<'a> {
            r#type: &'a str,
            id: &'a str,
        }
        Uid { r#type: self.kind(), id: &self.id }.serialize(serializer)
    }
}

/// When and from where a request comes, and what else is known about it.
///
/// Only verified facts belong here: what a client says of itself is not one (H-10).
///
/// ```
/// use zt_core::request::Context;
/// use zt_core::time::Timestamp;
///
/// let context = Context::at(Timestamp::from_secs(1_800_000_000))
///     .from_source([10, 0, 0, 7])
///     .with("risk", 3);
/// assert!(context.source().is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Context {
    time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceId>,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    attributes: Attributes,
}

impl Context {
    /// A request that arrived at `time`.
    #[must_use]
    pub const fn at(time: Timestamp) -> Self {
        Self { time, source: None, trace: None, attributes: Attributes::new() }
    }

    /// The same at another time: what goes on after the request asks again, and later.
    #[must_use]
    pub const fn moved_to(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// From this address: that of the connection, or one that a proxy vouches for that is trusted
    /// to, and no other header's.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// As part of this trace.
    #[must_use]
    pub fn in_trace(mut self, trace: TraceId) -> Self {
        self.trace = Some(trace);
        self
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Self {
        self.attributes = self.attributes.with(name, value);
        self
    }

    /// When the request arrived.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The address it came from.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The trace it is part of.
    #[must_use]
    pub const fn trace(&self) -> Option<TraceId> {
        self.trace
    }

    /// What else is known about it.
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

/// The trace ID of W3C Trace Context: 16 bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Takes the trace ID from a `traceparent` header (W3C Trace Context §3.2), or `None` when the
    /// header is not one. It correlates records; it proves nothing.
    #[must_use]
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let (version, trace) = (fields.next()?, fields.next()?);
        let (parent, flags) = (fields.next()?, fields.next()?);
        let shaped = [(version, 2), (trace, 32), (parent, 16), (flags, 2)]
            .iter()
            .all(|(field, len)| field.len() == *len && field.bytes().all(is_lower_hex));
        let ends = version != "ff" && (version != "00" || fields.next().is_none());
        let id = u128::from_str_radix(trace, 16).ok()?;
        (shaped && ends && id != 0).then(|| Self(id.to_be_bytes()))
    }
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One request to be decided: a proven caller, an action, a resource, a context.
///
/// It asks one question of a workload that calls on its own behalf, and two where it calls on
/// behalf of a user: may this workload do this, and may this user. Both have to be allowed (H-11).
///
/// A principal that nobody proved cannot ask:
///
/// ```compile_fail,E0308
/// use zt_core::principal::Principal;
/// use zt_core::request::{Action, Context, Request, Resource};
///
/// fn ask(caller: &Principal, action: &Action, resource: &Resource, context: &Context) {
///     Request::new(caller, action, resource, context);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    principal: &'a Verified<Principal>,
    action: &'a Action,
    resource: &'a Resource,
    context: &'a Context,
}

impl<'a> Request<'a> {
    /// A request of a proven caller.
    #[must_use]
    pub const fn new(
        principal: &'a Verified<Principal>,
        action: &'a Action,
        resource: &'a Resource,
        context: &'a Context,
    ) -> Self {
        Self { principal, action, resource, context }
    }

    /// Everyone behind the request.
    #[must_use]
    pub fn principal(&self) -> &'a Principal {
        self.principal
    }

    /// What is to be done.
    #[must_use]
    pub const fn action(&self) -> &'a Action {
        self.action
    }

    /// What it is to be done to.
    #[must_use]
    pub const fn resource(&self) -> &'a Resource {
        self.resource
    }

    /// When and from where.
    #[must_use]
    pub const fn context(&self) -> &'a Context {
        self.context
    }

    pub(crate) fn workload_question(&self) -> Question<'a> {
        Question { subject: Subject::Workload(self.principal().workload()), request: *self }
    }

    pub(crate) fn user_question(&self) -> Option<Question<'a>> {
        let user = self.principal().user()?;
        Some(Question { subject: Subject::User(user), request: *self })
    }
}

/// Of whom a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// May this workload call this service and action?
    Workload(&'a Workload),
    /// May this user do this to that resource?
    User(&'a User),
}

impl Subject<'_> {
    /// Which of the two kinds of question this is.
    #[must_use]
    pub const fn kind(&self) -> SubjectKind {
        match self {
            Self::Workload(_) => SubjectKind::Workload,
            Self::User(_) => SubjectKind::User,
        }
    }
}

/// The two kinds of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubjectKind {
    /// About the calling workload.
    Workload,
    /// About the user on whose behalf it calls.
    User,
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workload => "workload",
            Self::User => "user",
        })
    }
}

/// One question of a [`Request`], as a decider sees it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    subject: Subject<'a>,
    request: Request<'a>,
}

impl<'a> Question<'a> {
    /// Of whom it is asked.
    #[must_use]
    pub const fn subject(&self) -> Subject<'a> {
        self.subject
    }

    /// The request that asks it.
    #[must_use]
    pub const fn request(&self) -> &Request<'a> {
        &self.request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_read_as_the_standard_says() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |header: &str| TraceId::from_traceparent(header).map(|id| id.to_string());
        assert_eq!(read(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(read(&format!("cc-{id}-00f067aa0ba902b7-01-more")).as_deref(), Some(id));
        for bad in [
            String::new(),
            format!("00-{id}-00f067aa0ba902b7-01-more"),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{id}-00f067aa0ba902b7"),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-+{}-00f067aa0ba902b7-01", "1".repeat(31)),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn where_a_name_is_kept_makes_no_difference() {
        use std::hash::BuildHasher;
        let (ours, shared) = (Action::from_static("read"), Action::new(String::from("read")));
        assert_eq!(ours, shared);
        assert_eq!(ours.cmp(&Action::new("write")), shared.cmp(&Action::from_static("write")));
        let hasher = std::collections::hash_map::RandomState::new();
        assert_eq!(hasher.hash_one(&ours), hasher.hash_one(&shared));
        assert_eq!(serde_json::to_string(&ours).unwrap(), r#""read""#);
        assert_eq!(Resource::of_kind("Order", "1"), Resource::new("Order", "1"));
        assert_ne!(Resource::of_kind("Order", "1"), Resource::new("Invoice", "1"));
    }

    #[test]
    fn a_resource_lies_in_others_in_any_order_and_each_once() {
        let order = Resource::new("Order", "42");
        assert_eq!(order.parents().count(), 0);
        let one = order.clone().within("Folder", "b").within("Folder", "a").within("Folder", "b");
        assert!(one.parents().eq([("Folder", "a"), ("Folder", "b")]));
        assert_eq!(one, order.clone().within("Folder", "a").within("Folder", "b"));
        assert_ne!(one, order);
    }

    #[test]
    fn a_resource_is_the_same_by_kind_and_id() {
        let order = Resource::new("Order", "42");
        assert!(order.is_same(&order.clone().with("total", 1).within("Folder", "open")));
        assert!(!order.is_same(&Resource::new("Order", "43")));
        assert!(!order.is_same(&Resource::new("Invoice", "42")));
    }
}
