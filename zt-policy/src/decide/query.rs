//! What is asked of a program, by name or by handle.

use std::sync::{Arc, Weak};

use super::Scratch;
use super::run::{Asked, Run};
use crate::entity::{Entities, Request};
use crate::name::EntityUid;
use crate::program::{Program, Tables};
use crate::symbol::{EntityNo, Full, Part, Store, hash};
use crate::term::Stop;
use crate::value::Record;

/// May this principal do this action to this resource? Each is named by its type and ID, by an
/// [`EntityUid`], or by a [`Handle`].
///
/// ```
/// use zt_policy::cedar::text;
/// use zt_policy::decide::{Query, Scratch};
/// use zt_policy::entity::Entities;
/// use zt_policy::evaluate::OnForbidError;
/// use zt_policy::name::{EntityType, EntityUid};
/// use zt_policy::program::Program;
///
/// let text = r#"@id("alice") permit (principal == User::"alice", action, resource);"#;
/// let program = Program::compile(&text::policies("p", text)?, &Entities::new())?;
///
/// // Once, for instance where a session begins:
/// let alice = program.handle(&EntityUid::new(EntityType::parse("User")?, "alice"));
///
/// // For each request:
/// let mut scratch = Scratch::new();
/// let query = Query::new(&alice, ("Action", "read"), ("Order", "42"));
/// let ruling = program.rule(&mut scratch, &query, OnForbidError::Deny);
/// assert!(ruling.is_allow());
/// assert_eq!(ruling.policy(), Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub(super) principal: Name<'a>,
    pub(super) action: Name<'a>,
    pub(super) resource: Name<'a>,
    pub(super) context: Option<&'a Record>,
    pub(super) overlay: Option<&'a Entities>,
}

impl<'a> Query<'a> {
    /// A question without a context, of which no more is known than the program knows.
    pub fn new(
        principal: impl Into<Name<'a>>,
        action: impl Into<Name<'a>>,
        resource: impl Into<Name<'a>>,
    ) -> Self {
        Self {
            principal: principal.into(),
            action: action.into(),
            resource: resource.into(),
            context: None,
            overlay: None,
        }
    }

    /// The question of a request.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        Self::new(&request.principal, &request.action, &request.resource)
            .with_context(&request.context)
    }

    /// In this context.
    #[must_use]
    pub const fn with_context(mut self, context: &'a Record) -> Self {
        self.context = Some(context);
        self
    }

    /// Where more is known than the program knows: entities of its [own](Entities::own), whose
    /// attributes and parents are added to those of the program.
    #[must_use]
    pub const fn with_overlay(mut self, overlay: &'a Entities) -> Self {
        self.overlay = Some(overlay);
        self
    }
}

/// An entity, named in one of three ways.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Name<'a> {
    /// By the texts of its type and its ID. A text that is not the name of a type names none that
    /// a policy could.
    Text {
        /// Its type.
        kind: &'a str,
        /// Its ID.
        id: &'a str,
    },
    /// By its type and ID.
    Uid(&'a EntityUid),
    /// As a program knows it.
    Handle(&'a Handle),
}

impl<'a> From<(&'a str, &'a str)> for Name<'a> {
    fn from((kind, id): (&'a str, &'a str)) -> Self {
        Self::Text { kind, id }
    }
}

impl<'a> From<&'a EntityUid> for Name<'a> {
    fn from(uid: &'a EntityUid) -> Self {
        Self::Uid(uid)
    }
}

impl<'a> From<&'a Handle> for Name<'a> {
    fn from(handle: &'a Handle) -> Self {
        Self::Handle(handle)
    }
}

/// An entity as one program knows it, so that it need not be looked up again.
///
/// It belongs to the program that gave it out. Another program, such as that of the next reload,
/// looks the entity up by its name: the answer is right, and takes longer. A handle keeps nothing
/// of its program alive but the place where it was.
#[derive(Clone, Debug)]
pub struct Handle {
    uid: EntityUid,
    // The address is this program's alone as long as there is a handle.
    program: Weak<Tables>,
    known: Known,
}

/// What a program knows of the name of an entity.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// All of it.
    Entity(EntityNo),
    /// Not the entity, but perhaps the texts of its type and its ID, whose hashes these are.
    Texts([Part; 2], [u64; 2]),
}

impl Handle {
    /// The entity.
    #[must_use]
    pub const fn uid(&self) -> &EntityUid {
        &self.uid
    }

    /// Whether `program` gave it out.
    #[must_use]
    pub fn is_of(&self, program: &Program) -> bool {
        self.is_at(&program.0)
    }

    fn is_at(&self, tables: &Tables) -> bool {
        std::ptr::eq(self.program.as_ptr(), tables)
    }

    /// The number of its entity in a program.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(super) fn number(&self, tables: &Tables, store: &mut Store<'_>) -> Result<EntityNo, Full> {
        match self.known {
            Known::Entity(entity) if self.is_at(tables) => Ok(entity),
            Known::Texts(parts, hashes) if self.is_at(tables) => {
                store.new_named(parts, [self.uid.kind().as_str(), self.uid.id()], hashes)
            }
            Known::Entity(_) | Known::Texts(..) => store.uid(&self.uid),
        }
    }
}

impl Program {
    /// The handle of an entity, for [queries](Query).
    #[must_use]
    pub fn handle(&self, uid: &EntityUid) -> Handle {
        let tables = &*self.0;
        let texts = [uid.kind().as_str(), uid.id()].map(|text| (hash(&tables.hasher, text), text));
        let known = match tables.layer.named(texts) {
            Some(entity) => Known::Entity(entity),
            None => {
                let parts = texts.map(|(hash, text)| tables.layer.part(hash, text));
                Known::Texts(parts, texts.map(|(hash, _)| hash))
            }
        };
        Handle { uid: uid.clone(), program: Arc::downgrade(&self.0), known }
    }
}

/// A request that is made once and asked many times, each time of the current program.
///
/// It is numbered when a program first sees it, and again when that program is replaced. It holds
/// the memory of its decisions, so each thread has its own.
///
/// ```
/// use std::sync::Arc;
/// use zt_policy::cedar::text;
/// use zt_policy::decide::Prepared;
/// use zt_policy::entity::{Entities, Request};
/// use zt_policy::evaluate::OnForbidError;
/// use zt_policy::name::{EntityType, EntityUid};
/// use zt_policy::program::Program;
///
/// let program = |text| Program::compile(&text::policies("p", text).unwrap(), &Entities::new());
/// let uid = |kind, id| EntityType::parse(kind).map(|kind| EntityUid::new(kind, id));
/// let request = Request {
///     principal: uid("User", "alice")?,
///     action: uid("Action", "read")?,
///     resource: uid("Order", "42")?,
///     context: Arc::default(),
/// };
/// let mut prepared = Prepared::new(request, Entities::new());
///
/// let open = program(r#"@id("all") permit (principal, action, resource);"#)?;
/// let ruling = open.rule_prepared(&mut prepared, OnForbidError::Deny);
/// assert!(ruling.is_allow());
///
/// let closed = program(r#"@id("none") forbid (principal, action, resource);"#)?;
/// let ruling = closed.rule_prepared(&mut prepared, OnForbidError::Deny);
/// assert!(!ruling.is_allow());
/// assert_eq!(ruling.policy(), Some("none"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Prepared {
    request: Request,
    overlay: Entities,
    scratch: Scratch,
    // What the scratch holds is of this program alone.
    loaded: Option<(Weak<Tables>, Result<Asked, Stop>)>,
}

impl Prepared {
    /// A request, of which `overlay` knows more than a program: see [`Query::with_overlay`].
    #[must_use]
    pub fn new(request: Request, overlay: Entities) -> Self {
        Self { request, overlay, scratch: Scratch::new(), loaded: None }
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Goes on with what was numbered for this program, or numbers it.
    pub(super) fn run<'a>(&'a mut self, program: &'a Program) -> Result<(Run<'a>, Asked), Stop> {
        let tables = &*program.0;
        let loaded = match &self.loaded {
            Some((at, loaded)) if std::ptr::eq(at.as_ptr(), tables) => *loaded,
            Some(_) | None => {
                let query = Query::of(&self.request).with_overlay(&self.overlay);
                let load = |mut run: Run<'_>| run.load(&query);
                let loaded = Run::begin(tables, &mut self.scratch).and_then(load);
                self.loaded = Some((Arc::downgrade(&program.0), loaded));
                loaded
            }
        };
        Ok((Run::resume(tables, &mut self.scratch), loaded?))
    }
}
