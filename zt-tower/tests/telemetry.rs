//! What is told of requests is what the tables say, and tells nobody's secrets.
#![cfg(all(feature = "metrics", feature = "tracing"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test needs and does not get is its failure"
)]

#[path = "layers/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the layers")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::header::AUTHORIZATION;
use http::request::Builder;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use zt_tower::demand::{Finding, Found, Presented, VerifyToken};
use zt_tower::denial::Refusal;
use zt_tower::telemetry::{EVENTS, Emitted, METRICS, SPANS, report};
use zt_tower::zero_trust::ZeroTrust;

use support::{BATCH, CART, Inner, Policy, Sink, Tokens, clock, from, send};

const SECRET: &str = "eyJhbGciOi.secret.token";

/// By name, kind and labels, the labels with their values.
type Metrics = BTreeMap<(String, String), Vec<(String, String)>>;
type Emissions = BTreeMap<String, BTreeSet<String>>;

/// Everything that was told: what, with which labels or fields, and with which values.
#[derive(Clone, Default)]
struct Told {
    metrics: Arc<Mutex<Metrics>>,
    numbers: Arc<Mutex<Vec<String>>>,
    traces: Arc<Mutex<Emissions>>,
    values: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

struct Number(Told, String);

impl Number {
    fn note(&self, value: String) {
        self.0.numbers.lock().unwrap().push(format!("{}={value}", self.1));
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.note(value.to_string());
    }

    fn absolute(&self, value: u64) {
        self.note(value.to_string());
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.note(value.to_string());
    }

    fn decrement(&self, value: f64) {
        self.note((-value).to_string());
    }

    fn set(&self, value: f64) {
        self.note(value.to_string());
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        assert!((0.0..60.0).contains(&value), "seconds");
    }
}

impl Told {
    fn key(&self, kind: &str, key: &Key) -> Arc<Number> {
        let labels: Vec<_> =
            key.labels().map(|l| (l.key().to_owned(), l.value().to_owned())).collect();
        let known: Vec<_> = labels.iter().map(|(key, _)| key.clone()).collect();
        self.values.lock().unwrap().extend(labels.iter().map(|(_, value)| value.clone()));
        let shown = format!("{} {labels:?}", key.name());
        let mut metrics = self.metrics.lock().unwrap();
        metrics.insert((key.name().to_owned(), format!("{kind} {known:?}")), labels);
        Arc::new(Number(self.clone(), shown))
    }
}

impl Recorder for Told {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.key("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.key("gauge", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.key("histogram", key))
    }
}

struct Fields<'a>(&'a Told, String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let Self(told, name) = self;
        if field.name() != "message" {
            let mut traces = told.traces.lock().unwrap();
            traces.entry(name.clone()).or_default().insert(field.name().to_owned());
        }
        told.values.lock().unwrap().push(format!("{}={value:?}", field.name()));
    }
}

impl Subscriber for Told {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(self, span.metadata().name().to_owned()));
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst).saturating_add(1))
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(self, "zero_trust".into()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(self, event.metadata().name().to_owned()));
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// As the tokens of these tests, and remembers alice.
struct Remembering;

impl VerifyToken for Remembering {
    fn known(
        &self,
        presented: &Presented<'_>,
        now: zt_core::time::Timestamp,
    ) -> Option<Result<Found, Refusal>> {
        let is_alice = presented.bearer().is_ok_and(|token| token == "alice");
        is_alice.then(|| self.user(presented, now).into_ready().unwrap())
    }

    fn user(&self, presented: &Presented<'_>, now: zt_core::time::Timestamp) -> Finding {
        Tokens.user(presented, now)
    }
}

fn bearing(id: &str, token: &str) -> Builder {
    from(id).header(AUTHORIZATION, format!("Bearer {token}"))
}

/// Everything that the layers tell while requests of every kind are answered.
fn told() -> Told {
    let told = Told::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let requests = async {
        let sink = Sink::default();
        let queue = sink.queue();
        let builder = ZeroTrust::builder().tokens(Remembering).policy(Policy::default());
        let layer = builder.records(queue.clone()).clock(clock()).build();
        let mut statuses = Vec::new();
        for request in [
            bearing(CART, "alice"),
            bearing(CART, SECRET),
            bearing(CART, "bob").method("INVENTED"),
            bearing(BATCH, "alice"),
            bearing(CART, "alice").uri("/error"),
            bearing(CART, "alice").uri("/stale"),
            bearing(CART, "alice").uri("//"),
            from(CART),
        ] {
            let response = send(&layer, &Inner::default(), request).await;
            statuses.push(response.status().as_u16());
        }
        assert_eq!(statuses, [200, 401, 403, 403, 403, 503, 400, 401]);
        report(&queue.stats());
    };
    metrics::with_local_recorder(&told, || {
        tracing::subscriber::with_default(told.clone(), || runtime.block_on(requests));
    });
    told
}

#[test]
fn what_is_emitted_is_what_the_tables_say_and_all_of_it() {
    let told = told();
    let found: BTreeSet<_> = told.metrics.lock().unwrap().keys().cloned().collect();
    let listed = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), format!("{} {:?}", metric.kind, metric.labels)));
    assert_eq!(found, listed.collect());
    let listed = [SPANS, EVENTS].concat().into_iter().map(|emitted| {
        let fields = emitted.labels.iter().map(|field| (*field).to_owned());
        (emitted.name.to_owned(), fields.collect())
    });
    assert_eq!(*told.traces.lock().unwrap(), listed.collect::<Emissions>());
}

#[test]
fn outcomes_are_counted_by_their_reasons() {
    let told = told();
    let numbers = told.numbers.lock().unwrap();
    let count = |name: &str| numbers.iter().filter(|number| number.starts_with(name)).count();
    assert_eq!(count(r#"zt.decisions [("effect", "allow"), ("error.type", "none")]"#), 1);
    assert_eq!(count(r#"zt.decisions [("effect", "deny"), ("error.type", "forbidden")]"#), 2);
    assert_eq!(count(r#"zt.decisions [("effect", "deny"), ("error.type", "error")]"#), 1);
    assert_eq!(count(r#"zt.decisions [("effect", "deny"), ("error.type", "unavailable")]"#), 1);
    for reason in ["bad_signature", "path_not_normal", "no_credential"] {
        assert_eq!(count(&format!(r#"zt.refusals [("error.type", "{reason}")]"#)), 1, "{reason}");
    }
    assert_eq!(count(r#"zt.tokens [("outcome", "remembered")]"#), 5);
    assert_eq!(count(r#"zt.tokens [("outcome", "verified")]"#), 2);
    assert!(numbers.contains(&"zt.policy.generation []=7".into()), "{numbers:?}");
    assert!(numbers.contains(&"zt.records.enqueued []=8".into()), "{numbers:?}");
}

#[test]
fn no_token_is_told_and_nobody_is_a_label() {
    let told = told();
    for value in told.values.lock().unwrap().iter() {
        assert!(!value.contains("secret.token") && !value.contains("Bearer"), "{value}");
    }
    for labels in told.metrics.lock().unwrap().values() {
        for (label, value) in labels {
            let names_somebody = ["alice", "bob", "spiffe:", "10.0.0.7", "INVENTED", "/orders"];
            assert!(!names_somebody.iter().any(|name| value.contains(name)), "{label}={value}");
        }
    }
    let values = told.values.lock().unwrap();
    for expected in [
        "user.id=\"alice\"",
        "tls.client.subject=spiffe://example.org/cart",
        "security_rule.name=\"secret-rule-17\"",
        "http.request.method=\"_OTHER\"",
        "http.response.status_code=403",
    ] {
        assert!(values.iter().any(|value| value == expected), "{expected}: {values:?}");
    }
}

#[test]
fn the_readme_has_the_tables() {
    let readme = include_str!("../README.md");
    let row = |emitted: &Emitted| {
        let labels: Vec<_> = emitted.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} |", emitted.name, emitted.kind, labels.join(", "))
    };
    let expected: Vec<_> = [METRICS, SPANS, EVENTS].concat().iter().map(row).collect();
    let rows: Vec<_> = readme
        .lines()
        .filter(|line| {
            ["counter", "histogram", "gauge", "span", "event"]
                .iter()
                .any(|kind| line.contains(&format!("` | {kind} |")))
        })
        .collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.starts_with(&expected), "{row}\n{expected}");
    }
}
