//! What the schema says beside what the model does.

use std::net::IpAddr;

use zt_core::attribute::{Attributes, Value as Fact};
use zt_core::danger;
use zt_core::decision::{Answer, Decision, PolicyVersion};
use zt_core::principal::{Authentication, Device, Principal, User, Workload, WorkloadId};
use zt_core::request::{Action, Context, Request, Resource};
use zt_core::spiffe::SpiffeId;
use zt_core::time::Timestamp;
use zt_core::verified::Verified;

use super::*;
use crate::entity::Entity;
use crate::model::{Asked, ask};
use crate::value::{Record, Value};

/// With what its requests say besides the model.
fn schema() -> Schema {
    let order = Kind::new("Shop::Order")
        .unwrap()
        .with("owner", Type::String)
        .may_have("tags", Type::set(Type::String))
        .may_have("at", Type::record([("lat", Type::Long), ("from", Type::Ip)]))
        .within("Shop::Folder")
        .within("User");
    Schema::new()
        .kind(Kind::new("Shop::Folder").unwrap())
        .kind(order)
        .action("refund", ["Shop::Order"])
        .action("GET", ["Shop::Order", "Shop::Folder"])
        .workload("tier", Type::Long)
        .user("department", Type::String)
        .device("disk", Type::String)
        .context("tenant", Type::String)
}

#[expect(clippy::disallowed_methods, reason = "a test needs callers")]
fn callers() -> Vec<Verified<Principal>> {
    let cart = SpiffeId::parse("spiffe://example.org/ns/shop/sa/cart").unwrap();
    let cart = Workload::new(cart).with_attributes(Attributes::new().with("tier", 1));
    let account = Workload::new(WorkloadId::ServiceAccount {
        issuer: "https://k".into(),
        namespace: "shop".into(),
        name: "cart".into(),
    });
    let mut authentication = Authentication::default();
    authentication.acr = Some("gold".into());
    authentication.amr = vec!["otp".into()];
    authentication.auth_time = Some(Timestamp::from_secs(60));
    let alice = User::new("https://issuer", "alice")
        .with_client("app")
        .with_scopes(["orders"])
        .with_roles(["clerk"])
        .with_groups(["eng"])
        .with_authentication(authentication)
        .with_attributes(Attributes::new().with("department", "sales"));
    let bob = User::new("https://issuer", "bob");
    let posture = Attributes::new()
        .with("managed", true)
        .with("compliant", true)
        .with("encrypted", false)
        .with("os", "linux")
        .with("os_version", "6.1")
        .with("disk", "ssd");
    let plain = || danger::verified(Principal::new(account.clone()));
    vec![
        plain(),
        danger::verified(Principal::new(cart.clone())),
        plain().on_behalf_of(danger::verified(bob)),
        danger::verified(Principal::new(cart))
            .on_behalf_of(danger::verified(alice))
            .from_device(danger::verified(Device::new("laptop", posture))),
    ]
}

fn asked_all() -> Vec<Asked> {
    let (order, kinds) = (&schema().kinds[2], schema().kinds.len());
    assert_eq!((order.name(), kinds), ("Shop::Order", 3));
    let at = Attributes::new().with("lat", 1).with("from", IpAddr::from([10, 0, 0, 1]));
    let order = order
        .resource("42")
        .with("owner", "alice")
        .with("tags", Fact::strings(["a"]))
        .with("at", at)
        .within("Shop::Folder", "open")
        .within("User", "https://issuer#alice")
        .build()
        .unwrap();
    let route = Resource::new("Route", "/shop.Orders/Cancel").with("path", "/shop.Orders/Cancel");
    let contexts = [
        Context::at(Timestamp::from_secs(1)),
        Context::at(Timestamp::from_secs(1))
            .from_source([10, 0, 0, 1])
            .with("risk", 3)
            .with("tenant", "blue"),
    ];
    let (action, mut all) = (Action::new("GET"), Vec::new());
    for caller in &callers() {
        for resource in [&order, &route] {
            for context in &contexts {
                let request = Request::new(caller, &action, resource, context);
                let decision = Decision::of(&request, PolicyVersion::default(), |question| {
                    all.push(ask(question, &Arc::default()).unwrap());
                    Answer::not_permitted()
                });
                drop(decision);
            }
        }
    }
    all
}

/// What of a value is not as these fields say.
fn misfit(fields: &BTreeMap<Arc<str>, (Type, bool)>, record: &Record) -> Option<String> {
    let missing = fields.iter().find(|(name, (_, always))| *always && !record.contains_key(*name));
    if let Some((name, _)) = missing {
        return Some(format!("{name} is missing"));
    }
    record.iter().find_map(|(name, value)| match fields.get(name) {
        None => Some(format!("{name} is unknown")),
        Some((of, _)) => (!is_of(of, value)).then(|| format!("{name} is {value:?}")),
    })
}

fn is_of(of: &Type, value: &Value) -> bool {
    match (of, value) {
        (Type::Bool, Value::Bool(_))
        | (Type::Long, Value::Long(_))
        | (Type::String, Value::String(_))
        | (Type::Ip, Value::Ip(_))
        | (Type::Time, Value::DateTime(_)) => true,
        (Type::Set(of), Value::Set(members)) => members.iter().all(|member| is_of(of, member)),
        (Type::Record(fields), Value::Record(record)) => misfit(fields, record).is_none(),
        _ => false,
    }
}

#[test]
fn the_file_is_what_the_schema_of_the_model_prints() {
    assert_eq!(Schema::new().text().as_deref(), Ok(SCHEMA));
}

#[test]
fn the_model_makes_what_the_schema_says_and_nothing_else() {
    let schema = schema();
    let text = schema.text().unwrap();
    let check = |entity: &Entity| {
        let kind = entity.uid.kind().as_str();
        let fields = match kind {
            "Workload" => &schema.workload,
            "User" => &schema.user,
            "Action" => {
                assert!(entity.attributes.is_empty() && entity.parents.is_empty());
                return;
            }
            _ => schema.kinds.iter().find(|known| known.name() == kind).unwrap().fields(),
        };
        assert_eq!(misfit(&fields.0, &entity.attributes), None, "{kind}");
        let basename = entity.uid.kind().basename();
        let begins = format!("entity {basename} in [");
        let line = text.lines().find(|line| line.starts_with(&begins)).unwrap();
        for parent in &entity.parents {
            let listed = line.split(['[', ']']).nth(1).unwrap();
            assert!(listed.split(", ").any(|kind| kind == parent.kind().as_str()), "{parent}");
        }
    };
    let all = asked_all();
    assert_eq!(all.len(), (2 + 2 * 2) * 4);
    for asked in all {
        asked.entities.own().for_each(check);
        let mut context = (*asked.request.context).clone();
        let workload = context.remove("workload").unwrap();
        assert!(matches!(workload, Value::Entity(uid) if uid.kind().as_str() == "Workload"));
        if let Some(user) = context.remove("user") {
            assert!(matches!(user, Value::Entity(uid) if uid.kind().as_str() == "User"));
        }
        if let Some(Value::Record(device)) = context.remove("device") {
            assert_eq!(misfit(&schema.device.0, &device), None);
        }
        assert_eq!(misfit(&schema.context.0, &context), None);
    }
}

#[test]
fn every_type_of_the_model_is_declared_once() {
    for kind in OWN_TYPES.into_iter().chain([ROUTE]).filter(|kind| *kind != "Action") {
        let begins = format!("entity {kind}");
        let declared = SCHEMA.lines().filter(|line| {
            line.strip_prefix(&begins).is_some_and(|rest| rest.starts_with([' ', ';']))
        });
        assert_eq!(declared.count(), 1, "{kind}");
    }
}

#[test]
fn a_service_adds_its_kinds_actions_and_attributes() {
    let text = schema().text().unwrap();
    for part in [
        "namespace Shop {\nentity Folder;\nentity Order in [Shop::Folder, User] = {\n",
        "    \"at\"?: {\"from\": ipaddr, \"lat\": Long},\n    \"owner\": String,\n    \"tags\"?: Set<String>,\n};\n}\n",
        "action \"refund\" appliesTo {\n    principal: [Workload, User],\n    resource: [Shop::Order],\n",
        "action \"GET\" appliesTo {\n    principal: [Workload, User],\n    resource: [Route, Shop::Folder, Shop::Order],\n",
        "    \"tier\"?: Long,\n",
        "    \"department\"?: String,\n",
        "    \"disk\"?: String,\n",
        "    \"tenant\"?: String,\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_resource_fits_its_kind_or_is_refused() {
    let kind = Kind::new("Order").unwrap().with("owner", Type::String).within("Folder");
    let kind = kind.may_have("at", Type::record([("lat", Type::Long)]));
    let at = |name: &'static str| Attributes::new().with(name, 1);
    let good = kind.resource("1").with("owner", "alice").with("at", at("lat"));
    let expected = Resource::new("Order", "1").with("owner", "alice").with("at", at("lat"));
    assert_eq!(good.build(), Ok(expected));
    let refused = |draft: Draft<'_>| draft.build().unwrap_err().to_string();
    assert_eq!(refused(kind.resource("1")), r#"an Order without its attribute "owner""#);
    let draft = || kind.resource("1").with("owner", "alice");
    assert_eq!(refused(draft().with("x", 1)), r#"an Order has no attribute "x""#);
    assert_eq!(
        refused(kind.resource("1").with("owner", 1).with("x", 1)),
        r#"the attribute "owner" of an Order is a String"#
    );
    for misfit in [at("lon"), Attributes::new(), at("lat").with("lon", 1)] {
        assert!(matches!(draft().with("at", misfit).build(), Err(Misfit::Type { .. })));
    }
    assert_eq!(refused(draft().within("Project", "p")), "an Order lies in no Project");
}

#[test]
fn a_kind_does_not_pose_as_one_of_the_model() {
    for name in OWN_TYPES.into_iter().chain(["Route"]) {
        assert_eq!(Kind::new(name).unwrap_err(), KindError::OwnType { name: name.into() });
    }
    for name in ["", "a b", "Shop::", "in"] {
        assert!(matches!(Kind::new(name), Err(KindError::NotAnEntityType { .. })), "{name}");
    }
}

#[test]
fn names_that_are_taken_or_unknown_are_refused() {
    let folder = || Kind::new("Folder").unwrap();
    let refused = |schema: Schema| schema.text().unwrap_err().to_string();
    assert_eq!(
        refused(Schema::new().kind(folder()).kind(folder())),
        "two kinds of resources are named Folder"
    );
    let unknown = r#"there is no kind of resources named "Foldr""#;
    assert_eq!(refused(Schema::new().kind(folder()).action("open", ["Foldr"])), unknown);
    assert_eq!(refused(Schema::new().kind(Kind::new("Order").unwrap().within("Foldr"))), unknown);
    for (schema, of) in [
        (Schema::new().user("roles", Type::Long), "user"),
        (Schema::new().workload("path", Type::Long), "workload"),
        (Schema::new().device("id", Type::Long), "device"),
        (Schema::new().context("time", Type::Long), "context"),
        (Schema::new().context("user", Type::Long), "context"),
        (Schema::new().context("x", Type::Long).context("x", Type::Bool), "context"),
    ] {
        assert!(
            matches!(schema.text(), Err(SchemaError::TwoAttributes { of: whose, .. }) if whose == of)
        );
    }
}
