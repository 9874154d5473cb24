//! What a user is called here, from what its issuer says (T-15).
//!
//! A [`ClaimMapping`] reads the user of a verified token when, in this order:
//!
//! 1. each claim that a rule demands is a text, and exactly the one demanded;
//! 2. the username's claim is a text that is not empty. `email` counts only where `email_verified`
//!    is exactly `true` (T-14);
//! 3. roles, groups and scopes are arrays of texts (RFC 9068 §2.2.3.1, RFC 8693 §4.2), and what else
//!    was asked for is a text, a boolean, a whole number or an array of texts;
//! 4. no rule on the resulting user is broken.
//!
//! # Issuers that use the same names
//!
//! `admin` of one issuer is not `admin` of another. A user never goes without the issuer, but roles
//! and groups are names alone, so each issuer's get a prefix: `okta:admin`.
//! [`Issuers`](crate::oidc::issuers::Issuers) refuses mappings under which names of two issuers could
//! meet.

use std::sync::Arc;

use zt_core::attribute::{Attributes, Value as AttributeValue};
use zt_core::fault::Fault;
use zt_core::principal::User;

use crate::claims::{self, ClaimsError};
use crate::excerpt::excerpt;
use crate::json::{Object, Value};
use crate::oidc::claim_path::ClaimPath;
use crate::oidc::person::{authentication, verified_email};

/// Attributes that a user has by itself, or that policy knows by another way.
const RESERVED: [&str; 11] = [
    "issuer",
    "subject",
    "client",
    "scopes",
    "roles",
    "groups",
    "acr",
    "amr",
    "auth_time",
    "email",
    "uid",
];

/// How the claims of one issuer become a user.
///
/// The default takes `sub` for the username, `roles`, `groups` and `scope`, without prefixes: right
/// for the only issuer of a service.
///
/// ```
/// use zt_identity::oidc::claim_mapping::{ClaimMapping, UserField};
///
/// let mapping = ClaimMapping::subject_only()
///     .username("email", "corp:")
///     .groups(["realm_access", "roles"], "corp:")
///     .extra("tenant", "https://example.com/tenant")
///     .require_claim("hd", "example.com")
///     .refuse_user(UserField::Username, "corp:system-");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ClaimMapping {
    // `sub`, where there is none.
    username: Option<Prefixed>,
    roles: Option<Prefixed>,
    groups: Option<Prefixed>,
    scopes: ClaimPath,
    uid: Option<ClaimPath>,
    extra: Vec<(Arc<str>, ClaimPath)>,
    required_claims: Vec<(ClaimPath, Arc<str>)>,
    user_rules: Vec<UserRule>,
}

/// A claim, and what is put before its names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prefixed {
    path: ClaimPath,
    prefix: Arc<str>,
}

impl Prefixed {
    fn new(path: impl Into<ClaimPath>, prefix: &str) -> Self {
        Self { path: path.into(), prefix: prefix.into() }
    }

    fn name(&self, name: &str) -> Arc<str> {
        if self.prefix.is_empty() { name.into() } else { format!("{}{name}", self.prefix).into() }
    }
}

/// What of a user a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UserField {
    /// The username, with its prefix.
    Username,
    /// The attribute `uid`.
    Uid,
    /// The groups, with their prefix.
    Groups,
    /// The roles, with their prefix.
    Roles,
}

impl UserField {
    const fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Uid => "uid",
            Self::Groups => "groups",
            Self::Roles => "roles",
        }
    }

    /// Whether any of its values is as `is` says.
    fn any(self, user: &User, is: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Username => is(user.subject()),
            Self::Groups => user.groups().iter().any(|name| is(name)),
            Self::Roles => user.roles().iter().any(|name| is(name)),
            Self::Uid => match user.attributes().get("uid") {
                Some(AttributeValue::String(uid)) => is(uid),
                _ => false,
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UserRule {
    field: UserField,
    demand: Demand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Demand {
    Is(Arc<str>),
    NeverBeginsWith(Arc<str>),
}

impl UserRule {
    fn check(&self, user: &User) -> Result<(), ClaimsError> {
        let kept = match &self.demand {
            Demand::Is(value) => self.field.any(user, |found| *found == **value),
            Demand::NeverBeginsWith(prefix) => {
                !self.field.any(user, |found| found.starts_with(&**prefix))
            }
        };
        if kept { Ok(()) } else { Err(ClaimsError::UserRule { field: self.field.name() }) }
    }
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self::subject_only().roles("roles", "").groups("groups", "")
    }
}

impl ClaimMapping {
    /// `sub` for the username, `scope` for the scopes, and nothing else.
    pub fn subject_only() -> Self {
        Self {
            username: None,
            roles: None,
            groups: None,
            scopes: ClaimPath::from("scope"),
            uid: None,
            extra: Vec::new(),
            required_claims: Vec::new(),
            user_rules: Vec::new(),
        }
    }

    /// The username is this claim, with this before it. Take one that the issuer never gives to
    /// anyone else; `sub` is the only one of which a standard says so.
    pub fn username(mut self, path: impl Into<ClaimPath>, prefix: &str) -> Self {
        self.username = Some(Prefixed::new(path, prefix));
        self
    }

    /// The roles are those of this claim, with this before each.
    pub fn roles(mut self, path: impl Into<ClaimPath>, prefix: &str) -> Self {
        self.roles = Some(Prefixed::new(path, prefix));
        self
    }

    /// The groups are those of this claim, with this before each.
    pub fn groups(mut self, path: impl Into<ClaimPath>, prefix: &str) -> Self {
        self.groups = Some(Prefixed::new(path, prefix));
        self
    }

    /// The scopes are those of this claim instead of `scope`. Some providers have `scp`, which may
    /// be an array of texts. Scopes are names that this service gave out, the same at every issuer,
    /// so they have no prefix.
    pub fn scopes(mut self, path: impl Into<ClaimPath>) -> Self {
        self.scopes = path.into();
        self
    }

    /// The attribute `uid` of the user is this claim, which has to be a text.
    pub fn uid(mut self, path: impl Into<ClaimPath>) -> Self {
        self.uid = Some(path.into());
        self
    }

    /// The attribute `name` of the user is this claim, where the token has it.
    pub fn extra(mut self, name: &str, path: impl Into<ClaimPath>) -> Self {
        self.extra.push((name.into(), path.into()));
        self
    }

    /// A token counts only with this claim, which is exactly this text.
    pub fn require_claim(mut self, path: impl Into<ClaimPath>, value: &str) -> Self {
        self.required_claims.push((path.into(), value.into()));
        self
    }

    /// A user counts only when this field is this text, or holds it.
    pub fn require_user(mut self, field: UserField, value: &str) -> Self {
        self.user_rules.push(UserRule { field, demand: Demand::Is(value.into()) });
        self
    }

    /// A user counts only when nothing of this field begins with this text.
    pub fn refuse_user(mut self, field: UserField, prefix: &str) -> Self {
        let demand = Demand::NeverBeginsWith(prefix.into());
        self.user_rules.push(UserRule { field, demand });
        self
    }

    /// Whether the mapping can be meant as it is.
    pub(super) fn check(&self) -> Result<(), MappingError> {
        let prefixed = [&self.username, &self.roles, &self.groups];
        let mut paths = prefixed
            .into_iter()
            .filter_map(|prefixed| Some(&prefixed.as_ref()?.path))
            .chain(self.extra.iter().map(|(_, path)| path))
            .chain(self.required_claims.iter().map(|(path, _)| path))
            .chain(&self.uid)
            .chain([&self.scopes]);
        if !paths.all(ClaimPath::is_named) {
            return Err(MappingError::UnnamedClaim);
        }
        for (at, (name, _)) in self.extra.iter().enumerate() {
            let repeated = self.extra.iter().take(at).any(|(other, _)| other == name);
            if name.is_empty() || repeated || RESERVED.contains(&&**name) {
                return Err(MappingError::Attribute { name: excerpt(name) });
            }
        }
        Ok(())
    }

    /// What stands before names that go without their issuer, by the kind of name.
    pub(super) fn prefixes(&self) -> [(&'static str, Option<&str>); 2] {
        [("roles", &self.roles), ("groups", &self.groups)]
            .map(|(kind, of)| (kind, of.as_ref().map(|prefixed| &*prefixed.prefix)))
    }

    /// The user of these claims, which a key of `issuer` has signed.
    pub(super) fn user(&self, claims: &Object<'_>, issuer: Arc<str>) -> Result<User, ClaimsError> {
        for (path, value) in &self.required_claims {
            check_required(claims, path, value)?;
        }
        let user = User::new(issuer, self.name(claims)?)
            .with_scopes(scopes(claims, &self.scopes)?)
            .with_roles(names(claims, self.roles.as_ref(), "roles")?)
            .with_groups(names(claims, self.groups.as_ref(), "groups")?)
            .with_authentication(authentication(claims)?);
        let user = match claims::text(claims, "client_id")? {
            Some(client) => user.with_client(client),
            None => user,
        };
        let attributes = self.attributes(claims)?;
        let user = if attributes.is_empty() { user } else { user.with_attributes(attributes) };
        self.user_rules.iter().try_for_each(|rule| rule.check(&user))?;
        Ok(user)
    }

    fn name(&self, claims: &Object<'_>) -> Result<Arc<str>, ClaimsError> {
        let subject = claims::subject(claims)?;
        let Some(username) = &self.username else { return Ok(subject.into()) };
        let found = if username.path == ClaimPath::from("email") {
            verified_email(claims)?
        } else {
            text_at(claims, &username.path, "username")?
        };
        match found {
            None => Err(ClaimsError::Missing { claim: "username" }),
            Some("") => Err(ClaimsError::Malformed { claim: "username" }),
            Some(name) => Ok(username.name(name)),
        }
    }

    fn attributes(&self, claims: &Object<'_>) -> Result<Attributes, ClaimsError> {
        let mut attributes = Attributes::new();
        if let Some(email) = verified_email(claims)? {
            attributes = attributes.with("email", email);
        }
        if let Some(path) = &self.uid {
            let uid = text_at(claims, path, "uid")?.ok_or(ClaimsError::Missing { claim: "uid" })?;
            attributes = attributes.with("uid", uid);
        }
        for (name, path) in &self.extra {
            if let Some(value) = path.find(claims) {
                attributes = attributes.with(Arc::clone(name), attribute(value)?);
            }
        }
        Ok(attributes)
    }
}

/// Rule 1.
fn check_required(
    claims: &Object<'_>,
    path: &ClaimPath,
    expected: &str,
) -> Result<(), ClaimsError> {
    match path.find(claims).and_then(Value::as_str) {
        Some(found) if found == expected => Ok(()),
        _ => Err(ClaimsError::Rule { claim: excerpt(&path.to_string()) }),
    }
}

fn text_at<'c>(
    claims: &'c Object<'_>,
    path: &ClaimPath,
    claim: &'static str,
) -> Result<Option<&'c str>, ClaimsError> {
    let value = path.find(claims);
    value.map(|value| value.as_str().ok_or(ClaimsError::Malformed { claim })).transpose()
}

/// `scope`: names separated by spaces (RFC 8693 §4.2); an array is something else. What providers
/// had before it was standardised may be either.
fn scopes<'c>(claims: &'c Object<'_>, path: &ClaimPath) -> Result<Vec<&'c str>, ClaimsError> {
    let Some(value) = path.find(claims) else { return Ok(Vec::new()) };
    if let Some(text) = value.as_str() {
        return Ok(text.split(' ').filter(|name| !name.is_empty()).collect());
    }
    let names = value.as_strings().filter(|_| *path != ClaimPath::from("scope"));
    names.ok_or(ClaimsError::Malformed { claim: "scope" })
}

/// Roles or groups: an array of texts, wherever the provider keeps it (RFC 9068 §2.2.3.1).
fn names(
    claims: &Object<'_>,
    prefixed: Option<&Prefixed>,
    claim: &'static str,
) -> Result<Vec<Arc<str>>, ClaimsError> {
    let Some(prefixed) = prefixed else { return Ok(Vec::new()) };
    let Some(value) = prefixed.path.find(claims) else { return Ok(Vec::new()) };
    let names = value.as_strings().ok_or(ClaimsError::Malformed { claim })?;
    Ok(names.into_iter().map(|name| prefixed.name(name)).collect())
}

/// What policy can read: it has no fractions, no null and no mixed sets.
fn attribute(value: &Value<'_>) -> Result<AttributeValue, ClaimsError> {
    let attribute = match value {
        Value::Bool(value) => Some((*value).into()),
        Value::String(text) => Some(AttributeValue::from(&**text)),
        Value::Number(number) => number.parse::<i64>().ok().map(Into::into),
        Value::Array(_) => value.as_strings().map(AttributeValue::strings),
        Value::Null | Value::Object(_) => None,
    };
    attribute.ok_or(ClaimsError::Malformed { claim: "extra" })
}

/// Why a mapping cannot be meant as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// A claim to read has no name.
    #[error("a claim needs a name that is not empty")]
    UnnamedClaim,
    /// An attribute has no name, one that was given before, or one that users have by themselves.
    #[error("an extra attribute cannot be named {name:?}, or not twice")]
    Attribute {
        /// The name, cut.
        name: String,
    },
}

impl MappingError {
    /// Whose fault it is: that of the embedding program.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}
