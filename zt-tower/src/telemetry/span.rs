//! One request, from its head to that of its response.

use http::StatusCode;
use http::request::Parts;
use zt_core::principal::Principal;

/// Nothing, without the features.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    #[cfg(feature = "metrics")]
    began: std::time::Instant,
    #[cfg(feature = "metrics")]
    method: &'static str,
}

impl RequestSpan {
    pub(crate) fn begin(parts: &Parts) -> Self {
        let _ = parts;
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::info_span!(
                target: "zt_tower",
                "zero_trust",
                "http.request.method" = method(parts),
                "tls.client.subject" = tracing::field::Empty,
                "user.id" = tracing::field::Empty,
                "http.response.status_code" = tracing::field::Empty,
            ),
            #[cfg(feature = "metrics")]
            began: std::time::Instant::now(),
            #[cfg(feature = "metrics")]
            method: method(parts),
        }
    }

    /// Who calls.
    pub(crate) fn caller(&self, principal: &Principal) {
        #[cfg(feature = "tracing")]
        {
            let workload = tracing::field::display(principal.workload().id());
            self.span.record("tls.client.subject", workload);
            if let Some(user) = principal.user() {
                self.span.record("user.id", user.subject());
            }
        }
        let _ = principal;
    }

    /// Does this as a part of it.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        work()
    }

    /// The head of the response is there.
    pub(crate) fn end(&self, status: StatusCode) {
        #[cfg(feature = "tracing")]
        self.span.record("http.response.status_code", status.as_u16());
        #[cfg(feature = "metrics")]
        metrics::histogram!(
            super::names::DURATION,
            "http.request.method" => self.method,
            "http.response.status_code" => status.as_str().to_owned(),
        )
        .record(self.began.elapsed().as_secs_f64());
        let _ = status;
    }
}

/// A method that nobody knows is `_OTHER`, as OpenTelemetry has it: clients choose it.
#[cfg(any(feature = "metrics", feature = "tracing"))]
fn method(parts: &Parts) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == parts.method.as_str()).unwrap_or("_OTHER")
}
