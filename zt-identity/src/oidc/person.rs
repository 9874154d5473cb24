//! What tokens say about a person: claims that access tokens and ID tokens share.

use std::sync::Arc;

use zt_core::principal::Authentication;

use crate::claims::{self, ClaimsError};
use crate::json::{Object, Value};

/// `acr`, `amr` and `auth_time` (RFC 9068 §2.2.1, T-13).
pub(super) fn authentication(claims: &Object<'_>) -> Result<Authentication, ClaimsError> {
    let mut authentication = Authentication::default();
    authentication.acr = claims::text(claims, "acr")?.map(Arc::from);
    authentication.auth_time = claims::date(claims, "auth_time")?;
    if let Some(value) = claims.get("amr") {
        let methods = value.as_strings().ok_or(ClaimsError::Malformed { claim: "amr" })?;
        authentication.amr = methods.into_iter().map(Arc::from).collect();
    }
    Ok(authentication)
}

/// An address that the issuer has not verified is what the user typed (T-14).
pub(super) fn verified_email<'c>(claims: &'c Object<'_>) -> Result<Option<&'c str>, ClaimsError> {
    match claims.get("email_verified") {
        Some(Value::Bool(true)) => claims::text(claims, "email"),
        _ => Ok(None),
    }
}
