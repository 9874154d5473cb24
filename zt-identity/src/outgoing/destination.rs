//! Where our requests go, and what they carry there.

use std::sync::Arc;

use zt_core::fault::Fault;

use crate::excerpt::excerpt;
use crate::possession::target::Origin;

/// An origin that this service calls, and the token that goes there.
///
/// It is `https`, or on this machine where that is said by name.
///
/// ```
/// use zt_identity::outgoing::Destination;
///
/// let stock = Destination::of_service("https://stock.example.com")?.audience("stock");
/// let billing = Destination::of_user("https://billing.example.com:8443")?
///     .resource("https://billing.example.com")
///     .scope("invoices:write")
///     .dpop();
/// assert!(Destination::of_service("http://stock.example.com").is_err());
/// assert!(Destination::of_service("https://example.com/stock").is_err());
/// # Ok::<(), zt_identity::outgoing::DestinationError>(())
/// ```
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    origin: Origin,
    of_user: bool,
    audiences: Vec<Arc<str>>,
    resources: Vec<Arc<str>>,
    scopes: Vec<Arc<str>>,
    binding: TokenBinding,
}

/// What a token that goes there is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenBinding {
    Bearer,
    Dpop,
    DpopOrBearer,
}

impl Destination {
    /// Requests of this service itself, whoever it is working for: its own token goes there, and
    /// never one of a user. An audience, a resource or a scope has to be named.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] when the URL is no `https` origin.
    pub fn of_service(origin: &str) -> Result<Self, DestinationError> {
        Self::at(origin, false, false)
    }

    /// Requests on behalf of a user: what the user's token is exchanged for goes there. An audience
    /// or a resource has to be named, and is what the new token is for.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] when the URL is no `https` origin.
    pub fn of_user(origin: &str) -> Result<Self, DestinationError> {
        Self::at(origin, true, false)
    }

    /// As [`Destination::of_service`], on this machine and over plain `http`: for development and
    /// tests.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] when the URL is no `http` origin on this machine.
    pub fn of_service_on_loopback(origin: &str) -> Result<Self, DestinationError> {
        Self::at(origin, false, true)
    }

    /// As [`Destination::of_user`], on this machine and over plain `http`: for development and
    /// tests.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] when the URL is no `http` origin on this machine.
    pub fn of_user_on_loopback(origin: &str) -> Result<Self, DestinationError> {
        Self::at(origin, true, true)
    }

    fn at(url: &str, of_user: bool, loopback: bool) -> Result<Self, DestinationError> {
        let origin = Origin::exactly(url)
            .filter(|origin| if loopback { origin.is_loopback() } else { origin.is_https() });
        let origin = origin.ok_or_else(|| DestinationError { found: excerpt(url) })?;
        let (audiences, resources, scopes) = (Vec::new(), Vec::new(), Vec::new());
        let binding = TokenBinding::Bearer;
        Ok(Self { origin, of_user, audiences, resources, scopes, binding })
    }

    /// Adds a name of the service there, which the token is to be for: `audience` (RFC 8693 §2.1).
    pub fn audience(mut self, name: &str) -> Self {
        self.audiences.push(name.into());
        self
    }

    /// Adds an absolute URI of the service there, which the token is to be for: `resource`
    /// (RFC 8707 §2).
    pub fn resource(mut self, uri: &str) -> Self {
        self.resources.push(uri.into());
        self
    }

    /// Adds a scope that the token has to have.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Has the token bound to a key of this process, and proves that with each request (RFC 9449). A
    /// token for bearers is refused.
    pub fn dpop(self) -> Self {
        Self { binding: TokenBinding::Dpop, ..self }
    }

    /// As [`Destination::dpop`], and takes a token for bearers where the authorization server gives
    /// out no other. Whoever reads that on its way can use it.
    pub fn dpop_or_bearer(self) -> Self {
        Self { binding: TokenBinding::DpopOrBearer, ..self }
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) const fn is_of_user(&self) -> bool {
        self.of_user
    }

    pub(super) const fn binding(&self) -> TokenBinding {
        self.binding
    }

    pub(super) fn is_proven(&self) -> bool {
        self.binding != TokenBinding::Bearer
    }

    pub(super) fn audiences(&self) -> &[Arc<str>] {
        &self.audiences
    }

    pub(super) fn resources(&self) -> &[Arc<str>] {
        &self.resources
    }

    pub(super) fn scopes(&self) -> &[Arc<str>] {
        &self.scopes
    }

    /// Whether it says what its tokens are for, and each name is one.
    pub(super) fn is_named(&self) -> bool {
        let all = [&self.audiences, &self.resources];
        let for_whom = all.iter().any(|names| !names.is_empty());
        let scoped = !self.of_user && !self.scopes.is_empty();
        let is_scope = |scope: &Arc<str>| {
            scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        };
        (for_whom || scoped)
            && all.iter().chain(&[&self.scopes]).all(|names| names.iter().all(|n| !n.is_empty()))
            && self.scopes.iter().all(is_scope)
    }
}

/// A URL that is no origin that our requests may go to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no https origin, nor one of this machine that was named as such")]
#[non_exhaustive]
pub struct DestinationError {
    /// The URL, cut.
    pub found: String,
}

impl DestinationError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
