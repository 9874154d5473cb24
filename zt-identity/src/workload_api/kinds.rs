//! The streams of the agent, and the sources that they keep current.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Response, Status, Streaming};
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::Timestamp;

use super::connect::{Client, request};
use super::feed::Kind;
use super::message::{JwtBundlesUpdate, LeftOut, MessageError, X509BundlesUpdate, X509Update};
use super::proto;
use crate::bundle::BundleSet;
use crate::jwt_bundle::JwtBundleSet;
use crate::source::{
    BundleSource, Bundles, Event, JwtBundleSource, Observe, X509BundleSource, X509Source,
};

type Opened<M> = Result<Response<Streaming<M>>, Status>;
type Observer = Option<Arc<dyn Observe>>;

/// `FetchX509SVID`.
pub(super) struct X509 {
    pub(super) hint: Option<String>,
    pub(super) observer: Observer,
}

impl Kind for X509 {
    type Message = proto::X509svidResponse;
    type Source = X509Source;

    async fn open(&self, client: &mut Client) -> Opened<Self::Message> {
        client.fetch_x509svid(request(proto::X509svidRequest {})).await
    }

    fn take(
        &self,
        message: Self::Message,
        source: Option<&X509Source>,
        now: Timestamp,
    ) -> Result<X509Source, MessageError> {
        let update = X509Update::check(message, now)?;
        let Some(identity) = update.identity(self.hint.as_deref()) else {
            // The message is the whole of what we have: the identity that we used is not in it.
            if let Some(source) = source {
                source.withdraw();
            }
            let hint = self.hint.clone().unwrap_or_default();
            return Err(MessageError::NoSuchHint { hint });
        };
        identity.validity().check(now)?;
        let source = match source {
            Some(source) => {
                source.update(identity.clone(), update.bundles);
                source.clone()
            }
            None => {
                let source = X509Source::new(identity.clone(), update.bundles);
                if let Some(observer) = self.observer.clone() {
                    source.observe(move |event: &Event<'_>| observer.observe(event));
                }
                source.tell(&Event::Updated { generation: source.generation() });
                source
            }
        };
        left_out(&update.left_out, |event| source.tell(event));
        Ok(source)
    }

    fn denied(&self, source: &X509Source) {
        source.withdraw();
    }

    // Roots and identity have an end of their own.
    fn missed(&self, _: &X509Source, _: Timestamp) {}

    fn tell(&self, source: &X509Source, event: &Event<'_>) {
        source.tell(event);
    }

    fn expired(&self, source: &X509Source, now: Timestamp) -> Option<SpiffeId> {
        let material = source.load();
        let identity = material.identity().ok()?;
        (now > identity.validity().not_after()).then(|| identity.id().clone())
    }
}

/// What the streams of bundles have in common.
pub(super) struct Following<S> {
    pub(super) own: TrustDomain,
    pub(super) stale_after: Duration,
    pub(super) observer: Observer,
    pub(super) none: S,
}

impl<S: Bundles> Following<S> {
    fn publish(
        &self,
        source: Option<&BundleSource<S>>,
        bundles: S,
        not_taken: &[LeftOut],
    ) -> BundleSource<S> {
        let source = match source {
            Some(source) => {
                source.replace(bundles);
                source.clone()
            }
            None => {
                let source = BundleSource::new(self.own.clone(), bundles);
                if let Some(observer) = self.observer.clone() {
                    source.observe(move |event: &Event<'_>| observer.observe(event));
                }
                source.tell(&Event::Updated { generation: source.generation() });
                source
            }
        };
        left_out(not_taken, |event| source.tell(event));
        source
    }
}

fn left_out(left_out: &[LeftOut], tell: impl Fn(&Event<'_>)) {
    for error in left_out {
        tell(&Event::LeftOut { trust_domain: &error.trust_domain, error });
    }
}

macro_rules! bundles {
    ($set:ty, $source:ty, $message:ty, $fetch:ident, $request:expr, $check:expr) => {
        impl Kind for Following<$set> {
            type Message = $message;
            type Source = $source;

            async fn open(&self, client: &mut Client) -> Opened<Self::Message> {
                client.$fetch(request($request)).await
            }

            fn take(
                &self,
                message: Self::Message,
                source: Option<&$source>,
                now: Timestamp,
            ) -> Result<$source, MessageError> {
                let (bundles, left_out) = $check(&message, &self.own, now)?;
                Ok(self.publish(source, bundles, &left_out))
            }

            fn denied(&self, source: &$source) {
                source.replace(self.none.clone());
            }

            fn missed(&self, source: &$source, now: Timestamp) {
                source.missed(now, self.stale_after);
            }

            fn tell(&self, source: &$source, event: &Event<'_>) {
                source.tell(event);
            }

            fn expired(&self, _: &$source, _: Timestamp) -> Option<SpiffeId> {
                None
            }
        }
    };
}

bundles!(
    BundleSet,
    X509BundleSource,
    proto::X509BundlesResponse,
    fetch_x509_bundles,
    proto::X509BundlesRequest {},
    |message, own, now| X509BundlesUpdate::check(message, own, now)
        .map(|update| (update.bundles, update.left_out))
);
bundles!(
    JwtBundleSet,
    JwtBundleSource,
    proto::JwtBundlesResponse,
    fetch_jwt_bundles,
    proto::JwtBundlesRequest {},
    |message, own, _now| JwtBundlesUpdate::check(message, own)
        .map(|update| (update.bundles, update.left_out))
);
