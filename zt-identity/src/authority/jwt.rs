//! JWT-SVIDs of the development authority.

use std::fmt;
use std::time::Duration;

use zt_core::spiffe::SpiffeId;

use super::signing_key::quoted;
use super::{Authority, AuthorityError};
use crate::jwt_bundle::JwtBundle;

/// How long a JWT-SVID counts: 5 minutes, as SPIRE's do.
pub const JWT_SVID_LIFETIME: Duration = Duration::from_secs(300);

impl Authority {
    /// A JWT-SVID for the workload with this path, meant for this audience.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the path is not one of a SPIFFE ID.
    pub fn jwt_svid(&self, path: &str, audience: &str) -> Result<String, AuthorityError> {
        let id = SpiffeId::from_path(self.trust_domain.borrowed(), path)?;
        let issued_at = self.now.as_secs();
        let expires = self.now.saturating_add(JWT_SVID_LIFETIME).as_secs();
        self.sign_jwt_svid(format_args!(
            r#"{{"sub":"{id}","aud":[{}],"iat":{issued_at},"exp":{expires}}}"#,
            quoted(audience)
        ))
    }

    /// Signs these claims, a JSON object, whatever they say: for tests of what is refused.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Claims`] when they are something else.
    pub fn sign_jwt_svid(&self, claims: impl fmt::Display) -> Result<String, AuthorityError> {
        self.jwt_key.sign("JWT", &claims.to_string())
    }

    /// The keys for JWT-SVIDs as a bundle endpoint publishes them: a JSON document.
    #[must_use]
    pub fn jwt_bundle_document(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwt_key.jwk("jwt-svid"))
    }

    /// The bundle of the trust domain for JWT-SVIDs.
    #[must_use]
    pub fn jwt_bundle(&self) -> JwtBundle {
        let document = self.jwt_bundle_document();
        JwtBundle::from_spiffe_bundle(self.trust_domain.clone(), document.as_bytes())
            .unwrap_or_else(|_| JwtBundle::empty(self.trust_domain.clone()))
    }
}
