//! Access tokens, however it is found out that they are good.
//!
//! | made of | a token is | the answer |
//! |---|---|---|
//! | [`Issuers`], or one [`AccessTokenVerifier`] | verified each time | at once |
//! | [`CachedAccessTokenVerifier`] | verified once and remembered | at once |
//! | `IntrospectionVerifier` (feature `http`) | asked about once and remembered | at once where it is remembered |
//!
//! Whoever takes tokens takes a [`TokenVerifier`], and need not know which.

use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::algorithm::NoRandomness;
use crate::oidc::access_token::{AccessToken, AccessTokenError, AccessTokenVerifier};
use crate::oidc::issuers::Issuers;
use crate::oidc::verdict_cache::CachedAccessTokenVerifier;
use crate::possession::eventual::Eventual;

#[cfg(feature = "http")]
use crate::oidc::introspection::{Begun, IntrospectionError, IntrospectionVerifier};

/// Verifies access tokens of one kind. A clone shares what is remembered.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Issuer;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
/// use zt_identity::token_verifier::TokenVerifier;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let issuer = Issuer::new("https://login.example.com", now)?;
/// let signed = AccessTokenVerifier::for_issuer(issuer.url().clone())
///     .audience("orders")
///     .keys(issuer.keys()?)
///     .build()?;
/// let tokens = TokenVerifier::from(signed).cached(10_000)?;
///
/// let text = issuer.mint(r#"{"sub": "alice", "aud": "orders"}"#)?;
/// let token = tokens.verify(&text, now).into_ready().unwrap()?;
/// assert_eq!(token.subject(), "alice");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenVerifier(Kind);

#[derive(Clone, Debug)]
enum Kind {
    EachTime(Issuers),
    Cached(CachedAccessTokenVerifier),
    #[cfg(feature = "http")]
    Introspected(IntrospectionVerifier),
}

impl From<Issuers> for TokenVerifier {
    fn from(issuers: Issuers) -> Self {
        Self(Kind::EachTime(issuers))
    }
}

impl From<AccessTokenVerifier> for TokenVerifier {
    fn from(verifier: AccessTokenVerifier) -> Self {
        Issuers::from(verifier).into()
    }
}

impl From<CachedAccessTokenVerifier> for TokenVerifier {
    fn from(verifier: CachedAccessTokenVerifier) -> Self {
        Self(Kind::Cached(verifier))
    }
}

#[cfg(feature = "http")]
impl From<IntrospectionVerifier> for TokenVerifier {
    fn from(verifier: IntrospectionVerifier) -> Self {
        Self(Kind::Introspected(verifier))
    }
}

impl TokenVerifier {
    /// The same verifier, remembering as many good tokens as this, as
    /// [`AccessTokenVerifier::cached`] does. One that asks about tokens remembers them anyway, as
    /// many as it was built for.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when there is none for the key of the cache.
    pub fn cached(self, capacity: usize) -> Result<Self, NoRandomness> {
        let issuers = match self.0 {
            Kind::EachTime(issuers) => issuers,
            Kind::Cached(cached) => cached.issuers().clone(),
            #[cfg(feature = "http")]
            Kind::Introspected(verifier) => return Ok(verifier.into()),
        };
        Ok(issuers.cached(capacity)?.into())
    }

    /// The token, where it is remembered that it was good and that counts at `now` still. Nothing
    /// is verified, and nobody asked.
    #[must_use]
    pub fn remembered(
        &self,
        token: impl AsRef<[u8]>,
        now: Timestamp,
    ) -> Option<Verified<AccessToken>> {
        match &self.0 {
            Kind::EachTime(_) => None,
            Kind::Cached(verifier) => verifier.remembered(token, now),
            #[cfg(feature = "http")]
            Kind::Introspected(verifier) => verifier.remembered(token, now),
        }
    }

    /// Verifies a token at `now`. What somebody has to be asked for is
    /// [pending](Eventual::pending), and asked for from this call on.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Eventual<Result<Verified<AccessToken>, TokenVerifierError>> {
        match &self.0 {
            Kind::EachTime(issuers) => {
                Eventual::ready(issuers.verify(token, now).map_err(Into::into))
            }
            Kind::Cached(verifier) => {
                Eventual::ready(verifier.verify(token, now).map_err(Into::into))
            }
            #[cfg(feature = "http")]
            Kind::Introspected(verifier) => match verifier.begin(token, now) {
                Begun::Known(outcome) => Eventual::ready(outcome.map_err(Into::into)),
                Begun::Asked(asked) => {
                    Eventual::pending(async { asked.answered().await.map_err(Into::into) })
                }
            },
        }
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenVerifierError {
    /// The token is not one that an issuer has signed for us.
    #[error(transparent)]
    Signed(#[from] AccessTokenError),
    /// The token is not one that its issuer vouches for.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Introspected(#[from] IntrospectionError),
}

impl TokenVerifierError {
    /// Whose fault it is: the sender's when the token is refused, and the authority's when nobody
    /// can tell.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Signed(error) => error.fault(),
            #[cfg(feature = "http")]
            Self::Introspected(error) => error.fault(),
        }
    }

    /// What it is called in records and metrics: a name out of a fixed set, with nothing of the
    /// token in it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Signed(error) => error.reason(),
            #[cfg(feature = "http")]
            Self::Introspected(error) => error.reason(),
        }
    }
}
