use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;

use http::Extensions;
use zt_core::decision::Permit;
use zt_core::fault::Fault;
use zt_core::record::{Append, Record};
use zt_core::request::{Action, Context, Resource};
use zt_core::time::Timestamp;

use super::authority::{Authority, Decided};
use crate::caller::Caller;
use crate::denial::{Denial, NotWired};
use crate::record::poll_append;
use crate::telemetry;

const PANICKED: &str = "handler_panicked";

/// The most items that [`Guard::filter`] decides about in one call: an eighth of what a queue of
/// records holds by default.
pub const MAX_FILTERED: usize = 1_000;

/// The permit of the decision about this request.
///
/// A function that does the deed takes the [`Permit`] by reference and checks what it
/// [covers](Permit::covers). It is beside the [`Caller`] in the request's extensions and not among them:
/// [`Permitted::of`] finds it there, and it is an extractor of axum (feature `axum`).
#[derive(Clone, Debug)]
pub struct Permitted(Arc<Granted>);

/// What was allowed, and what it takes to ask further: one allocation for both.
#[derive(Debug)]
struct Granted {
    permit: Permit,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    authority: Arc<Authority>,
    caller: Caller,
    context: Context,
}

impl Permitted {
    /// The permit of the request with these extensions.
    ///
    /// # Errors
    ///
    /// [`NotWired`] when no layer in front of it decides.
    pub fn of(extensions: &Extensions) -> Result<Self, NotWired> {
        let granted = extensions.get::<Caller>().and_then(Caller::beside);
        granted.map(Self).ok_or(NotWired::new("permit"))
    }

    /// Puts it beside the caller in these extensions, in place of any that was there: for
    /// authorization of your own, and for tests of handlers.
    ///
    /// # Errors
    ///
    /// [`NotWired`] when there is no caller.
    pub fn put(self, extensions: &mut Extensions) -> Result<(), NotWired> {
        let caller = extensions.get_mut::<Caller>().ok_or(NotWired::new("caller"))?;
        caller.set_beside(self.0);
        Ok(())
    }

    pub(super) fn new(
        permit: Permit,
        authority: Arc<Authority>,
        caller: Caller,
        context: Context,
    ) -> Self {
        Self(Arc::new(Granted { permit, asked: Some(Asked { authority, caller, context }) }))
    }

    /// The record that whoever served this request panicked, and where it goes.
    pub(super) fn panicked(&self) -> Option<Append> {
        let Asked { authority, caller, context } = self.0.asked.as_ref()?;
        telemetry::refused(PANICKED);
        let record = Record::refusal(context, None, PANICKED).by(caller.principal());
        let permit = &self.0.permit;
        authority.recording.append(record.about(permit.action(), permit.resource()))
    }
}

impl Deref for Permitted {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        &self.0.permit
    }
}

/// Of a permit alone, which asks nobody: there is no [`Guard`] with it.
impl From<Permit> for Permitted {
    fn from(permit: Permit) -> Self {
        Self(Arc::new(Granted { permit, asked: None }))
    }
}

/// Asks the policy of this route about its caller, from within a handler.
///
/// The layer has judged the route. What the route is about is often known only to the handler: which
/// order, whose it is, which of a hundred. A guard asks about those, of the same policy, for the same
/// caller, in the context of the request at the time it is asked, and each decision is recorded as
/// that of the layer is, before it counts.
///
/// It is made of the extensions of every request that [`Authorize`](super::Authorize) let through, and an
/// extractor of axum (feature `axum`).
///
/// ```
/// use zt_core::decision::Permit;
/// use zt_core::request::{Action, Resource};
/// use zt_tower::authorize::{Guard, NotPermitted};
///
/// # struct Order { id: u64, owner: String }
/// # fn change(order: Order, leave: &Permit) { let _ = (order.id, leave); }
/// async fn edit(guard: Guard, order: Order) -> Result<(), NotPermitted> {
///     let resource = Resource::new("Order", order.id.to_string()).with("owner", &*order.owner);
///     let permit = guard.require(&Action::from_static("edit"), &resource).await?;
///     change(order, &permit);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Guard {
    // INVARIANT: the one of the request, and it was asked.
    granted: Permitted,
}

impl Guard {
    /// The guard of the request with these extensions.
    ///
    /// # Errors
    ///
    /// [`NotWired`] when no layer in front of it decides.
    pub fn of(extensions: &Extensions) -> Result<Self, NotWired> {
        let granted = Permitted::of(extensions).ok().filter(|granted| granted.0.asked.is_some());
        granted.map(|granted| Self { granted }).ok_or(NotWired::new("guard"))
    }

    /// Asks whether the caller may do `action` to `resource`, and records the answer.
    ///
    /// # Errors
    ///
    /// [`NotPermitted`] when the caller may not, and when no policy is there to be asked or the
    /// decision cannot be recorded.
    pub async fn require(
        &self,
        action: &Action,
        resource: &Resource,
    ) -> Result<Permit, NotPermitted> {
        let (mut append, permit) = self.decide(action, resource, self.now()?)?;
        let recorded = poll_fn(|cx| poll_append(&mut append, cx)).await;
        recorded.map_err(|_| NotPermitted(Denial::Unavailable))?;
        permit.map_err(NotPermitted)
    }

    /// Those of `items` to which the caller may do `action`, each with its permit, in their order.
    ///
    /// Each is a decision, and leaves a record. Policies that are replaced meanwhile may decide about
    /// the rest.
    ///
    /// # Errors
    ///
    /// [`NotPermitted`] when no policy is there to be asked, when a decision cannot be recorded, or
    /// when there are more than [`MAX_FILTERED`] items: half of an answer would look like a whole one.
    pub async fn filter<T>(
        &self,
        action: &Action,
        items: impl IntoIterator<Item = T>,
        resource: impl Fn(&T) -> Resource,
    ) -> Result<Vec<(T, Permit)>, NotPermitted> {
        let mut permitted = Vec::new();
        for (n, item) in items.into_iter().enumerate() {
            if n >= MAX_FILTERED {
                return Err(NotPermitted(Denial::Wiring));
            }
            let resource = resource(&item);
            match self.require(action, &resource).await {
                Ok(permit) => permitted.push((item, permit)),
                Err(NotPermitted(Denial::Forbidden)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(permitted)
    }

    /// Who calls.
    ///
    /// # Errors
    ///
    /// None: every guard has its caller.
    fn asked(&self) -> Result<&Asked, NotPermitted> {
        self.granted.0.asked.as_ref().ok_or(NotPermitted(Denial::Wiring))
    }

    fn now(&self) -> Result<Timestamp, NotPermitted> {
        Ok(self.asked()?.authority.clock.now())
    }

    fn decide(
        &self,
        action: &Action,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<Decided, NotPermitted> {
        let Asked { authority, caller, context } = self.asked()?;
        let context = context.clone().moved_to(now);
        authority
            .decide(caller, action, resource, &context)
            .map_err(|refusal| NotPermitted(refusal.into_denial()))
    }

    /// Whether what was allowed to the request is so still, at `now`. A no is recorded where there is
    /// room; it counts without.
    pub(super) fn still(&self, now: Timestamp) -> Result<(), NotPermitted> {
        let Asked { authority, caller, context } = self.asked()?;
        let (permit, context) = (&self.granted.0.permit, context.clone().moved_to(now));
        let denial = authority
            .denial(caller, permit.action(), permit.resource(), &context)
            .map_err(|refusal| NotPermitted(refusal.into_denial()))?;
        let Some(record) = denial else { return Ok(()) };
        let mut append = authority.recording.append(record);
        let waker = std::task::Waker::noop();
        let _ = poll_append(&mut append, &mut std::task::Context::from_waker(waker));
        Err(NotPermitted(Denial::Forbidden))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("permit", &self.granted.0.permit).finish_non_exhaustive()
    }
}

/// What a handler was not permitted. It says what the caller may be told and nothing of why; with
/// feature `axum` it is a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not permitted: {}", .0.status())]
pub struct NotPermitted(Denial);

impl NotPermitted {
    /// What the caller may be told. [`Denial::grpc_code`] is its code for a tonic `Status`.
    #[must_use]
    pub const fn denial(&self) -> &Denial {
        &self.0
    }

    /// Whose fault it is: the caller's, who may not; an authority's, when there are no policies or
    /// records; or the program's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.0.status().as_u16() {
            500 => Fault::Caller,
            503 => Fault::Authority,
            _ => Fault::Peer,
        }
    }
}
