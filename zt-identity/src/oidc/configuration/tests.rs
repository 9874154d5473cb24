//! Each rule of a configuration.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use zt_core::fault::Fault;
use zt_core::time::Timestamp;

use super::*;
use crate::algorithm::AlgorithmError;
use crate::jwk::JwkSet;
use crate::minted;
use crate::oidc::access_token::VerifierError;
use crate::oidc::issuer::IssuerError;
use crate::oidc::issuers::IssuersError;
use crate::pem::PemError;

const HEAD: &str =
    "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n";
const ISSUER: &str = "{url: 'https://login.example.com', audiences: [orders]}";
const USERNAME: &str = "{username: {claim: sub, prefix: ''}}";

fn load(text: &str) -> Result<AuthenticationConfiguration, ConfigurationError> {
    AuthenticationConfiguration::from_yaml(text)
}

fn one(issuer: &str, mappings: &str, more: &str) -> String {
    format!("{HEAD}- issuer: {issuer}\n  claimMappings: {mappings}\n{more}")
}

fn with_issuer(more: &str) -> String {
    one(&format!("{{url: 'https://login.example.com', {more}}}"), USERNAME, "")
}

/// Where the first rule is broken, and what is wrong there.
fn lint(text: &str) -> (String, Lint) {
    let error = load(text).unwrap_err();
    let ConfigurationError::Field { at, lint } = error else { panic!("{error}") };
    (at, lint)
}

fn unreadable(text: &str) -> bool {
    matches!(load(text), Err(ConfigurationError::Yaml { .. }))
}

#[test]
fn a_configuration_of_kubernetes_is_taken_and_what_it_says_is_done() {
    let configuration = load(
        r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://staff.example.com
    discoveryURL: https://discovery.example.com/.well-known/openid-configuration
    audiences:
    - orders
    - orders-admin
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - claim: hd
    requiredValue: example.com
  claimMappings:
    username:
      claim: email
      prefix: "staff:"
    groups:
      claim: groups
      prefix: "staff:"
    uid:
      claim: sub
- issuer:
    url: https://partners.example.com/tenant
    audiences: [partner-api]
    signingAlgorithms: [EdDSA]
    tokenTypes: [at+jwt, JWT]
    leewaySeconds: 5
    maxLifetimeSeconds: 600
    keysFile: /etc/orders/partners.json
  claimMappings:
    username: {claim: sub, prefix: "partner:"}
    roles: {claim: [realm_access, roles], prefix: "partner:"}
    scopes: {claim: scp}
    extra:
    - {key: tenant, claim: tid}
  userValidationRules:
  - {field: roles, forbiddenPrefix: "partner:system-"}
"#,
    )
    .unwrap();
    let [staff, partners] = configuration.issuers() else { panic!("two issuers") };
    let discovery = "https://discovery.example.com/.well-known/openid-configuration";
    assert_eq!(staff.discovery_url(), Some(discovery));
    assert_eq!(partners.keys_file(), Some(Path::new("/etc/orders/partners.json")));
    let keys =
        || IssuerKeys::fixed(JwkSet::parse(minted::Issuer::new().jwks().as_bytes()).unwrap());
    let issuers = configuration.with_keys::<ConfigurationError>(|_| Ok(keys())).unwrap();
    let verify = |typ: &str, claims: serde_json::Value| {
        let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"k1"}}"#);
        let token = minted::Issuer::new().sign(&header, claims.to_string());
        issuers.verify(&token, Timestamp::from_secs(1_800_000_000))
    };
    let staff = json!({
        "iss": "https://staff.example.com", "aud": "orders-admin", "sub": "u-1", "hd": "example.com",
        "exp": 1_800_000_300, "email": "a@example.com", "email_verified": true, "groups": ["ops"],
    });
    let token = verify("at+jwt", staff.clone()).unwrap();
    assert_eq!(token.subject(), "staff:a@example.com");
    assert_eq!(token.groups(), ["staff:ops"].map(Arc::<str>::from));
    assert_eq!(token.user().attributes().get("uid"), Some(&"u-1".into()));
    assert_eq!(verify("JWT", staff).unwrap_err().reason(), "token_of_another_kind");

    let partner = |changes: serde_json::Value| {
        let mut claims = json!({
            "iss": "https://partners.example.com/tenant", "aud": "partner-api", "sub": "bob",
            "iat": 1_800_000_000, "exp": 1_800_000_300, "tid": "acme", "scp": "read",
            "realm_access": {"roles": ["clerk"]},
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        verify("JWT", claims)
    };
    let token = partner(json!({})).unwrap();
    assert_eq!((token.subject(), token.scopes()), ("partner:bob", &["read".into()][..]));
    assert_eq!(token.roles(), ["partner:clerk"].map(Arc::<str>::from));
    assert_eq!(token.user().attributes().get("tenant"), Some(&"acme".into()));
    for (changes, reason) in [
        (json!({"realm_access": {"roles": ["system-admin"]}}), "token_user_rule"),
        (json!({"exp": 1_800_000_601}), "token_lives_too_long"),
        (json!({"exp": 1_799_999_995}), "token_expired"),
        (json!({"iss": "https://staff.example.com"}), "token_of_another_kind"),
    ] {
        assert_eq!(partner(changes).unwrap_err().reason(), reason);
    }
}

#[test]
fn a_text_is_one_document_without_aliases_and_keys_that_are_there_twice() {
    let good = one(ISSUER, USERNAME, "");
    assert!(load(&good).is_ok());
    assert!(load(&format!("{good}# a comment\n")).is_ok());
    for bad in [
        String::new(),
        "- 1".into(),
        format!("{good}---\n{good}"),
        good.replace("kind:", "kind: x\nkind:"),
        one("{url: 'https://a', url: 'https://a', audiences: [a]}", USERNAME, ""),
        one("&issuer {url: 'https://login.example.com', audiences: [a]}", USERNAME, ""),
        one(ISSUER, "{<<: {username: {claim: sub, prefix: ''}}}", ""),
        format!("{HEAD}{}1{}", "[".repeat(100), "]".repeat(100)),
    ] {
        assert!(unreadable(&bad), "{bad}");
    }
    let long = format!("{good}#{}", " ".repeat(MAX_CONFIGURATION_LEN));
    assert!(matches!(load(&long), Err(ConfigurationError::TooLong { .. })));
}

#[test]
fn what_is_not_understood_is_not_passed_over() {
    for bad in [
        format!("anonymous: {{enabled: true}}\n{}", one(ISSUER, USERNAME, "")),
        with_issuer("audiences: [a], egressSelectorType: cluster"),
        with_issuer("audiences: a"),
        with_issuer("audiences: [a], audienceMatchPolicy: matchany"),
        with_issuer("audiences: [a], tokenTypes: [dpop+jwt]"),
        with_issuer("audiences: [a], leewaySeconds: -1"),
        with_issuer(""),
        one(ISSUER, "{username: {claim: sub, prefix: '', Prefix: ''}}", ""),
        one(ISSUER, "{user: {claim: sub, prefix: ''}}", ""),
        one(ISSUER, "{}", ""),
        one(ISSUER, USERNAME, "  userValidationRules: [{field: email, requiredValue: a}]\n"),
        one(ISSUER, USERNAME, "  claimValidationRules: [{claim: a, requiredvalue: a}]\n"),
    ] {
        assert!(unreadable(&bad), "{bad}");
    }
}

#[test]
fn version_kind_and_number_of_issuers_are_asked() {
    let good = one(ISSUER, USERNAME, "");
    assert!(load(&good.replace("/v1", "/v1beta1")).is_ok());
    for bad in [
        good.replace("/v1", "/v2"),
        good.replace("AuthenticationConfiguration", "AuthorizationConfiguration"),
    ] {
        assert!(matches!(load(&bad), Err(ConfigurationError::Kind { .. })));
    }
    let none = format!("{}[]", HEAD.trim_end().to_owned() + " ");
    assert!(matches!(load(&none), Err(ConfigurationError::Count { found: 0 })));
    let many: String = (0..65)
        .map(|n| {
            format!(
                "- {{issuer: {{url: 'https://{n}', audiences: [a]}}, claimMappings: {USERNAME}}}\n"
            )
        })
        .collect();
    let many = load(&format!("{HEAD}{many}"));
    assert!(matches!(many, Err(ConfigurationError::Count { found: 65 })));
}

#[test]
fn an_expression_is_refused_wherever_it_stands() {
    let rules = |rules: &str| one(ISSUER, USERNAME, rules);
    for (text, at) in [
        (
            rules("  claimValidationRules: [{expression: 'claims.a == 1', message: no}]\n"),
            "jwt[0].claimValidationRules[0].expression",
        ),
        (
            rules(
                "  userValidationRules: [{expression: '!user.username.startsWith(\"system:\")'}]\n",
            ),
            "jwt[0].userValidationRules[0].expression",
        ),
        (
            one(ISSUER, "{username: {expression: 'claims.sub'}}", ""),
            "jwt[0].claimMappings.username.expression",
        ),
        (
            one(
                ISSUER,
                "{username: {claim: sub, prefix: ''}, groups: {expression: 'claims.g'}}",
                "",
            ),
            "jwt[0].claimMappings.groups.expression",
        ),
        (
            one(ISSUER, "{username: {claim: sub, prefix: ''}, uid: {expression: 'claims.u'}}", ""),
            "jwt[0].claimMappings.uid.expression",
        ),
        (
            one(
                ISSUER,
                "{username: {claim: sub, prefix: ''}, extra: [{key: a, valueExpression: 'claims.a'}]}",
                "",
            ),
            "jwt[0].claimMappings.extra[0].valueExpression",
        ),
    ] {
        assert_eq!(lint(&text), (at.into(), Lint::Expression));
    }
    assert!(
        load(&rules("  userValidationRules: [{expression: 'x'}]\n"))
            .unwrap_err()
            .to_string()
            .contains("CEL")
    );
}

#[test]
fn urls_are_https_and_are_there_once() {
    for (url, error) in [
        ("http://login.example.com", IssuerError::NotHttps),
        ("https://u@login.example.com", IssuerError::UserInfo),
        ("https://login.example.com?a=b", IssuerError::QueryOrFragment),
        ("https://login.example.com#a", IssuerError::QueryOrFragment),
        ("https://", IssuerError::NoHost),
    ] {
        let text = one(&format!("{{url: '{url}', audiences: [a]}}"), USERNAME, "");
        assert_eq!(lint(&text), ("jwt[0].issuer.url".into(), error.into()));
        let text = with_issuer(&format!("audiences: [a], discoveryURL: '{url}'"));
        assert_eq!(lint(&text), ("jwt[0].issuer.discoveryURL".into(), error.into()));
    }
    let same = with_issuer("audiences: [a], discoveryURL: 'https://login.example.com'");
    assert!(matches!(lint(&same), (_, Lint::Twice { .. })));
    let second = format!("- {{issuer: {ISSUER}, claimMappings: {USERNAME}}}\n");
    let (at, twice) = lint(&one(ISSUER, USERNAME, &second));
    assert_eq!(at, "jwt[1].issuer.url");
    assert_eq!(twice, Lint::Twice { name: "https://login.example.com".into() });
    let discovery = |url: &str| {
        format!(
            "- {{issuer: {{url: '{url}', audiences: [a], discoveryURL: 'https://d/d'}}, claimMappings: {USERNAME}}}\n"
        )
    };
    let (at, _) = lint(&format!("{HEAD}{}{}", discovery("https://a"), discovery("https://b")));
    assert_eq!(at, "jwt[1].issuer.discoveryURL");
}

#[test]
fn plain_http_on_this_machine_has_to_be_asked_for() {
    let local = one("{url: 'http://127.0.0.1:8080', audiences: [a]}", USERNAME, "");
    assert_eq!(lint(&local).1, IssuerError::NotHttps.into());
    assert!(AuthenticationConfiguration::from_yaml_with_loopback(&local).is_ok());
    let remote = local.replace("127.0.0.1", "login.example.com");
    assert!(AuthenticationConfiguration::from_yaml_with_loopback(&remote).is_err());
}

#[test]
fn audiences_are_named_once_and_how_they_match_is_said() {
    let at = |field: &str| format!("jwt[0].issuer.{field}");
    for empty in ["audiences: []", "audiences: ['']", "audiences: [a, '']"] {
        assert_eq!(lint(&with_issuer(empty)), (at("audiences"), Lint::Empty));
    }
    let twice = Lint::Twice { name: "a".into() };
    assert_eq!(lint(&with_issuer("audiences: [a, b, a]")), (at("audiences"), twice));
    let several = with_issuer("audiences: [a, b]");
    assert_eq!(lint(&several), (at("audienceMatchPolicy"), Lint::MatchPolicy));
    for policy in ["MatchAny", "MatchAll"] {
        let said = with_issuer(&format!("audiences: [a, b], audienceMatchPolicy: {policy}"));
        assert!(load(&said).is_ok());
    }
}

#[test]
fn algorithms_types_and_times_are_those_of_the_verifier() {
    let issuer = |more: &str| with_issuer(&format!("audiences: [a], {more}"));
    for name in ["none", "HS256"] {
        let (at, found) = lint(&issuer(&format!("signingAlgorithms: [{name}]")));
        assert_eq!(at, "jwt[0].issuer.signingAlgorithms");
        assert_eq!(found, AlgorithmError { name: name.into() }.into());
    }
    assert_eq!(lint(&issuer("signingAlgorithms: []")).1, Lint::Empty);
    assert!(matches!(lint(&issuer("signingAlgorithms: [RS256, RS256]")).1, Lint::Twice { .. }));
    for types in ["[]", "[JWT]", "[at+jwt, at+jwt]"] {
        assert_eq!(lint(&issuer(&format!("tokenTypes: {types}"))).1, Lint::TokenTypes);
    }
    let leeway = load(&issuer("leewaySeconds: 301"));
    assert!(matches!(leeway, Err(ConfigurationError::Verifier(VerifierError::Leeway(_)))));
    assert_eq!(lint(&issuer("maxLifetimeSeconds: 0")).1, Lint::Empty);
}

#[test]
fn a_certificate_authority_is_pem_with_certificates_and_nothing_else() {
    let issuer = |pem: &str| {
        format!(
            "{HEAD}- issuer:\n    url: https://login.example.com\n    audiences: [a]\n    \
             certificateAuthority: |\n      {}\n  claimMappings: {USERNAME}\n",
            pem.replace('\n', "\n      ")
        )
    };
    let at = "jwt[0].issuer.certificateAuthority".to_owned();
    assert_eq!(lint(&issuer("no PEM")), (at.clone(), PemError::NoCertificate.into()));
    let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----";
    let label = "PRIVATE KEY".into();
    assert_eq!(lint(&issuer(key)), (at, PemError::UnexpectedSection { label }.into()));
    let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----";
    let configuration = load(&issuer(certificate)).unwrap();
    assert_eq!(configuration.issuers()[0].certificate_authority().len(), 1);
    let both = with_issuer("audiences: [a], discoveryURL: 'https://d', keysFile: k.json");
    assert!(matches!(lint(&both).1, Lint::Excludes { .. }));
}

#[test]
fn a_name_needs_its_claim_and_its_prefix_and_be_it_empty() {
    let missing = |mappings: &str, at: &str| {
        let found = lint(&one(ISSUER, mappings, ""));
        assert_eq!(found, (format!("jwt[0].claimMappings.{at}"), Lint::Missing));
    };
    missing("{username: {claim: sub}}", "username.prefix");
    missing("{username: {prefix: ''}}", "username.claim");
    missing("{username: {claim: sub, prefix: ''}, groups: {claim: g}}", "groups.prefix");
    missing("{username: {claim: sub, prefix: ''}, roles: {claim: g}}", "roles.prefix");
    missing("{username: {claim: sub, prefix: ''}, uid: {}}", "uid.claim");
    missing("{username: {claim: sub, prefix: ''}, extra: [{key: a}]}", "extra[0].claim");
    for empty in ["''", "[]", "[a, '']"] {
        let text = one(ISSUER, &format!("{{username: {{claim: {empty}, prefix: ''}}}}"), "");
        assert_eq!(lint(&text), ("jwt[0].claimMappings.username.claim".into(), Lint::Empty));
    }
    let reserved = load(&one(
        ISSUER,
        "{username: {claim: sub, prefix: ''}, extra: [{key: roles, claim: a}]}",
        "",
    ));
    assert!(matches!(reserved, Err(ConfigurationError::Verifier(VerifierError::Mapping(_)))));
}

#[test]
fn a_rule_says_one_thing() {
    let rules = |rules: &str| lint(&one(ISSUER, USERNAME, &format!("  {rules}\n"))).1;
    assert_eq!(rules("claimValidationRules: [{claim: a}]"), Lint::Missing);
    assert_eq!(rules("claimValidationRules: [{requiredValue: a}]"), Lint::Missing);
    assert_eq!(
        rules("claimValidationRules: [{claim: a, requiredValue: a, message: m}]"),
        Lint::Message
    );
    assert_eq!(rules("userValidationRules: [{field: uid}]"), Lint::Missing);
    assert_eq!(rules("userValidationRules: [{requiredValue: a}]"), Lint::Missing);
    assert_eq!(rules("userValidationRules: [{field: uid, forbiddenPrefix: ''}]"), Lint::Empty);
    let both = "userValidationRules: [{field: uid, requiredValue: a, forbiddenPrefix: b}]";
    assert_eq!(rules(both), Lint::Excludes { other: "forbiddenPrefix" });
    let message = "userValidationRules: [{field: uid, requiredValue: a, message: m}]";
    assert_eq!(rules(message), Lint::Message);
}

#[test]
fn issuers_whose_names_could_meet_do_not_load() {
    let issuer = |url: &str, prefix: &str| {
        format!(
            "- {{issuer: {{url: '{url}', audiences: [a]}}, claimMappings: {{\
             username: {{claim: sub, prefix: ''}}, groups: {{claim: g, prefix: '{prefix}'}}}}}}\n"
        )
    };
    let both = |a, b| load(&format!("{HEAD}{}{}", issuer("https://a", a), issuer("https://b", b)));
    let meet = both("", "b:").unwrap_err();
    assert!(matches!(meet, ConfigurationError::Issuers(IssuersError::NamesMeet { .. })));
    assert_eq!(meet.fault(), Fault::Caller);
    assert!(both("a:", "b:").is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", inside in "[-a-z:{}\\[\\],'\" \n&*!|>#0-9]{0,60}") {
        let _ = load(&text);
        let _ = load(&format!("{HEAD}{inside}"));
        let _ = load(&one(&inside, USERNAME, ""));
        let _ = load(&one(ISSUER, &inside, ""));
    }
}
