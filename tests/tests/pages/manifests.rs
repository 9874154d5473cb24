use serde_json::Value;
use zt_identity::oidc::configuration::AuthenticationConfiguration;
use zt_identity::workload_api::{ENVIRONMENT_VARIABLE, EndpointAddress};
use zt_policy::set::PolicySet;

use crate::markdown::{PAGES, block, page, read, rust, split};

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn manifest(name: &str) -> Value {
    yaml(&block(&page("kubernetes.md"), &format!("yaml {name}")))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

/// Where the one container mounts the one volume, which it may not write to.
fn mounted(pod: &Value) -> &str {
    let mount = "/spec/containers/0/volumeMounts/0";
    let volume = text(pod, "/spec/volumes/0/name");
    assert_eq!(text(pod, &format!("{mount}/name")), volume);
    assert_eq!(pod.pointer(&format!("{mount}/readOnly")), Some(&Value::Bool(true)));
    assert!(pod.pointer(&format!("{mount}/subPath")).is_none(), "it would never be updated");
    text(pod, &format!("{mount}/mountPath"))
}

#[test]
fn the_files_of_an_identity_are_where_the_program_looks() {
    let pod = manifest("identity");
    let path = mounted(&pod);
    assert!(
        rust(&page("kubernetes.md")).contains(&format!("format!(\"{path}/{{file}}\")")),
        "{path}"
    );
    let csi = "/spec/volumes/0/csi";
    assert_eq!(text(&pod, &format!("{csi}/driver")), "spiffe.csi.cert-manager.io");
    let group = text(&pod, &format!("{csi}/volumeAttributes/spiffe.csi.cert-manager.io~1fs-group"));
    let runs_as = pod.pointer("/spec/securityContext/runAsGroup").and_then(Value::as_u64);
    assert_eq!(group.parse(), Ok(runs_as.unwrap()));
}

#[test]
fn the_address_of_the_agent_is_one_and_is_mounted() {
    let pod = manifest("workload-api");
    assert_eq!(text(&pod, "/spec/containers/0/env/0/name"), ENVIRONMENT_VARIABLE);
    let address = text(&pod, "/spec/containers/0/env/0/value");
    let address = EndpointAddress::parse(address).unwrap();
    assert!(address.path().unwrap().starts_with(mounted(&pod)));
    assert_eq!(text(&pod, "/spec/volumes/0/csi/driver"), "csi.spiffe.io");
}

#[test]
fn a_token_is_projected_for_the_audience_that_the_service_asks_for() {
    let pod = manifest("caller");
    mounted(&pod);
    assert_eq!(pod.pointer("/spec/automountServiceAccountToken"), Some(&Value::Bool(false)));
    let token = "/spec/volumes/0/projected/sources/0/serviceAccountToken";
    let audience = text(&pod, &format!("{token}/audience"));
    let asked = format!("Audience::any([\"{audience}\"])");
    assert_eq!(rust(&page("kubernetes.md")).matches(&asked).count(), 2);
    // The least that Kubernetes gives.
    assert_eq!(pod.pointer(&format!("{token}/expirationSeconds")), Some(&Value::from(600)));
}

#[test]
fn the_role_of_a_reviewer_is_the_one_that_it_needs() {
    let binding = manifest("reviewer");
    let role = text(&binding, "/roleRef/name");
    assert!(read("zt-identity/src/service_account/reviewer.rs").contains(&format!("`{role}`")));
    assert_eq!(text(&binding, "/kind"), "ClusterRoleBinding");
    assert_eq!(text(&binding, "/subjects/0/kind"), "ServiceAccount");
}

#[test]
fn probes_ask_for_paths_that_the_program_answers() {
    let manifest = manifest("probes");
    let container = &manifest["containers"][0];
    let program = rust(&page("kubernetes.md"));
    let ports: Vec<_> =
        container["ports"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
    for (probe, path) in [("livenessProbe", "/live"), ("readinessProbe", "/ready")] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["path"], path);
        assert!(program.contains(&format!(".route(\"{path}\", get(")));
        assert!(ports.contains(&&get["port"]), "{get}");
    }
}

#[test]
fn policies_of_a_config_map_load_and_name_roles_as_the_issuers_do() {
    let map = manifest("policies");
    let files = map["data"].as_object().unwrap();
    let mut ids = Vec::new();
    for (name, text) in files {
        assert!(name.ends_with(".cedar"));
        let policies = PolicySet::parse(name, text.as_str().unwrap()).unwrap();
        assert_eq!(policies.warnings().len(), 0, "{:?}", policies.warnings());
        ids.extend(policies.policies().map(|policy| policy.id.to_string()));
    }
    assert_eq!(ids, ["shop-may-call", "clerks-read"]);

    let issuers = block(&page("kubernetes.md"), "yaml issuers");
    assert_eq!(AuthenticationConfiguration::from_yaml(&issuers).unwrap().issuers().len(), 1);
    let prefix = yaml(&issuers);
    let prefix = text(&prefix, "/jwt/0/claimMappings/roles/prefix");
    assert!(files["orders.cedar"].as_str().unwrap().contains(&format!("Role::\"{prefix}clerk\"")));
}

#[test]
fn what_the_page_says_of_the_difference_to_the_api_server_is_so() {
    let good = block(&page("kubernetes.md"), "yaml issuers");
    let refused = |from: &str, to: &str| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        AuthenticationConfiguration::from_yaml(&changed).unwrap_err();
    };
    refused(
        "{claim: hd, requiredValue: example.com}",
        "{expression: \"claims.hd == 'example.com'\"}",
    );
    refused("{claim: groups, prefix: \"staff:\"}", "{claim: groups}");
    refused("audiences: [orders]", "audiences: []");
    refused("https://login.example.com", "https://login.example.com/{tenantid}");
}

#[test]
fn all_yaml_json_and_cedar_of_the_pages_is_read_by_a_test() {
    let mut counts = [0; 3];
    for name in PAGES {
        let text = page(name);
        for block in split(&text).0 {
            let (language, _) = block.info.split_once(' ').unwrap_or((&block.info, ""));
            match language {
                "yaml" => {
                    assert!(yaml(&block.text).is_object(), "{name}: {}", block.info);
                    counts[0] += 1;
                }
                "json" => {
                    assert!(serde_json::from_str::<Value>(&block.text).unwrap().is_object());
                    counts[1] += 1;
                }
                "cedar" => {
                    let policies = PolicySet::parse(name, &block.text);
                    let policies = policies.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(policies.warnings().len(), 0, "{name}");
                    counts[2] += 1;
                }
                "rust" | "rust,no_run" | "sh" => {}
                other => panic!("{name}: nobody reads {other:?}"),
            }
        }
    }
    assert_eq!(counts, [9, 5, 7], "yaml, json, cedar");
}
