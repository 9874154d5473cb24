//! Access tokens that say nothing by themselves: their issuer is asked (RFC 7662).
//!
//! [`IntrospectionVerifier::verify`] accepts a token when, in this order:
//!
//! 1. it has at most [`MAX_LEN`] bytes;
//! 2. the endpoint, to which this service shows who it is, answers within the timeout: status 200,
//!    JSON, at most [`MAX_ANSWER_LEN`] bytes, no redirect (§2.1, §2.2);
//! 3. the answer is one strict JSON object, and `active` is `true` (§2.2);
//! 4. `token_type` is `Bearer` or `DPoP`, and a token of the latter type is bound to a key: an
//!    endpoint also knows refresh tokens, which open nothing here (RFC 9449 §6.2);
//! 5. what it says keeps rules 4 to 7 of an [access token](crate::oidc::access_token): `iss` is the
//!    issuer, `aud` names this service, `sub` is there, the times fit, no claim is that of another
//!    kind of token, and what is used has its type.
//!
//! So it yields the very [`AccessToken`] that a signed one would, with its `cnf`: what is bound to a
//! certificate or a key is nobody's without it.
//!
//! # Answers that are errors
//!
//! A token that the issuer does not know is no error of the question: the answer is `active: false`
//! (§2.2). Some issuers have one error for it all the same, which RFC 7009 §2.2.1 registers: status 400
//! and `unsupported_token_type`, for a signed token, say, that they answer for nowhere but in its
//! signature. That refuses the token, by the sender's fault. Every other error is about the question,
//! and so about this service and its issuer: `invalid_client`, `unauthorized_client`, `invalid_request`
//! and `invalid_token` among them, with 400, 401 or 403 (§2.3, RFC 6749 §5.2, RFC 6750 §3.1). It lets
//! nobody in, by the authority's fault, and is not remembered.
//!
//! # When the endpoint does not answer
//!
//! Then nobody is let in: after [`Transport::timeout`](crate::oidc::transport::Transport::timeout),
//! 5 s unless stated otherwise, waiting for others included, it is an error whose fault is the
//! authority's. No such answer is remembered.
//!
//! # What is remembered
//!
//! 1. A token is known by its HMAC-SHA256 under a random key of this verifier, never by itself.
//! 2. A good one counts until its `exp` (without leeway) or for [`DEFAULT_MAX_AGE`], whichever is
//!    sooner: that long a revocation at the issuer may go unnoticed (RFC 7662 §4). Revocations that
//!    this service knows of count at once, as for every other token.
//! 3. A bad one is refused for [`DEFAULT_REFUSAL_AGE`] without asking again, in a place of its own:
//!    tokens that somebody makes up take no room from good ones.
//! 4. A token that is being asked about is not asked about twice. More than [`MAX_WAITING`]
//!    different ones at a time are refused, by the authority's fault.
//! 5. Each question has a connection of its own, so that no answer is taken for that of another.

mod answer;
mod builder;
mod error;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

pub use self::answer::MAX_ANSWER_LEN;
use self::answer::{AnswerRules, unsupported, verified};
pub use self::builder::{IntrospectionVerifierBuilder, IntrospectionVerifierError};
pub use self::error::{IntrospectionAnswerError, IntrospectionError};
use crate::claims::ClaimsError;
use crate::jws::MAX_LEN;
use crate::oidc::access_token::{AccessToken, AccessTokenError};
use crate::oidc::client_authentication::ClientAuthentication;
use crate::oidc::fetch::{FetchError, Fetcher};
use crate::oidc::flight::{Flight, FlightError, Flights};
use crate::oidc::form::Form;
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::verdicts::{Moment, Verdict, VerdictCache};

/// How long a good token is believed unless stated otherwise: 1 minute.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);
/// How long a good token is believed at most: 10 minutes.
pub const MAX_MAX_AGE: Duration = Duration::from_secs(600);
/// How long a bad token is refused without asking again, unless stated otherwise: 5 s.
pub const DEFAULT_REFUSAL_AGE: Duration = Duration::from_secs(5);
/// How long a bad token is refused without asking again at most: 1 minute.
pub const MAX_REFUSAL_AGE: Duration = Duration::from_secs(60);
/// How many verdicts are remembered of each kind, unless stated otherwise.
pub const DEFAULT_CAPACITY: usize = 10_000;
/// How many questions go on at a time, unless stated otherwise; more of them wait.
pub const DEFAULT_QUESTIONS_AT_ONCE: usize = 32;
/// How many different tokens are asked about or wait for that at most.
pub const MAX_WAITING: usize = 1024;

type Outcome = Result<Verified<AccessToken>, IntrospectionError>;

/// Asks the issuer about each access token, and remembers for a while what it said. A clone shares
/// what is remembered.
///
/// ```no_run
/// use zt_core::secret::Secret;
/// use zt_core::time::Timestamp;
/// use zt_identity::oidc::client_authentication::ClientAuthentication;
/// use zt_identity::oidc::introspection::IntrospectionVerifier;
///
/// # async fn request(secret: String, token: &str, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = IntrospectionVerifier::builder("https://login.example.com")?
///     .endpoint("https://login.example.com/introspect")
///     .client(ClientAuthentication::client_secret_basic("orders", Secret::new(secret))?)
///     .audience("orders")
///     .build()?;
///
/// let token = tokens.verify(token, now).await?; // true, and nobody's yet: Binding is next
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IntrospectionVerifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: Issuer,
    endpoint: Arc<str>,
    client: ClientAuthentication,
    fetcher: Fetcher,
    timeout: Duration,
    rules: AnswerRules,
    max_age: Duration,
    refusal_age: Duration,
    // INVARIANT: both have the same key, so that a token has one name.
    good: VerdictCache<Verified<AccessToken>>,
    bad: VerdictCache<IntrospectionError>,
    flights: Flights<Outcome>,
    room: Semaphore,
}

impl IntrospectionVerifier {
    /// Begins a verifier for the tokens of the issuer with this `https` URL.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL cannot name an issuer.
    pub fn builder(issuer: &str) -> Result<IntrospectionVerifierBuilder, IssuerError> {
        Issuer::parse(issuer).map(Self::for_issuer)
    }

    /// Begins a verifier for the tokens of this issuer.
    pub fn for_issuer(issuer: Issuer) -> IntrospectionVerifierBuilder {
        IntrospectionVerifierBuilder::new(issuer)
    }

    /// Whose tokens it verifies.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// The token, where it is remembered that it was good and that counts at `now` still. Nobody is
    /// asked.
    #[must_use]
    pub fn remembered(
        &self,
        token: impl AsRef<[u8]>,
        now: Timestamp,
    ) -> Option<Verified<AccessToken>> {
        let token = token.as_ref();
        if token.len() > MAX_LEN {
            return None;
        }
        self.0.known(&self.0.good.name(token), now)?.ok()
    }

    /// Has the issuer vouch for a token at `now`, or remembers that it did or did not.
    ///
    /// # Errors
    ///
    /// [`IntrospectionError`] names the first rule that is broken; its
    /// [`fault`](IntrospectionError::fault) is the authority's when nobody can tell.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Outcome {
        match self.begin(token, now) {
            Begun::Known(outcome) => outcome,
            Begun::Asked(asked) => asked.answered().await,
        }
    }

    /// What is known of a token, or a question that is on its way.
    pub(crate) fn begin(&self, token: &str, now: Timestamp) -> Begun {
        if token.len() > MAX_LEN {
            return Begun::Known(Err(IntrospectionError::TooLong { len: token.len() }));
        }
        let inner = &self.0;
        let name = inner.good.name(token.as_bytes());
        if let Some(known) = inner.known(&name, now) {
            return Begun::Known(known);
        }
        let ask = || {
            let (inner, token) = (Arc::clone(inner), Secret::new(token.to_owned()));
            async move {
                let outcome = inner.ask(&token, now).await;
                inner.remember(name, &outcome, now);
                outcome
            }
        };
        match inner.flights.join(name, ask) {
            Ok(flight) => Begun::Asked(Asked { flight, now }),
            Err(FlightError::NoRuntime) => Begun::Known(Err(IntrospectionError::NoRuntime)),
            Err(FlightError::TooMany) => Begun::Known(Err(IntrospectionError::TooMany)),
        }
    }
}

/// A verdict, or one to come.
pub(crate) enum Begun {
    Known(Outcome),
    Asked(Asked),
}

/// A question about a token.
pub(crate) struct Asked {
    flight: Flight<Outcome>,
    now: Timestamp,
}

impl Asked {
    pub(crate) async fn answered(self) -> Outcome {
        let Self { flight, now } = self;
        let token = flight.landed().await.unwrap_or(Err(IntrospectionError::GivenUp))?;
        // It was judged at the time of whoever asked first.
        if now >= token.counts_until() {
            let expired = ClaimsError::Expired { now, expires: token.expires() };
            return Err(IntrospectionAnswerError::Token(expired.into()).into());
        }
        Ok(token)
    }
}

impl Inner {
    fn known(&self, name: &[u8; 32], now: Timestamp) -> Option<Outcome> {
        let good = Moment { now, max_age: self.max_age };
        let bad = Moment { now, max_age: self.refusal_age };
        let token = self.good.find(name, &good, |token| Some(Ok(token.clone())));
        token.or_else(|| self.bad.find(name, &bad, |error| Some(Err(error.clone()))))
    }

    /// Of what is the authority's fault nothing is remembered.
    fn remember(&self, name: [u8; 32], outcome: &Outcome, now: Timestamp) {
        match outcome {
            Ok(token) => {
                let until = token.expires();
                self.good.insert(Verdict { name, value: token.clone(), since: now, until });
            }
            Err(error) if error.is_about_token() => {
                let until = Timestamp::MAX;
                self.bad.insert(Verdict { name, value: error.clone(), since: now, until });
            }
            Err(_) => {}
        }
    }

    async fn ask(&self, token: &Secret<String>, now: Timestamp) -> Outcome {
        let asked = timeout(self.timeout, self.post(token, now)).await;
        let late = FetchError::Timeout { after: self.timeout };
        let answer = asked.unwrap_or(Err(late.into()))?;
        Ok(verified(self.rules.judge(&self.issuer, token.expose(), &answer, now)?, answer))
    }

    /// Rule 2.
    async fn post(
        &self,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<Vec<u8>, IntrospectionError> {
        // It is never closed.
        let _room = self.room.acquire().await.map_err(|_| IntrospectionError::GivenUp)?;
        let form =
            Form::new().with("token", token.expose()).with("token_type_hint", "access_token");
        let (form, authorization) = self.client.applied(form, &self.issuer, now)?;
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let statuses = [StatusCode::OK, StatusCode::BAD_REQUEST];
        let answer =
            self.fetcher.post_form(&self.endpoint, headers, form.text(), &statuses).await?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer.into_body().into());
        }
        let status = FetchError::Status { status: status.as_u16() };
        Err(unsupported(answer.body()).map_or(status.into(), IntrospectionError::from))
    }
}

impl From<AccessTokenError> for IntrospectionAnswerError {
    fn from(error: AccessTokenError) -> Self {
        Self::Token(error)
    }
}

#[cfg(test)]
mod tests;
