//! The calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tokio::sync::{mpsc, watch};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Clock;

use super::super::signing_key::quoted;
use super::super::{Authority, JWT_SVID_LIFETIME};
use super::answer;
use super::scene::Scene;
use crate::base64url;
use crate::claims::Audience;
use crate::jwt_bundle::{JwtBundle, JwtBundleSet};
use crate::jwt_svid::JwtSvidVerifier;
use crate::workload_api::proto::spiffe_workload_api_server::SpiffeWorkloadApi;
use crate::workload_api::{HEADER, proto};

type Stream<M> = ReceiverStream<Result<M, Status>>;
type Answer<M> = Result<Response<M>, Status>;

#[derive(Debug)]
pub(super) struct Service {
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    scene: watch::Receiver<Scene>,
    asked: Arc<AtomicU64>,
}

impl Service {
    pub(super) fn new(
        authority: Arc<Authority>,
        clock: Arc<dyn Clock>,
        scene: watch::Receiver<Scene>,
        asked: Arc<AtomicU64>,
    ) -> Self {
        Self { authority, clock, scene, asked }
    }

    /// E-01: what has not the header was not meant for us.
    fn admit<M>(&self, request: &Request<M>) -> Result<Scene, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if request.metadata().get(HEADER).is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument("the security header is missing"));
        }
        let scene = self.scene.borrow().clone();
        match scene.fault {
            Some(fault) => Err(fault.status()),
            None => Ok(scene),
        }
    }

    /// What `make` makes of what is served, now and whenever it changes.
    fn stream<M: Send + 'static>(
        &self,
        make: impl Fn(&Authority, &Scene) -> Result<M, Status> + Send + 'static,
    ) -> Response<Stream<M>> {
        let (send, receive) = mpsc::channel(1);
        let (mut seen, authority) = (self.scene.clone(), Arc::clone(&self.authority));
        let cuts = seen.borrow().cuts;
        tokio::spawn(async move {
            loop {
                let scene = seen.borrow_and_update().clone();
                if scene.cuts != cuts {
                    return;
                }
                let message = match scene.fault {
                    Some(fault) => Err(fault.status()),
                    None => make(&authority, &scene),
                };
                let over = message.is_err();
                if send.send(message).await.is_err() || over || seen.changed().await.is_err() {
                    return;
                }
            }
        });
        Response::new(ReceiverStream::new(receive))
    }

    fn token(&self, id: &SpiffeId, audience: &[String]) -> Result<String, Status> {
        let now = self.clock.now();
        let audience: Vec<_> = audience.iter().map(|name| quoted(name)).collect();
        let (issued_at, expires) = (now.as_secs(), now.saturating_add(JWT_SVID_LIFETIME).as_secs());
        let claims = format_args!(
            r#"{{"sub":"{id}","aud":[{}],"iat":{issued_at},"exp":{expires}}}"#,
            audience.join(",")
        );
        self.authority.sign_jwt_svid(claims).map_err(|error| Status::internal(error.to_string()))
    }

    fn bundles(&self, scene: &Scene) -> JwtBundleSet {
        let own = JwtBundleSet::new().with(self.authority.jwt_bundle());
        scene.federated.iter().fold(own, |all, (domain, foreign)| {
            match JwtBundle::from_jwks(domain.clone(), foreign.jwt.as_bytes()) {
                Ok(bundle) => all.with(bundle),
                Err(_) => all,
            }
        })
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Service {
    type FetchX509SVIDStream = Stream<proto::X509svidResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<proto::X509svidRequest>,
    ) -> Answer<Self::FetchX509SVIDStream> {
        self.admit(&request)?;
        Ok(self.stream(|authority, scene| Ok(answer::x509(authority, scene))))
    }

    type FetchX509BundlesStream = Stream<proto::X509BundlesResponse>;

    async fn fetch_x509_bundles(
        &self,
        request: Request<proto::X509BundlesRequest>,
    ) -> Answer<Self::FetchX509BundlesStream> {
        self.admit(&request)?;
        Ok(self.stream(|authority, scene| Ok(answer::x509_bundles(authority, scene))))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<proto::JwtsvidRequest>,
    ) -> Answer<proto::JwtsvidResponse> {
        let scene = self.admit(&request)?;
        let proto::JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        if audience.is_empty() {
            return Err(Status::invalid_argument("an audience must be given"));
        }
        let ids = scene.identities.iter().map(|(hint, identity)| (hint, identity.id()));
        let asked = ids.filter(|(_, id)| spiffe_id.is_empty() || id.as_str() == spiffe_id);
        let svids = asked.map(|(hint, id)| {
            let svid = self.token(id, &audience)?;
            Ok(proto::Jwtsvid { spiffe_id: id.as_str().into(), svid, hint: hint.clone() })
        });
        let svids = svids.collect::<Result<Vec<_>, Status>>()?;
        if svids.is_empty() {
            return Err(Status::permission_denied("no identity issued"));
        }
        let mut message = proto::JwtsvidResponse { svids };
        if let Some(defect) = scene.defect {
            answer::spoil_jwt_svids(defect, &mut message);
        }
        Ok(Response::new(message))
    }

    type FetchJWTBundlesStream = Stream<proto::JwtBundlesResponse>;

    async fn fetch_jwt_bundles(
        &self,
        request: Request<proto::JwtBundlesRequest>,
    ) -> Answer<Self::FetchJWTBundlesStream> {
        self.admit(&request)?;
        Ok(self.stream(|authority, scene| Ok(answer::jwt_bundles(authority, scene))))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<proto::ValidateJwtsvidRequest>,
    ) -> Answer<proto::ValidateJwtsvidResponse> {
        let scene = self.admit(&request)?;
        let proto::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        let audience = Audience::any([audience.as_str()])
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let verified = JwtSvidVerifier::new(audience)
            .verify(&svid, &self.bundles(&scene), self.clock.now())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let spiffe_id = verified.id().as_str().into();
        Ok(Response::new(proto::ValidateJwtsvidResponse { spiffe_id, claims: claims(&svid) }))
    }

    type FetchWITSVIDStream = Stream<proto::WitsvidResponse>;

    async fn fetch_witsvid(
        &self,
        _: Request<proto::WitsvidRequest>,
    ) -> Answer<Self::FetchWITSVIDStream> {
        Err(Status::unimplemented("no WIT-SVIDs here"))
    }

    type FetchWITBundlesStream = Stream<proto::WitBundlesResponse>;

    async fn fetch_wit_bundles(
        &self,
        _: Request<proto::WitBundlesRequest>,
    ) -> Answer<Self::FetchWITBundlesStream> {
        Err(Status::unimplemented("no WIT-SVIDs here"))
    }
}

/// The claims of a token that was verified.
fn claims(token: &str) -> Option<Struct> {
    let payload = base64url::decode(token.split('.').nth(1)?).ok()?;
    let serde_json::Value::Object(claims) = serde_json::from_slice(&payload).ok()? else {
        return None;
    };
    Some(structure(claims))
}

fn structure(object: serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: object.into_iter().map(|(name, value)| (name, protobuf(value))).collect() }
}

fn protobuf(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => Kind::StringValue(value),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(protobuf).collect() })
        }
        serde_json::Value::Object(object) => Kind::StructValue(structure(object)),
    };
    Value { kind: Some(kind) }
}
