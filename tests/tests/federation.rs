//! Two trust domains that serve each other their bundles, and what their workloads make of that.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use zt_core::lease::Ended;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleEndpoint, SpiffeBundle, X509Bundle};
use zt_identity::matcher::Authorizer;
use zt_identity::source::X509Source;
use zt_tls::federation::{EndpointUrl, Federation, Profile, Relationship};
use zt_tls::web::WebIdentity;
use zt_tls::{Acceptor, Connector};
use zt_tower::bundle_endpoint::ServeBundle;

const LONG: Duration = Duration::from_secs(30);
const ENDPOINT: &str = "/federation";

/// A trust domain with a workload that serves its bundle, and one that calls others.
struct Side {
    authority: Authority,
    endpoint: BundleEndpoint,
    source: X509Source,
    federation: Federation,
    at: SocketAddr,
    server: AbortHandle,
}

impl Side {
    /// Its endpoint presents this, or its SVID.
    async fn start(name: &str, web: Option<WebIdentity>) -> Self {
        let domain = TrustDomain::from_name(name).unwrap();
        let authority = Authority::new(domain, SystemClock.now()).unwrap();
        let endpoint = BundleEndpoint::new(&published(&[&authority], 1));
        let own = authority.source(ENDPOINT).unwrap();
        let acceptor = match web {
            Some(web) => Acceptor::for_anyone(web),
            None => Acceptor::builder(own, Authorizer::any_in_bundles()).optional_clients(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let app =
            Router::new().route_service("/bundle", ServeBundle::<Body>::new(endpoint.clone()));
        let acceptor = acceptor.build().unwrap();
        let server = tokio::spawn(zt_tls::serve::serve(listener, acceptor, app)).abort_handle();
        let source = authority.source("/workload").unwrap();
        let federation = Federation::builder(source.clone()).build().unwrap();
        Self { authority, endpoint, source, federation, at, server }
    }

    fn domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    fn url(&self) -> EndpointUrl {
        EndpointUrl::parse(&format!("https://localhost:{}/bundle", self.at.port())).unwrap()
    }

    /// Believes the other one from here on, as an administrator would have it.
    async fn federate_with(&self, other: &Self) {
        let id = SpiffeId::from_path(other.domain().borrowed(), ENDPOINT).unwrap();
        let profile = Profile::https_spiffe(id, other.authority.bundle()).unwrap();
        self.federate(other, profile).await;
    }

    async fn federate(&self, other: &Self, profile: Profile) {
        let relationship = Relationship::new(other.domain().clone(), other.url(), profile).unwrap();
        self.federation.establish(relationship).unwrap();
        assert!(self.federation.ready(other.domain().borrowed(), LONG).await);
    }

    /// Looks at the other's bundle until there are so many roots.
    async fn sees_roots(&self, other: &Self, roots: usize) {
        let seen = async {
            while self.federation.health()[0].roots != roots {
                self.federation.refresh(other.domain().borrowed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, seen).await.unwrap();
    }
}

fn published(authorities: &[&Authority], sequence: u64) -> SpiffeBundle {
    let domain = authorities[0].trust_domain().clone();
    let roots = authorities.iter().flat_map(|authority| authority.bundle().roots().to_vec());
    let roots = roots.map(|root| root.certificate().clone());
    let bundle = X509Bundle::from_der_certs(domain, roots, SystemClock.now()).unwrap();
    SpiffeBundle::of_roots(&bundle).with_sequence(sequence)
}

/// The lease of a connection between the workloads of two sides, as the one that is called has it.
async fn call(from: &Side, to: &Side) -> Option<zt_core::lease::Lease> {
    let admits = |side: &Side| Authorizer::member_of(side.domain().clone());
    let acceptor = Acceptor::builder(to.source.clone(), admits(from))
        .recheck_every(Duration::from_millis(20))
        .grace(Duration::ZERO);
    let acceptor = acceptor.build().unwrap();
    let connector = Connector::new(from.source.clone(), admits(to)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let host = "workload".try_into().unwrap();
    let (server, client) =
        tokio::join!(async { acceptor.accept(listener.accept().await.unwrap().0).await }, async {
            connector.connect(host, TcpStream::connect(at).await.unwrap()).await
        },);
    let lease = server.ok()?.lease().clone();
    client.ok().map(|_| lease)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn workloads_of_two_trust_domains_call_each_other_while_both_federate() {
    run(async {
        let one = Side::start("one.test", None).await;
        let two = Side::start("two.test", None).await;
        assert!(call(&one, &two).await.is_none());
        one.federate_with(&two).await;
        assert!(call(&one, &two).await.is_none(), "one side believes, and the other does not");
        two.federate_with(&one).await;
        assert!(call(&one, &two).await.is_some() && call(&two, &one).await.is_some());
        // What ends on one side ends for both.
        assert!(two.federation.remove(one.domain().borrowed()));
        assert!(call(&one, &two).await.is_none() && call(&two, &one).await.is_none());
    });
}

#[test]
fn a_root_that_a_partner_withdraws_ends_the_connections_that_rest_on_it() {
    run(async {
        let (one, two) = (Side::start("one.test", None).await, Side::start("two.test", None).await);
        one.federate_with(&two).await;
        two.federate_with(&one).await;
        let lease = call(&one, &two).await.unwrap();
        let next = Authority::new(one.domain().clone(), SystemClock.now()).unwrap();
        one.endpoint.publish(&published(&[&one.authority, &next], 2)).unwrap();
        two.sees_roots(&one, 2).await;
        assert!(lease.check(SystemClock.now()).is_ok());
        one.endpoint.publish(&published(&[&next], 3)).unwrap();
        two.sees_roots(&one, 1).await;
        assert_eq!(lease.check(SystemClock.now()), Err(Ended::Identity));
        assert_eq!(timeout(LONG, lease.ended()).await.unwrap(), Ended::Identity);
    });
}

#[test]
fn a_partner_that_is_gone_is_believed_as_it_was_last_known() {
    run(async {
        let (one, two) = (Side::start("one.test", None).await, Side::start("two.test", None).await);
        one.federate_with(&two).await;
        two.federate_with(&one).await;
        one.server.abort();
        let failed = async {
            while two.federation.health()[0].failure.is_none() {
                two.federation.refresh(one.domain().borrowed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, failed).await.unwrap();
        assert!(call(&one, &two).await.is_some());
    });
}

#[test]
fn a_bundle_is_served_and_fetched_by_the_web_pki_too() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        let web = WebIdentity::from_pem_files(chain, key, SystemClock.now()).unwrap();
        let one = Side::start("one.test", Some(web)).await;
        let two = Side::start("two.test", None).await;
        let profile = Profile::https_web_with_roots([cert.der().clone()]).unwrap();
        two.federate(&one, profile).await;
        one.federate_with(&two).await;
        assert!(call(&one, &two).await.is_some() && call(&two, &one).await.is_some());
    });
}
