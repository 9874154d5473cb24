//! Envoy with its validator for SPIFFE, and its secrets from files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ours::{plain_get, plain_get_path};
use crate::peer::{Asked, Cannot, Client, End, Outcome, Peer, Server};
use crate::process::Process;
use crate::setup::{DOMAIN, Setup, Who, chain, key, replace, roots};

/// Envoy, which gets its trust in one of two forms.
pub struct Envoy {
    pub program: PathBuf,
    pub trust: Trust,
}

/// Where the validator has its bundles from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Roots in PEM inside a secret.
    Secret,
    /// A map of bundles in SPIFFE's JSON, as we write it.
    BundleMap,
}

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const PROTOCOL: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl Peer for Envoy {
    fn name(&self) -> &'static str {
        match self.trust {
            Trust::Secret => "Envoy, secrets",
            Trust::BundleMap => "Envoy, bundle map",
        }
    }

    fn cannot(&self, _end: End) -> &'static [Cannot] {
        // Its validator for SPIFFE knows no lists.
        &[Cannot::Refuse(Who::Revoked)]
    }

    fn serve<'a>(&'a self, setup: &'a Setup) -> BoxFuture<'a, Outcome<Box<dyn Server>>> {
        let mut tls = self.common_tls(setup);
        tls["alpn_protocols"] = json!(["http/1.1"]);
        let route = json!({
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": "fine" } },
        });
        let mut listener = listener(&route);
        listener["filter_chains"][0]["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.DownstreamTlsContext"),
                "require_client_certificate": true,
                "common_tls_context": tls,
            },
        });
        let config = json!({ "static_resources": { "listeners": [listener] } });
        async move { Ok(Box::new(self.start(setup, config).await?) as Box<dyn Server>) }.boxed()
    }

    fn client<'a>(
        &'a self,
        setup: &'a Setup,
        to: SocketAddr,
    ) -> BoxFuture<'a, Outcome<Box<dyn Client>>> {
        let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "ours" } });
        let cluster = json!({
            "name": "ours",
            "connect_timeout": "10s",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "ours", "endpoints": [{ "lb_endpoints": [{
                "endpoint": { "address": address(to) },
            }]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": PROTOCOL,
                    "common_http_protocol_options": { "max_requests_per_connection": 1 },
                    "explicit_http_config": { "http_protocol_options": {} },
                },
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{TLS}.UpstreamTlsContext"),
                    "sni": "localhost",
                    "common_tls_context": self.common_tls(setup),
                },
            },
        });
        let resources = json!({ "listeners": [listener(&route)], "clusters": [cluster] });
        let config = json!({ "static_resources": resources });
        async move { Ok(Box::new(self.start(setup, config).await?) as Box<dyn Client>) }.boxed()
    }
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

fn any_port() -> Value {
    address(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn listener(route: &Value) -> Value {
    let manager = json!({
        "@type": HTTP,
        "stat_prefix": "http",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER } }],
    });
    let filter = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    });
    json!({ "name": "here", "address": any_port(), "filter_chains": [{ "filters": [filter] }] })
}

impl Envoy {
    fn common_tls(&self, setup: &Setup) -> Value {
        let secret = |name: &str| {
            let path = setup.folder.join(format!("{name}.json"));
            json!({ "name": name, "sds_config": { "path_config_source": { "path": path } } })
        };
        let own = if setup.presents.is_some() { vec![secret("svid")] } else { Vec::new() };
        json!({
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "tls_certificate_sds_secret_configs": own,
            "combined_validation_context": {
                "default_validation_context": { "match_typed_subject_alt_names": [
                    { "san_type": "URI", "matcher": { "exact": setup.admits.as_str() } },
                ]},
                "validation_context_sds_secret_config": secret("trust"),
            },
        })
    }

    async fn start(&self, setup: &Setup, mut config: Value) -> Outcome<Running> {
        write_secrets(self.trust, setup);
        config["admin"] = json!({ "address": any_port() });
        let path = setup.folder.join("envoy.json");
        replace(&path, &config.to_string());
        let at = setup.folder.join("admin.txt");
        let arguments = [
            "-c",
            &path.display().to_string(),
            "--admin-address-path",
            &at.display().to_string(),
            "--disable-hot-restart",
            "--service-node",
            "here",
            "--service-cluster",
            "interop",
            "--concurrency",
            "1",
            "--log-level",
            // It tells of a map of bundles that it has loaded, and nothing else does.
            "info",
        ]
        .map(str::to_owned);
        let mut process = Process::start(&self.program, arguments, &setup.folder)?;
        let began = Instant::now();
        loop {
            if let Some(running) = self.started(&at).await {
                let (address, admin) = running;
                return Ok(Running { process, address, admin, trust: self.trust, reused: 0 });
            }
            process.goes_on(began, "start")?;
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where it listens, and its admin interface, once it is ready.
    async fn started(&self, at: &PathBuf) -> Option<(SocketAddr, SocketAddr)> {
        let admin = std::fs::read_to_string(at).ok()?.trim().parse().ok()?;
        let ready = plain_get_path(admin, "/ready").await.ok()?;
        let listeners = plain_get_path(admin, "/listeners?format=json").await.ok()?;
        let listeners: Value = serde_json::from_str(&listeners.text).ok()?;
        let socket = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
        ready.status.is_success().then_some((SocketAddr::from(([127, 0, 0, 1], port)), admin))
    }
}

/// The files of secrets, each moved into its place.
fn write_secrets(trust: Trust, setup: &Setup) {
    let secret = |name: &str, kind: &str, value: Value| {
        let secret = json!({ "@type": format!("{TLS}.Secret"), "name": name, kind: value });
        let path = setup.folder.join(format!("{name}.json"));
        replace(&path, &json!({ "resources": [secret] }).to_string());
    };
    let bundles = match trust {
        Trust::Secret => {
            let roots = json!({ "inline_string": roots(&setup.believes) });
            json!({ "trust_domains": [{ "name": DOMAIN, "trust_bundle": roots }] })
        }
        Trust::BundleMap => {
            let watched = json!({ "path": setup.folder });
            let filename = setup.folder.join("bundles.json");
            json!({ "trust_bundles": { "filename": filename, "watched_directory": watched } })
        }
    };
    let mut validator = bundles;
    validator["@type"] = format!("{TLS}.SPIFFECertValidatorConfig").into();
    let validator = json!({ "name": "envoy.tls.cert_validator.spiffe", "typed_config": validator });
    secret("trust", "validation_context", json!({ "custom_validator_config": validator }));
    if let Some(own) = &setup.presents {
        let certificate = json!({
            "certificate_chain": { "inline_string": chain(own) },
            "private_key": { "inline_string": key(own) },
        });
        secret("svid", "tls_certificate", certificate);
    }
}

struct Running {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    trust: Trust,
    // Sessions that were resumed so far.
    reused: u64,
}

impl Running {
    /// Moves new files into their places, and waits until Envoy has taken them up.
    async fn renew(&mut self, setup: &Setup) -> Outcome<()> {
        let (updates, maps) = (self.updates().await?, self.maps());
        let map = || std::fs::read(setup.folder.join("bundles.json")).unwrap_or_default();
        let before = map();
        setup.write();
        write_secrets(self.trust, setup);
        // One that says the same is not loaded again.
        let new_map = self.trust == Trust::BundleMap && map() != before;
        let began = Instant::now();
        while self.updates().await? < updates + 2 || new_map && self.maps() == maps {
            self.process.goes_on(began, "take up what was moved")?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// How many maps of bundles it has loaded.
    fn maps(&self) -> usize {
        self.process.said().matches("Successfully loaded SPIFFE bundle map").count()
    }

    /// How many updates of secrets there were.
    async fn updates(&self) -> Outcome<u64> {
        let text = plain_get_path(self.admin, "/stats?filter=sds.*update_success").await?.text;
        Ok(sum(&text))
    }

    async fn was_resumed(&mut self) -> Outcome<bool> {
        let text = plain_get_path(self.admin, "/stats?filter=ssl.session_reused").await?.text;
        let reused = sum(&text);
        let more = reused > self.reused;
        self.reused = reused;
        Ok(more)
    }
}

/// Of lines such as `name: 3`.
fn sum(stats: &str) -> u64 {
    let numbers = stats.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok());
    numbers.sum()
}

impl Server for Running {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn resumed<'a>(&'a mut self, _headers: &'a HeaderMap) -> BoxFuture<'a, Outcome<bool>> {
        self.was_resumed().boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        self.renew(setup).boxed()
    }
}

impl Client for Running {
    fn ask(&mut self) -> BoxFuture<'_, Outcome<Asked>> {
        async {
            let answer = plain_get(self.address).await?;
            if !answer.status.is_success() {
                return Err(format!("{}: {}", answer.status, answer.text));
            }
            Ok(Asked { text: answer.text, resumed: self.was_resumed().await? })
        }
        .boxed()
    }

    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>> {
        self.renew(setup).boxed()
    }
}
