use crate::markdown::{page, read, rows};

/// The expression that a name is set to in a source file: `const NAME: T = …;` or `name: …,`.
fn expression(source: &str, name: &str) -> String {
    let constant = format!("const {name}: ");
    let field = format!(" {name}: ");
    let fields = source.match_indices(&field).map(|(at, _)| &source[at + field.len()..]);
    let mut found: Vec<&str> = source
        .match_indices(&constant)
        .filter_map(|(at, _)| source[at..].split_once(" = ")?.1.split_once(';'))
        .map(|(value, _)| value)
        .collect();
    let values = fields.filter_map(|rest| rest.split([',', ';', '}']).next());
    found.extend(values.filter(|value| is_value(value)));
    found.sort_unstable();
    found.dedup();
    let [only] = found.as_slice() else { panic!("{name}: {found:?}") };
    (*only).trim().to_owned()
}

/// Whether this is a value, and not a type or a variable.
fn is_value(text: &str) -> bool {
    let text = text.trim();
    text == "None"
        || text.starts_with("Duration::")
        || text.starts_with(|c: char| c.is_ascii_digit())
}

/// `24 * 3600`, `1 << 20`, `8_192`.
fn number(text: &str) -> u64 {
    if let Some((one, by)) = text.split_once("<<") {
        return number(one) << number(by);
    }
    let factors = text.split('*').map(|factor| factor.trim().replace('_', ""));
    factors.map(|factor| factor.parse::<u64>().unwrap_or_else(|_| panic!("{text}"))).product()
}

fn duration(millis: u64) -> String {
    const SECOND: u64 = 1_000;
    let units =
        [("d", 86_400 * SECOND), ("h", 3_600 * SECOND), ("min", 60 * SECOND), ("s", SECOND)];
    // A minute is said in seconds.
    let unit = units
        .into_iter()
        .find(|(name, unit)| millis.is_multiple_of(*unit) && !(*name == "min" && millis == *unit));
    unit.map_or_else(|| format!("{millis} ms"), |(name, unit)| format!("{} {name}", millis / unit))
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a page says what an expression is worth: several ways, of which it takes one.
fn said(expression: &str) -> Vec<String> {
    let within = |prefix: &str| expression.strip_prefix(prefix)?.strip_suffix(')');
    if expression == "None" {
        return vec!["no bound".into()];
    }
    if let Some(secs) = within("Duration::from_secs(") {
        return vec![duration(number(secs) * 1_000)];
    }
    if let Some(millis) = within("Duration::from_millis(") {
        return vec![duration(number(millis))];
    }
    let count = number(expression);
    let bytes = [("MiB", 1 << 20), ("KiB", 1 << 10)];
    let bytes = bytes.into_iter().find(|(_, unit)| count.is_multiple_of(*unit));
    let bytes = bytes.map(|(name, unit)| format!("{} {name}", count / unit));
    std::iter::once(grouped(count)).chain(bytes).collect()
}

/// What a name is set to in a file, as a page says it.
fn default(path: &str, name: &str) -> Vec<String> {
    said(&expression(&read(path), name))
}

#[test]
fn every_limit_is_the_one_that_the_code_sets() {
    let rows = rows(&page("limits.md"));
    for row in &rows {
        let [what, stated, _, set_in] = row.as_slice() else { panic!("{row:?}") };
        let (name, path) = set_in.split_once("`](../").unwrap_or_else(|| panic!("{what}"));
        let (name, path) = (name.trim_start_matches("[`"), path.trim_end_matches(')'));
        let expected = default(path, name);
        assert!(expected.contains(stated), "{what}: {stated}, and {name} is {expected:?}");
    }
    assert!(rows.len() > 70, "{} rows", rows.len());
}

/// A file, and what in it has a default.
type Default = (&'static str, &'static str);

/// Rows of other pages: how they begin, and what of the code they repeat.
const REPEATED: &[(&str, &str, &[Default])] = &[
    ("production.md", "roots, revocation lists", &[("zt-core/src/lease.rs", "DEFAULT_INTERVAL")]),
    (
        "production.md",
        "an issuer's keys",
        &[
            ("zt-identity/src/oidc/refresh.rs", "time_to_live"),
            ("zt-identity/src/oidc/refresh.rs", "unknown_key_interval"),
        ],
    ),
    (
        "production.md",
        "an issuer's keys",
        &[
            ("zt-identity/src/oidc/refresh.rs", "time_to_live"),
            ("zt-identity/src/oidc/refresh.rs", "stale_if_error"),
        ],
    ),
    (
        "production.md",
        "keys, JWT bundles, policies in files",
        &[("zt-core/src/watch.rs", "DEFAULT_INTERVAL")],
    ),
    (
        "production.md",
        "connections",
        &[
            ("zt-tls/src/connection/settings.rs", "MAX_AGE"),
            ("zt-tls/src/jitter.rs", "MAX_JITTER"),
            ("zt-tls/src/connection/settings.rs", "GRACE"),
        ],
    ),
    (
        "production.md",
        "tokens for requests of our own",
        &[("zt-identity/src/outgoing/held.rs", "MAX_MARGIN")],
    ),
    (
        "production.md",
        "an introspection endpoint",
        &[("zt-identity/src/oidc/transport.rs", "DEFAULT_TIMEOUT")],
    ),
    (
        "production.md",
        "the endpoint of a federated domain",
        &[("zt-tls/src/federation/settings.rs", "DEFAULT_MAX_AGE")],
    ),
    (
        "production.md",
        "Redis, for proofs",
        &[("zt-identity/src/possession/redis/mod.rs", "DEFAULT_TIMEOUT")],
    ),
    (
        "production.md",
        "Redis, for revocations",
        &[("zt-identity/src/possession/redis/revocations.rs", "DEFAULT_BOUND")],
    ),
    (
        "production.md",
        "the API server, for TokenReviews",
        &[("zt-identity/src/service_account/reviewer.rs", "DEFAULT_REVIEW_TIMEOUT")],
    ),
    (
        "production.md",
        "what records are written to",
        &[
            ("zt-core/src/record/queue.rs", "DEFAULT_CAPACITY"),
            ("zt-core/src/record/queue.rs", "BATCH"),
        ],
    ),
    ("production.md", "`Deny`, the default", &[("zt-core/src/record/queue.rs", "RETRY")]),
    (
        "spire.md",
        "the stream is cut",
        &[
            ("zt-identity/src/workload_api/retry.rs", "FIRST"),
            ("zt-identity/src/workload_api/retry.rs", "LONGEST"),
        ],
    ),
    ("spire.md", "the agent stays away", &[("zt-identity/src/source/bundles.rs", "STALE_AFTER")]),
    (
        "kubernetes.md",
        "offline: `ServiceAccounts::verified`",
        &[("zt-identity/src/oidc/key_file.rs", "STALE_AFTER")],
    ),
    (
        "kubernetes.md",
        "by the API server: `ServiceAccounts::reviewed`",
        &[
            ("zt-identity/src/service_account/reviewer.rs", "DEFAULT_REVIEW_TIMEOUT"),
            ("zt-identity/src/service_account/reviewer.rs", "DEFAULT_REVIEWS_AT_ONCE"),
        ],
    ),
    (
        "kubernetes.md",
        "chain, key, bundles, revocation lists",
        &[("zt-core/src/watch.rs", "DEFAULT_INTERVAL")],
    ),
];

#[test]
fn what_other_pages_say_of_defaults_is_what_the_code_sets() {
    for (name, begins, repeated) in REPEATED {
        let rows = rows(&page(name));
        let found: Vec<_> = rows.into_iter().filter(|row| row[0].starts_with(begins)).collect();
        assert!(!found.is_empty(), "{name}: {begins}");
        let says_all = |row: &Vec<String>| {
            let row = row.join(" | ");
            repeated
                .iter()
                .all(|(path, name)| default(path, name).iter().any(|said| row.contains(said)))
        };
        assert!(found.iter().any(says_all), "{name}: {found:?}");
    }
}

/// Sentences that repeat a default.
#[test]
fn what_is_said_of_leeway_windows_and_retries_is_what_the_code_sets() {
    let production = page("production.md");
    let claims = "zt-identity/src/claims.rs";
    let (leeway, most) = (default(claims, "DEFAULT_LEEWAY"), default(claims, "MAX_LEEWAY"));
    let window = default("zt-identity/src/possession/dpop/mod.rs", "DEFAULT_WINDOW");
    let retry = expression(&read("zt-tower/src/denial/respond.rs"), "retry_after");
    for sentence in [
        format!("Tokens have a leeway of {}, {} at most.", leeway[0], most[0]),
        format!("A DPoP proof counts within {} of our clock", window[0]),
        format!("`Retry-After: {}`", retry.trim_matches(|c: char| !c.is_ascii_digit())),
    ] {
        assert!(production.contains(&sentence), "{sentence}");
    }
    let issuers = page("oidc-issuers.md");
    let most = default("zt-identity/src/oidc/issuers.rs", "MAX_ISSUERS");
    assert!(issuers.contains(&format!("as an issuer, {} at most", most[0])));
    let kubernetes = page("kubernetes.md");
    let grace = default("zt-tls/src/connection/settings.rs", "GRACE");
    assert!(kubernetes.contains(&format!("for the grace of {}", grace[0])));
}

#[test]
fn expressions_are_read_as_the_compiler_reads_them() {
    let source = "pub const A: Duration = Duration::from_secs(24 * 3600);\nconst B: usize = 1 << 20;\n\
                  Self { c: Duration::from_millis(500), d: None }\nstruct S { c: Duration }";
    assert_eq!(said(&expression(source, "A")), ["1 d"]);
    assert_eq!(said(&expression(source, "B")), ["1,048,576", "1 MiB"]);
    assert_eq!(said(&expression(source, "c")), ["500 ms"]);
    assert_eq!(said(&expression(source, "d")), ["no bound"]);
    for (millis, text) in [(60_000, "60 s"), (90_000, "90 s"), (120_000, "2 min"), (250, "250 ms")]
    {
        assert_eq!(duration(millis), text);
    }
    assert_eq!([999, 8_192, 1_000_000].map(grouped), ["999", "8,192", "1,000,000"]);
}
