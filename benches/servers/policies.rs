//! A hundred policies, as a service of some size has them: who may call it, who may do what to each
//! of its areas, and what nobody may do.

/// What the service has.
pub const AREAS: [&str; 24] = [
    "orders",
    "invoices",
    "refunds",
    "returns",
    "carts",
    "baskets",
    "prices",
    "discounts",
    "vouchers",
    "shipments",
    "parcels",
    "carriers",
    "stock",
    "suppliers",
    "purchases",
    "products",
    "reviews",
    "pictures",
    "customers",
    "addresses",
    "payments",
    "accounts",
    "reports",
    "exports",
];

const OF_ALL: &str = r#"
    @id("shop-may-call")
    permit (principal is Workload, action, resource)
    when { principal in WorkloadPath::"spiffe://example.org/ns/shop" };

    @id("admins-may-do-everything")
    permit (principal in Role::"admin", action, resource);

    @id("nobody-deletes-but-admins")
    forbid (principal is User, action == Action::"DELETE", resource)
    unless { principal in Role::"admin" };

    @id("nobody-calls-from-elsewhere")
    forbid (principal, action, resource)
    unless { context.source.isInRange(ip("127.0.0.0/8")) };
"#;

const OF_AN_AREA: &str = r#"
    @id("AREA-readers")
    permit (principal in Role::"AREA-reader", action == Action::"GET", resource == Route::"/AREA/{id}");

    @id("AREA-writers")
    permit (
        principal in Role::"AREA-writer",
        action in [Action::"PUT", Action::"PATCH"],
        resource == Route::"/AREA/{id}"
    );

    @id("AREA-clerks")
    permit (principal in Role::"clerk", action == Action::"GET", resource == Route::"/AREA/{id}")
    when { context.source.isInRange(ip("127.0.0.0/8")) };

    @id("AREA-is-closed-to-suspended")
    forbid (principal in Group::"AREA-suspended", action, resource == Route::"/AREA/{id}");
"#;

/// The policies in Cedar.
pub fn policies() -> String {
    let areas = AREAS.map(|area| OF_AN_AREA.replace("AREA", area));
    format!("{OF_ALL}{}", areas.concat())
}
