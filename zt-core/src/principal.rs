//! Who calls: a workload, perhaps a user on whose behalf it calls, perhaps a device.
//!
//! These are plain descriptions; anyone may write one down. What makes one count is the
//! [`Verified`](crate::verified::Verified) around it. All three are shared when cloned, so that a
//! cached user joins the workload of a connection without allocation.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::attribute::Attributes;
use crate::spiffe::SpiffeId;
use crate::time::Timestamp;

/// The name of a workload, by the scheme that proved it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkloadId {
    /// From an X.509-SVID or a JWT-SVID.
    Spiffe(SpiffeId),
    /// From a Kubernetes service-account token.
    ServiceAccount {
        /// The cluster, by the `iss` of its tokens.
        issuer: Arc<str>,
        /// The namespace.
        namespace: Arc<str>,
        /// The name of the service account.
        name: Arc<str>,
    },
}

impl WorkloadId {
    /// The SPIFFE ID, where that is what the workload is named by.
    #[must_use]
    pub const fn spiffe(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(id) => Some(id),
            Self::ServiceAccount { .. } => None,
        }
    }
}

impl From<SpiffeId> for WorkloadId {
    fn from(id: SpiffeId) -> Self {
        Self::Spiffe(id)
    }
}

/// The SPIFFE ID, or `system:serviceaccount:<namespace>:<name>` as Kubernetes writes it.
impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => id.fmt(f),
            Self::ServiceAccount { namespace, name, .. } => {
                write!(f, "system:serviceaccount:{namespace}:{name}")
            }
        }
    }
}

/// A workload: the service that calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workload(Arc<WorkloadFacts>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct WorkloadFacts {
    id: WorkloadId,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    attributes: Attributes,
}

impl Workload {
    /// A workload without attributes.
    #[must_use]
    pub fn new(id: impl Into<WorkloadId>) -> Self {
        Self(Arc::new(WorkloadFacts { id: id.into(), attributes: Attributes::new() }))
    }

    /// The same workload with these attributes instead of its own.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> Self {
        Arc::make_mut(&mut self.0).attributes = attributes;
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &WorkloadId {
        &self.0.id
    }

    /// What else was proven about it.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }
}

/// How and when a user proved who they are (OpenID Connect Core §2, RFC 9470).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Authentication {
    /// The authentication context class reference, `acr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<Arc<str>>,
    /// The methods, `amr`, such as `pwd` and `otp` (RFC 8176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<Arc<str>>,
    /// When the user last authenticated, `auth_time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<Timestamp>,
}

/// A user, on whose behalf a workload calls.
///
/// A subject means something only together with the issuer that gave it out, so the two are never
/// apart.
///
/// ```
/// use zt_core::principal::User;
///
/// let user = User::new("https://login.example.com", "alice").with_roles(["clerk"]);
/// assert_eq!(user.subject(), "alice");
/// assert!(user.roles().iter().any(|role| &**role == "clerk"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User(Arc<UserFacts>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct UserFacts {
    issuer: Arc<str>,
    subject: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Arc<str>>,
    authentication: Authentication,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    attributes: Attributes,
}

impl User {
    /// The user that `issuer` knows as `subject`, with nothing else known.
    #[must_use]
    pub fn new(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(UserFacts {
            issuer: issuer.into(),
            subject: subject.into(),
            client: None,
            scopes: Vec::new(),
            roles: Vec::new(),
            groups: Vec::new(),
            authentication: Authentication::default(),
            attributes: Attributes::new(),
        }))
    }

    fn set(mut self, change: impl FnOnce(&mut UserFacts)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// With the OAuth client that acts for the user, `client_id`.
    #[must_use]
    pub fn with_client(self, client: impl Into<Arc<str>>) -> Self {
        self.set(|user| user.client = Some(client.into()))
    }

    /// With these scopes.
    #[must_use]
    pub fn with_scopes<S: Into<Arc<str>>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.set(|user| user.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// With these roles.
    #[must_use]
    pub fn with_roles<S: Into<Arc<str>>>(self, roles: impl IntoIterator<Item = S>) -> Self {
        self.set(|user| user.roles = roles.into_iter().map(Into::into).collect())
    }

    /// With these groups.
    #[must_use]
    pub fn with_groups<S: Into<Arc<str>>>(self, groups: impl IntoIterator<Item = S>) -> Self {
        self.set(|user| user.groups = groups.into_iter().map(Into::into).collect())
    }

    /// With the facts of how and when the user authenticated.
    #[must_use]
    pub fn with_authentication(self, authentication: Authentication) -> Self {
        self.set(|user| user.authentication = authentication)
    }

    /// With these attributes instead of its own.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Self {
        self.set(|user| user.attributes = attributes)
    }

    /// Who vouches for the user: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &Arc<str> {
        &self.0.issuer
    }

    /// The user's name at that issuer: `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The OAuth client that acts for the user: `client_id`.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.0.client.as_deref()
    }

    /// What the user let that client do: `scope`.
    #[must_use]
    pub fn scopes(&self) -> &[Arc<str>] {
        &self.0.scopes
    }

    /// The user's roles.
    #[must_use]
    pub fn roles(&self) -> &[Arc<str>] {
        &self.0.roles
    }

    /// The user's groups.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        &self.0.groups
    }

    /// How and when the user authenticated.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    /// What else was proven about the user.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }
}

/// The device that a user sits at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device(Arc<DeviceFacts>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DeviceFacts {
    id: Arc<str>,
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    posture: Attributes,
}

impl Device {
    /// A device and its posture.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, posture: Attributes) -> Self {
        Self(Arc::new(DeviceFacts { id: id.into(), posture }))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Its state, as far as it was proven.
    #[must_use]
    pub fn posture(&self) -> &Attributes {
        &self.0.posture
    }
}

/// Everyone behind one request.
///
/// It holds a workload always: a user alone does not open a connection. A user and a device are
/// added to a *proven* principal only, by
/// [`on_behalf_of`](crate::verified::Verified::on_behalf_of) and
/// [`from_device`](crate::verified::Verified::from_device).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Principal {
    workload: Workload,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Device>,
}

impl Principal {
    /// A workload that calls on its own behalf.
    #[must_use]
    pub const fn new(workload: Workload) -> Self {
        Self { workload, user: None, device: None }
    }

    pub(crate) fn with_user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    pub(crate) fn with_device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Where its facts are: as long as they are there, whoever has the same place is the same, and equals
    /// may have others.
    pub(crate) fn place(&self) -> [usize; 3] {
        let Self { workload, user, device } = self;
        [
            Arc::as_ptr(&workload.0).addr(),
            user.as_ref().map_or(0, |user| Arc::as_ptr(&user.0).addr()),
            device.as_ref().map_or(0, |device| Arc::as_ptr(&device.0).addr()),
        ]
    }

    /// The workload that calls.
    #[must_use]
    pub const fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The user on whose behalf it calls.
    #[must_use]
    pub const fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The device that the user sits at.
    #[must_use]
    pub const fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }
}
