//! What an access token says about its user.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use zt_core::attribute::Value as AttributeValue;
use zt_core::principal::{Authentication, User};
use zt_core::time::Timestamp;

use crate::algorithm::sha256;
use crate::claims::{self, ClaimsError, Lifetime};
use crate::confirmation::Confirmation;
use crate::json::Object;
use crate::oidc::own_claims::{Payload, UnfitClaims};

/// What a verified access token says. A clone shares it.
///
/// Whoever sent it is known only once it is bound:
///
/// ```compile_fail,E0308
/// use zt_core::principal::User;
/// use zt_core::verified::Verified;
/// use zt_identity::oidc::access_token::AccessToken;
///
/// fn sender(token: Verified<AccessToken>) -> Verified<User> {
///     token
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Contents>);

#[derive(PartialEq, Eq)]
struct Contents {
    facts: Facts,
    payload: Payload,
}

/// What a token says that counts.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::oidc) struct Facts {
    user: User,
    confirmation: Option<Confirmation>,
    // Of the token as it was sent, where it is bound to a key: no other token needs it.
    sha256: Option<[u8; 32]>,
    id: Option<Arc<str>>,
    session: Option<Arc<str>>,
    lifetime: Lifetime,
    key_generation: u64,
}

impl Facts {
    /// Reads the claims that are not about whether the token counts, once it does.
    pub(super) fn read(
        token: &str,
        claims: &Object<'_>,
        user: User,
        lifetime: Lifetime,
        key_generation: u64,
    ) -> Result<Self, ClaimsError> {
        let confirmation = Confirmation::read(claims)?;
        let key = confirmation.as_ref().and_then(Confirmation::key_thumbprint);
        Ok(Self {
            user,
            sha256: key.map(|_| sha256(token.as_bytes())),
            confirmation,
            id: claims::text(claims, "jti")?.map(Arc::from),
            session: claims::text(claims, "sid")?.map(Arc::from),
            lifetime,
            key_generation,
        })
    }
}

impl AccessToken {
    pub(in crate::oidc) fn new(facts: Facts, payload: Vec<u8>) -> Self {
        Self(Arc::new(Contents { facts, payload: Payload::new(payload) }))
    }

    pub(crate) fn user(&self) -> &User {
        &self.0.facts.user
    }

    /// What proofs name it by (RFC 9449 §4.2, `ath`), where it is bound to a key.
    pub(crate) fn sha256(&self) -> Option<&[u8; 32]> {
        self.0.facts.sha256.as_ref()
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.facts.user.issuer()
    }

    /// Whom it is about: `sub`, or what the [mapping](crate::oidc::claim_mapping) of its issuer
    /// takes for the username.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.facts.user.subject()
    }

    /// The client it was issued to: `client_id`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.facts.user.client()
    }

    /// What the client may do: `scope`.
    #[must_use]
    pub fn scopes(&self) -> &[Arc<str>] {
        self.0.facts.user.scopes()
    }

    /// The roles of its subject.
    #[must_use]
    pub fn roles(&self) -> &[Arc<str>] {
        self.0.facts.user.roles()
    }

    /// The groups of its subject.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        self.0.facts.user.groups()
    }

    /// How and when its subject authenticated: `acr`, `amr` and `auth_time`.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        self.0.facts.user.authentication()
    }

    /// The address of its subject, where the issuer says `email_verified: true` (T-14).
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        match self.0.facts.user.attributes().get("email") {
            Some(AttributeValue::String(email)) => Some(email),
            _ => None,
        }
    }

    /// All of its claims, in a type of one's own. They were read strictly before, so there is one
    /// way only to read them.
    ///
    /// ```
    /// # #[cfg(feature = "authority")] {
    /// # use zt_core::time::Timestamp;
    /// # use zt_identity::authority::Issuer;
    /// # use zt_identity::oidc::access_token::AccessTokenVerifier;
    /// #[derive(serde::Deserialize)]
    /// struct Tenancy<'t> {
    ///     tenant: &'t str,
    ///     #[serde(default)]
    ///     trial: bool,
    /// }
    ///
    /// # let now = Timestamp::from_secs(1_800_000_000);
    /// # let issuer = Issuer::new("https://login.example.com", now)?;
    /// # let tokens = AccessTokenVerifier::for_issuer(issuer.url().clone())
    /// #     .audience("orders").keys(issuer.keys()?).build()?;
    /// let bearer = issuer.mint(r#"{"sub": "alice", "aud": "orders", "tenant": "acme"}"#)?;
    /// let token = tokens.verify(&bearer, now)?;
    /// let tenancy: Tenancy = token.claims()?;
    /// assert_eq!((tenancy.tenant, tenancy.trial), ("acme", false));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnfitClaims`] when they are not of this type.
    pub fn claims<'t, C: Deserialize<'t>>(&'t self) -> Result<C, UnfitClaims> {
        self.0.payload.read()
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.facts.id.as_deref()
    }

    /// The session it belongs to, where the issuer says so: `sid`.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.0.facts.session.as_deref()
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.facts.lifetime.expires
    }

    /// Until when its verifier takes it: `exp` and the leeway. What was let in by it ends then too.
    #[must_use]
    pub fn counts_until(&self) -> Timestamp {
        self.0.facts.lifetime.counts_until
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.facts.lifetime.issued_at
    }

    /// What its sender has to possess: `cnf`.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.0.facts.confirmation.as_ref()
    }

    /// The generation of the keys it was verified with: a verdict on it ends with them (T-23).
    #[must_use]
    pub fn key_generation(&self) -> u64 {
        self.0.facts.key_generation
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessToken").field(&self.0.facts).finish()
    }
}
