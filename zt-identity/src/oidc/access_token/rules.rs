//! What the claims of an access token have to be, however they became known.

use std::sync::Arc;
use std::time::Duration;

use zt_core::time::Timestamp;

use super::token::Facts;
use super::{AccessTokenError, FOREIGN_CLAIMS, VerifierError};
use crate::claims::{self, Audience, DEFAULT_LEEWAY, TimeRules};
use crate::json::Object;
use crate::oidc::claim_mapping::ClaimMapping;
use crate::oidc::issuer::Issuer;

/// Rules 4 to 7 of the [module](super).
#[derive(Clone, Debug)]
pub(in crate::oidc) struct Rules {
    audience: Audience,
    times: TimeRules,
    untyped: bool,
    mapping: Arc<ClaimMapping>,
}

impl Rules {
    pub(in crate::oidc) fn mapping(&self) -> &ClaimMapping {
        &self.mapping
    }

    /// What counts of these claims of a token, when they let it count at `now`.
    pub(in crate::oidc) fn judge(
        &self,
        issuer: &Issuer,
        token: &str,
        claims: &Object<'_>,
        key_generation: u64,
        now: Timestamp,
    ) -> Result<Facts, AccessTokenError> {
        claims::check_issuer(claims, issuer.as_str())?;
        self.audience.check(claims)?;
        claims::subject(claims)?;
        let lifetime = self.times.check(claims, now)?;
        if self.untyped {
            check_foreign_claims(claims)?;
        }
        let user = self.mapping.user(claims, issuer.shared())?;
        Ok(Facts::read(token, claims, user, lifetime, key_generation)?)
    }
}

/// Rule 6: no claim belongs to another kind of token (RFC 8725 §3.12).
fn check_foreign_claims(claims: &Object<'_>) -> Result<(), AccessTokenError> {
    match FOREIGN_CLAIMS.iter().find(|claim| claims.get(claim).is_some()) {
        None => Ok(()),
        Some(claim) => Err(AccessTokenError::ForeignClaim { claim }),
    }
}

/// [`Rules`] in the making.
#[derive(Clone, Debug)]
pub(in crate::oidc) struct RulesBuilder {
    pub(in crate::oidc) audiences: Vec<Arc<str>>,
    pub(in crate::oidc) all_audiences: bool,
    pub(in crate::oidc) leeway: Duration,
    pub(in crate::oidc) max_lifetime: Option<Duration>,
    /// Nothing but its claims says what kind of token it is.
    pub(in crate::oidc) untyped: bool,
    pub(in crate::oidc) mapping: ClaimMapping,
}

impl Default for RulesBuilder {
    /// No audience yet, and the default for everything else.
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            all_audiences: false,
            leeway: DEFAULT_LEEWAY,
            max_lifetime: None,
            untyped: false,
            mapping: ClaimMapping::default(),
        }
    }
}

impl RulesBuilder {
    pub(in crate::oidc) fn build(self) -> Result<Rules, VerifierError> {
        let audience = if self.all_audiences {
            Audience::all(self.audiences)?
        } else {
            Audience::any(self.audiences)?
        };
        let times = TimeRules::default().with_leeway(self.leeway)?;
        self.mapping.check()?;
        Ok(Rules {
            audience,
            times: self.max_lifetime.map_or(times, |max| times.with_max_lifetime(max)),
            untyped: self.untyped,
            mapping: Arc::new(self.mapping),
        })
    }
}
