//! What our own requests carry: tokens that show another service who asks, and for whom.
//!
//! An [`OutgoingTokens`] knows the destinations that a service calls, and for each of them which
//! token goes there. [`OutgoingTokens::headers`] gives the headers of one request:
//!
//! 1. the request goes to the origin of a [`Destination`] that was named; for everything else there
//!    is no token, and an error instead of a request without one;
//! 2. for a destination [of this service](Destination::of_service) the token is this service's own
//!    (client credentials, RFC 6749 §4.4). A user's token is not looked at;
//! 3. for a destination [of the user](Destination::of_user) the user's token is exchanged (RFC 8693)
//!    for one whose audience was named. The token of the user itself goes to the token endpoint,
//!    and nowhere else; beside it goes one that names this service, where there is
//!    [one](OutgoingTokensBuilder::actor);
//! 4. where the destination [demands it](Destination::dpop), the token is bound to a key of this
//!    process, and each request has a proof of its own (RFC 9449).
//!
//! # What a token endpoint may answer
//!
//! One strict JSON object within the timeout, with status 200, and no redirect. The token is of the
//! type that was asked for: one that was to be bound to a key and is for bearers is refused, unless
//! the destination says otherwise. What was exchanged is an access token (`issued_token_type`), and
//! no scope that was asked for is missing. A token counts for as long as `expires_in` says, at most
//! [`MAX_LIFETIME`], for [`UNSTATED_LIFETIME`] where nothing is said, and never longer than the
//! user's token that it was exchanged for. Refresh tokens are not kept.
//!
//! # What is remembered
//!
//! A token is used until shortly before its end. When between seven and eight tenths of its time
//! have passed, the next request has a new one fetched in the background, and goes on with the old
//! one; what cannot be renewed counts to its end, then no longer. However many requests need one
//! token, it is asked for once. There is room for a token of each destination of this service, and
//! for a bounded number of those of users, by an HMAC of the user's token under a random key.
//!
//! # What a client of one's own must not do
//!
//! Headers are for the one request that they were made for. A client that follows redirects takes
//! them elsewhere: have it follow none.
//!
//! # Nonces
//!
//! A server may demand a nonce in proofs (RFC 9449 §8, §9). That of the token endpoint is taken here,
//! with one more attempt. That of a destination is in its answer: whoever sends the request shows
//! that to [`OutgoingTokens::answered`], and sends the request once more where it says so.

mod actor;
mod answer;
mod builder;
mod destination;
mod error;
mod held;
mod proof;
mod request;
mod token_endpoint;
mod user_token;

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zt_core::time::Timestamp;

pub use self::actor::{ActorToken, ActorTokenError};
use self::answer::Kind;
pub use self::answer::{MAX_ANSWER_LEN, MAX_LIFETIME, TokenAnswerError, UNSTATED_LIFETIME};
use self::builder::Place;
pub use self::builder::{OutgoingTokensBuilder, OutgoingTokensError};
pub use self::destination::{Destination, DestinationError};
pub use self::error::OutgoingError;
use self::held::{Held, Tokens};
use self::proof::{DPOP, Proven, nonce_of, wants_nonce};
pub use self::request::OutgoingRequest;
use self::token_endpoint::TokenEndpoint;
pub use self::user_token::UserToken;
use crate::oidc::flight::{FlightError, Flights};
use crate::oidc::issuer::{Issuer, IssuerError};

/// How many tokens of users are remembered, unless stated otherwise.
pub const DEFAULT_CAPACITY: usize = 10_000;
/// How many tokens are asked for or wait for that at most.
pub const MAX_WAITING: usize = 1024;

/// The tokens of our own requests. A clone shares them.
///
/// ```no_run
/// use http::{Method, Uri};
/// use zt_core::secret::Secret;
/// use zt_core::time::Timestamp;
/// use zt_identity::oidc::client_authentication::ClientAuthentication;
/// use zt_identity::outgoing::{Destination, OutgoingRequest, OutgoingTokens, UserToken};
///
/// # async fn call(secret: String, user: &UserToken, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = OutgoingTokens::builder("https://login.example.com")?
///     .token_endpoint("https://login.example.com/token")
///     .client(ClientAuthentication::client_secret_basic("orders", Secret::new(secret))?)
///     .destination(Destination::of_service("https://stock.example.com")?.audience("stock"))
///     .destination(Destination::of_user("https://billing.example.com")?.audience("billing").dpop())
///     .build()?;
///
/// let (method, uri) = (Method::GET, Uri::from_static("https://stock.example.com/items/7"));
/// let headers = tokens.headers(&OutgoingRequest::new(&method, &uri), now).await?;
///
/// let (method, uri) = (Method::POST, Uri::from_static("https://billing.example.com/invoices"));
/// let request = OutgoingRequest::new(&method, &uri).for_user(user);
/// let headers = tokens.headers(&request, now).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OutgoingTokens(Arc<Inner>);

struct Inner {
    endpoint: TokenEndpoint,
    // INVARIANT: no two of one origin.
    places: Box<[Place]>,
    tokens: Tokens,
    flights: Flights<Result<Arc<Held>, OutgoingError>>,
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Answered {
    /// The answer is what there is.
    Done,
    /// The request was refused for want of a nonce, which is known now: the same request, with new
    /// headers, is worth one more attempt.
    Again,
}

impl OutgoingTokens {
    /// Begins with the authorization server that gives out the tokens, by its `https` URL.
    ///
    /// # Errors
    ///
    /// [`IssuerError`] when the URL cannot name one.
    pub fn builder(issuer: &str) -> Result<OutgoingTokensBuilder, IssuerError> {
        Issuer::parse(issuer).map(Self::for_issuer)
    }

    /// Begins with this authorization server.
    pub fn for_issuer(issuer: Issuer) -> OutgoingTokensBuilder {
        OutgoingTokensBuilder::new(issuer)
    }

    /// The headers by which a request shows who asks: `Authorization`, marked as sensitive, and
    /// where the destination demands it `DPoP`. They are for this one request, and to be attached
    /// last: no header of these names may be there already.
    ///
    /// # Errors
    ///
    /// [`OutgoingError`]; then the request is not to be sent. Its [`fault`](OutgoingError::fault) is
    /// the authority's when the token endpoint gives out none, and the peer's when the user's token
    /// is not good for what is asked.
    pub async fn headers(
        &self,
        request: &OutgoingRequest<'_>,
        now: Timestamp,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, OutgoingError> {
        let place = self.0.place(request)?;
        let user = match place.destination.is_of_user() {
            true => Some(request.user().ok_or(OutgoingError::NoUser)?),
            false => None,
        };
        let held = self.held(place, user, now).await?;
        let scheme = held.kind.name();
        let mut authorization = HeaderValue::try_from(format!("{scheme} {}", held.text.expose()))
            .map_err(|_| TokenAnswerError::Token)?;
        authorization.set_sensitive(true);
        let mut headers = vec![(AUTHORIZATION, authorization)];
        if held.kind == Kind::Dpop {
            let nonce = place.nonce.load();
            let proven = Proven {
                method: request.method().as_str(),
                url: &request.url(),
                token: Some(held.text.expose()),
                nonce: nonce.as_deref().map(String::as_str),
            };
            headers.push((DPOP, self.0.endpoint.proofs().proof(&proven, now)?));
        }
        Ok(headers)
    }

    /// Takes from an answer what the next request to the same destination needs, and says whether
    /// this one is worth one more attempt. Whoever sends it sees to that there is one only.
    pub fn answered(
        &self,
        request: &OutgoingRequest<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Answered {
        let Ok(place) = self.0.place(request) else { return Answered::Done };
        let Some(nonce) = nonce_of(headers).filter(|_| place.destination.is_proven()) else {
            return Answered::Done;
        };
        let old = place.nonce.swap(Some(Arc::new(nonce.to_owned())));
        let is_new = old.is_none_or(|old| *old != nonce);
        if is_new && status == StatusCode::UNAUTHORIZED && wants_nonce(headers) {
            return Answered::Again;
        }
        Answered::Done
    }

    /// A token that counts, and a new one in the background when it does not for much longer.
    async fn held(
        &self,
        place: &Place,
        user: Option<&UserToken>,
        now: Timestamp,
    ) -> Result<Arc<Held>, OutgoingError> {
        if let Some(user) = user {
            user.check(now)?;
        }
        let inner = &self.0;
        let name = inner.tokens.name(place.number, user);
        let known = inner.tokens.get(place, &name, now);
        if let Some(known) = known.as_ref().filter(|known| !known.is_to_be_renewed(now)) {
            return Ok(Arc::clone(known));
        }
        let asking = (Arc::clone(inner), place.number, user.cloned());
        let flight = inner.flights.join(name, || {
            let (inner, number, user) = asking;
            async move { inner.ask(number, user, name, now).await }
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let flight = flight.map_err(|error| match error {
            FlightError::NoRuntime => OutgoingError::NoRuntime,
            FlightError::TooMany => OutgoingError::TooMany,
        })?;
        flight.landed().await.unwrap_or(Err(OutgoingError::GivenUp))
    }
}

impl Inner {
    /// Rule 1.
    fn place(&self, request: &OutgoingRequest<'_>) -> Result<&Place, OutgoingError> {
        let origin = request.origin();
        let named = |place: &&Place| Some(place.destination.origin()) == origin.as_ref();
        self.places.iter().find(named).ok_or_else(|| request.nowhere())
    }

    async fn ask(
        &self,
        number: usize,
        user: Option<UserToken>,
        name: [u8; 32],
        now: Timestamp,
    ) -> Result<Arc<Held>, OutgoingError> {
        let place = self.places.get(number).ok_or(OutgoingError::GivenUp)?;
        let answer = self.endpoint.ask(&place.destination, user.as_ref(), now).await?;
        let held = Arc::new(Held::new(answer, user.as_ref(), now));
        self.tokens.insert(place, name, Arc::clone(&held), now);
        Ok(held)
    }
}

impl fmt::Debug for OutgoingTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destinations: Vec<_> = self.0.places.iter().map(|place| &place.destination).collect();
        f.debug_struct("OutgoingTokens")
            .field("endpoint", &self.0.endpoint)
            .field("destinations", &destinations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
