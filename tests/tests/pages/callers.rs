use zt_core::danger;
use zt_core::decision::Decide;
use zt_core::principal::{Principal, User, Workload};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;
use zt_identity::authority::{AuthorityError, Issuer};
use zt_identity::oidc::access_token::AccessToken;
use zt_identity::oidc::configuration::{AuthenticationConfiguration, ConfigurationError};
use zt_identity::oidc::issuer::IssuerError;
use zt_identity::oidc::issuers::Issuers;
use zt_identity::possession::binding::Binding;
use zt_policy::set::PolicySet;

use crate::markdown::{block, page};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

#[derive(Debug)]
struct Failed;

impl From<ConfigurationError> for Failed {
    fn from(error: ConfigurationError) -> Self {
        panic!("{error}")
    }
}

impl From<AuthorityError> for Failed {
    fn from(error: AuthorityError) -> Self {
        panic!("{error}")
    }
}

/// The issuers of the page, with keys of ours: and those who sign with them.
struct World {
    tokens: Issuers,
    signers: Vec<Issuer>,
}

impl World {
    fn new() -> Self {
        // Those who sign here have keys for ES256.
        let yaml = block(&page("oidc-issuers.md"), "yaml issuers").replace("[RS256]", "[ES256]");
        let configuration = AuthenticationConfiguration::from_yaml(&yaml).unwrap();
        let mut signers = Vec::new();
        let tokens = configuration.with_keys::<Failed>(|issuer| {
            let signer = Issuer::new(issuer.url().as_str(), NOW)?;
            let keys = signer.keys()?;
            signers.push(signer);
            Ok(keys)
        });
        Self { tokens: tokens.unwrap(), signers }
    }

    fn mint(&self, issuer: &str, typ: &str, claims: &str) -> String {
        let signer = self.signers.iter().find(|signer| signer.url().as_str() == issuer);
        signer.unwrap_or_else(|| panic!("{issuer}")).mint_as(typ, claims).unwrap()
    }

    fn verify(
        &self,
        issuer: &str,
        typ: &str,
        claims: &str,
    ) -> Result<Verified<AccessToken>, String> {
        self.tokens.verify(&self.mint(issuer, typ, claims), NOW).map_err(|error| error.to_string())
    }
}

fn claims(name: &str) -> String {
    block(&page("oidc-issuers.md"), &format!("json {name}"))
}

fn names(names: &[impl AsRef<str>]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}

#[test]
fn the_tokens_of_each_issuer_are_read_as_the_page_says() {
    let world = World::new();
    let [v1, v2] = [
        format!("https://sts.windows.net/{TENANT}/"),
        format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
    ];
    let oid = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
    let client = "11112222-bbbb-3333-cccc-4444dddd5555";
    let auth0 = "auth0|6553da60a54af58e29493993";
    let auth0_client = "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja";
    for (name, issuer, typ, subject, scope, role, azp) in [
        (
            "keycloak",
            "https://sso.example.com/realms/shop",
            "JWT",
            "f3b1c6de-5c1e-4d7e-9d38-1f6a1c2f9a10",
            "profile",
            "keycloak:clerk",
            Some("web"),
        ),
        ("entra-v2", &v2, "JWT", oid, "orders.read", "entra:Orders.Clerk", Some(client)),
        ("entra-v1", &v1, "JWT", oid, "orders.read", "", Some(client)),
        (
            "auth0",
            "https://shop.eu.auth0.com/",
            "JWT",
            auth0,
            "read:orders",
            "auth0:clerk",
            Some(auth0_client),
        ),
        (
            "auth0-rfc9068",
            "https://shop.eu.auth0.com/",
            "at+jwt",
            auth0,
            "read:orders",
            "auth0:clerk",
            None,
        ),
    ] {
        let token = world
            .verify(issuer, typ, &claims(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let user = Binding::bearer().user(&token).unwrap();
        assert_eq!(user.subject(), subject, "{name}");
        assert!(names(user.scopes()).contains(&scope), "{name}: {:?}", user.scopes());
        assert!(
            role.is_empty() || names(user.roles()).contains(&role),
            "{name}: {:?}",
            user.roles()
        );
        let found = user.attributes().get("azp").map(|value| format!("{value:?}"));
        assert_eq!(found.is_some(), azp.is_some(), "{name}");
        assert!(found.is_none_or(|found| found.contains(azp.unwrap())), "{name}");
        assert_eq!(user.client().is_some(), name == "auth0-rfc9068", "{name}");
    }
}

#[test]
fn what_the_page_says_is_refused_is_refused() {
    let world = World::new();
    let realm = "https://sso.example.com/realms/shop";
    let good = claims("keycloak");
    for (from, to) in [
        (r#"["orders", "account"]"#, r#"["account"]"#), // no mapper
        (r#""sub": "f3b1c6de-5c1e-4d7e-9d38-1f6a1c2f9a10","#, ""), // no scope `basic`
        (r#""acr": "1""#, r#""nonce": "n", "acr": "1""#), // an ID token, or Keycloak before 25
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        assert!(world.verify(realm, "JWT", &changed).is_err(), "{to}");
    }
    // One version of Entra's tokens is not the other, nor one tenant another.
    let v2 = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    assert!(world.verify(&v2, "JWT", &claims("entra-v1")).is_err());
    let other = Issuer::new(
        "https://login.microsoftonline.com/1cb4cbd2-04b0-4eb0-a7a9-8d2d8b0d6b1a/v2.0",
        NOW,
    );
    let other = other.unwrap().mint_as("JWT", claims("entra-v2")).unwrap();
    assert!(world.tokens.verify(&other, NOW).is_err());
    // A slash too few.
    let slash = Issuer::new("https://shop.eu.auth0.com", NOW).unwrap();
    assert!(world.tokens.verify(&slash.mint_as("JWT", claims("auth0")).unwrap(), NOW).is_err());

    let of_tenants = "https://login.microsoftonline.com/{tenantid}/v2.0";
    assert_eq!(
        zt_identity::oidc::issuer::Issuer::parse(of_tenants).unwrap_err(),
        IssuerError::Template
    );
}

/// Without `JWT` among its types, a token has to say what it is.
#[test]
fn where_the_type_is_left_out_a_token_says_that_it_is_an_access_token() {
    let yaml = block(&page("oidc-issuers.md"), "yaml issuers")
        .replace("    tokenTypes: [at+jwt, JWT]\n", "");
    let configuration = AuthenticationConfiguration::from_yaml(&yaml).unwrap();
    let signer = Issuer::new("https://shop.eu.auth0.com/", NOW).unwrap();
    let keys = signer.keys().unwrap();
    let auth0 = configuration.issuers().last().unwrap().verifier(keys).unwrap();
    let claims = claims("auth0-rfc9068");
    assert!(auth0.verify(&signer.mint(&claims).unwrap(), NOW).is_ok());
    assert!(auth0.verify(&signer.mint_as("JWT", &claims).unwrap(), NOW).is_err());
}

fn policies(name: &str, info: &str) -> PolicySet {
    PolicySet::parse(name, &block(&page(name), info)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test needs callers")]
fn workload(id: &str) -> Verified<Principal> {
    danger::verified(Principal::new(Workload::new(SpiffeId::parse(id).unwrap())))
}

#[expect(clippy::disallowed_methods, reason = "a test needs callers")]
fn with(caller: &str, user: User) -> Verified<Principal> {
    workload(caller).on_behalf_of(danger::verified(user))
}

fn may(
    policies: &PolicySet,
    caller: &Verified<Principal>,
    action: &str,
    resource: &Resource,
) -> bool {
    let (action, context) = (Action::new(action), Context::at(NOW));
    policies.decide(&Request::new(caller, &action, resource, &context)).is_allowed()
}

fn user(name: &str) -> User {
    User::new("https://login.example.com", name)
}

const CART: &str = "spiffe://example.org/ns/shop/sa/cart";

#[test]
fn policies_in_the_place_of_istios_allow_what_those_do() {
    let policies = policies("migrating.md", "cedar istio");
    let cart = workload("spiffe://cluster.local/ns/shop/sa/cart");
    let edge = workload("spiffe://cluster.local/ns/edge/sa/gateway");
    let other = workload("spiffe://cluster.local/ns/edges/sa/gateway");
    let route = |path: &str| Resource::of_kind("Route", path);
    for (caller, action, path, allowed) in [
        (&cart, "GET", "/orders/42", true),
        (&cart, "GET", "/orders", true), // which Istio's does not, as the page says
        (&cart, "POST", "/orders/42", false),
        (&cart, "GET", "/ordersx", false),
        (&cart, "GET", "/status", false),
        (&edge, "GET", "/status", true),
        (&edge, "GET", "/orders/42", false),
        (&other, "GET", "/status", false),
    ] {
        assert_eq!(may(&policies, caller, action, &route(path)), allowed, "{action} {path}");
    }
}

#[test]
fn policies_in_the_place_of_a_role_in_a_handler_refuse_what_it_did() {
    let policies = policies("migrating.md", "cedar roles");
    let order = Resource::new("Order", "42").with("owner", "alice");
    let nobodys = Resource::new("Order", "43");
    let manager = |name| with(CART, user(name).with_roles(["manager"]));
    assert!(may(&policies, &manager("meg"), "refund", &order));
    assert!(!may(&policies, &manager("alice"), "refund", &order), "her own");
    assert!(!may(&policies, &with(CART, user("bob")), "refund", &order), "no manager");
    assert!(!may(&policies, &manager("meg"), "refund", &nobodys), "whose it is cannot be told");
    let mailer =
        with("spiffe://example.org/ns/mail/sa/mailer", user("meg").with_roles(["manager"]));
    assert!(!may(&policies, &mailer, "refund", &order), "another workload");
}

#[test]
fn policies_of_the_pages_say_what_the_pages_say_of_them() {
    let orders = Resource::of_kind("Route", "/orders/{id}");
    let clerk = with(CART, user("carl").with_roles(["clerk"]));
    let casbin = policies("migrating.md", "cedar casbin");
    assert!(may(&casbin, &clerk, "GET", &orders) && !may(&casbin, &clerk, "DELETE", &orders));
    assert!(!may(&casbin, &with(CART, user("alice")), "GET", &orders));

    let shop = PolicySet::parse(
        "shop",
        &format!(
            "permit (principal is Workload, action, resource);\n{}",
            block(&page("oidc-issuers.md"), "cedar scopes")
        ),
    );
    let shop = shop.unwrap();
    assert!(may(&shop, &with(CART, user("carl").with_scopes(["orders.read"])), "GET", &orders));
    assert!(!may(&shop, &clerk, "GET", &orders), "an application: roles and no scope");

    let all = format!(
        "permit (principal, action, resource);\n{}",
        block(&page("oidc-issuers.md"), "cedar machines")
    );
    let all = PolicySet::parse("all", &all).unwrap();
    assert!(may(&all, &clerk, "GET", &orders));
    assert!(!may(&all, &with(CART, user("K1AU@clients")), "GET", &orders));

    let federated = policies("spire.md", "cedar");
    let sync = workload("spiffe://partner.test/ns/edge/sa/sync");
    assert!(may(&federated, &sync, "GET", &orders) && !may(&federated, &sync, "POST", &orders));
    assert!(!may(&federated, &workload("spiffe://partner.test/ns/shop/sa/cart"), "GET", &orders));
}

#[test]
fn a_service_account_is_named_in_policies_as_the_page_has_it() {
    let cluster = Issuer::new("https://kubernetes.default.svc.cluster.local", NOW).unwrap();
    let policies = policies("kubernetes.md", "cedar accounts");
    let caller = |account: &str| {
        let claims = format!(
            r#"{{"aud": ["orders"], "sub": "system:serviceaccount:shop:{account}", "kubernetes.io": {{
                "namespace": "shop", "serviceaccount": {{"name": "{account}", "uid": "1"}}}}}}"#
        );
        let verifier = zt_identity::service_account::ServiceAccountVerifier::new(
            cluster.url().clone(),
            zt_identity::claims::Audience::any(["orders"]).unwrap(),
            cluster.keys().unwrap(),
        );
        let token = cluster.mint_as("JWT", claims).unwrap();
        let token = verifier.unwrap().verify(&token, NOW).unwrap();
        Binding::bearer().service_account(&token).unwrap()
    };
    let orders = Resource::of_kind("Route", "/orders");
    assert!(may(&policies, &caller("report"), "GET", &orders));
    assert!(!may(&policies, &caller("mailer"), "GET", &orders));
    assert!(!may(&policies, &caller("report"), "POST", &orders));
}
