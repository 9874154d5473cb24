//! How a denial looks on the wire.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::challenge::{StepUpChallenge, check_quotable};
use super::{ChallengeError, Denial, DpopDenial};

/// Turns a denial into a response with a body of type `B`.
///
/// [`Problem`] is what is used unless another is chosen. An implementation of your own may dress
/// the answer as it likes; it learns no more about the denial than the caller may.
pub trait Respond<B> {
    /// The response to `request`, whose body nobody has read.
    fn respond(&self, denial: &Denial, request: &Parts) -> Response<B>;
}

/// Answers with `application/problem+json` (RFC 9457), and a gRPC request as gRPC demands: status
/// 200 with `grpc-status` and `grpc-message` in the headers and no body (a *Trailers-Only*
/// response).
///
/// A request is gRPC when it is a `POST` with the content type `application/grpc`, alone or followed
/// by `+` or `;`: no cache keeps the answer to another method for one with status 200. gRPC-Web is
/// answered as HTTP, which its clients translate.
///
/// The response's body is made from a `&'static str`, as those of axum, hyper and `http-body-util`
/// can be. Where yours cannot, as tonic's, see [`GrpcStatus`].
#[derive(Clone, Debug)]
pub struct Problem {
    // INVARIANT: fits between quotes.
    realm: Arc<str>,
    retry_after: Duration,
}

impl Problem {
    /// Answers in the name of `realm`; `zero-trust` by default.
    ///
    /// # Errors
    ///
    /// [`ChallengeError`] when it cannot stand in a challenge.
    pub fn new(realm: &str) -> Result<Self, ChallengeError> {
        Ok(Self { realm: check_quotable(realm)?.into(), ..Self::default() })
    }

    /// With a 503, asks to come back after this long, in whole seconds; 5 s by default.
    #[must_use]
    pub const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = delay;
        self
    }

    fn http<B: From<&'static str>>(&self, denial: &Denial) -> Response<B> {
        let status = denial.status();
        let mut response = Response::new(B::from(body(status)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.detail(denial, headers);
        response
    }

    fn grpc<B>(&self, denial: &Denial, empty: B) -> Response<B> {
        let mut response = Response::new(empty);
        let (status, message) = grpc_status(denial);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        headers.insert("grpc-message", HeaderValue::from_static(message));
        self.detail(denial, headers);
        response
    }

    fn detail(&self, denial: &Denial, headers: &mut HeaderMap) {
        let error = match denial {
            Denial::NoCredential => String::new(),
            Denial::InvalidToken => ", error=\"invalid_token\"".into(),
            Denial::TwoCredentials => ", error=\"invalid_request\"".into(),
            Denial::StepUp(step_up) => format!(", {}", StepUpChallenge(step_up)),
            Denial::InsufficientScope(scope) => format!(", {scope}"),
            Denial::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after.as_secs()));
                return;
            }
            Denial::Dpop(denial) => {
                self.dpop_detail(denial, headers);
                return;
            }
            Denial::Forbidden
            | Denial::NotNormal
            | Denial::BadForwarding
            | Denial::HeadersTooLarge
            | Denial::Wiring => return,
        };
        let challenge = format!("Bearer realm=\"{}\"{error}", self.realm);
        // Whatever goes into a challenge was checked when it was made; this is for none at all.
        let challenge = HeaderValue::try_from(challenge);
        headers.insert(WWW_AUTHENTICATE, challenge.unwrap_or(HeaderValue::from_static("Bearer")));
    }

    /// RFC 9449 §7.1, §9. What holds a nonce is not to be kept, or it is handed out when it is old
    /// (§8.2).
    fn dpop_detail(&self, denial: &DpopDenial, headers: &mut HeaderMap) {
        let challenge = HeaderValue::try_from(format!("DPoP realm=\"{}\", {denial}", self.realm));
        headers.insert(WWW_AUTHENTICATE, challenge.unwrap_or(HeaderValue::from_static("DPoP")));
        if let Some(nonce) = denial.nonce() {
            headers.insert("dpop-nonce", nonce.clone());
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

impl Default for Problem {
    fn default() -> Self {
        Self { realm: Arc::from("zero-trust"), retry_after: Duration::from_secs(5) }
    }
}

impl<B: From<&'static str>> Respond<B> for Problem {
    fn respond(&self, denial: &Denial, request: &Parts) -> Response<B> {
        if is_grpc(&request.method, &request.headers) {
            self.grpc(denial, B::from(""))
        } else {
            self.http(denial)
        }
    }
}

/// Answers every request as gRPC demands, with an empty body: for a service that speaks nothing
/// else, such as a tonic server.
#[derive(Clone, Debug, Default)]
pub struct GrpcStatus(Problem);

/// With the realm and the delay of this one.
impl From<Problem> for GrpcStatus {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl<B: Default> Respond<B> for GrpcStatus {
    fn respond(&self, denial: &Denial, _: &Parts) -> Response<B> {
        self.0.grpc(denial, B::default())
    }
}

/// `POST`, `Content-Type: application/grpc [("+proto" / "+json" / …)]` (gRPC over HTTP/2).
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    method == Method::POST
        && content_type.split_at_checked(GRPC.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(GRPC)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

/// One body for each status: type `about:blank`, hence the status's phrase as title (RFC 9457
/// §4.2.1).
const fn body(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => r#"{"type":"about:blank","title":"Bad Request","status":400}"#,
        StatusCode::UNAUTHORIZED => r#"{"type":"about:blank","title":"Unauthorized","status":401}"#,
        StatusCode::FORBIDDEN => r#"{"type":"about:blank","title":"Forbidden","status":403}"#,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            r#"{"type":"about:blank","title":"Request Header Fields Too Large","status":431}"#
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            r#"{"type":"about:blank","title":"Service Unavailable","status":503}"#
        }
        _ => r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#,
    }
}

/// The status, and a message that says no more.
const fn grpc_status(denial: &Denial) -> (&'static str, &'static str) {
    match denial.grpc_code() {
        3 => ("3", "invalid argument"),
        7 => ("7", "permission denied"),
        8 => ("8", "resource exhausted"),
        14 => ("14", "unavailable"),
        16 => ("16", "unauthenticated"),
        _ => ("13", "internal"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use zt_identity::oidc::step_up::StepUp;

    use super::super::{DpopCause, Scope};
    use super::*;

    fn request(content_type: &str) -> Parts {
        Request::post("/").header(CONTENT_TYPE, content_type).body(()).unwrap().into_parts().0
    }

    /// Every byte of a response that is ours: status, headers in alphabetical order, body.
    fn bytes(response: &Response<String>) -> String {
        let mut headers: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
            .collect();
        headers.sort();
        format!("{}\n{}\n{}", response.status().as_u16(), headers.concat(), response.body())
    }

    fn denials() -> [(Denial, &'static str, &'static str); 10] {
        let step_up = StepUp::new(["gold", "silver"], Some(Duration::from_secs(300))).unwrap();
        let scope = Scope::new(["orders.read", "orders.refund"]).unwrap();
        [
            (
                Denial::NoCredential,
                "401\n\
                 content-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"shop\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: unauthenticated\n\
                 grpc-status: 16\n\
                 www-authenticate: Bearer realm=\"shop\"\n\n",
            ),
            (
                Denial::InvalidToken,
                "401\n\
                 content-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"invalid_token\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: unauthenticated\n\
                 grpc-status: 16\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"invalid_token\"\n\n",
            ),
            (
                Denial::StepUp(step_up),
                "401\n\
                 content-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"shop\", \
                 error=\"insufficient_user_authentication\", \
                 acr_values=\"gold silver\", max_age=\"300\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Unauthorized\",\"status\":401}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: unauthenticated\n\
                 grpc-status: 16\n\
                 www-authenticate: Bearer realm=\"shop\", \
                 error=\"insufficient_user_authentication\", \
                 acr_values=\"gold silver\", max_age=\"300\"\n\n",
            ),
            (
                Denial::InsufficientScope(scope),
                "403\n\
                 content-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"insufficient_scope\", \
                 scope=\"orders.read orders.refund\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: permission denied\n\
                 grpc-status: 7\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"insufficient_scope\", \
                 scope=\"orders.read orders.refund\"\n\n",
            ),
            (
                Denial::Forbidden,
                "403\n\
                 content-type: application/problem+json\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: permission denied\n\
                 grpc-status: 7\n\n",
            ),
            (
                Denial::Unavailable,
                "503\n\
                 content-type: application/problem+json\n\
                 retry-after: 5\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: unavailable\n\
                 grpc-status: 14\n\
                 retry-after: 5\n\n",
            ),
            (
                Denial::NotNormal,
                "400\n\
                 content-type: application/problem+json\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: invalid argument\n\
                 grpc-status: 3\n\n",
            ),
            (
                Denial::TwoCredentials,
                "400\n\
                 content-type: application/problem+json\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"invalid_request\"\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: invalid argument\n\
                 grpc-status: 3\n\
                 www-authenticate: Bearer realm=\"shop\", error=\"invalid_request\"\n\n",
            ),
            (
                Denial::HeadersTooLarge,
                "431\n\
                 content-type: application/problem+json\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Request Header Fields Too Large\",\"status\":431}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: resource exhausted\n\
                 grpc-status: 8\n\n",
            ),
            (
                Denial::Wiring,
                "500\n\
                 content-type: application/problem+json\n\n\
                 {\"type\":\"about:blank\",\"title\":\"Internal Server Error\",\"status\":500}",
                "200\n\
                 content-type: application/grpc\n\
                 grpc-message: internal\n\
                 grpc-status: 13\n\n",
            ),
        ]
    }

    fn dpop_denials() -> [(DpopCause, u16, &'static str, &'static str); 7] {
        let step_up = StepUp::new(["gold"], None).unwrap();
        let scope = Scope::new(["orders.read"]).unwrap();
        [
            (DpopCause::NoCredential, 401, "16", ""),
            (DpopCause::InvalidToken, 401, "16", ", error=\"invalid_token\""),
            (DpopCause::InvalidProof, 401, "16", ", error=\"invalid_dpop_proof\""),
            (DpopCause::UseNonce, 401, "16", ", error=\"use_dpop_nonce\""),
            (DpopCause::TwoCredentials, 400, "3", ", error=\"invalid_request\""),
            (
                DpopCause::StepUp(step_up),
                401,
                "16",
                ", error=\"insufficient_user_authentication\", acr_values=\"gold\"",
            ),
            (
                DpopCause::InsufficientScope(scope),
                403,
                "7",
                ", error=\"insufficient_scope\", scope=\"orders.read\"",
            ),
        ]
    }

    #[test]
    fn every_denial_of_a_route_that_demands_proofs_is_answered_byte_for_byte() {
        use zt_identity::algorithm::Algorithm;
        let algorithms = [Algorithm::Es256, Algorithm::EdDsa];
        for (cause, status, grpc_status, error) in dpop_denials() {
            let denial = Denial::Dpop(
                DpopDenial::new(cause, &algorithms).with_nonce(HeaderValue::from_static("n1")),
            );
            let problem = Problem::new("shop").unwrap();
            let challenge = format!(
                "www-authenticate: DPoP realm=\"shop\", algs=\"ES256 EdDSA Ed25519\"{error}\n\n"
            );
            let response: Response<String> = problem.respond(&denial, &request("text/plain"));
            let expected = format!(
                "{status}\ncache-control: no-store\ncontent-type: application/problem+json\n\
                 dpop-nonce: n1\n{challenge}{}",
                body(denial.status())
            );
            assert_eq!(bytes(&response), expected);
            let response: Response<String> = problem.respond(&denial, &request("application/grpc"));
            let bytes = bytes(&response);
            assert!(bytes.starts_with("200\ncache-control: no-store\n"), "{bytes}");
            assert!(bytes.contains(&format!("grpc-status: {grpc_status}\n")), "{bytes}");
            assert!(bytes.ends_with(&challenge), "{bytes}");
        }
    }

    #[test]
    fn every_denial_is_answered_byte_for_byte_over_http() {
        for (denial, http, _) in denials() {
            let response = Problem::new("shop").unwrap().respond(&denial, &request("text/plain"));
            assert_eq!(bytes(&response), http);
        }
    }

    #[test]
    fn every_denial_is_answered_byte_for_byte_over_grpc() {
        let problem = Problem::new("shop").unwrap();
        for (denial, _, grpc) in denials() {
            let response = problem.respond(&denial, &request("application/grpc+proto"));
            assert_eq!(bytes(&response), grpc);
            let response =
                GrpcStatus::from(problem.clone()).respond(&denial, &request("any/thing"));
            assert_eq!(bytes(&response), grpc);
        }
    }

    #[test]
    fn a_request_is_grpc_by_its_method_and_its_content_type() {
        let is_call = |method, content| is_grpc(&method, &request(content).headers);
        for grpc in ["application/grpc", "Application/GRPC+proto", "application/grpc; a=b"] {
            assert!(is_call(Method::POST, grpc), "{grpc}");
            assert!(!is_call(Method::GET, grpc), "{grpc}");
        }
        for other in ["", "application/grpc-web", "application/grpcs", "application/json"] {
            assert!(!is_call(Method::POST, other), "{other}");
        }
        assert!(!is_grpc(&Method::POST, &HeaderMap::new()));
    }

    #[test]
    fn a_delay_of_ones_own_is_asked_for_in_whole_seconds() {
        let problem = Problem::default().retry_after(Duration::from_millis(30_900));
        let response: Response<String> = problem.respond(&Denial::Unavailable, &request("a/b"));
        assert_eq!(response.headers()[RETRY_AFTER], "30");
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        for bad in ["a\"b", "a\\b", "a\nb", "ä"] {
            assert!(Problem::new(bad).is_err(), "{bad:?}");
        }
    }
}
