//! The schema of the model as Cedar itself reads it, and policies that it finds fault with.

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use zt_policy::schema::{self, Kind, SCHEMA, Type};

fn problems(schema: &str, policies: &str) -> Vec<String> {
    let (schema, warnings) = Schema::from_cedarschema_str(schema).unwrap();
    let warnings: Vec<String> = warnings.map(|warning| warning.to_string()).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    let policies: PolicySet = policies.parse().unwrap();
    let result = Validator::new(schema).validate(&policies, ValidationMode::Strict);
    result.validation_errors().map(ToString::to_string).collect()
}

#[test]
fn policies_about_the_model_are_valid() {
    let policies = r#"
        permit (principal in WorkloadPath::"spiffe://example.org/ns/shop", action == Action::"GET",
            resource in Route::"/orders");
        permit (principal in KubernetesNamespace::"https://k#shop", action == Action::"POST",
            resource == Route::"/shop.Orders/Cancel");
        permit (principal in Role::"clerk", action in [Action::"GET", Action::"HEAD"], resource is Route)
        when {
            context has source && context.source.isInRange(ip("10.0.0.0/8"))
                && context.workload in TrustDomain::"example.org"
                && context has user && context.user has auth_time
                && context.time.durationSince(context.user.auth_time) < duration("15m")
                && context.user.amr.contains("otp")
        }
        unless { context has device && context.device has managed && !context.device.managed };
        forbid (principal is User in Group::"guests", action, resource)
        when { context has risk && context.risk > 3 };
    "#;
    assert_eq!(problems(SCHEMA, policies), Vec::<String>::new());
}

#[test]
fn a_misspelt_attribute_or_one_that_may_be_absent_is_found() {
    for policy in [
        "permit (principal is User, action, resource) when { principal.rolse.isEmpty() };",
        "permit (principal, action, resource) when { context.risk > 3 };",
        "permit (principal is Workload, action, resource) when { principal.path == \"/x\" };",
        "permit (principal == Usr::\"x\", action, resource);",
        "permit (principal, action == Action::\"READ\", resource);",
    ] {
        assert!(!problems(SCHEMA, policy).is_empty(), "{policy}");
    }
}

#[test]
fn what_a_service_adds_is_part_of_the_schema() {
    let order = Kind::new("Shop::Order")
        .unwrap()
        .with("owner", Type::String)
        .may_have("tags", Type::set(Type::String))
        .may_have("at", Type::record([("lat", Type::Long), ("from", Type::Ip)]))
        .within("Shop::Folder")
        .within("Project")
        .within("User");
    let schema = schema::Schema::new()
        .kind(order)
        .kind(Kind::new("Shop::Folder").unwrap())
        .kind(Kind::new("Project").unwrap())
        .action("refund", ["Shop::Order"])
        .action("GET", ["Shop::Order"])
        .workload("tier", Type::Long)
        .user("department", Type::String)
        .device("disk", Type::String)
        .context("tenant", Type::String)
        .text()
        .unwrap();
    let policies = r#"
        permit (principal, action == Action::"refund", resource in Shop::Folder::"open")
        when { resource.owner == context.tenant && resource has at && resource.at.from.isIpv4() };
        permit (principal is User, action == Action::"GET", resource is Shop::Order in Project::"p")
        when { resource in principal && principal has department && principal.department == "x" };
    "#;
    let absent = problems(&schema, policies);
    assert!(absent.iter().any(|problem| problem.contains("tenant")), "{absent:?}");
    let guarded = policies.replace("resource.owner ==", "context has tenant && resource.owner ==");
    assert_eq!(problems(&schema, &guarded), Vec::<String>::new());
}
