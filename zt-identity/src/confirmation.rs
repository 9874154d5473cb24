//! What a token is bound to (RFC 7800, RFC 8705, RFC 9449).

use std::sync::Arc;

use crate::base64url;
use crate::claims::ClaimsError;
use crate::excerpt::excerpt;
use crate::json::{Object, Value};

const CERTIFICATE: &str = "x5t#S256";
const KEY: &str = "jkt";

/// What the sender of a token has to possess: the claim `cnf` (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    certificate: Option<[u8; 32]>,
    key: Option<[u8; 32]>,
    other: Option<Arc<str>>,
}

impl Confirmation {
    /// A `cnf` without a method would bind a token to nothing, so it is malformed.
    pub(crate) fn read(claims: &Object<'_>) -> Result<Option<Self>, ClaimsError> {
        let malformed = ClaimsError::Malformed { claim: "cnf" };
        let Some(value) = claims.get("cnf") else { return Ok(None) };
        let methods = value.as_object().filter(|methods| !methods.is_empty());
        let methods = methods.ok_or(malformed.clone())?;
        let digest = |method| match methods.get(method) {
            None => Ok(None),
            Some(value) => thumbprint(value).map(Some).ok_or(malformed.clone()),
        };
        let (certificate, key) = (digest(CERTIFICATE)?, digest(KEY)?);
        let mut names = methods.iter().map(|(name, _)| name);
        let other = names.find(|name| ![CERTIFICATE, KEY].contains(name));
        let other = other.map(|name| Arc::from(excerpt(name)));
        Ok(Some(Self { certificate, key, other }))
    }

    /// The SHA-256 digest of the sender's certificate in DER: `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub fn certificate_sha256(&self) -> Option<&[u8; 32]> {
        self.certificate.as_ref()
    }

    /// The RFC 7638 thumbprint of the sender's key: `jkt` (RFC 9449 §6.1).
    #[must_use]
    pub fn key_thumbprint(&self) -> Option<&[u8; 32]> {
        self.key.as_ref()
    }

    /// The first method besides those, such as `jwk`: none of them can be checked, so a token that
    /// has one is refused by every binding. The name is cut.
    #[must_use]
    pub fn unsupported(&self) -> Option<&str> {
        self.other.as_deref()
    }
}

fn thumbprint(value: &Value<'_>) -> Option<[u8; 32]> {
    base64url::decode(value.as_str()?).ok()?.try_into().ok()
}
