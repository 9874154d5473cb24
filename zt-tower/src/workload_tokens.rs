//! Tokens that name the workload that calls: JWT-SVIDs, and service accounts of Kubernetes.
//!
//! They are for routes whose clients prove themselves by a token instead of a certificate: behind a
//! proxy that ends TLS, or where a pod has no SVID. A route states that it takes them
//! ([`ZeroTrust::builder().workload_tokens(..)`](crate::zero_trust::Builder::workload_tokens)); it then
//! takes nothing else, and no other route takes them.
//!
//! They are bearer tokens, as neither standard binds them to anything: whoever holds one is its
//! workload until it expires. So one counts when, in this order:
//!
//! 1. it is sent as `Bearer`, alone (T-42);
//! 2. it verifies, and is bound to nothing (T-16);
//! 3. the connection has no peer, or its peer is the very workload that the token names, or one that
//!    [`WorkloadDemand::over`] names: a workload that has a name of its own does not get to use
//!    another's.

use std::fmt;
use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::peer::Peer;
use zt_core::principal::Principal;
use zt_core::snapshot::Snapshot;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::algorithm::NoRandomness;
use zt_identity::jwt_bundle::JwtBundleSet;
use zt_identity::jwt_svid::{CachedJwtSvidVerifier, JwtSvid, JwtSvidVerifier};
use zt_identity::matcher::Authorizer;
use zt_identity::possession::binding::{Binding, BindingError};
use zt_identity::possession::eventual::Eventual;
#[cfg(feature = "http")]
use zt_identity::service_account::TokenReviewer;
use zt_identity::service_account::{
    CachedServiceAccountVerifier, ServiceAccountError, ServiceAccountToken, ServiceAccountVerifier,
};
use zt_identity::source::JwtBundleSource;

use crate::denial::{Denial, Refusal};

/// Finds the workload that a bearer token names.
///
/// What is known at once is [ready](Eventual::ready); what somebody else has to be asked for is
/// [pending](Eventual::pending), and the request waits for it.
pub trait VerifyWorkload: Send + Sync {
    /// What is known of this token already, at no cost worth mentioning; `None` where it has to be
    /// verified. What is known is not [limited](crate::limits).
    fn known(&self, token: &str, now: Timestamp) -> Option<Result<FoundWorkload, Refusal>> {
        let _ = (token, now);
        None
    }

    /// The workload of this token, or a [`Refusal`] with a reason out of a fixed set that holds
    /// nothing of the token.
    fn workload(&self, token: &str, now: Timestamp) -> Eventual<Result<FoundWorkload, Refusal>>;
}

/// A workload that a token names.
#[derive(Clone, Debug)]
pub struct FoundWorkload {
    pub(crate) principal: Verified<Principal>,
    pub(crate) until: Timestamp,
}

impl FoundWorkload {
    /// This workload, until its token counts no more.
    #[must_use]
    pub const fn new(principal: Verified<Principal>, until: Timestamp) -> Self {
        Self { principal, until }
    }
}

/// The JWT-SVIDs of the trust domains in a set of bundles, which may be replaced at any time. A clone
/// shares the bundles.
///
/// ```
/// use std::sync::Arc;
/// use zt_core::snapshot::Snapshot;
/// use zt_identity::claims::Audience;
/// use zt_identity::jwt_bundle::JwtBundleSet;
/// use zt_identity::jwt_svid::JwtSvidVerifier;
/// use zt_tower::workload_tokens::JwtSvids;
///
/// let bundles = Arc::new(Snapshot::new(JwtBundleSet::new())); // a watch puts new ones into it
/// let verifier = JwtSvidVerifier::new(Audience::any(["orders"])?);
/// let tokens = JwtSvids::new(verifier, bundles).cached(10_000)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwtSvids {
    verifier: JwtSvidVerifier,
    cached: Option<CachedJwtSvidVerifier>,
    bundles: Bundles,
}

#[derive(Clone, Debug)]
enum Bundles {
    Fixed(Arc<Snapshot<JwtBundleSet>>),
    Of(JwtBundleSource),
}

impl JwtSvids {
    /// Those that these verify, which count for as long as nobody replaces them.
    #[must_use]
    pub const fn new(verifier: JwtSvidVerifier, bundles: Arc<Snapshot<JwtBundleSet>>) -> Self {
        Self { verifier, cached: None, bundles: Bundles::Fixed(bundles) }
    }

    /// Those that the bundles of this source verify, while they count: one that an agent or files
    /// keep current. Once nobody says any more that they hold, and their time is over, everyone is
    /// refused as unavailable (503).
    #[must_use]
    pub const fn of_source(verifier: JwtSvidVerifier, source: JwtBundleSource) -> Self {
        Self { verifier, cached: None, bundles: Bundles::Of(source) }
    }

    /// The same tokens, of which so many that were good are remembered for a while instead of verified
    /// again: see [`verdicts`](zt_identity::verdicts). A bundle that is replaced or taken away ends
    /// what it vouched for.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for the key of the cache.
    pub fn cached(self, capacity: usize) -> Result<Self, NoRandomness> {
        Ok(Self { cached: Some(self.verifier.clone().cached(capacity)?), ..self })
    }

    fn found(&self, token: &str, now: Timestamp) -> Result<FoundWorkload, Refusal> {
        let judged = self.by_bundles(now, |bundles| match &self.cached {
            Some(cached) => cached.verify(token, bundles, now),
            None => self.verifier.verify(token, bundles, now),
        })?;
        workload(&judged.map_err(|error| refused(error.fault(), error.reason()))?)
    }

    /// What is made of the bundles that count at `now`.
    fn by_bundles<T>(
        &self,
        now: Timestamp,
        judge: impl FnOnce(&JwtBundleSet) -> T,
    ) -> Result<T, Refusal> {
        match &self.bundles {
            Bundles::Fixed(bundles) => Ok(judge(&bundles.load())),
            Bundles::Of(source) => {
                let material = source.load();
                let bundles = material.at(now);
                Ok(judge(bundles.map_err(|stale| refused(stale.fault(), "bundles_stale"))?))
            }
        }
    }
}

fn workload(svid: &Verified<JwtSvid>) -> Result<FoundWorkload, Refusal> {
    let principal = Binding::bearer().workload(svid).map_err(unbound)?;
    Ok(FoundWorkload::new(principal, svid.counts_until()))
}

impl VerifyWorkload for JwtSvids {
    fn known(&self, token: &str, now: Timestamp) -> Option<Result<FoundWorkload, Refusal>> {
        let cached = self.cached.as_ref()?;
        let known = self.by_bundles(now, |bundles| cached.remembered(token, bundles, now));
        Some(workload(&known.ok()??))
    }

    fn workload(&self, token: &str, now: Timestamp) -> Eventual<Result<FoundWorkload, Refusal>> {
        Eventual::ready(self.found(token, now))
    }
}

/// The service accounts of one cluster. A clone shares its keys and limits.
#[derive(Clone, Debug)]
pub struct ServiceAccounts(Judge);

#[derive(Clone, Debug)]
enum Judge {
    Keys(ServiceAccountVerifier),
    Cached(ServiceAccountVerifier, CachedServiceAccountVerifier),
    #[cfg(feature = "http")]
    Reviewer(Arc<TokenReviewer>),
}

impl ServiceAccounts {
    /// Verified by the keys of the cluster, without asking anyone: a token counts until it expires,
    /// also when its pod is gone.
    #[must_use]
    pub const fn verified(verifier: ServiceAccountVerifier) -> Self {
        Self(Judge::Keys(verifier))
    }

    /// Reviewed by the API server, which each request waits for, and which knows whether account, pod
    /// and node are still there. It needs a runtime of tokio.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn reviewed(reviewer: TokenReviewer) -> Self {
        Self(Judge::Reviewer(Arc::new(reviewer)))
    }

    /// The same tokens, of which so many that were good are remembered for a while instead of verified
    /// again: see [`verdicts`](zt_identity::verdicts). Keys that change end what they vouched for. What
    /// the API server reviews, it is asked about with each request all the same: what it knows beside
    /// the token may change at any time.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for the key of the cache.
    pub fn cached(self, capacity: usize) -> Result<Self, NoRandomness> {
        Ok(Self(match self.0 {
            Judge::Keys(verifier) | Judge::Cached(verifier, _) => {
                let cached = verifier.clone().cached(capacity)?;
                Judge::Cached(verifier, cached)
            }
            #[cfg(feature = "http")]
            Judge::Reviewer(reviewer) => Judge::Reviewer(reviewer),
        }))
    }
}

impl VerifyWorkload for ServiceAccounts {
    fn known(&self, token: &str, now: Timestamp) -> Option<Result<FoundWorkload, Refusal>> {
        match &self.0 {
            Judge::Cached(_, cached) => Some(account(&cached.remembered(token, now)?)),
            Judge::Keys(_) => None,
            #[cfg(feature = "http")]
            Judge::Reviewer(_) => None,
        }
    }

    fn workload(&self, token: &str, now: Timestamp) -> Eventual<Result<FoundWorkload, Refusal>> {
        match &self.0 {
            Judge::Keys(verifier) => judged(verifier.verify(token, now)),
            Judge::Cached(_, cached) => judged(cached.verify(token, now)),
            #[cfg(feature = "http")]
            Judge::Reviewer(reviewer) => {
                let (reviewer, token) = (Arc::clone(reviewer), token.to_owned());
                Eventual::pending(async move {
                    let reviewed = reviewer.review(&token, now).await;
                    let token = reviewed.map_err(|error| refused(error.fault(), error.reason()))?;
                    account(&token)
                })
            }
        }
    }
}

fn judged(
    verified: Result<Verified<ServiceAccountToken>, ServiceAccountError>,
) -> Eventual<Result<FoundWorkload, Refusal>> {
    let token = verified.map_err(|error| refused(error.fault(), error.reason()));
    Eventual::ready(token.and_then(|token| account(&token)))
}

fn account(token: &Verified<ServiceAccountToken>) -> Result<FoundWorkload, Refusal> {
    let principal = Binding::bearer().service_account(token).map_err(unbound)?;
    Ok(FoundWorkload::new(principal, token.counts_until()))
}

fn refused(fault: Fault, reason: &'static str) -> Refusal {
    Refusal::new(Denial::of_token(fault), reason)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn unbound(error: BindingError) -> Refusal {
    refused(error.fault(), error.reason())
}

/// What is demanded of a workload that sends a token.
#[derive(Clone)]
pub struct WorkloadDemand {
    tokens: Arc<dyn VerifyWorkload>,
    over: Option<Authorizer>,
}

impl WorkloadDemand {
    /// A token that these verify.
    #[must_use]
    pub fn new(tokens: impl VerifyWorkload + 'static) -> Self {
        Self { tokens: Arc::new(tokens), over: None }
    }

    /// Also over the connections of these peers, whoever the token names: of proxies that pass
    /// requests on.
    #[must_use]
    pub fn over(self, proxies: Authorizer) -> Self {
        Self { over: Some(proxies), ..self }
    }

    pub(crate) fn known(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Option<Result<FoundWorkload, Refusal>> {
        self.tokens.known(token, now)
    }

    pub(crate) fn workload(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Eventual<Result<FoundWorkload, Refusal>> {
        self.tokens.workload(token, now)
    }

    /// Rule 3.
    pub(crate) fn check(
        &self,
        found: &FoundWorkload,
        peer: Option<&Verified<Peer>>,
    ) -> Result<(), Refusal> {
        let Some(peer) = peer else { return Ok(()) };
        let is_same = found.principal.workload().id().spiffe() == Some(peer.id());
        let is_over = self.over.as_ref().is_some_and(|over| over.authorizes(peer.id().borrowed()));
        if is_same || is_over {
            return Ok(());
        }
        Err(Refusal::new(Denial::InvalidToken, "token_of_another_workload"))
    }
}

impl fmt::Debug for WorkloadDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadDemand").field("over", &self.over).finish_non_exhaustive()
    }
}
