//! What an issuer publishes about itself (OpenID Connect Discovery §3).
//!
//! [`keys_url`] takes a discovery document when, in this order (§4.3, T-20):
//!
//! 1. it has at most [`MAX_SET_LEN`] bytes and is one strict JSON object;
//! 2. its `issuer` is, byte for byte, the one that was asked for;
//! 3. its `jwks_uri` is `https`, or on this machine when the issuer is, and names no user.
//!
//! Nothing else in it is looked at.

use zt_core::fault::Fault;

use crate::excerpt::excerpt;
use crate::json::{JsonError, Object};
use crate::jwk::MAX_SET_LEN;
use crate::oidc::issuer::Issuer;

/// Where the discovery document of `issuer` says that its keys are.
///
/// ```
/// use zt_identity::oidc::discovery::keys_url;
/// use zt_identity::oidc::issuer::Issuer;
///
/// let issuer = Issuer::parse("https://login.example.com")?;
/// let document = br#"{"issuer": "https://login.example.com", "jwks_uri": "https://keys.example.com/"}"#;
/// assert_eq!(keys_url(&issuer, document)?, "https://keys.example.com/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`DiscoveryError`] names the first rule that is broken.
pub fn keys_url(issuer: &Issuer, document: &[u8]) -> Result<String, DiscoveryError> {
    if document.len() > MAX_SET_LEN {
        return Err(DiscoveryError::TooLong { len: document.len() });
    }
    let discovery = Object::parse(document)?;
    let text = |name| discovery.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let found = text("issuer");
    if found != issuer.as_str() {
        return Err(DiscoveryError::OtherIssuer { found: excerpt(found) });
    }
    let url = text("jwks_uri");
    if !issuer.admits_keys_at(url) {
        return Err(DiscoveryError::KeysUrl { found: excerpt(url) });
    }
    Ok(url.to_owned())
}

/// Why a discovery document is not that of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The document is longer than [`MAX_SET_LEN`].
    #[error("a document of {len} bytes, and at most {MAX_SET_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The document is not JSON that is accepted.
    #[error("not JSON that is accepted")]
    Json(#[from] JsonError),
    /// The document is that of another issuer.
    #[error("the document is that of the issuer {found:?}")]
    OtherIssuer {
        /// Its issuer, cut; empty when it names none.
        found: String,
    },
    /// The document names no place for keys that may be asked.
    #[error("the document has no jwks_uri that may be asked: {found:?}")]
    KeysUrl {
        /// What it names, cut; empty when it names nothing.
        found: String,
    },
}

impl DiscoveryError {
    /// Whose fault it is: that of the authority.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(document: &str) -> Result<String, DiscoveryError> {
        keys_url(&Issuer::parse("https://login.example.com").unwrap(), document.as_bytes())
    }

    #[test]
    fn a_document_is_that_of_the_issuer_byte_for_byte() {
        for issuer in ["https://login.example.com/", "https://LOGIN.example.com", ""] {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://keys.example"}}"#);
            assert_eq!(ask(&document), Err(DiscoveryError::OtherIssuer { found: issuer.into() }));
        }
        let twice = r#"{"issuer":"https://login.example.com","issuer":"https://evil.example"}"#;
        assert!(matches!(ask(twice), Err(DiscoveryError::Json(_))));
        let long = format!("{}{{}}", " ".repeat(MAX_SET_LEN));
        assert!(matches!(ask(&long), Err(DiscoveryError::TooLong { .. })));
    }

    #[test]
    fn keys_are_at_an_https_url_that_names_no_user() {
        for url in ["", "http://keys.example", "https://u@keys.example", "https:///k", "file:///k"]
        {
            let document =
                format!(r#"{{"issuer":"https://login.example.com","jwks_uri":"{url}"}}"#);
            assert_eq!(ask(&document), Err(DiscoveryError::KeysUrl { found: url.into() }));
        }
    }
}
