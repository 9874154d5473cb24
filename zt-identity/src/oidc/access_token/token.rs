//! What an access token says about its user.

use std::fmt;
use std::sync::Arc;

use zt_core::attribute::{Attributes, Value as AttributeValue};
use zt_core::principal::{Authentication, User};
use zt_core::time::Timestamp;

use crate::claims::{self, ClaimsError, Lifetime};
use crate::confirmation::Confirmation;
use crate::json::Object;
use crate::oidc::claim_path::ClaimPath;
use crate::oidc::person::{authentication, verified_email};

/// What a verified access token says. A clone shares it.
///
/// Whoever sent it is known only once it is bound:
///
/// ```compile_fail,E0308
/// use zt_core::principal::User;
/// use zt_core::verified::Verified;
/// use zt_identity::oidc::access_token::AccessToken;
///
/// fn sender(token: Verified<AccessToken>) -> Verified<User> {
///     token
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Facts>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    user: User,
    confirmation: Option<Confirmation>,
    id: Option<Arc<str>>,
    session: Option<Arc<str>>,
    lifetime: Lifetime,
    key_generation: u64,
}

impl AccessToken {
    /// Reads the claims that are not about whether the token counts, once it does.
    pub(super) fn read(
        claims: &Object<'_>,
        user: User,
        names: &ClaimNames,
        lifetime: Lifetime,
        key_generation: u64,
    ) -> Result<Self, ClaimsError> {
        Ok(Self(Arc::new(Facts {
            user: describe(user, claims, names)?,
            confirmation: Confirmation::read(claims)?,
            id: claims::text(claims, "jti")?.map(Arc::from),
            session: claims::text(claims, "sid")?.map(Arc::from),
            lifetime,
            key_generation,
        })))
    }

    pub(crate) fn user(&self) -> &User {
        &self.0.user
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.user.issuer()
    }

    /// Whom it is about: `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.user.subject()
    }

    /// The client it was issued to: `client_id`.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.user.client()
    }

    /// What the client may do: `scope`.
    #[must_use]
    pub fn scopes(&self) -> &[Arc<str>] {
        self.0.user.scopes()
    }

    /// The roles of its subject.
    #[must_use]
    pub fn roles(&self) -> &[Arc<str>] {
        self.0.user.roles()
    }

    /// The groups of its subject.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        self.0.user.groups()
    }

    /// How and when its subject authenticated: `acr`, `amr` and `auth_time`.
    #[must_use]
    pub fn authentication(&self) -> &Authentication {
        self.0.user.authentication()
    }

    /// The address of its subject, where the issuer says `email_verified: true` (T-14).
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        match self.0.user.attributes().get("email") {
            Some(AttributeValue::String(email)) => Some(email),
            _ => None,
        }
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// The session it belongs to, where the issuer says so: `sid`.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.0.session.as_deref()
    }

    /// The end of its life, without leeway: `exp`.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.lifetime.expires
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.lifetime.issued_at
    }

    /// What its sender has to possess: `cnf`.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.0.confirmation.as_ref()
    }

    /// The generation of the keys it was verified with: a verdict on it ends with them (T-23).
    #[must_use]
    pub fn key_generation(&self) -> u64 {
        self.0.key_generation
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessToken").field(&self.0).finish()
    }
}

/// Where the claims stand that no specification has a place for.
#[derive(Clone, Debug)]
pub(super) struct ClaimNames {
    pub(super) roles: ClaimPath,
    pub(super) groups: ClaimPath,
}

fn describe(user: User, claims: &Object<'_>, names: &ClaimNames) -> Result<User, ClaimsError> {
    let user = user
        .with_scopes(scopes(claims)?)
        .with_roles(texts(claims, &names.roles, "roles")?)
        .with_groups(texts(claims, &names.groups, "groups")?)
        .with_authentication(authentication(claims)?);
    let user = match claims::text(claims, "client_id")? {
        Some(client) => user.with_client(client),
        None => user,
    };
    Ok(match verified_email(claims)? {
        Some(email) => user.with_attributes(Attributes::new().with("email", email)),
        None => user,
    })
}

/// `scope`: names separated by spaces (RFC 8693 §4.2); an array is something else.
fn scopes<'c>(claims: &'c Object<'_>) -> Result<impl Iterator<Item = &'c str>, ClaimsError> {
    let scope = claims::text(claims, "scope")?.unwrap_or_default();
    Ok(scope.split(' ').filter(|name| !name.is_empty()))
}

/// Roles or groups: an array of texts, wherever the provider keeps it (RFC 9068 §2.2.3.1).
fn texts<'c>(
    claims: &'c Object<'_>,
    path: &ClaimPath,
    claim: &'static str,
) -> Result<Vec<&'c str>, ClaimsError> {
    match path.find(claims) {
        None => Ok(Vec::new()),
        Some(value) => value.as_strings().ok_or(ClaimsError::Malformed { claim }),
    }
}
