//! What a verifier has to be told before there is one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use zt_core::fault::Fault;

use super::answer::AnswerRules;
use super::{
    DEFAULT_CAPACITY, DEFAULT_MAX_AGE, DEFAULT_QUESTIONS_AT_ONCE, DEFAULT_REFUSAL_AGE, Inner,
    IntrospectionVerifier, MAX_MAX_AGE, MAX_REFUSAL_AGE, MAX_WAITING,
};
use crate::algorithm::NoRandomness;
use crate::excerpt::excerpt;
use crate::oidc::access_token::VerifierError;
use crate::oidc::access_token::rules::RulesBuilder;
use crate::oidc::claim_mapping::ClaimMapping;
use crate::oidc::claim_path::ClaimPath;
use crate::oidc::client_authentication::ClientAuthentication;
use crate::oidc::flight::Flights;
use crate::oidc::issuer::Issuer;
use crate::oidc::transport::{TlsError, Transport};
use crate::verdicts::VerdictCache;

/// An [`IntrospectionVerifier`] in the making.
#[must_use]
#[derive(Clone, Debug)]
pub struct IntrospectionVerifierBuilder {
    issuer: Issuer,
    endpoint: Arc<str>,
    client: Option<ClientAuthentication>,
    transport: Transport,
    rules: RulesBuilder,
    untyped: bool,
    client_prefix: Option<Arc<str>>,
    capacity: usize,
    max_age: Duration,
    refusal_age: Duration,
    at_once: usize,
}

impl IntrospectionVerifierBuilder {
    pub(super) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            endpoint: Arc::from(""),
            client: None,
            transport: Transport::default(),
            // An answer has no type that would tell an ID token apart.
            rules: RulesBuilder { untyped: true, ..RulesBuilder::default() },
            untyped: false,
            client_prefix: None,
            capacity: DEFAULT_CAPACITY,
            max_age: DEFAULT_MAX_AGE,
            refusal_age: DEFAULT_REFUSAL_AGE,
            at_once: DEFAULT_QUESTIONS_AT_ONCE,
        }
    }

    /// Where the issuer is asked: an `https` URL without user and fragment, or one of this machine
    /// where the issuer [is there](Issuer::loopback), too.
    pub fn endpoint(mut self, url: &str) -> Self {
        self.endpoint = url.into();
        self
    }

    /// How this service shows the endpoint who it is. An endpoint that anyone may ask is one at
    /// which tokens can be guessed (RFC 7662 §4).
    pub fn client(mut self, client: ClientAuthentication) -> Self {
        self.client = Some(client);
        self
    }

    /// How the endpoint is reached, and how long an answer may take.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Adds a name of this service: a token has to be for one of those that were added.
    pub fn audience(mut self, name: impl Into<Arc<str>>) -> Self {
        self.rules.audiences.push(name.into());
        self
    }

    /// Demands that a token is for all of the names that were added.
    pub fn require_all_audiences(mut self) -> Self {
        self.rules.all_audiences = true;
        self
    }

    /// How far clocks may be apart: 60 s unless stated otherwise, and at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.rules.leeway = leeway;
        self
    }

    /// Refuses tokens that are issued for longer than this; no limit unless stated otherwise.
    pub fn max_lifetime(mut self, max: Duration) -> Self {
        self.rules.max_lifetime = Some(max);
        self
    }

    /// How what the issuer says becomes a user, instead of [`ClaimMapping::default`].
    pub fn mapping(mut self, mapping: ClaimMapping) -> Self {
        self.rules.mapping = mapping;
        self
    }

    /// Where the user's roles stand; `roles` unless stated otherwise.
    pub fn roles_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.rules.mapping = self.rules.mapping.roles(path, "");
        self
    }

    /// Where the user's groups stand; `groups` unless stated otherwise.
    pub fn groups_claim(mut self, path: impl Into<ClaimPath>) -> Self {
        self.rules.mapping = self.rules.mapping.groups(path, "");
        self
    }

    /// Also admits tokens of which the issuer does not say by `token_type` how they are used, as
    /// RFC 7662 §2.2 lets it. An issuer that answers for its refresh tokens in the same way would
    /// have them open this service.
    pub fn admit_untyped(mut self) -> Self {
        self.untyped = true;
        self
    }

    /// Takes a client that asks for itself for the subject of its tokens, where they have none:
    /// its `client_id`, with this before it, which no `sub` of a user may begin with (RFC 9068 §5).
    pub fn clients_as_subjects(mut self, prefix: &str) -> Self {
        self.client_prefix = Some(prefix.into());
        self
    }

    /// How many good tokens are remembered, and how many bad ones: [`DEFAULT_CAPACITY`] each,
    /// unless stated otherwise. The number is rounded as in a
    /// [`verdicts`](crate::verdicts).
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// How long a good token is believed without asking again: [`DEFAULT_MAX_AGE`] unless stated
    /// otherwise, at most [`MAX_MAX_AGE`], and never when it is zero.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How long a bad token is refused without asking again: [`DEFAULT_REFUSAL_AGE`] unless stated
    /// otherwise, at most [`MAX_REFUSAL_AGE`], and never when it is zero.
    pub fn refusal_age(mut self, age: Duration) -> Self {
        self.refusal_age = age;
        self
    }

    /// How many questions go on at a time, at least one, and [`DEFAULT_QUESTIONS_AT_ONCE`] unless
    /// stated otherwise. More of them wait, within their timeout.
    pub fn questions_at_once(mut self, count: usize) -> Self {
        self.at_once = count;
        self
    }

    /// The verifier. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`IntrospectionVerifierError`] when there is no endpoint that may be asked, no client, no
    /// audience, when the leeway or an age is too long, and when the mapping cannot be meant as it
    /// is.
    pub fn build(self) -> Result<IntrospectionVerifier, IntrospectionVerifierError> {
        let rules = self.rules.build()?;
        if !self.issuer.admits_keys_at(&self.endpoint) || self.endpoint.contains('#') {
            let found = excerpt(&self.endpoint);
            return Err(IntrospectionVerifierError::Endpoint { found });
        }
        let client = self.client.ok_or(IntrospectionVerifierError::NoClient)?;
        for (age, max) in [(self.max_age, MAX_MAX_AGE), (self.refusal_age, MAX_REFUSAL_AGE)] {
            if age > max {
                return Err(IntrospectionVerifierError::Age { age, max });
            }
        }
        let good = VerdictCache::new(self.capacity)?;
        let bad = good.with_the_same_names();
        let at_once = self.at_once.clamp(1, Semaphore::MAX_PERMITS);
        Ok(IntrospectionVerifier(Arc::new(Inner {
            fetcher: self.transport.fetcher(self.issuer.is_loopback())?,
            timeout: self.transport.patience(),
            issuer: self.issuer,
            endpoint: self.endpoint,
            client,
            rules: AnswerRules { rules, untyped: self.untyped, client_prefix: self.client_prefix },
            max_age: self.max_age,
            refusal_age: self.refusal_age,
            good,
            bad,
            flights: Flights::new(MAX_WAITING),
            room: Semaphore::new(at_once),
        })))
    }
}

/// Why a verifier cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionVerifierError {
    /// The endpoint may not be asked, or none was given.
    #[error("no issuer may be asked at {found:?}")]
    Endpoint {
        /// The URL, cut; empty when none was given.
        found: String,
    },
    /// The service does not say who it is.
    #[error("a verifier shows the endpoint who it is")]
    NoClient,
    /// No audience was given, the leeway is too long, or the mapping cannot be meant as it is.
    #[error(transparent)]
    Rules(#[from] VerifierError),
    /// Something would be remembered for too long.
    #[error("verdicts of {age:?}, and at most {max:?} are granted")]
    Age {
        /// How long was asked for.
        age: Duration,
        /// How long is granted.
        max: Duration,
    },
    /// The endpoint cannot be authenticated.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no randomness for a key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl IntrospectionVerifierError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
