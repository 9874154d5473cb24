//! What a token is bound to (RFC 7800, RFC 8705).

use std::sync::Arc;

use crate::base64url;
use crate::claims::ClaimsError;
use crate::excerpt::excerpt;
use crate::json::{Object, Value};

/// What the sender of a token has to possess: the claim `cnf` (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    certificate: Option<[u8; 32]>,
    other: Option<Arc<str>>,
}

impl Confirmation {
    /// A `cnf` without a method would bind a token to nothing, so it is malformed.
    pub(crate) fn read(claims: &Object<'_>) -> Result<Option<Self>, ClaimsError> {
        let malformed = ClaimsError::Malformed { claim: "cnf" };
        let Some(value) = claims.get("cnf") else { return Ok(None) };
        let methods = value.as_object().filter(|methods| !methods.is_empty());
        let methods = methods.ok_or(malformed.clone())?;
        let certificate = match methods.get("x5t#S256") {
            None => None,
            Some(value) => Some(thumbprint(value).ok_or(malformed)?),
        };
        let other = methods.iter().map(|(name, _)| name).find(|name| *name != "x5t#S256");
        let other = other.map(|name| Arc::from(excerpt(name)));
        Ok(Some(Self { certificate, other }))
    }

    /// The SHA-256 digest of the sender's certificate in DER: `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub fn certificate_sha256(&self) -> Option<&[u8; 32]> {
        self.certificate.as_ref()
    }

    /// The first method besides that, such as `jkt`: none of them can be checked yet, so a token
    /// that has one is refused by every binding. The name is cut.
    #[must_use]
    pub fn unsupported(&self) -> Option<&str> {
        self.other.as_deref()
    }
}

fn thumbprint(value: &Value<'_>) -> Option<[u8; 32]> {
    base64url::decode(value.as_str()?).ok()?.try_into().ok()
}
