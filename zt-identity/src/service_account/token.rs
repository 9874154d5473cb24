//! What a service account's token says.

use std::sync::Arc;

use zt_core::attribute::Attributes;
use zt_core::principal::{Workload, WorkloadId};
use zt_core::time::Timestamp;

use super::ServiceAccountError;
use super::name::AccountName;
use crate::claims::{self, ClaimsError, Lifetime};
use crate::confirmation::Confirmation;
use crate::json::{Object, Value};
use crate::oidc::issuer::Issuer;

const CLAIM: &str = "kubernetes.io";

/// What a verified token of a service account says. A clone shares it.
///
/// It is a document, and no caller:
///
/// ```compile_fail,E0599
/// # use zt_core::verified::Verified;
/// # use zt_identity::service_account::ServiceAccountToken;
/// fn principal(token: Verified<ServiceAccountToken>) {
///     token.principal();
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountToken(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    workload: Workload,
    namespace: Arc<str>,
    name: Arc<str>,
    private: Private,
    confirmation: Option<Confirmation>,
    id: Option<Arc<str>>,
    lifetime: Lifetime,
}

impl ServiceAccountToken {
    pub(super) fn new(
        issuer: &Issuer,
        account: &AccountName<'_>,
        private: Private,
        confirmation: Option<Confirmation>,
        id: Option<&str>,
        lifetime: Lifetime,
    ) -> Self {
        let (namespace, name): (Arc<str>, Arc<str>) =
            (account.namespace.into(), account.name.into());
        let workload = Workload::new(WorkloadId::ServiceAccount {
            issuer: issuer.shared(),
            namespace: Arc::clone(&namespace),
            name: Arc::clone(&name),
        })
        .with_attributes(private.attributes());
        let id = id.map(Arc::from);
        Self(Arc::new(Facts { workload, namespace, name, private, confirmation, id, lifetime }))
    }

    pub(crate) fn workload(&self) -> &Workload {
        &self.0.workload
    }

    /// The namespace of the account.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The name of the account.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The UID of the account: another account of the same name has another.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.private.uid
    }

    /// What the token lives and dies with, where the API server is asked.
    #[must_use]
    pub fn bound_to(&self) -> Option<&BoundTo> {
        self.0.private.bound_to.as_ref()
    }

    /// The node that the pod or the token is on.
    #[must_use]
    pub fn node(&self) -> Option<&ObjectReference> {
        self.0.private.node.as_ref()
    }

    /// Until when the token was meant to live, before the cluster prolonged it: `warnafter`.
    #[must_use]
    pub fn warn_after(&self) -> Option<Timestamp> {
        self.0.private.warn_after
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }

    /// Until when its verifier takes it: `exp` and the leeway. What was let in by it ends then too.
    #[must_use]
    pub fn counts_until(&self) -> Timestamp {
        self.0.lifetime.counts_until
    }

    /// What its sender has to possess: `cnf`. Kubernetes has no such claim; a token that has it is
    /// not for bearers.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.0.confirmation.as_ref()
    }
}

/// The object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BoundTo {
    /// A pod.
    Pod(ObjectReference),
    /// A secret.
    Secret(ObjectReference),
    /// A node.
    Node(ObjectReference),
}

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReference {
    name: Arc<str>,
    uid: Arc<str>,
}

impl ObjectReference {
    fn read(
        private: &Object<'_>,
        member: &'static str,
    ) -> Result<Option<Self>, ServiceAccountError> {
        let malformed = || ServiceAccountError::Private { member };
        let Some(value) = private.get(member) else { return Ok(None) };
        let object = value.as_object().ok_or_else(malformed)?;
        let text = |name| {
            let text = object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(Arc::from).ok_or_else(malformed)
        };
        Ok(Some(Self { name: text("name")?, uid: text("uid")? }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    fn attributes(&self) -> Attributes {
        let (name, uid) = (Arc::clone(&self.name), Arc::clone(&self.uid));
        Attributes::new().with("name", name).with("uid", uid)
    }
}

/// The private claim `kubernetes.io`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Private {
    uid: Arc<str>,
    bound_to: Option<BoundTo>,
    node: Option<ObjectReference>,
    warn_after: Option<Timestamp>,
}

impl Private {
    pub(super) fn read(
        claims: &Object<'_>,
        account: &AccountName<'_>,
    ) -> Result<Self, ServiceAccountError> {
        let value = claims.get(CLAIM).ok_or(ClaimsError::Missing { claim: CLAIM })?;
        let private = value.as_object().ok_or(ClaimsError::Malformed { claim: CLAIM })?;
        let uid = check_agreement(private, account)?;
        let node = ObjectReference::read(private, "node")?;
        let bound_to = bound_to(private, node.as_ref())?;
        let warn_after = claims::date(private, "warnafter")?;
        Ok(Self { uid, bound_to, node, warn_after })
    }

    /// What the account has beside its name, which is the workload's own: an attribute that hides
    /// part of it is refused by policy.
    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new().with("uid", Arc::clone(&self.uid));
        if let Some(BoundTo::Pod(pod)) = &self.bound_to {
            attributes = attributes.with("pod", pod.attributes());
        }
        if let Some(node) = &self.node {
            attributes = attributes.with("node", node.attributes());
        }
        attributes
    }
}

/// Rule 6. Yields the UID of the account.
fn check_agreement(
    private: &Object<'_>,
    account: &AccountName<'_>,
) -> Result<Arc<str>, ServiceAccountError> {
    let namespace = private.get("namespace").and_then(Value::as_str);
    let namespace = namespace.ok_or(ServiceAccountError::Private { member: "namespace" })?;
    let reference = ObjectReference::read(private, "serviceaccount")?
        .ok_or(ServiceAccountError::Private { member: "serviceaccount" })?;
    if namespace != account.namespace || reference.name() != account.name {
        return Err(ServiceAccountError::Disagrees);
    }
    Ok(reference.uid)
}

/// Rule 7.
fn bound_to(
    private: &Object<'_>,
    node: Option<&ObjectReference>,
) -> Result<Option<BoundTo>, ServiceAccountError> {
    let pod = ObjectReference::read(private, "pod")?;
    let secret = ObjectReference::read(private, "secret")?;
    match (pod, secret, node) {
        (Some(pod), None, _) => Ok(Some(BoundTo::Pod(pod))),
        (None, Some(secret), None) => Ok(Some(BoundTo::Secret(secret))),
        (None, None, node) => Ok(node.cloned().map(BoundTo::Node)),
        (Some(_), Some(_), _) | (None, Some(_), Some(_)) => {
            Err(ServiceAccountError::BoundToSeveral)
        }
    }
}
