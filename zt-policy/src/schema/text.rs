//! A schema in Cedar's syntax.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::Schema;
use super::kind::{Fields, Kind, mark};
use crate::model::ROUTE;

const HEAD: &str = "\
// The zero-trust model of requests: who calls, on whose behalf, when and from where.
// `zt_policy::schema::SCHEMA`; the module `model` says what each of these means.

// Callers.
entity TrustDomain;
entity WorkloadPath;
entity KubernetesCluster;
entity KubernetesNamespace;
";

/// What stands before the names of kinds.
const CALLERS: &str = "[Workload, User]";

pub(super) fn of(schema: &Schema) -> String {
    let mut text = String::from(HEAD);
    let parents = "[TrustDomain, WorkloadPath, KubernetesCluster, KubernetesNamespace]";
    block(&mut text, &format!("entity Workload in {parents} ="), &schema.workload, &[]);
    text.push_str("entity Role in [Role];\nentity Group in [Group];\n");
    block(&mut text, "entity User in [Role, Group] =", &schema.user, &[]);
    text.push_str("\n// When, from where, and from what.\n");
    block(&mut text, "type Device =", &schema.device, &[]);
    let more = ["\"workload\": Workload", "\"user\"?: User", "\"device\"?: Device"];
    block(&mut text, "type RequestContext =", &schema.context, &more);
    text.push_str(
        "\n// A path, or the route that was matched; below a route lie those that it begins.\n",
    );
    for kind in schema.kinds.iter().filter(|kind| kind.name() == ROUTE) {
        entity(&mut text, kind);
    }
    let own: Vec<&Kind> = schema.kinds.iter().filter(|kind| kind.name() != ROUTE).collect();
    if !own.is_empty() {
        text.push_str("\n// Resources of the service.\n");
        kinds(&mut text, &own);
    }
    text.push_str("\n// A gRPC call is a POST of its service and method.\n");
    actions(&mut text, schema);
    text
}

/// Kinds by their namespaces.
fn kinds(text: &mut String, kinds: &[&Kind]) {
    let mut spaces: BTreeMap<&str, Vec<&Kind>> = BTreeMap::new();
    for kind in kinds {
        let (space, _) = kind.name().rsplit_once("::").unwrap_or_default();
        spaces.entry(space).or_default().push(kind);
    }
    for (space, kinds) in spaces {
        if !space.is_empty() {
            put(text, format_args!("namespace {space} {{\n"));
        }
        kinds.into_iter().for_each(|kind| entity(text, kind));
        if !space.is_empty() {
            text.push_str("}\n");
        }
    }
}

fn entity(text: &mut String, kind: &Kind) {
    let (_, name) = kind.name().rsplit_once("::").unwrap_or(("", kind.name()));
    let parents: Vec<&str> = kind.parents().collect();
    let within =
        if parents.is_empty() { String::new() } else { format!(" in [{}]", parents.join(", ")) };
    if kind.fields().0.is_empty() {
        put(text, format_args!("entity {name}{within};\n"));
    } else {
        block(text, &format!("entity {name}{within} ="), kind.fields(), &[]);
    }
}

fn block(text: &mut String, begins: &str, fields: &Fields, more: &[&str]) {
    put(text, format_args!("{begins} {{\n"));
    for (name, (of, always)) in &fields.0 {
        put(text, format_args!("    {name:?}{}: {of},\n", mark(*always)));
    }
    for line in more {
        put(text, format_args!("    {line},\n"));
    }
    text.push_str("};\n");
}

/// Actions that may be done to the same kinds stand together.
fn actions(text: &mut String, schema: &Schema) {
    let mut groups: BTreeMap<Vec<&str>, Vec<&Arc<str>>> = BTreeMap::new();
    for (action, kinds) in &schema.actions {
        groups.entry(kinds.iter().map(|kind| &**kind).collect()).or_default().push(action);
    }
    for (kinds, actions) in groups {
        let actions: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
        let (actions, kinds) = (actions.join(", "), kinds.join(", "));
        put(text, format_args!("action {actions} appliesTo {{\n"));
        put(text, format_args!("    principal: {CALLERS},\n    resource: [{kinds}],\n"));
        text.push_str("    context: RequestContext,\n};\n");
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(line);
}
