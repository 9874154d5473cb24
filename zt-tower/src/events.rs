//! Endpoints at which issuers tell that something counts no more.
//!
//! [`BackChannelLogout`] takes logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.5, §2.8),
//! [`EventDelivery`] takes security event tokens (RFC 8935). Both take the head and the body of a
//! request and give back a response, whatever framework serves them. A token revokes when, in this
//! order:
//!
//! 1. the request is a `POST` with the content type of its specification and a body of at most
//!    [`MAX_BODY`] bytes, which holds one token;
//! 2. the token verifies (T-41);
//! 3. it was not sent before; a security event that was does nothing and is answered as if it had not
//!    been (RFC 8935 §2), a logout token that was is refused;
//! 4. what it revokes could be passed on to everyone who shares it: where not, it may be sent again.
//!    One that comes again while that is still going on is not acknowledged: nobody knows yet how it
//!    ends.
//!
//! | outcome | logout | event |
//! |---|---|---|
//! | it revokes, or has nothing to revoke | 200 | 202 |
//! | the request or the token is refused | 400, `error` | 400, `err` and `description` (RFC 8935 §2.3) |
//! | keys or stores are down, or the same token is being passed on | 400, `error` | 503 |
//!
//! Every answer has `Cache-Control: no-store`.
//!
//! # Where to put them
//!
//! An issuer proves itself by the token alone. Such an endpoint stands outside of
//! [`ZeroTrust`](crate::zero_trust), and behind a listener that the issuer can connect to; one that
//! demands a certificate of the mesh is none.

use std::fmt;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use zt_core::fault::Fault;
use zt_core::time::{Clock, SystemClock, Timestamp};
use zt_identity::claims::ClaimsError;
use zt_identity::jws::{JwsError, MAX_LEN};
use zt_identity::oidc::event_token::EventTokenError;
use zt_identity::oidc::logout_token::LogoutTokenVerifier;
use zt_identity::oidc::security_event_token::SecurityEventTokenVerifier;
use zt_identity::oidc::signed::SignedTokenError;
use zt_identity::possession::replay::{AdmitError, Replay};
use zt_identity::possession::revocations::{Revocation, RevocationEventError, Revoke, RevokeError};

/// The longest body that is read, in bytes: a token, and as much again for what surrounds it in a
/// form. Limit what you collect to this.
pub const MAX_BODY: usize = 2 * MAX_LEN;

/// Takes the logout tokens of one provider. A clone shares what it feeds.
///
/// ```
/// use axum::body::{Body, to_bytes};
/// use axum::extract::{Request, State};
/// use axum::response::Response;
/// use zt_tower::events::{BackChannelLogout, MAX_BODY};
///
/// async fn logout(State(logout): State<BackChannelLogout>, request: Request) -> Response {
///     let (head, body) = request.into_parts();
///     // What is too long or broken off is no form.
///     let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
///     logout.answer::<Body>(&head, &body).await
/// }
///
/// fn app(logouts: BackChannelLogout) -> axum::Router {
///     axum::Router::new().route("/logout", axum::routing::post(logout)).with_state(logouts)
/// }
/// ```
#[derive(Clone)]
pub struct BackChannelLogout {
    tokens: LogoutTokenVerifier,
    feed: Feed,
}

impl BackChannelLogout {
    /// Tokens that these verify, once each, end what they say.
    #[must_use]
    pub fn new(
        tokens: LogoutTokenVerifier,
        replay: Replay,
        revocations: impl Revoke + 'static,
    ) -> Self {
        Self { tokens, feed: Feed::new(replay, revocations) }
    }

    /// Takes the time from `clock`; from the operating system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.feed.clock = Arc::new(clock);
        self
    }

    /// Answers a request.
    pub async fn answer<B: From<&'static str>>(&self, head: &Parts, body: &[u8]) -> Response<B> {
        let (status, body) = match self.receive(head, body).await {
            Ok(_) => (StatusCode::OK, ""),
            Err(rejection) => (StatusCode::BAD_REQUEST, rejection.logout_error()),
        };
        response(status, body)
    }

    /// Ends what the token of a request says, and tells what that was.
    ///
    /// # Errors
    ///
    /// [`Rejection`] names the first rule that is broken.
    pub async fn receive(&self, head: &Parts, body: &[u8]) -> Result<Vec<Revocation>, Rejection> {
        let now = self.feed.clock.now();
        check_request(head, body, "application/x-www-form-urlencoded")?;
        let form = form_value(body, "logout_token").ok_or(Rejection::Request)?;
        let token = self.tokens.verify(&form, now)?;
        let feed = &self.feed;
        let revoke = async |token| feed.revoke(Revocation::of_logout(&token), now).await;
        feed.replay.finish(token, now, revoke).await
    }
}

impl fmt::Debug for BackChannelLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelLogout").field("feed", &self.feed).finish_non_exhaustive()
    }
}

/// Takes the security event tokens of one transmitter. A clone shares what it feeds.
#[derive(Clone)]
pub struct EventDelivery {
    tokens: SecurityEventTokenVerifier,
    token_issuer: Arc<str>,
    feed: Feed,
}

impl EventDelivery {
    /// Events that these verify, once each, end what they say among the access tokens of
    /// `token_issuer`, which is often the transmitter itself.
    #[must_use]
    pub fn new(
        tokens: SecurityEventTokenVerifier,
        token_issuer: impl Into<Arc<str>>,
        replay: Replay,
        revocations: impl Revoke + 'static,
    ) -> Self {
        let feed = Feed::new(replay, revocations);
        Self { tokens, token_issuer: token_issuer.into(), feed }
    }

    /// Takes the time from `clock`; from the operating system by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.feed.clock = Arc::new(clock);
        self
    }

    /// Answers a request.
    pub async fn answer<B: From<&'static str>>(&self, head: &Parts, body: &[u8]) -> Response<B> {
        match self.receive(head, body).await {
            Ok(_) => response(StatusCode::ACCEPTED, ""),
            Err(rejection) if rejection.fault() != Fault::Peer => {
                response(StatusCode::SERVICE_UNAVAILABLE, "")
            }
            Err(rejection) => {
                let mut response = response(StatusCode::BAD_REQUEST, rejection.event_error());
                response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
                response
            }
        }
    }

    /// Ends what the event of a request says, and tells what that was: nothing, where it was sent
    /// before or is of a kind that ends nothing.
    ///
    /// # Errors
    ///
    /// [`Rejection`] names the first rule that is broken.
    pub async fn receive(&self, head: &Parts, body: &[u8]) -> Result<Vec<Revocation>, Rejection> {
        let now = self.feed.clock.now();
        check_request(head, body, "application/secevent+jwt")?;
        let token = str::from_utf8(body).map_err(|_| Rejection::Request)?;
        let token = self.tokens.verify(token, now)?;
        let feed = &self.feed;
        let revoke = async |token| {
            let revocations = Revocation::of_event(&token, &self.token_issuer)?;
            feed.revoke(revocations, now).await
        };
        match feed.replay.finish(token, now, revoke).await {
            Err(Rejection::Admit(AdmitError::Replayed(_))) => Ok(Vec::new()),
            done => done,
        }
    }
}

impl fmt::Debug for EventDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDelivery").field("feed", &self.feed).finish_non_exhaustive()
    }
}

/// What both endpoints feed.
#[derive(Clone, Debug)]
struct Feed {
    replay: Replay,
    revocations: Arc<dyn Revoke>,
    clock: Arc<dyn Clock>,
}

impl Feed {
    fn new(replay: Replay, revocations: impl Revoke + 'static) -> Self {
        Self { replay, revocations: Arc::new(revocations), clock: Arc::new(SystemClock) }
    }

    /// Rule 4. What was revoked twice is revoked.
    async fn revoke(
        &self,
        revocations: Vec<Revocation>,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, Rejection> {
        self.revocations.revoke(&revocations, now).await?;
        Ok(revocations)
    }
}

/// Rule 1.
fn check_request(head: &Parts, body: &[u8], expected: &str) -> Result<(), Rejection> {
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    let is_expected = content_type
        .is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(expected.as_bytes()));
    if head.method == Method::POST && is_expected && body.len() <= MAX_BODY {
        Ok(())
    } else {
        Err(Rejection::Request)
    }
}

/// The one value of this name in a form (URL Standard §5.1); a token has nothing that is escaped
/// but by over-careful clients.
fn form_value(form: &[u8], name: &str) -> Option<String> {
    let form = str::from_utf8(form).ok()?;
    let mut values = form.split('&').filter_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (unescape(found)? == name).then_some(value)
    });
    let value = values.next()?;
    if values.next().is_some() { None } else { unescape(value) }
}

fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.replace('+', " ").into_bytes();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend(rest.replace('+', " ").bytes());
    }
    String::from_utf8(bytes).ok()
}

fn response<B: From<&'static str>>(status: StatusCode, body: &'static str) -> Response<B> {
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// Why a request revokes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is not a request that delivers a token.
    #[error("not a request that delivers a token")]
    Request,
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] EventTokenError),
    /// The token was sent before, or nobody can tell.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The event does not say whom it is about.
    #[error(transparent)]
    Event(#[from] RevocationEventError),
    /// What is revoked here could not be passed on.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
}

impl Rejection {
    /// Whose fault it is: that of keys or stores that are down, else the sender's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Request => Fault::Peer,
            Self::Token(error) => error.fault(),
            Self::Admit(error) => error.fault(),
            Self::Event(error) => error.fault(),
            Self::Revoke(error) => error.fault(),
        }
    }

    /// What it is called in records and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Request => "event_request",
            Self::Token(error) => error.reason(),
            Self::Admit(error) => error.reason(),
            Self::Event(error) => error.reason(),
            Self::Revoke(_) => "revocation_not_passed_on",
        }
    }

    /// Back-Channel Logout §2.8.
    fn logout_error(&self) -> &'static str {
        match self.fault() {
            Fault::Peer => r#"{"error":"invalid_request"}"#,
            Fault::Authority | Fault::Caller | _ => r#"{"error":"temporarily_unavailable"}"#,
        }
    }

    /// RFC 8935 §2.4.
    const fn event_error(&self) -> &'static str {
        match self {
            Self::Token(EventTokenError::Claims(ClaimsError::Issuer { .. })) => {
                r#"{"err":"invalid_issuer","description":"not an issuer of this endpoint"}"#
            }
            Self::Token(EventTokenError::Claims(ClaimsError::Audience)) => {
                r#"{"err":"invalid_audience","description":"not for this recipient"}"#
            }
            Self::Token(EventTokenError::Signed(
                SignedTokenError::NoKid
                | SignedTokenError::UnknownKey { .. }
                | SignedTokenError::Jws(JwsError::NotSigned(_)),
            )) => r#"{"err":"invalid_key","description":"not signed by a key of the issuer"}"#,
            Self::Request | Self::Token(_) | Self::Admit(_) | Self::Event(_) | Self::Revoke(_) => {
                r#"{"err":"invalid_request","description":"not an event that can be acted on"}"#
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_one_value_of_a_name() {
        assert_eq!(form_value(b"logout_token=a.b.c", "logout_token").unwrap(), "a.b.c");
        let among = b"x=1&logout%5Ftoken=a%2Eb.c&y";
        assert_eq!(form_value(among, "logout_token").unwrap(), "a.b.c");
        for bad in [
            &b""[..],
            b"logout_token",
            b"Logout_token=a",
            b"logout_token=a&logout_token=a",
            b"logout_token=a%2",
            b"logout_token=a%+2",
            b"logout_token=%ff",
            b"logout_token=\xff",
        ] {
            assert_eq!(form_value(bad, "logout_token"), None, "{bad:?}");
        }
        assert_eq!(form_value(b"logout_token=a+b", "logout_token").unwrap(), "a b");
    }
}
