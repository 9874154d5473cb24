//! An OpenID provider for development and tests, without any HTTP.

use std::fmt;
use std::time::Duration;

use zt_core::time::Timestamp;

use super::error::AuthorityError;
use super::signing_key::{SigningKey, quoted};
use crate::json::Object;
use crate::jwk::JwkSet;
use crate::oidc;
use crate::oidc::keys::IssuerKeys;

/// How long a token counts unless its claims say otherwise: 10 minutes.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// An OpenID provider, in memory: it signs whatever it is told to with a key on P-256, and gives
/// out the documents that a provider would serve.
///
/// ```
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Issuer;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let issuer = Issuer::new("https://login.example.com", now)?;
/// let token = issuer.mint(r#"{"sub": "alice", "aud": "orders", "roles": ["clerk"]}"#)?;
///
/// let tokens = AccessTokenVerifier::builder("https://login.example.com")?
///     .audience("orders")
///     .keys(issuer.keys()?)
///     .build()?;
/// assert_eq!(tokens.verify(&token, now)?.subject(), "alice");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Issuer {
    url: oidc::issuer::Issuer,
    now: Timestamp,
    // Signs; both are published.
    current: SigningKey,
    previous: Option<SigningKey>,
}

impl Issuer {
    /// A provider with this `https` URL. Tokens are issued as of `now`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the URL cannot name an issuer, or there is no randomness for a key.
    pub fn new(url: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        Self::named(oidc::issuer::Issuer::parse(url)?, now)
    }

    /// A provider of this name, which may be one on this machine.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a key.
    pub fn named(url: oidc::issuer::Issuer, now: Timestamp) -> Result<Self, AuthorityError> {
        Ok(Self { url, now, current: SigningKey::generate()?, previous: None })
    }

    /// Its URL: `iss`.
    #[must_use]
    pub const fn url(&self) -> &oidc::issuer::Issuer {
        &self.url
    }

    /// Issues from here on as of another time.
    pub const fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// An access token with these claims, a JSON object; a `serde_json::Value` will do. `iss`,
    /// `iat` and `exp` are added where they are missing.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Claims`] when the claims are no JSON object.
    pub fn mint(&self, claims: impl fmt::Display) -> Result<String, AuthorityError> {
        self.mint_as("at+jwt", claims)
    }

    /// A token of another type, such as `JWT` for an ID token or `logout+jwt`, as
    /// [`Issuer::mint`].
    ///
    /// # Errors
    ///
    /// As [`Issuer::mint`].
    pub fn mint_as(&self, typ: &str, claims: impl fmt::Display) -> Result<String, AuthorityError> {
        self.current.sign(typ, &self.completed(&claims.to_string())?)
    }

    /// The claims and those that were missing.
    fn completed(&self, claims: &str) -> Result<String, AuthorityError> {
        let given = Object::parse(claims.as_bytes())?;
        let expires = self.now.saturating_add(TOKEN_LIFETIME);
        let added: Vec<_> = [
            ("iss", quoted(self.url.as_str())),
            ("iat", self.now.as_secs().to_string()),
            ("exp", expires.as_secs().to_string()),
        ]
        .into_iter()
        .filter(|(name, _)| given.get(name).is_none())
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
        let members = claims.trim().strip_prefix('{').unwrap_or_default().trim_start();
        let comma = if given.is_empty() || added.is_empty() { "" } else { "," };
        Ok(format!("{{{}{comma}{members}", added.join(",")))
    }

    /// Its key set: what it serves at its `jwks_uri`.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys = [Some(&self.current), self.previous.as_ref()];
        let keys = keys.into_iter().flatten().map(|key| key.jwk("sig"));
        format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","))
    }

    /// Its keys, as they are now: the handle that verifiers take. A later
    /// [`rotate`](Issuer::rotate) does not change it.
    ///
    /// # Errors
    ///
    /// None in practice: the keys were sound when they were made.
    pub fn keys(&self) -> Result<IssuerKeys, AuthorityError> {
        Ok(IssuerKeys::fixed(JwkSet::parse(self.jwks().as_bytes())?))
    }

    /// Its discovery document, with the key set at `/jwks` (OpenID Connect Discovery §3).
    #[must_use]
    pub fn discovery(&self) -> String {
        let url = self.url.as_str();
        let jwks = format!("{}/jwks", url.trim_end_matches('/'));
        format!(
            r#"{{"issuer":{},"jwks_uri":{},"response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}}"#,
            quoted(url),
            quoted(&jwks)
        )
    }

    /// Signs with a new key from here on. The key before it stays published, until the next
    /// rotation.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when there is no randomness for a key.
    pub fn rotate(&mut self) -> Result<(), AuthorityError> {
        let before = std::mem::replace(&mut self.current, SigningKey::generate()?);
        self.previous = Some(before);
        Ok(())
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::access_token::{AccessTokenError, AccessTokenVerifier};

    fn issuer() -> Issuer {
        Issuer::new("https://login.example.com/\"", Timestamp::from_secs(1000)).unwrap()
    }

    fn verify(issuer: &Issuer, token: &str) -> Result<String, AccessTokenError> {
        AccessTokenVerifier::for_issuer(issuer.url().clone())
            .audience("orders")
            .keys(issuer.keys().unwrap())
            .build()
            .unwrap()
            .verify(token, Timestamp::from_secs(1000))
            .map(|token| token.subject().to_owned())
    }

    #[test]
    fn claims_are_completed_and_never_replaced() {
        let issuer = issuer();
        for claims in [
            r#"{"sub":"alice","aud":"orders"}"#,
            " { \"sub\":\"alice\", \"aud\":\"orders\", \"iat\":900 } ",
            r#"{"sub":"alice","aud":"orders","iat":1,"exp":2000,"iss":"https://login.example.com/\""}"#,
        ] {
            assert_eq!(verify(&issuer, &issuer.mint(claims).unwrap()).unwrap(), "alice");
        }
        let expired = issuer.mint(r#"{"sub":"alice","aud":"orders","exp":1}"#).unwrap();
        assert!(verify(&issuer, &expired).is_err());
        assert!(verify(&issuer, &issuer.mint("{}").unwrap()).is_err());
        assert!(issuer.mint("[]").is_err());
    }

    #[test]
    fn a_rotation_publishes_the_key_before_it_once_more() {
        let mut issuer = issuer();
        let token = issuer.mint(r#"{"sub":"alice","aud":"orders"}"#).unwrap();
        issuer.rotate().unwrap();
        assert!(verify(&issuer, &token).is_ok());
        assert!(verify(&issuer, &issuer.mint(r#"{"sub":"a","aud":"orders"}"#).unwrap()).is_ok());
        issuer.rotate().unwrap();
        assert!(matches!(verify(&issuer, &token), Err(AccessTokenError::UnknownKey { .. })));
    }

    #[test]
    fn the_discovery_document_names_the_issuer_and_its_keys() {
        let document = issuer().discovery();
        let document = Object::parse(document.as_bytes()).unwrap();
        assert_eq!(document.get("issuer").unwrap().as_str(), Some("https://login.example.com/\""));
        let jwks = document.get("jwks_uri").unwrap().as_str().unwrap();
        assert_eq!(jwks, "https://login.example.com/\"/jwks");
    }
}
