//! What a request wants to do to what.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use zt_core::attribute::Value;
use zt_core::request::{Action, Resource};

use crate::denial::Refusal;
use crate::path::NormalPath;

/// Says what a request wants to do to what, from its head alone.
///
/// ```
/// use http::request::Parts;
/// use zt_core::request::{Action, Resource};
/// use zt_tower::authorize::{Target, Targets};
/// use zt_tower::denial::{Denial, Refusal};
/// use zt_tower::path::NormalPath;
///
/// /// `/orders/<id>` is an order, and nothing else is anything.
/// struct Orders;
///
/// impl Targets for Orders {
///     fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal> {
///         let id = path
///             .as_str()
///             .strip_prefix("/orders/")
///             .ok_or(Refusal::new(Denial::Forbidden, "no_target"))?;
///         Ok(Target::new(Action::new(parts.method.as_str()), Resource::new("Order", id)))
///     }
/// }
/// ```
pub trait Targets: Send + Sync {
    /// The target of the request with this head and this path.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the request has none.
    fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal>;
}

impl<T: Targets + ?Sized> Targets for Arc<T> {
    fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal> {
        (**self).target(parts, path)
    }
}

/// An action and the resource that it is to be done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) action: Action,
    pub(super) resource: Resource,
    pub(super) attributes: Vec<(Arc<str>, Value)>,
}

impl Target {
    /// This action, to be done to this resource.
    #[must_use]
    pub const fn new(action: Action, resource: Resource) -> Self {
        Self { action, resource, attributes: Vec::new() }
    }

    /// With one more attribute of the request's context: a fact, and none that the client says of
    /// itself (H-10).
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

/// The method as the action and the normal path as the resource: `GET` on `Route::"/orders/42"`.
///
/// The path is that of the request as this layer sees it. A router that takes off a prefix before
/// it does, as axum does for a layer inside of `nest`, hides that prefix from policy: put the layer
/// outside, or use [`RouteTargets`](crate::authorize) (feature `axum`).
#[derive(Clone, Copy, Debug, Default)]
pub struct PathTargets;

impl Targets for PathTargets {
    fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal> {
        Ok(Target::new(action(parts), Resource::of_kind("Route", path.as_str())))
    }
}

/// The method as the action and the route that axum matched as the resource, with the whole path
/// as its attribute `path`: `GET` on `Route::"/orders/{id}"`. Feature `axum`.
///
/// Where no route was matched, in a fallback or outside of the router, the resource is the whole
/// path, prefixes of `nest` included. It is never taken for a route: no normal path has a `{`.
///
/// A record has the route then, as that is the resource, and not the path: where it matters later which
/// of the orders it was, ask about that order with a [`Guard`](super::Guard), whose decision is recorded
/// too, or take [`PathTargets`].
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteTargets;

#[cfg(feature = "axum")]
impl Targets for RouteTargets {
    fn target(&self, parts: &Parts, path: &NormalPath<'_>) -> Result<Target, Refusal> {
        use axum::extract::{MatchedPath, OriginalUri};
        let whole = match parts.extensions.get::<OriginalUri>() {
            Some(original) if original.path() != parts.uri.path() => {
                &NormalPath::parse(original.path())?
            }
            _ => path,
        };
        let resource = match parts.extensions.get::<MatchedPath>() {
            Some(route) => Resource::of_kind("Route", route.as_str()).with("path", whole.as_str()),
            None => Resource::of_kind("Route", whole.as_str()),
        };
        Ok(Target::new(action(parts), resource))
    }
}

/// The methods of RFC 9110 and PATCH are part of the program, so their actions allocate nothing.
fn action(parts: &Parts) -> Action {
    Action::from_static(match parts.method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => return Action::new(parts.method.as_str()),
    })
}
