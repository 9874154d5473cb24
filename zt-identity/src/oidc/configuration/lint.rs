//! Whether the fields can be meant as they are: rules 3 to 9.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;

use super::shape::{
    AudienceMatchPolicy, Claim, ClaimRule, Extra, Field, File, IssuerFields, Jwt, Mappings, Plain,
    Prefixed, TokenType, UserRule, quoted,
};
use super::{AuthenticationConfiguration, ConfigurationError, IssuerConfiguration, Lint};
use crate::algorithm::Algorithm;
use crate::jwk::JwkSet;
use crate::oidc::access_token::{AccessTokenVerifier, AccessTokenVerifierBuilder};
use crate::oidc::claim_mapping::{ClaimMapping, UserField};
use crate::oidc::claim_path::ClaimPath;
use crate::oidc::issuer::{Issuer, IssuerError};
use crate::oidc::issuers::MAX_ISSUERS;
use crate::oidc::keys::IssuerKeys;
use crate::pem;

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthenticationConfiguration";

fn refused(at: impl Into<String>, lint: impl Into<Lint>) -> ConfigurationError {
    ConfigurationError::Field { at: at.into(), lint: lint.into() }
}

type Parse = fn(&str) -> Result<Issuer, IssuerError>;

pub(super) fn configuration(
    file: File,
    parse: Parse,
) -> Result<AuthenticationConfiguration, ConfigurationError> {
    if !VERSIONS.contains(&&*file.api_version) || file.kind != KIND {
        let found = quoted(&format!("{} {}", file.api_version, file.kind));
        return Err(ConfigurationError::Kind { found });
    }
    if !(1..=MAX_ISSUERS).contains(&file.jwt.len()) {
        return Err(ConfigurationError::Count { found: file.jwt.len() });
    }
    let mut issuers: Vec<IssuerConfiguration> = Vec::with_capacity(file.jwt.len());
    for (number, jwt) in file.jwt.into_iter().enumerate() {
        let at = format!("jwt[{number}]");
        let issuer = issuer(jwt, &at, parse)?;
        check_urls(&issuer, &issuers, &at)?;
        issuers.push(issuer);
    }
    let configuration = AuthenticationConfiguration { issuers };
    // The rules for issuers together are asked where they stand; the keys have no say in them.
    let none = || IssuerKeys::fixed(JwkSet::default());
    configuration.with_keys::<ConfigurationError>(|_| Ok(none()))?;
    Ok(configuration)
}

fn issuer(jwt: Jwt, at: &str, parse: Parse) -> Result<IssuerConfiguration, ConfigurationError> {
    let fields = jwt.issuer;
    let at_issuer = format!("{at}.issuer");
    let url = |text: &str, field| {
        parse(text).map_err(|error| refused(format!("{at_issuer}.{field}"), error))
    };
    let certificate_authority = match &fields.certificate_authority {
        None => Vec::new(),
        Some(pem) => pem::certificates(pem.as_bytes())
            .map_err(|error| refused(format!("{at_issuer}.certificateAuthority"), error))?,
    };
    let discovery = fields.discovery_url.as_deref();
    if fields.keys_file.is_some() && (discovery.is_some() || !certificate_authority.is_empty()) {
        let other = "discoveryURL or certificateAuthority";
        return Err(refused(format!("{at_issuer}.keysFile"), Lint::Excludes { other }));
    }
    let issuer = url(&fields.url, "url")?;
    let verifier = verifier(&issuer, &fields, &at_issuer)?;
    let mapping = mapping(jwt.claim_mappings, &format!("{at}.claimMappings"))?;
    let mapping = claim_rules(mapping, jwt.claim_validation_rules, at)?;
    let mapping = user_rules(mapping, jwt.user_validation_rules, at)?;
    Ok(IssuerConfiguration {
        discovery_url: discovery.map(|text| url(text, "discoveryURL")).transpose()?,
        url: issuer,
        certificate_authority,
        keys_file: fields.keys_file.map(|path| Arc::from(Path::new(&path))),
        verifier: verifier.mapping(mapping),
    })
}

/// No document is asked for twice, and none is that of another issuer as well.
fn check_urls(
    issuer: &IssuerConfiguration,
    others: &[IssuerConfiguration],
    at: &str,
) -> Result<(), ConfigurationError> {
    let twice = |url: &Issuer, field| {
        Err(refused(format!("{at}.issuer.{field}"), Lint::Twice { name: quoted(url.as_str()) }))
    };
    if others.iter().any(|other| other.url == issuer.url) {
        return twice(&issuer.url, "url");
    }
    let Some(discovery) = &issuer.discovery_url else { return Ok(()) };
    let taken = |other: &IssuerConfiguration| other.discovery_url.as_ref() == Some(discovery);
    if *discovery == issuer.url || others.iter().any(taken) {
        return twice(discovery, "discoveryURL");
    }
    Ok(())
}

fn verifier(
    issuer: &Issuer,
    fields: &IssuerFields,
    at: &str,
) -> Result<AccessTokenVerifierBuilder, ConfigurationError> {
    let at_audiences = format!("{at}.audiences");
    check_names(&fields.audiences, &at_audiences)?;
    let mut verifier = AccessTokenVerifier::for_issuer(issuer.clone());
    for audience in &fields.audiences {
        verifier = verifier.audience(&**audience);
    }
    verifier = match fields.audience_match_policy {
        Some(AudienceMatchPolicy::MatchAll) => verifier.require_all_audiences(),
        Some(AudienceMatchPolicy::MatchAny) => verifier,
        None if fields.audiences.len() == 1 => verifier,
        None => return Err(refused(format!("{at}.audienceMatchPolicy"), Lint::MatchPolicy)),
    };
    if let Some(names) = &fields.signing_algorithms {
        let at = format!("{at}.signingAlgorithms");
        check_names(names, &at)?;
        let algorithms: Result<Vec<_>, _> =
            names.iter().map(|name| Algorithm::from_name(name)).collect();
        verifier = verifier.algorithms(algorithms.map_err(|error| refused(at, error))?);
    }
    verifier = match fields.token_types.as_deref() {
        None | Some([TokenType::AccessToken]) => verifier,
        Some(
            [TokenType::AccessToken, TokenType::Jwt] | [TokenType::Jwt, TokenType::AccessToken],
        ) => verifier.admit_jwt_type(),
        Some(_) => return Err(refused(format!("{at}.tokenTypes"), Lint::TokenTypes)),
    };
    if let Some(secs) = fields.leeway_seconds {
        verifier = verifier.leeway(Duration::from_secs(secs));
    }
    Ok(match fields.max_lifetime_seconds {
        None => verifier,
        Some(0) => return Err(refused(format!("{at}.maxLifetimeSeconds"), Lint::Empty)),
        Some(secs) => verifier.max_lifetime(Duration::from_secs(secs)),
    })
}

/// At least one, none empty, none twice.
fn check_names(names: &[String], at: &str) -> Result<(), ConfigurationError> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(refused(at, Lint::Empty));
    }
    let repeated = names
        .iter()
        .enumerate()
        .find(|(n, name)| names.iter().take(*n).any(|other| other == *name));
    match repeated {
        None => Ok(()),
        Some((_, name)) => Err(refused(at, Lint::Twice { name: quoted(name) })),
    }
}

fn check_no_expression(
    expression: Option<&IgnoredAny>,
    at: &str,
    field: &str,
) -> Result<(), ConfigurationError> {
    match expression {
        None => Ok(()),
        Some(_) => Err(refused(format!("{at}.{field}"), Lint::Expression)),
    }
}

fn required<T>(value: Option<T>, at: &str, field: &str) -> Result<T, ConfigurationError> {
    value.ok_or_else(|| refused(format!("{at}.{field}"), Lint::Missing))
}

fn path(claim: Option<Claim>, at: &str) -> Result<ClaimPath, ConfigurationError> {
    let path = ClaimPath::from(required(claim, at, "claim")?);
    if path.is_named() { Ok(path) } else { Err(refused(format!("{at}.claim"), Lint::Empty)) }
}

fn prefixed(field: Prefixed, at: &str) -> Result<(ClaimPath, String), ConfigurationError> {
    check_no_expression(field.expression.as_ref(), at, "expression")?;
    Ok((path(field.claim, at)?, required(field.prefix, at, "prefix")?))
}

fn plain(field: Plain, at: &str) -> Result<ClaimPath, ConfigurationError> {
    check_no_expression(field.expression.as_ref(), at, "expression")?;
    path(field.claim, at)
}

fn mapping(fields: Mappings, at: &str) -> Result<ClaimMapping, ConfigurationError> {
    let (username, prefix) = prefixed(fields.username, &format!("{at}.username"))?;
    let mut mapping = ClaimMapping::subject_only().username(username, &prefix);
    if let Some(groups) = fields.groups {
        let (path, prefix) = prefixed(groups, &format!("{at}.groups"))?;
        mapping = mapping.groups(path, &prefix);
    }
    if let Some(roles) = fields.roles {
        let (path, prefix) = prefixed(roles, &format!("{at}.roles"))?;
        mapping = mapping.roles(path, &prefix);
    }
    if let Some(scopes) = fields.scopes {
        mapping = mapping.scopes(plain(scopes, &format!("{at}.scopes"))?);
    }
    if let Some(uid) = fields.uid {
        mapping = mapping.uid(plain(uid, &format!("{at}.uid"))?);
    }
    for (number, Extra { key, claim, value_expression }) in fields.extra.into_iter().enumerate() {
        let at = format!("{at}.extra[{number}]");
        check_no_expression(value_expression.as_ref(), &at, "valueExpression")?;
        mapping = mapping.extra(&key, path(claim, &at)?);
    }
    Ok(mapping)
}

fn claim_rules(
    mut mapping: ClaimMapping,
    rules: Vec<ClaimRule>,
    at: &str,
) -> Result<ClaimMapping, ConfigurationError> {
    for (number, rule) in rules.into_iter().enumerate() {
        let at = format!("{at}.claimValidationRules[{number}]");
        check_no_expression(rule.expression.as_ref(), &at, "expression")?;
        check_no_message(rule.message.as_ref(), &at)?;
        let value = required(rule.required_value, &at, "requiredValue")?;
        mapping = mapping.require_claim(path(rule.claim, &at)?, &value);
    }
    Ok(mapping)
}

fn user_rules(
    mut mapping: ClaimMapping,
    rules: Vec<UserRule>,
    at: &str,
) -> Result<ClaimMapping, ConfigurationError> {
    for (number, rule) in rules.into_iter().enumerate() {
        let at = format!("{at}.userValidationRules[{number}]");
        check_no_expression(rule.expression.as_ref(), &at, "expression")?;
        check_no_message(rule.message.as_ref(), &at)?;
        let field = match required(rule.field, &at, "field")? {
            Field::Username => UserField::Username,
            Field::Uid => UserField::Uid,
            Field::Groups => UserField::Groups,
            Field::Roles => UserField::Roles,
        };
        mapping = match (rule.required_value, rule.forbidden_prefix) {
            (None, None) => return Err(refused(format!("{at}.requiredValue"), Lint::Missing)),
            (Some(_), Some(_)) => {
                let other = "forbiddenPrefix";
                return Err(refused(format!("{at}.requiredValue"), Lint::Excludes { other }));
            }
            (Some(value), None) => mapping.require_user(field, &value),
            (None, Some(prefix)) if prefix.is_empty() => {
                return Err(refused(format!("{at}.forbiddenPrefix"), Lint::Empty));
            }
            (None, Some(prefix)) => mapping.refuse_user(field, &prefix),
        };
    }
    Ok(mapping)
}

fn check_no_message(message: Option<&IgnoredAny>, at: &str) -> Result<(), ConfigurationError> {
    match message {
        None => Ok(()),
        Some(_) => Err(refused(format!("{at}.message"), Lint::Message)),
    }
}
