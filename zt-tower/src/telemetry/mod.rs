//! What is told of requests to metrics and traces (features `metrics`, `tracing`).
//!
//! [`METRICS`], [`SPANS`] and [`EVENTS`] list everything that is emitted, with the names of
//! OpenTelemetry where it has them; the README has the same as a table. Nobody is a label of a metric,
//! and no token, key or header is in either. Without the features nothing of it is compiled.
//!
//! Metrics go to the recorder that the program installed for the facade; there is none in here.

mod span;

use std::time::Duration;

pub(crate) use self::span::RequestSpan;
use crate::telemetry::names::{DECISIONS, GENERATION, REFUSALS, TOKENS};

/// Something that is emitted, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// Its name.
    pub name: &'static str,
    /// What it is: `counter`, `histogram`, `gauge`, `span` or `event`.
    pub kind: &'static str,
    /// The labels of a metric, the fields of a span or an event.
    pub labels: &'static [&'static str],
}

mod names {
    pub(super) const DURATION: &str = "http.server.request.duration";
    pub(super) const REFUSALS: &str = "zt.refusals";
    pub(super) const DECISIONS: &str = "zt.decisions";
    pub(super) const DECISION_DURATION: &str = "zt.decision.duration";
    pub(super) const GENERATION: &str = "zt.policy.generation";
    pub(super) const TOKENS: &str = "zt.tokens";
    pub(super) const WAITING: &str = "zt.records.waiting";
    pub(super) const ENQUEUED: &str = "zt.records.enqueued";
    pub(super) const WRITTEN: &str = "zt.records.written";
    pub(super) const REFUSED: &str = "zt.records.refused";
    pub(super) const DROPPED: &str = "zt.records.dropped";
    pub(super) const SINK_FAILURES: &str = "zt.records.sink_failures";
}

const fn emitted(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
) -> Emitted {
    Emitted { name, kind, labels }
}

/// The metrics, with feature `metrics`. Durations are in seconds.
pub const METRICS: &[Emitted] = &[
    emitted(names::DURATION, "histogram", &["http.request.method", "http.response.status_code"]),
    emitted(names::TOKENS, "counter", &["outcome"]),
    emitted(names::REFUSALS, "counter", &["error.type"]),
    emitted(names::DECISIONS, "counter", &["effect", "error.type"]),
    emitted(names::DECISION_DURATION, "histogram", &[]),
    emitted(names::GENERATION, "gauge", &[]),
    emitted(names::WAITING, "gauge", &[]),
    emitted(names::ENQUEUED, "counter", &[]),
    emitted(names::WRITTEN, "counter", &[]),
    emitted(names::REFUSED, "counter", &[]),
    emitted(names::DROPPED, "counter", &[]),
    emitted(names::SINK_FAILURES, "counter", &[]),
];

/// The spans, with feature `tracing`, at the level INFO. The body of a response is not part of it.
pub const SPANS: &[Emitted] = &[emitted(
    "zero_trust",
    "span",
    &["http.request.method", "tls.client.subject", "user.id", "http.response.status_code"],
)];

/// The events, with feature `tracing`: what is allowed at DEBUG, the rest at INFO.
pub const EVENTS: &[Emitted] = &[
    emitted("decision", "event", &["effect", "security_rule.name", "error.type"]),
    emitted("refusal", "event", &["error.type"]),
];

/// Tells how a queue of records is doing. Call it as often as somebody looks: every ten seconds, or
/// when metrics are collected.
///
/// ```
/// # fn export(records: &zt_core::record::RecordQueue) {
/// zt_tower::telemetry::report(&records.stats());
/// # }
/// ```
#[cfg(feature = "metrics")]
pub fn report(stats: &zt_core::record::Stats) {
    let written = stats.enqueued.saturating_sub(stats.written);
    // A gauge is a float: exact up to 2^53.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(names::WAITING).set(written as f64);
    metrics::counter!(names::ENQUEUED).absolute(stats.enqueued);
    metrics::counter!(names::WRITTEN).absolute(stats.written);
    metrics::counter!(names::REFUSED).absolute(stats.refused);
    metrics::counter!(names::DROPPED).absolute(stats.dropped);
    metrics::counter!(names::SINK_FAILURES).absolute(stats.sink_failures);
}

/// A request was refused for this reason, out of a fixed set.
pub(crate) fn refused(reason: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(REFUSALS, "error.type" => reason).increment(1);
    #[cfg(feature = "tracing")]
    tracing::info!(name: "refusal", target: "zt_tower", { "error.type" = reason }, "refused");
    let _ = (reason, REFUSALS);
}

/// Where a token came from: `remembered` or `verified`.
pub(crate) fn token(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(TOKENS, "outcome" => outcome).increment(1);
    let _ = (outcome, TOKENS);
}

/// What was decided.
pub(crate) struct Decided<'a> {
    /// `none` where it is allowed.
    pub(crate) reason: &'static str,
    /// The policy that determined it.
    pub(crate) rule: Option<&'a str>,
    pub(crate) generation: u64,
    pub(crate) took: Duration,
}

pub(crate) fn decided(decided: &Decided<'_>) {
    let Decided { reason, rule, generation, took } = *decided;
    let effect = if reason == "none" { "allow" } else { "deny" };
    #[cfg(feature = "metrics")]
    {
        metrics::counter!(DECISIONS, "effect" => effect, "error.type" => reason).increment(1);
        metrics::histogram!(names::DECISION_DURATION).record(took.as_secs_f64());
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a gauge is a float"
        )]
        metrics::gauge!(GENERATION).set(generation as f64);
    }
    #[cfg(feature = "tracing")]
    {
        let rule = rule.unwrap_or_default();
        if effect == "allow" {
            tracing::debug!(
                name: "decision", target: "zt_tower",
                { effect, "security_rule.name" = rule, "error.type" = reason }, "allowed"
            );
        } else {
            tracing::info!(
                name: "decision", target: "zt_tower",
                { effect, "security_rule.name" = rule, "error.type" = reason }, "denied"
            );
        }
    }
    let _ = (effect, rule, generation, took, DECISIONS, GENERATION);
}
