//! What has to be said before there are tokens for requests of our own.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use zt_core::fault::Fault;

use super::actor::ActorToken;
use super::destination::Destination;
use super::held::{Held, Tokens};
use super::proof::Proofs;
use super::token_endpoint::TokenEndpoint;
use super::{DEFAULT_CAPACITY, Inner, MAX_WAITING, OutgoingTokens};
use crate::algorithm::NoRandomness;
use crate::excerpt::excerpt;
use crate::oidc::client_authentication::ClientAuthentication;
use crate::oidc::flight::Flights;
use crate::oidc::issuer::Issuer;
use crate::oidc::transport::{TlsError, Transport};
use crate::signing_key::{SigningKey, SigningKeyError};

/// How many tokens are asked for at a time; more of them wait.
const REQUESTS_AT_ONCE: usize = 32;

/// [`OutgoingTokens`] in the making.
#[must_use]
#[derive(Clone, Debug)]
pub struct OutgoingTokensBuilder {
    issuer: Issuer,
    token_endpoint: Arc<str>,
    client: Option<ClientAuthentication>,
    transport: Transport,
    destinations: Vec<Destination>,
    key: Option<SigningKey>,
    actor: Option<ActorToken>,
    capacity: usize,
}

/// A destination, and what is known of it.
pub(super) struct Place {
    pub(super) number: usize,
    pub(super) destination: Destination,
    /// The nonce that its next proof is to have.
    pub(super) nonce: ArcSwapOption<String>,
    /// The token of this service itself.
    pub(super) own: ArcSwapOption<Held>,
}

impl OutgoingTokensBuilder {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            token_endpoint: Arc::from(""),
            client: None,
            transport: Transport::default(),
            destinations: Vec::new(),
            key: None,
            actor: None,
            capacity: DEFAULT_CAPACITY,
        }
    }

    /// Where tokens are given out: an `https` URL without user and fragment, or one of this machine
    /// where the issuer [is there](Issuer::loopback), too.
    pub fn token_endpoint(mut self, url: &str) -> Self {
        self.token_endpoint = url.into();
        self
    }

    /// How this service shows the token endpoint who it is.
    pub fn client(mut self, client: ClientAuthentication) -> Self {
        self.client = Some(client);
        self
    }

    /// How the token endpoint is reached, and how long an answer may take.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Adds a destination. Tokens go to those that were added, and nowhere else.
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// The key that tokens are bound to, instead of one that this process makes up: they count no
    /// longer than the process then.
    pub fn dpop_key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The token of this service that goes to the token endpoint beside that of a user (RFC 8693
    /// §2.1); none unless stated otherwise. Where it is missing then, nothing is exchanged.
    pub fn actor(mut self, actor: ActorToken) -> Self {
        self.actor = Some(actor);
        self
    }

    /// How many tokens of users are remembered, [`DEFAULT_CAPACITY`] unless stated otherwise.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// The tokens. Nothing is asked for yet.
    ///
    /// # Errors
    ///
    /// [`OutgoingTokensError`] when there is no token endpoint that may be told a secret, no client
    /// or no destination, two destinations of one origin, or one that does not say what its tokens
    /// are for.
    pub fn build(self) -> Result<OutgoingTokens, OutgoingTokensError> {
        if !self.issuer.admits_keys_at(&self.token_endpoint) || self.token_endpoint.contains('#') {
            let found = excerpt(&self.token_endpoint);
            return Err(OutgoingTokensError::TokenEndpoint { found });
        }
        let client = self.client.ok_or(OutgoingTokensError::NoClient)?;
        let places = places(self.destinations)?;
        let key = self.key.map_or_else(SigningKey::generate, Ok)?;
        let endpoint = TokenEndpoint {
            fetcher: self.transport.fetcher(self.issuer.is_loopback())?,
            timeout: self.transport.patience(),
            issuer: self.issuer,
            url: self.token_endpoint,
            client,
            actor: self.actor,
            proofs: Proofs::new(key),
            nonce: ArcSwapOption::empty(),
            room: Semaphore::new(REQUESTS_AT_ONCE),
        };
        let tokens = Tokens::new(self.capacity)?;
        let flights = Flights::new(MAX_WAITING);
        Ok(OutgoingTokens(Arc::new(Inner { endpoint, places, tokens, flights })))
    }
}

fn places(destinations: Vec<Destination>) -> Result<Box<[Place]>, OutgoingTokensError> {
    if destinations.is_empty() {
        return Err(OutgoingTokensError::NoDestination);
    }
    for (at, one) in destinations.iter().enumerate() {
        let origin = || one.origin().to_string();
        if destinations.iter().take(at).any(|other| other.origin() == one.origin()) {
            return Err(OutgoingTokensError::Twice { origin: origin() });
        }
        if !one.is_named() {
            return Err(OutgoingTokensError::Unnamed { origin: origin() });
        }
    }
    let place = |(number, destination)| Place {
        number,
        destination,
        nonce: ArcSwapOption::empty(),
        own: ArcSwapOption::empty(),
    };
    Ok(destinations.into_iter().enumerate().map(place).collect())
}

/// Why there can be no tokens for requests of our own.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingTokensError {
    /// The token endpoint may not be told a secret, or none was given.
    #[error("no token may be asked for at {found:?}")]
    TokenEndpoint {
        /// The URL, cut; empty when none was given.
        found: String,
    },
    /// The service does not say who it is.
    #[error("who asks for tokens says who it is")]
    NoClient,
    /// No destination was named.
    #[error("tokens go to destinations that are named, and there is none")]
    NoDestination,
    /// An origin is the destination of two kinds of tokens.
    #[error("{origin} is there twice")]
    Twice {
        /// Which.
        origin: String,
    },
    /// A destination does not say what its tokens are for, or by a name that is none.
    #[error("the tokens for {origin} need an audience, a resource or, without a user, a scope")]
    Unnamed {
        /// Which.
        origin: String,
    },
    /// The token endpoint cannot be authenticated.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no key to bind tokens to.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// There is no randomness for a key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl OutgoingTokensError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
