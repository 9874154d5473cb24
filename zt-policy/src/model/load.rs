//! A request of this workspace as numbers: what [`ask`](super::ask) makes of it, as far as the
//! policies of a program can tell.
//!
//! An attribute that no policy asks for is checked and left out. So is a parent that neither a
//! policy nor an entity of the program names: no attribute of a request is an entity, so nothing
//! could ever be compared with it.

use std::sync::Arc;

use zt_core::attribute::{Attributes, Value as Fact};
use zt_core::principal::{Device, Principal, User, Workload, WorkloadId};
use zt_core::request::{Action, Context, Question, Request, Resource, Subject};
use zt_core::spiffe::SpiffeId;

use super::{
    ACCOUNT_FACTS, CONTEXT, DEVICE_FACTS, OWN_TYPES, ROUTE, SPIFFE_FACTS, USER_FACTS,
    inner_slashes, prefixes,
};
use crate::decide::{Asked, Run};
use crate::extension::datetime::DateTime;
use crate::extension::ip::IpNet;
use crate::name::is_entity_type;
use crate::symbol::{EntityNo, Facts, RecordNo, Symbol, Term};
use crate::term::Stop;
use crate::value::MAX_VALUE_DEPTH;

/// Everyone and everything behind one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    caller: Caller,
    target: Target,
}

/// What all requests of one caller share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    workload: EntityNo,
    user: Option<EntityNo>,
    context: RecordNo,
}

/// What is to be done, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    action: EntityNo,
    resource: EntityNo,
}

impl Loaded {
    /// What one question asks.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] where it is about someone whom the model does not know.
    pub(crate) fn asked(&self, question: &Question<'_>) -> Result<Asked, Stop> {
        match question.subject() {
            Subject::Workload(_) => Ok(self.caller.workload_asks(self.target)),
            Subject::User(_) => self.caller.user_asks(self.target).ok_or(Stop::Error),
            _ => Err(Stop::Error),
        }
    }
}

impl Caller {
    /// The question about the workload.
    pub(crate) const fn workload_asks(&self, target: Target) -> Asked {
        self.asked(self.workload, target)
    }

    /// The question about the user, where there is one.
    pub(crate) fn user_asks(&self, target: Target) -> Option<Asked> {
        self.user.map(|user| self.asked(user, target))
    }

    const fn asked(&self, principal: EntityNo, target: Target) -> Asked {
        let Target { action, resource } = target;
        Asked { principal, action, resource, context: self.context }
    }
}

/// Numbers a request.
///
/// # Errors
///
/// [`Stop::Error`] where [`ask`](super::ask) refuses it, [`Stop::Full`] beyond a limit.
pub(crate) fn load(run: &mut Run<'_>, request: &Request<'_>) -> Result<Loaded, Stop> {
    let caller = load_caller(run, request.principal(), request.context())?;
    let target = load_target(run, request.action(), request.resource())?;
    Ok(Loaded { caller, target })
}

/// Numbers a caller, and what it calls in.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_caller(
    run: &mut Run<'_>,
    caller: &Principal,
    given: &Context,
) -> Result<Caller, Stop> {
    let workload = workload(run, caller.workload())?;
    let user = caller.user().map(|it| user(run, it)).transpose()?;
    let context = context(run, given, workload, user, caller.device())?;
    Ok(Caller { workload, user, context })
}

/// Numbers what is to be done to what.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_target(
    run: &mut Run<'_>,
    action: &Action,
    target: &Resource,
) -> Result<Target, Stop> {
    let resource = resource(run, target)?;
    let kind = word(run.tables().vocabulary.action_type)?;
    let action = run.store.of_kind(kind, action.name())?;
    Ok(Target { action, resource })
}

/// Every program has the words; without one, nothing can be said.
fn word(word: Option<Symbol>) -> Result<Symbol, Stop> {
    word.ok_or(Stop::Error)
}

fn workload(run: &mut Run<'_>, workload: &Workload) -> Result<EntityNo, Stop> {
    match workload.id() {
        WorkloadId::Spiffe(id) => spiffe_workload(run, id, workload.attributes()),
        WorkloadId::ServiceAccount { issuer, namespace, name } => {
            service_account(run, [&**issuer, &**namespace, &**name], workload.attributes())
        }
        _ => Err(Stop::Error),
    }
}

fn spiffe_workload(run: &mut Run<'_>, id: &SpiffeId, own: &Attributes) -> Result<EntityNo, Stop> {
    let words = run.tables().vocabulary;
    let trust_domain = id.trust_domain();
    facts(run, own, &SPIFFE_FACTS)?;
    fact_text(run, words.trust_domain, trust_domain.as_str())?;
    fact_text(run, words.path, id.path())?;
    let parents = run.parents();
    parent(run, words.trust_domain_type, trust_domain.as_str());
    if is_named(run, words.workload_path_type) {
        let (whole, path) = (id.as_str(), id.path());
        let path_at = whole.len().saturating_sub(path.len());
        for slash in inner_slashes(path) {
            let prefix = whole.get(..path_at.saturating_add(slash)).unwrap_or_default();
            parent(run, words.workload_path_type, prefix);
        }
    }
    let entity = run.store.of_kind(word(words.workload_type)?, id.as_str())?;
    known(run, entity, parents)
}

fn service_account(
    run: &mut Run<'_>,
    [issuer, namespace, name]: [&str; 3],
    own: &Attributes,
) -> Result<EntityNo, Stop> {
    let words = run.tables().vocabulary;
    unambiguous(issuer)?;
    if namespace.contains(':') {
        return Err(Stop::Error);
    }
    facts(run, own, &ACCOUNT_FACTS)?;
    for (fact, value) in [(words.issuer, issuer), (words.namespace, namespace), (words.name, name)]
    {
        fact_text(run, fact, value)?;
    }
    let parents = run.parents();
    parent(run, words.cluster_type, issuer);
    if is_named(run, words.namespace_type) {
        let id = run.joined(&[issuer, "#", namespace])?;
        let entity = run.store.known_entity(word(words.namespace_type)?, id);
        entity.into_iter().for_each(|entity| run.parent(entity));
    }
    let id = run.joined(&[issuer, "#system:serviceaccount:", namespace, ":", name])?;
    let entity = run.store.entity(word(words.workload_type)?, id)?;
    known(run, entity, parents)
}

fn unambiguous(issuer: &str) -> Result<(), Stop> {
    if issuer.contains('#') { Err(Stop::Error) } else { Ok(()) }
}

fn user(run: &mut Run<'_>, user: &User) -> Result<EntityNo, Stop> {
    let words = run.tables().vocabulary;
    let authentication = user.authentication();
    unambiguous(user.issuer())?;
    facts(run, user.attributes(), &USER_FACTS)?;
    fact_text(run, words.issuer, user.issuer())?;
    fact_text(run, words.subject, user.subject())?;
    for (name, items) in [
        (words.scopes, user.scopes()),
        (words.roles, user.roles()),
        (words.groups, user.groups()),
        (words.amr, &authentication.amr),
    ] {
        fact(run, name, |run| texts(run, items))?;
    }
    if let Some(client) = user.client() {
        fact_text(run, words.client, client)?;
    }
    if let Some(acr) = &authentication.acr {
        fact_text(run, words.acr, acr)?;
    }
    if let Some(time) = authentication.auth_time {
        fact(run, words.auth_time, |_| Ok(Term::DateTime(DateTime::from(time))))?;
    }
    let parents = run.parents();
    for (kind, names) in [(words.role_type, user.roles()), (words.group_type, user.groups())] {
        if is_named(run, kind) {
            names.iter().for_each(|name| parent(run, kind, name));
        }
    }
    let id = run.joined(&[user.issuer(), "#", user.subject()])?;
    let entity = run.store.entity(word(words.user_type)?, id)?;
    known(run, entity, parents)
}

fn resource(run: &mut Run<'_>, resource: &Resource) -> Result<EntityNo, Stop> {
    let kind = run.store.symbol(resource.kind())?;
    // What a policy names as a type is one.
    let is_type = run.tables().names_kind(kind) || is_entity_type(resource.kind());
    if !is_type || OWN_TYPES.contains(&resource.kind()) {
        return Err(Stop::Error);
    }
    facts(run, resource.attributes(), &[])?;
    let parents = run.parents();
    for (kind, id) in resource.parents() {
        if !is_entity_type(kind) {
            return Err(Stop::Error);
        }
        // It may be a caller, whom no policy has to name.
        let (kind, id) = (run.store.symbol(kind)?, run.store.symbol(id)?);
        let above = run.store.entity(kind, id)?;
        run.parent(above);
    }
    if resource.kind() == ROUTE {
        let prefixes = prefixes(resource.id()).ok_or(Stop::Error)?;
        let kind = run.tables().vocabulary.route_type;
        if is_named(run, kind) {
            prefixes.for_each(|prefix| parent(run, kind, prefix));
        }
    }
    let entity = run.store.of_kind(kind, resource.id())?;
    known(run, entity, parents)
}

fn context(
    run: &mut Run<'_>,
    context: &Context,
    workload: EntityNo,
    user: Option<EntityNo>,
    device: Option<&Device>,
) -> Result<RecordNo, Stop> {
    let words = run.tables().vocabulary;
    let whole = run.tables().code.reads_whole_context;
    named_facts(run, context.attributes(), &CONTEXT, whole)?;
    let mut given = |word: Option<Symbol>, term: &dyn Fn() -> Option<Term>| {
        if let Some(name) = word.filter(|name| whole || run.tables().code.reads(*name)) {
            run.bench.fields.extend(term().map(|term| (name, term)));
        }
    };
    given(words.time, &|| Some(Term::DateTime(DateTime::from(context.time()))));
    given(words.workload, &|| Some(Term::Entity(workload)));
    given(words.user, &|| user.map(Term::Entity));
    let source = || context.source().map(|source| Term::Ip(IpNet::from(source.to_canonical())));
    given(words.source, &source);
    if let Some(device) = device {
        posture(run, device, whole)?;
    }
    run.context()
}

fn posture(run: &mut Run<'_>, device: &Device, whole: bool) -> Result<(), Stop> {
    let words = run.tables().vocabulary;
    let name = words.device.filter(|name| whole || run.tables().code.reads(*name));
    let Some(name) = name else {
        return check(device.posture(), &DEVICE_FACTS);
    };
    let start = run.bench.fields.len();
    let id = run.store.symbol(device.id())?;
    run.bench.fields.push((word(words.id)?, Term::Text(id)));
    named_facts(run, device.posture(), &DEVICE_FACTS, true)?;
    let record = run.bench.record(start, &mut run.store)?;
    run.bench.fields.push((name, Term::Record(record)));
    Ok(())
}

/// Knows the entity of the fields that lie on the bench, and of the parents added since.
fn known(run: &mut Run<'_>, entity: EntityNo, parents: usize) -> Result<EntityNo, Stop> {
    let attributes = run.bench.own_record(0, &mut run.store)?;
    run.overlay(entity, Facts { attributes, tags: RecordNo::EMPTY }, parents)?;
    Ok(entity)
}

/// Whether the program names an entity of this type.
fn is_named(run: &Run<'_>, kind: Option<Symbol>) -> bool {
    kind.is_some_and(|kind| run.tables().names_kind(kind))
}

fn parent(run: &mut Run<'_>, kind: Option<Symbol>, id: &str) {
    if let Some(kind) = kind.filter(|kind| run.tables().may_have(*kind, id)) {
        let entity = run.store.known_of_kind(kind, id);
        entity.into_iter().for_each(|entity| run.parent(entity));
    }
}

/// Puts a fact on the bench, if a policy asks for it.
fn fact(
    run: &mut Run<'_>,
    word: Option<Symbol>,
    term: impl FnOnce(&mut Run<'_>) -> Result<Term, Stop>,
) -> Result<(), Stop> {
    if let Some(name) = word.filter(|name| run.tables().code.reads(*name)) {
        let term = term(run)?;
        run.bench.fields.push((name, term));
    }
    Ok(())
}

fn fact_text(run: &mut Run<'_>, word: Option<Symbol>, text: &str) -> Result<(), Stop> {
    fact(run, word, |run| Ok(Term::Text(run.store.symbol(text)?)))
}

fn texts(run: &mut Run<'_>, items: &[Arc<str>]) -> Result<Term, Stop> {
    let start = run.bench.terms.len();
    for item in items {
        let item = run.store.symbol(item)?;
        run.bench.terms.push(Term::Text(item));
    }
    Ok(run.bench.set(start, &mut run.store)?)
}

fn facts(run: &mut Run<'_>, own: &Attributes, taken: &[&str]) -> Result<(), Stop> {
    named_facts(run, own, taken, false)
}

/// Attributes none of which has a name that is `taken`: on the bench those that a policy asks
/// for, or all; the others are checked.
fn named_facts(run: &mut Run<'_>, own: &Attributes, taken: &[&str], all: bool) -> Result<(), Stop> {
    for (name, fact) in own.iter() {
        if taken.contains(&name) {
            return Err(Stop::Error);
        }
        let name = if all {
            Some(run.store.symbol(name)?)
        } else {
            run.store.known_symbol(name).filter(|name| run.tables().code.reads(*name))
        };
        match name {
            Some(name) => {
                let term = term(run, fact, MAX_VALUE_DEPTH)?;
                run.bench.fields.push((name, term));
            }
            None => check_value(fact, MAX_VALUE_DEPTH)?,
        }
    }
    Ok(())
}

fn check(own: &Attributes, taken: &[&str]) -> Result<(), Stop> {
    own.iter().try_for_each(|(name, fact)| {
        if taken.contains(&name) { Err(Stop::Error) } else { check_value(fact, MAX_VALUE_DEPTH) }
    })
}

fn check_value(fact: &Fact, depth: usize) -> Result<(), Stop> {
    let depth = depth.checked_sub(1).ok_or(Stop::Error)?;
    match fact {
        Fact::Bool(_) | Fact::Long(_) | Fact::String(_) | Fact::Ip(_) | Fact::Time(_) => Ok(()),
        Fact::Set(members) => members.iter().try_for_each(|member| check_value(member, depth)),
        Fact::Record(fields) => fields.iter().try_for_each(|(_, fact)| check_value(fact, depth)),
        _ => Err(Stop::Error),
    }
}

fn term(run: &mut Run<'_>, fact: &Fact, depth: usize) -> Result<Term, Stop> {
    let depth = depth.checked_sub(1).ok_or(Stop::Error)?;
    Ok(match fact {
        Fact::Bool(value) => Term::Bool(*value),
        Fact::Long(value) => Term::Long(*value),
        Fact::String(value) => Term::Text(run.store.symbol(value)?),
        Fact::Ip(addr) => Term::Ip(IpNet::from(addr.to_canonical())),
        Fact::Time(time) => Term::DateTime(DateTime::from(*time)),
        Fact::Set(members) => {
            let start = run.bench.terms.len();
            for member in members.iter() {
                let member = term(run, member, depth)?;
                run.bench.terms.push(member);
            }
            run.bench.set(start, &mut run.store)?
        }
        Fact::Record(fields) => {
            let start = run.bench.fields.len();
            for (name, fact) in fields.iter() {
                let name = run.store.symbol(name)?;
                let value = term(run, fact, depth)?;
                run.bench.fields.push((name, value));
            }
            Term::Record(run.bench.record(start, &mut run.store)?)
        }
        _ => return Err(Stop::Error),
    })
}
