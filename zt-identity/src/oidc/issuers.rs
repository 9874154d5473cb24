//! The access tokens of several issuers, each with its own keys, audiences, algorithms and names.
//!
//! [`Issuers::verify`] accepts a token when, in this order:
//!
//! 1. it has at most [`MAX_LEN`](crate::jws::MAX_LEN) bytes and three parts, and its payload is one
//!    strict JSON object (T-01 to T-03). Nobody is believed yet: anyone may have written it;
//! 2. its `iss` is, byte for byte, one of the issuers. That chooses whose rules apply, and nothing
//!    else;
//! 3. the [verifier](crate::oidc::access_token) of that issuer accepts it: with its keys, its
//!    algorithms, its audiences and its mapping, and none of another.
//!
//! So a token of one issuer is never held against the keys of another, and an issuer that is down
//! takes nobody with it.

use std::sync::Arc;

use zt_core::fault::Fault;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use crate::claims::{self, ClaimsError};
use crate::excerpt::excerpt;
use crate::json::Object;
use crate::jws::unverified_payload;
use crate::oidc::access_token::{AccessToken, AccessTokenError, AccessTokenVerifier};
use crate::oidc::issuer::Issuer;

/// How many issuers there are at most: as many as Kubernetes takes.
pub const MAX_ISSUERS: usize = 64;

/// Verifies the access tokens of several issuers. A clone shares their keys.
///
/// ```
/// # #[cfg(feature = "authority")] {
/// use zt_core::time::Timestamp;
/// use zt_identity::authority::Issuer;
/// use zt_identity::oidc::access_token::AccessTokenVerifier;
/// use zt_identity::oidc::claim_mapping::ClaimMapping;
/// use zt_identity::oidc::issuers::Issuers;
///
/// # let now = Timestamp::from_secs(1_800_000_000);
/// let staff = Issuer::new("https://staff.example.com", now)?;
/// let partners = Issuer::new("https://partners.example.com", now)?;
/// let verifier = |issuer: &Issuer, prefix| {
///     AccessTokenVerifier::for_issuer(issuer.url().clone())
///         .audience("orders")
///         .keys(issuer.keys().unwrap())
///         .mapping(ClaimMapping::subject_only().groups("groups", prefix))
///         .build()
/// };
/// let tokens = Issuers::new([verifier(&staff, "staff:")?, verifier(&partners, "partners:")?])?;
///
/// let bearer = partners.mint(r#"{"sub": "bob", "aud": "orders", "groups": ["admins"]}"#)?;
/// let token = tokens.verify(&bearer, now)?;
/// assert_eq!(&*token.groups()[0], "partners:admins");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Issuers {
    // INVARIANT: not empty, no two of one issuer, and no role or group of one is another's.
    verifiers: Arc<[AccessTokenVerifier]>,
}

impl From<AccessTokenVerifier> for Issuers {
    /// One issuer alone, whose names nobody else has.
    fn from(verifier: AccessTokenVerifier) -> Self {
        Self { verifiers: Arc::new([verifier]) }
    }
}

impl Issuers {
    /// The issuers of these verifiers.
    ///
    /// # Errors
    ///
    /// [`IssuersError`] when there is none, or more than [`MAX_ISSUERS`]; when two are of one
    /// issuer; and when a role or group of one could be taken for that of another. That cannot be
    /// where the prefixes of two issuers neither begin with each other, nor are empty. Two that are
    /// the same, and not empty, are taken for what somebody wanted.
    pub fn new(
        verifiers: impl IntoIterator<Item = AccessTokenVerifier>,
    ) -> Result<Self, IssuersError> {
        let verifiers: Vec<_> = verifiers.into_iter().take(MAX_ISSUERS.saturating_add(1)).collect();
        if verifiers.is_empty() {
            return Err(IssuersError::None);
        }
        if verifiers.len() > MAX_ISSUERS {
            return Err(IssuersError::TooMany);
        }
        for (at, one) in verifiers.iter().enumerate() {
            for other in verifiers.iter().take(at) {
                check_apart(other, one)?;
            }
        }
        Ok(Self { verifiers: verifiers.into() })
    }

    /// The verifier for tokens of this issuer.
    #[must_use]
    pub fn verifier(&self, issuer: &str) -> Option<&AccessTokenVerifier> {
        self.verifiers.iter().find(|verifier| verifier.issuer().as_str() == issuer)
    }

    /// All verifiers, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &AccessTokenVerifier> {
        self.verifiers.iter()
    }

    /// Verifies a token at `now`.
    ///
    /// # Errors
    ///
    /// [`AccessTokenError`] names the first rule that is broken; its
    /// [`fault`](AccessTokenError::fault) is the authority's when there are no keys to judge by.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified<AccessToken>, AccessTokenError> {
        if let [only] = &*self.verifiers {
            return only.verify(token, now);
        }
        let payload = unverified_payload(token)?;
        let claims = Object::parse_token(&payload)?;
        let facts = self.verifier_of(&claims)?.verify_read(token, &claims, now)?;
        Ok(AccessTokenVerifier::verified(facts, payload))
    }

    /// Rule 2.
    fn verifier_of(&self, claims: &Object<'_>) -> Result<&AccessTokenVerifier, ClaimsError> {
        let issuer = claims::text(claims, "iss")?.ok_or(ClaimsError::Missing { claim: "iss" })?;
        self.verifier(issuer).ok_or_else(|| ClaimsError::Issuer { found: excerpt(issuer) })
    }
}

fn check_apart(one: &AccessTokenVerifier, other: &AccessTokenVerifier) -> Result<(), IssuersError> {
    let (first, second) = (one.issuer(), other.issuer());
    if first == second {
        return Err(IssuersError::Twice { issuer: first.clone() });
    }
    for ((names, a), (_, b)) in one.mapping().prefixes().into_iter().zip(other.mapping().prefixes())
    {
        let (Some(a), Some(b)) = (a, b) else { continue };
        let meant = a == b && !a.is_empty();
        if !meant && (a.starts_with(b) || b.starts_with(a)) {
            let (first, second) = (first.clone(), second.clone());
            return Err(IssuersError::NamesMeet { names, first, second });
        }
    }
    Ok(())
}

/// Why several issuers cannot be accepted together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuersError {
    /// There is no issuer.
    #[error("there is no issuer")]
    None,
    /// There are more than [`MAX_ISSUERS`].
    #[error("more than {MAX_ISSUERS} issuers")]
    TooMany,
    /// An issuer has two verifiers.
    #[error("{issuer} is there twice")]
    Twice {
        /// The issuer.
        issuer: Issuer,
    },
    /// A name of one issuer could be taken for that of another.
    #[error("{names} of {first} could be taken for those of {second}: their prefixes do not tell")]
    NamesMeet {
        /// Which names: `roles` or `groups`.
        names: &'static str,
        /// One issuer.
        first: Issuer,
        /// The other.
        second: Issuer,
    },
}

impl IssuersError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

#[cfg(test)]
mod tests;
