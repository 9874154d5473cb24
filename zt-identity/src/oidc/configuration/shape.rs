//! The fields of the file, before anyone asked what they mean.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ConfigurationError, MAX_CONFIGURATION_LEN};
use crate::excerpt::excerpt;
use crate::oidc::claim_path::ClaimPath;

/// Nothing in it nests deeper than 8.
const MAX_DEPTH: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) jwt: Vec<Jwt>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Jwt {
    pub(super) issuer: IssuerFields,
    #[serde(default)]
    pub(super) claim_validation_rules: Vec<ClaimRule>,
    pub(super) claim_mappings: Mappings,
    #[serde(default)]
    pub(super) user_validation_rules: Vec<UserRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct IssuerFields {
    pub(super) url: String,
    #[serde(rename = "discoveryURL")]
    pub(super) discovery_url: Option<String>,
    pub(super) certificate_authority: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) audience_match_policy: Option<AudienceMatchPolicy>,
    pub(super) signing_algorithms: Option<Vec<String>>,
    pub(super) token_types: Option<Vec<TokenType>>,
    pub(super) leeway_seconds: Option<u64>,
    pub(super) max_lifetime_seconds: Option<u64>,
    pub(super) keys_file: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum AudienceMatchPolicy {
    MatchAny,
    MatchAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum TokenType {
    #[serde(rename = "at+jwt")]
    AccessToken,
    #[serde(rename = "JWT")]
    Jwt,
}

/// A name, or the names on a way through nested objects.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Claim {
    Name(String),
    Path(Vec<String>),
}

impl From<Claim> for ClaimPath {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Name(name) => Self::from(&*name),
            Claim::Path(names) => Self::from(names),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ClaimRule {
    pub(super) claim: Option<Claim>,
    pub(super) required_value: Option<String>,
    pub(super) expression: Option<IgnoredAny>,
    // Goes with an expression only.
    pub(super) message: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Mappings {
    pub(super) username: Prefixed,
    pub(super) groups: Option<Prefixed>,
    pub(super) roles: Option<Prefixed>,
    pub(super) scopes: Option<Plain>,
    pub(super) uid: Option<Plain>,
    #[serde(default)]
    pub(super) extra: Vec<Extra>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Prefixed {
    pub(super) claim: Option<Claim>,
    pub(super) prefix: Option<String>,
    pub(super) expression: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Plain {
    pub(super) claim: Option<Claim>,
    pub(super) expression: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Extra {
    pub(super) key: String,
    pub(super) claim: Option<Claim>,
    pub(super) value_expression: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UserRule {
    pub(super) field: Option<Field>,
    pub(super) required_value: Option<String>,
    pub(super) forbidden_prefix: Option<String>,
    pub(super) expression: Option<IgnoredAny>,
    // Goes with an expression only.
    pub(super) message: Option<IgnoredAny>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Field {
    Username,
    Uid,
    Groups,
    Roles,
}

/// Rules 1 and 2.
pub(super) fn read(text: &str) -> Result<File, ConfigurationError> {
    if text.len() > MAX_CONFIGURATION_LEN {
        return Err(ConfigurationError::TooLong { len: text.len() });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: MAX_DEPTH,
            max_documents: 1,
            flow_nesting_limit: MAX_DEPTH,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigurationError::Yaml { problem: first_line(&error.to_string()) })
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

/// A text of the file, cut.
pub(super) fn quoted(text: &str) -> String {
    excerpt(text)
}
