//! How a request of this workspace is put to Cedar.
//!
//! # Entities
//!
//! | entity | attributes | parents |
//! |---|---|---|
//! | `Workload::"spiffe://example.org/ns/shop/sa/cart"` | `trust_domain` and `path` (String), and its own | `TrustDomain::"example.org"`, and a `WorkloadPath` for each path that it lies below: `WorkloadPath::"spiffe://example.org/ns"`, `…/ns/shop`, `…/ns/shop/sa` |
//! | `Workload::"<issuer>#system:serviceaccount:<namespace>:<name>"` | `issuer`, `namespace` and `name` (String), and its own | `KubernetesCluster::"<issuer>"`, `KubernetesNamespace::"<issuer>#<namespace>"` |
//! | `User::"<issuer>#<subject>"` | `issuer`, `subject` (String), `scopes`, `roles`, `groups`, `amr` (Set of String), where known `client`, `acr` (String) and `auth_time` (datetime), and its own | a `Role::"<role>"` for each role, a `Group::"<group>"` for each group |
//! | `Action::"<name>"` | | those that the policies' own entities give it |
//! | `Route::"<path>"`, where the resource is one | its own | those that it is within, and a `Route` for each path that it lies below: of `/shop.Orders/Cancel`, `Route::"/shop.Orders"` |
//! | `<kind>::"<id>"`, any other resource | its own | those that it is [within](zt_core::request::Resource::within) |
//!
//! An HTTP request is its method, `Action::"GET"`, on its path or on the route that was matched,
//! `Route::"/orders/{id}"`. A gRPC call is `Action::"POST"` on `Route::"/<service>/<method>"`, and
//! its service is what that route lies in. Services that know better name their own actions and
//! resources. `zt-tower` makes requests so; [`SCHEMA`](crate::schema::SCHEMA) says all of this to
//! Cedar's validator.
//!
//! The workload's question has the workload as its principal, the user's question the user. All
//! of these entities are known in both, so a policy about a user may ask
//! `context.workload in TrustDomain::"example.org"`.
//!
//! Names of roles and groups do not carry the issuer. Where more than one issuer is trusted, a
//! policy also asks for `principal.issuer`.
//!
//! # Context
//!
//! | name | type | absent when |
//! |---|---|---|
//! | `time` | datetime, to the millisecond | never |
//! | `source` | ipaddr | the address is not known |
//! | `workload` | the entity | never |
//! | `user` | the entity | there is no user |
//! | `device` | a record: `id` (String), and its posture | there is no device |
//! | any other | as the request's context has it | |
//!
//! How strong an authentication was is in `acr` and `amr` of the user, and how old it is follows
//! from `auth_time`: `context.time.durationSince(context.user.auth_time) < duration("15m")`. Facts
//! that no module of this workspace proves have names by convention, which the schema knows: `risk`
//! (Long) of the context, and of a device `managed`, `compliant`, `encrypted` (Bool), `os` and
//! `os_version` (String).
//!
//! # Values
//!
//! Strings, numbers, booleans, sets and records stay what they are; a time is a datetime, cut to
//! the millisecond; an address is an ipaddr, and an IPv4 address that came mapped into IPv6 is an
//! IPv4 address, so that it does not slip past a rule about its range.
//!
//! # What cannot be asked
//!
//! A question is refused, and its decision denies with an error, when
//!
//! 1. the resource's kind is not the name of an entity type, or is one of those above, as whom a
//!    resource could pose; or it is within something whose kind is not the name of an entity type;
//! 2. an attribute has a name that the tables above give away, also where theirs is absent;
//! 3. an issuer holds a `#`, which would let two users or namespaces share one name;
//! 4. the namespace of a service account holds a `:`, which would let two accounts share one;
//! 5. the path of a `Route` has a segment `.` or `..`, or an empty one that is not its last: what it
//!    lies below could be read in two ways;
//! 6. a value is nested more than [`MAX_VALUE_DEPTH`] deep.

pub(crate) mod load;

use std::collections::BTreeSet;
use std::sync::Arc;

use zt_core::attribute::{Attributes, Value as Fact};
use zt_core::fault::Fault;
use zt_core::principal::{Device, User, Workload, WorkloadId};
use zt_core::request::{Question, Subject};
use zt_core::spiffe::SpiffeId;

use crate::entity::{Entities, Entity, Request};
use crate::extension::datetime::DateTime;
use crate::extension::ip::IpNet;
use crate::name::{EntityType, EntityUid, NotAnEntityType};
use crate::value::{MAX_VALUE_DEPTH, Record, Value};

/// The entity types of the model, which no resource may have.
pub const OWN_TYPES: [&str; 9] = [
    WORKLOAD,
    WORKLOAD_PATH,
    TRUST_DOMAIN,
    KUBERNETES_CLUSTER,
    KUBERNETES_NAMESPACE,
    USER,
    ROLE,
    GROUP,
    ACTION,
];

const WORKLOAD: &str = "Workload";
const WORKLOAD_PATH: &str = "WorkloadPath";
const TRUST_DOMAIN: &str = "TrustDomain";
const KUBERNETES_CLUSTER: &str = "KubernetesCluster";
const KUBERNETES_NAMESPACE: &str = "KubernetesNamespace";
const USER: &str = "User";
const ROLE: &str = "Role";
const GROUP: &str = "Group";
const ACTION: &str = "Action";
/// The kind of the resources that are paths. It is no caller's, so it is not among `OWN_TYPES`.
pub(crate) const ROUTE: &str = "Route";

/// The names of the context that its attributes may not have.
const CONTEXT: [&str; 5] = ["time", "source", "workload", "user", "device"];
/// As `CONTEXT`, for workloads.
const SPIFFE_FACTS: [&str; 2] = ["trust_domain", "path"];
/// As `CONTEXT`, for service accounts.
const ACCOUNT_FACTS: [&str; 3] = ["issuer", "namespace", "name"];
/// As `CONTEXT`, for users.
const USER_FACTS: [&str; 9] =
    ["issuer", "subject", "client", "scopes", "roles", "groups", "acr", "amr", "auth_time"];
/// As `CONTEXT`, for devices.
const DEVICE_FACTS: [&str; 1] = ["id"];

/// A question, as Cedar takes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// Who, what, to what, and the context.
    pub request: Request,
    /// What is known.
    pub entities: Entities,
}

/// Puts a question to Cedar, over entities that are known besides those of the request.
///
/// # Errors
///
/// [`Unaskable`] names the rule of the [module](self) that is broken.
pub fn ask(question: &Question<'_>, base: &Arc<Entities>) -> Result<Asked, Unaskable> {
    let request = question.request();
    let caller = request.principal();
    let workload = workload(caller.workload())?;
    let user = caller.user().map(user).transpose()?;
    let resource = resource(request.resource())?;
    let action = Entity::new(uid(ACTION, request.action().name())?);
    let context = context(question, &workload, user.as_ref())?;
    let principal = match (question.subject(), &user) {
        (Subject::User(_), Some(user)) => user.uid.clone(),
        (Subject::Workload(_), _) => workload.uid.clone(),
        _ => return Err(Unaskable::UnknownSubject),
    };
    let request = Request {
        principal,
        action: action.uid.clone(),
        resource: resource.uid.clone(),
        context: Arc::new(context),
    };
    let mut entities = Entities::over(Arc::clone(base));
    for entity in [workload, action, resource].into_iter().chain(user) {
        entities.insert(entity);
    }
    Ok(Asked { request, entities })
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, Unaskable> {
    Ok(EntityUid::new(EntityType::parse(kind)?, id))
}

fn workload(workload: &Workload) -> Result<Entity, Unaskable> {
    match workload.id() {
        WorkloadId::Spiffe(id) => spiffe_workload(id, workload.attributes()),
        WorkloadId::ServiceAccount { issuer, namespace, name } => {
            service_account(issuer, namespace, name, workload.attributes())
        }
        _ => Err(Unaskable::UnknownWorkload),
    }
}

fn spiffe_workload(id: &SpiffeId, own: &Attributes) -> Result<Entity, Unaskable> {
    let trust_domain = id.trust_domain();
    let mut entity = Entity::new(uid(WORKLOAD, id.as_str())?);
    entity.attributes = facts("workload", &SPIFFE_FACTS, own)?;
    entity.attributes.insert("trust_domain".into(), trust_domain.as_str().into());
    entity.attributes.insert("path".into(), id.path().into());
    entity.parents.insert(uid(TRUST_DOMAIN, trust_domain.as_str())?);
    for slash in inner_slashes(id.path()) {
        let prefix = id.path().get(..slash).unwrap_or_default();
        entity.parents.insert(uid(WORKLOAD_PATH, &format!("spiffe://{trust_domain}{prefix}"))?);
    }
    Ok(entity)
}

fn service_account(
    issuer: &Arc<str>,
    namespace: &str,
    name: &str,
    own: &Attributes,
) -> Result<Entity, Unaskable> {
    if namespace.contains(':') {
        return Err(Unaskable::AmbiguousNamespace {
            namespace: namespace.chars().take(64).collect(),
        });
    }
    let account = format!("system:serviceaccount:{namespace}:{name}");
    let mut entity = Entity::new(uid(WORKLOAD, &qualified(issuer, &account)?)?);
    entity.attributes = facts("workload", &ACCOUNT_FACTS, own)?;
    for (fact, value) in [("issuer", &**issuer), ("namespace", namespace), ("name", name)] {
        entity.attributes.insert(fact.into(), value.into());
    }
    entity.parents.insert(uid(KUBERNETES_CLUSTER, issuer)?);
    entity.parents.insert(uid(KUBERNETES_NAMESPACE, &qualified(issuer, namespace)?)?);
    Ok(entity)
}

/// A name that means something only together with the issuer that gave it out.
fn qualified(issuer: &str, name: &str) -> Result<String, Unaskable> {
    if issuer.contains('#') {
        return Err(Unaskable::AmbiguousIssuer { issuer: issuer.chars().take(64).collect() });
    }
    Ok(format!("{issuer}#{name}"))
}

fn user(user: &User) -> Result<Entity, Unaskable> {
    let mut entity = Entity::new(uid(USER, &qualified(user.issuer(), user.subject())?)?);
    let authentication = user.authentication();
    let strings = |items: &[Arc<str>]| items.iter().cloned().map(Value::from).collect::<Value>();
    let always = [
        ("issuer", Value::from(Arc::clone(user.issuer()))),
        ("subject", user.subject().into()),
        ("scopes", strings(user.scopes())),
        ("roles", strings(user.roles())),
        ("groups", strings(user.groups())),
        ("amr", strings(&authentication.amr)),
    ];
    let where_known = [
        ("client", user.client().map(Value::from)),
        ("acr", authentication.acr.clone().map(Value::from)),
        ("auth_time", authentication.auth_time.map(|time| DateTime::from(time).into())),
    ];
    entity.attributes = facts("user", &USER_FACTS, user.attributes())?;
    for (name, value) in
        always.map(|(name, value)| (name, Some(value))).into_iter().chain(where_known)
    {
        entity.attributes.extend(value.map(|value| (name.into(), value)));
    }
    for (kind, names) in [(ROLE, user.roles()), (GROUP, user.groups())] {
        let parents = names.iter().map(|name| uid(kind, name));
        entity.parents.extend(parents.collect::<Result<BTreeSet<_>, _>>()?);
    }
    Ok(entity)
}

fn resource(resource: &zt_core::request::Resource) -> Result<Entity, Unaskable> {
    if OWN_TYPES.contains(&resource.kind()) {
        return Err(Unaskable::OwnType { kind: resource.kind().into() });
    }
    let mut entity = Entity::new(uid(resource.kind(), resource.id())?);
    entity.attributes = facts("resource", &[], resource.attributes())?;
    for (kind, id) in resource.parents() {
        entity.parents.insert(uid(kind, id)?);
    }
    if resource.kind() == ROUTE {
        for prefix in prefixes(resource.id()).ok_or_else(|| ambiguous_route(resource.id()))? {
            entity.parents.insert(uid(ROUTE, prefix)?);
        }
    }
    Ok(entity)
}

/// The paths that a path lies below, the root not among them, and none of what is no path. `None`
/// where it could be read in two ways.
fn prefixes(path: &str) -> Option<impl Iterator<Item = &str>> {
    let segments = path.strip_prefix('/').unwrap_or_default();
    let mut upwards = segments.as_bytes().rsplit(|byte| *byte == b'/');
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    let is_clear = !upwards.next().is_some_and(is_dots)
        && upwards.all(|segment| !segment.is_empty() && !is_dots(segment));
    let below = path.starts_with('/');
    is_clear
        .then(|| inner_slashes(path).filter(move |_| below).filter_map(|slash| path.get(..slash)))
}

/// Where the slashes of a path are, but for the first.
fn inner_slashes(path: &str) -> impl Iterator<Item = usize> {
    let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    slashes.map(|(slash, _)| slash).skip(1)
}

fn ambiguous_route(path: &str) -> Unaskable {
    Unaskable::AmbiguousRoute { path: path.chars().take(64).collect() }
}

fn context(
    question: &Question<'_>,
    workload: &Entity,
    user: Option<&Entity>,
) -> Result<Record, Unaskable> {
    let (given, caller) = (question.request().context(), question.request().principal());
    let mut context = facts("context", &CONTEXT, given.attributes())?;
    context.insert("time".into(), DateTime::from(given.time()).into());
    context.insert("workload".into(), workload.uid.clone().into());
    let source = given.source().map(|source| IpNet::from(source.to_canonical()).into());
    context.extend(source.map(|source| ("source".into(), source)));
    context.extend(user.map(|user| ("user".into(), user.uid.clone().into())));
    let device = caller.device().map(device).transpose()?;
    context.extend(device.map(|device| ("device".into(), device.into())));
    Ok(context)
}

fn device(device: &Device) -> Result<Record, Unaskable> {
    let mut record = facts("device", &DEVICE_FACTS, device.posture())?;
    record.insert("id".into(), device.id().into());
    Ok(record)
}

/// Attributes as Cedar has them, none of which has a name that is `taken`.
fn facts(of: &'static str, taken: &[&str], own: &Attributes) -> Result<Record, Unaskable> {
    own.iter()
        .map(|(name, fact)| {
            if taken.contains(&name) {
                return Err(Unaskable::TakenName { of, name: name.into() });
            }
            Ok((Arc::from(name), value(fact, MAX_VALUE_DEPTH)?))
        })
        .collect()
}

fn value(fact: &Fact, depth: usize) -> Result<Value, Unaskable> {
    let depth = depth.checked_sub(1).ok_or(Unaskable::TooDeep)?;
    Ok(match fact {
        Fact::Bool(value) => Value::Bool(*value),
        Fact::Long(value) => Value::Long(*value),
        Fact::String(value) => Value::String(Arc::clone(value)),
        Fact::Ip(addr) => IpNet::from(addr.to_canonical()).into(),
        Fact::Time(time) => DateTime::from(*time).into(),
        Fact::Set(members) => {
            members.iter().map(|member| value(member, depth)).collect::<Result<_, _>>()?
        }
        Fact::Record(fields) => {
            let field = |(name, fact)| Ok((Arc::from(name), value(fact, depth)?));
            Value::from(fields.iter().map(field).collect::<Result<Record, Unaskable>>()?)
        }
        _ => return Err(Unaskable::UnknownValue),
    })
}

/// Why a question cannot be put to Cedar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unaskable {
    /// The kind of the resource is not the name of an entity type.
    #[error(transparent)]
    Kind(#[from] NotAnEntityType),
    /// A resource poses as something else.
    #[error("a resource cannot be a {kind}")]
    OwnType {
        /// Its kind.
        kind: String,
    },
    /// An attribute has a name that the model gives away.
    #[error("the attribute {name:?} of the {of} would hide the one that the model gives it")]
    TakenName {
        /// Whose attribute.
        of: &'static str,
        /// Its name.
        name: String,
    },
    /// An issuer would let two subjects share one name.
    #[error("the issuer {issuer:?} holds a number sign")]
    AmbiguousIssuer {
        /// The issuer, cut to 64 characters.
        issuer: String,
    },
    /// A namespace would let two service accounts share one name.
    #[error("the namespace {namespace:?} holds a colon")]
    AmbiguousNamespace {
        /// The namespace, cut to 64 characters.
        namespace: String,
    },
    /// A path could be read in two ways.
    #[error("the route {path:?} has a segment that is empty, `.` or `..`")]
    AmbiguousRoute {
        /// The path, cut to 64 characters.
        path: String,
    },
    /// A value is nested too deeply.
    #[error("a value is nested more than {MAX_VALUE_DEPTH} deep")]
    TooDeep,
    /// The workload has a kind of name that the model does not know.
    #[error("the workload has an unknown kind of name")]
    UnknownWorkload,
    /// The question is about someone whom the model does not know.
    #[error("the question has an unknown kind of subject")]
    UnknownSubject,
    /// An attribute has a type that the model does not know.
    #[error("an attribute has an unknown type")]
    UnknownValue,
}

impl Unaskable {
    /// Whose fault it is: the program's, which describes its requests so.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests;
