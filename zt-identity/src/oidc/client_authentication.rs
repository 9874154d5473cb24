//! How a client of our own shows an authorization server who it is (RFC 6749 §2.3).
//!
//! | method | what is sent |
//! |---|---|
//! | `client_secret_basic` | name and secret in `Authorization`, each escaped as in a form (RFC 6749 §2.3.1) |
//! | `private_key_jwt` | a JWT of 1 minute, signed by ES256, whose only audience is the issuer (RFC 7523 §2.2, §3) |
//! | `tls_client_auth`, `self_signed_tls_client_auth` | the name; the certificate is that of the connection (RFC 8705 §2) |
//!
//! A secret in the form, and a client that shows nothing, are not supported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zt_core::fault::Fault;
use zt_core::secret::Secret;
use zt_core::time::Timestamp;

use crate::algorithm::{NoRandomness, random_text};
use crate::json::Value;
use crate::oidc::form::{Form, escape};
use crate::oidc::issuer::Issuer;
use crate::signing_key::SigningKey;

/// How long an assertion of ours counts.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client, and how it shows who it is. A clone shares its key.
///
/// ```
/// use zt_core::secret::Secret;
/// use zt_identity::oidc::client_authentication::ClientAuthentication;
///
/// let secret = Secret::new(String::from("hunter2"));
/// let orders = ClientAuthentication::client_secret_basic("orders", secret)?;
/// assert!(!format!("{orders:?}").contains("hunter2"));
/// # Ok::<(), zt_identity::oidc::client_authentication::ClientAuthenticationError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAuthentication {
    // INVARIANT: not empty.
    client_id: Arc<str>,
    method: Method,
}

#[derive(Clone)]
enum Method {
    // INVARIANT: not empty.
    SecretBasic(Secret<String>),
    PrivateKeyJwt { key: SigningKey, kid: Option<Arc<str>> },
    Tls,
}

impl ClientAuthentication {
    /// By a secret that the server knows, too; whitespace around it is taken off.
    ///
    /// # Errors
    ///
    /// [`ClientAuthenticationError`] when the name or the secret is empty.
    pub fn client_secret_basic(
        client_id: &str,
        secret: Secret<String>,
    ) -> Result<Self, ClientAuthenticationError> {
        let secret = Secret::new(secret.expose().trim().to_owned());
        if secret.expose().is_empty() {
            return Err(ClientAuthenticationError::NoSecret);
        }
        Self::new(client_id, Method::SecretBasic(secret))
    }

    /// By a key whose public half the server knows, under this name where it has one.
    ///
    /// # Errors
    ///
    /// [`ClientAuthenticationError`] when the name of the client is empty.
    pub fn private_key_jwt(
        client_id: &str,
        key: SigningKey,
        kid: Option<&str>,
    ) -> Result<Self, ClientAuthenticationError> {
        Self::new(client_id, Method::PrivateKeyJwt { key, kid: kid.map(Arc::from) })
    }

    /// By the certificate that the [`Transport`](crate::oidc::transport::Transport) presents.
    ///
    /// # Errors
    ///
    /// [`ClientAuthenticationError`] when the name is empty.
    pub fn tls(client_id: &str) -> Result<Self, ClientAuthenticationError> {
        Self::new(client_id, Method::Tls)
    }

    fn new(client_id: &str, method: Method) -> Result<Self, ClientAuthenticationError> {
        if client_id.is_empty() {
            return Err(ClientAuthenticationError::NoClientId);
        }
        Ok(Self { client_id: client_id.into(), method })
    }

    /// The name that the server knows the client by.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The form, and the `Authorization`, by which a server of this issuer knows the client.
    pub(crate) fn applied(
        &self,
        form: Form,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<(Form, Option<HeaderValue>), NoRandomness> {
        match &self.method {
            Method::SecretBasic(secret) => Ok((form, Some(basic(&self.client_id, secret)))),
            Method::PrivateKeyJwt { key, kid } => {
                let assertion = self.assertion(key, kid.as_deref(), issuer, now)?;
                let form = form
                    .with("client_id", &self.client_id)
                    .with("client_assertion_type", ASSERTION_TYPE)
                    .with("client_assertion", assertion.expose());
                Ok((form, None))
            }
            Method::Tls => Ok((form.with("client_id", &self.client_id), None)),
        }
    }

    /// RFC 7523 §3. Its audience is the issuer and nothing else, so that no server of another
    /// issuer can pass it on.
    fn assertion(
        &self,
        key: &SigningKey,
        kid: Option<&str>,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<Secret<String>, NoRandomness> {
        let kid = kid.map(|kid| format!(r#","kid":{}"#, quoted(kid))).unwrap_or_default();
        let header = format!(r#"{{"alg":"ES256","typ":"JWT"{kid}}}"#);
        let (client, audience) = (quoted(&self.client_id), quoted(issuer.as_str()));
        let (begin, end) = (now.as_secs(), now.saturating_add(ASSERTION_LIFETIME).as_secs());
        let jti = random_text()?;
        let claims = format!(
            r#"{{"iss":{client},"sub":{client},"aud":{audience},"jti":"{jti}","iat":{begin},"exp":{end}}}"#
        );
        key.sign(&header, &claims).map(Secret::new)
    }
}

fn basic(client_id: &str, secret: &Secret<String>) -> HeaderValue {
    let pair = Secret::new(format!("{}:{}", escape(client_id), escape(secret.expose())));
    let value = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
    // Base64 is always a header's value.
    let value = HeaderValue::try_from(value.expose());
    let mut value = value.unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}

/// Without its secret.
impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretBasic(_) => "client_secret_basic",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
            Self::Tls => "tls_client_auth",
        })
    }
}

/// Why there is no such client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAuthenticationError {
    /// The client has no name.
    #[error("a client needs a name that is not empty")]
    NoClientId,
    /// The client has no secret.
    #[error("a client needs a secret that is not empty")]
    NoSecret,
}

impl ClientAuthenticationError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::json::Object;
    use crate::jwk::Jwk;
    use crate::jws::{Jws, Profile};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn applied(client: &ClientAuthentication) -> (String, Option<HeaderValue>) {
        let issuer = Issuer::parse("https://login.example.com").unwrap();
        let (form, header) = client.applied(Form::new().with("a", "b"), &issuer, NOW).unwrap();
        (form.text(), header)
    }

    #[test]
    fn name_and_secret_are_escaped_before_they_are_joined() {
        let secret = Secret::new(" s3cret:+ /é\n".to_owned());
        let client = ClientAuthentication::client_secret_basic("or:ders", secret).unwrap();
        let (form, header) = applied(&client);
        let header = header.unwrap();
        assert!(header.is_sensitive());
        let sent = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap());
        assert_eq!(sent.unwrap(), b"or%3Aders:s3cret%3A%2B+%2F%C3%A9");
        assert_eq!(form, "a=b");
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[test]
    fn an_assertion_is_signed_by_the_key_counts_a_minute_and_is_for_the_issuer_alone() {
        let key = SigningKey::generate().unwrap();
        let client =
            ClientAuthentication::private_key_jwt("orders", key.clone(), Some("k\"1")).unwrap();
        let (form, header) = applied(&client);
        assert_eq!(header, None);
        let (form, assertion) = form.split_once("&client_assertion=").unwrap();
        assert_eq!(
            form,
            "a=b&client_id=orders&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A\
             client-assertion-type%3Ajwt-bearer"
        );
        let jwk = key.jwk();
        let jwk = Jwk::for_one_signature(&Object::parse(jwk.as_bytes()).unwrap()).unwrap();
        let jws = Jws::parse(assertion, &Profile::new(&[Algorithm::Es256], &["JWT"])).unwrap();
        assert_eq!(jws.kid(), Some("k\"1"));
        let payload = jws.verify(&jwk).unwrap();
        let claims = Object::parse(&payload).unwrap();
        let text = |name| claims.get(name).unwrap().as_str().unwrap();
        assert_eq!([text("iss"), text("sub")], ["orders"; 2]);
        assert_eq!(text("aud"), "https://login.example.com");
        assert_eq!(text("jti").len(), 43);
        assert_eq!(claims.get("exp").unwrap().as_number(), Some("1800000060"));
        let (again, _) = applied(&client);
        assert!(!again.contains(assertion));
    }

    #[test]
    fn a_client_by_certificate_says_its_name() {
        let client = ClientAuthentication::tls("orders").unwrap();
        assert_eq!(applied(&client), ("a=b&client_id=orders".to_owned(), None));
    }

    #[test]
    fn a_client_has_a_name_and_a_secret() {
        let secret = |text: &str| Secret::new(text.to_owned());
        let refused = ClientAuthentication::client_secret_basic("", secret("a")).unwrap_err();
        assert_eq!(refused, ClientAuthenticationError::NoClientId);
        let refused = ClientAuthentication::client_secret_basic("a", secret(" \n")).unwrap_err();
        assert_eq!(refused, ClientAuthenticationError::NoSecret);
    }
}
