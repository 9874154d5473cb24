//! Identities and bundles from the SPIFFE Workload API, as they rotate.
//!
//! A [`WorkloadApi`] says where the agent is. It connects to nothing by itself: a [`Feed`] does, and
//! keeps a source current until it is dropped. Sources are those of [`source`](crate::source),
//! whatever fills them, so nothing else has to know of the agent.
//!
//! What holds for every feed:
//!
//! 1. each request carries the header `workload.spiffe.io: true`, and no credential (SPIFFE Workload
//!    Endpoint §5, E-01, E-04);
//! 2. one stream is followed for as long as it lasts, and opened again at once when it is cut
//!    (Workload API §4.1, A-02);
//! 3. each message is the whole of what there is: what is not in it any more is unloaded (A-03). One
//!    that breaks a rule is discarded and told, and what was current stays ([`MessageError`] names
//!    the rules; A-04);
//! 4. what the agent denies (`PermissionDenied`) was taken back: the identity is
//!    [withdrawn](crate::source::X509Source::withdraw), JWT bundles are unloaded (A-09). It is asked
//!    for again later;
//! 5. `InvalidArgument` and `Unimplemented` are told, and not tried again. Everything else is, with
//!    times between that double up to 30 seconds and differ from one workload to the next (E-05);
//! 6. when an identity expires and no other has come, that is told, and a new stream is opened;
//! 7. once the agent is not heard any more, bundles without a validity of their own count for
//!    [`STALE_AFTER`], or [for less](WorkloadApi::stale_after).
//!
//! ```no_run
//! use std::time::Duration;
//! use zt_identity::workload_api::WorkloadApi;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let agent = WorkloadApi::from_env()?;
//! let feed = agent.x509()?;
//! // An acceptor or a connector takes it; keep the feed for as long as they are in use.
//! let source = feed.ready(Duration::from_secs(30)).await?;
//! println!("we are {}", source.load().identity()?.id());
//! # Ok(())
//! # }
//! ```

mod address;
mod connect;
mod error;
mod feed;
mod jwt_svids;
mod kinds;
mod message;
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    reason = "generated from proto/workload.proto, see CONTRIBUTING.md"
)]
#[cfg_attr(
    feature = "authority",
    expect(clippy::as_conversions, reason = "generated, in the part of the server")
)]
#[rustfmt::skip]
pub(crate) mod proto;
mod retry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};

pub use self::address::{
    ENVIRONMENT_VARIABLE, EndpointAddress, EndpointAddressError, MAX_LEN as MAX_ADDRESS_LEN,
};
#[cfg(feature = "authority")]
pub(crate) use self::connect::HEADER;
pub use self::error::{NoRuntime, NotReady, WorkloadApiError};
pub use self::feed::Feed;
use self::feed::follow;
pub use self::jwt_svids::{FetchedJwtSvid, JwtSvidSource, MAX_JWT_SVIDS};
use self::kinds::{Following, X509};
pub use self::message::{
    BadBundle, Hinted, JwtBundlesUpdate, LeftOut, MAX_BUNDLES, MAX_HINT_LEN, MAX_LISTS,
    MAX_MESSAGE_LEN, MAX_SVIDS, MessageError, X509BundlesUpdate, X509Update,
};
use self::retry::Random;
use crate::algorithm::random_u16;
use crate::bundle::BundleSet;
use crate::jwt_bundle::JwtBundleSet;
use crate::source::{JwtBundleSource, Observe, STALE_AFTER, X509BundleSource, X509Source};

/// Where the agent is, and how it is talked to. Clones may differ in the latter.
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkloadApi(Settings);

#[derive(Clone)]
struct Settings {
    address: EndpointAddress,
    clock: Arc<dyn Clock>,
    random: Random,
    observer: Option<Arc<dyn Observe>>,
    stale_after: Duration,
}

impl WorkloadApi {
    /// The agent at this address. Nothing is connected to yet.
    pub fn at(address: EndpointAddress) -> Self {
        Self(Settings {
            address,
            clock: Arc::new(SystemClock),
            random: Arc::new(random_u16),
            observer: None,
            stale_after: STALE_AFTER,
        })
    }

    /// The agent at the address in `SPIFFE_ENDPOINT_SOCKET` (SPIFFE Workload Endpoint §4, E-02).
    ///
    /// # Errors
    ///
    /// [`EndpointAddressError`] when there is none, or it is not an address.
    pub fn from_env() -> Result<Self, EndpointAddressError> {
        Ok(Self::at(EndpointAddress::from_env()?))
    }

    /// The clock that identities are held against, instead of that of the system.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// What makes attempts differ between workloads, instead of the randomness of the system.
    pub fn random(mut self, random: impl Fn() -> u16 + Send + Sync + 'static) -> Self {
        self.0.random = Arc::new(random);
        self
    }

    /// Who is told of what happens to the sources, also before there are any.
    pub fn observe(mut self, observer: impl Observe + 'static) -> Self {
        self.0.observer = Some(Arc::new(observer));
        self
    }

    /// How long JWT bundles, and X.509 bundles without an identity, count once the agent is not heard
    /// any more; 1 hour unless stated otherwise.
    pub const fn stale_after(mut self, time: Duration) -> Self {
        self.0.stale_after = time;
        self
    }

    /// Our identity, the default one, and the bundles that come with it (`FetchX509SVID`, A-08).
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime, as of every feed.
    pub fn x509(&self) -> Result<Feed<X509Source>, NoRuntime> {
        self.follow_x509(None)
    }

    /// Our identity with this hint, where the workload has several. Once it has none with the hint,
    /// the identity is withdrawn.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime.
    pub fn x509_with_hint(&self, hint: impl Into<String>) -> Result<Feed<X509Source>, NoRuntime> {
        self.follow_x509(Some(hint.into()))
    }

    fn follow_x509(&self, hint: Option<String>) -> Result<Feed<X509Source>, NoRuntime> {
        follow(X509 { hint, observer: self.0.observer.clone() }, self.0.clone())
    }

    /// The bundles for X.509-SVIDs alone, for a service of the trust domain `own` that presents none
    /// (`FetchX509Bundles`).
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime.
    pub fn x509_bundles(&self, own: TrustDomain) -> Result<Feed<X509BundleSource>, NoRuntime> {
        follow(self.following(own, BundleSet::new()), self.0.clone())
    }

    /// The bundles for JWT-SVIDs, for a service of the trust domain `own` (`FetchJWTBundles`).
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime.
    pub fn jwt_bundles(&self, own: TrustDomain) -> Result<Feed<JwtBundleSource>, NoRuntime> {
        follow(self.following(own, JwtBundleSet::new()), self.0.clone())
    }

    fn following<S>(&self, own: TrustDomain, none: S) -> Following<S> {
        let (stale_after, observer) = (self.0.stale_after, self.0.observer.clone());
        Following { own, stale_after, observer, none }
    }

    /// Our JWT-SVIDs, each verified with these bundles before it is used (`FetchJWTSVID`).
    #[must_use]
    pub fn jwt_svids(&self, bundles: JwtBundleSource) -> JwtSvidSource {
        JwtSvidSource::new(self.0.clone(), bundles)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("clock", &self.clock)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}
