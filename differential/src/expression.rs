//! Expressions that nobody wrote, as text: mostly of the type that is asked for, so that most of
//! them have a value.

use crate::choices::Choices;

/// What an expression is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A bool.
    Bool,
    /// A number.
    Long,
    /// A text.
    Text,
    /// An entity.
    Entity,
    /// A set.
    Set,
    /// A record.
    Record,
    /// Of the extension `decimal`.
    Decimal,
    /// Of the extension `ipaddr`.
    Ip,
    /// Of the extension `datetime`.
    DateTime,
    /// Of the extension `datetime`, too.
    Duration,
}

use Type::{Bool, DateTime, Decimal, Duration, Entity, Ip, Long, Record, Set, Text};

const TYPES: [Type; 10] = [Bool, Long, Text, Entity, Set, Record, Decimal, Ip, DateTime, Duration];

/// The names of attributes and tags, of which the last is not an identifier.
pub const NAMES: [&str; 6] = ["a", "b", "c", "e", "r", "x y"];

/// The types of entities.
pub const KINDS: [&str; 6] = ["User", "Group", "Doc", "Ns::Team", "Action", "Ns::Action"];

/// The IDs of entities of one type.
pub const IDS: [&str; 5] = ["0", "1", "2", "3", "\u{e9}\u{301}\n\"\\"];

/// The attributes that entities and contexts mostly have, with the type that they mostly are of.
pub const TYPED: [(&str, Type); 6] =
    [("a", Long), ("b", Text), ("c", Bool), ("e", Entity), ("r", Record), ("x y", Set)];

/// Texts, some of which extensions make something of.
pub const TEXTS: [&str; 12] =
    ["", "a", "b", "ab", "a*b", "10.0.0.1", "1.5", "2026-11-21", "1h", "é", "\"\\\n\t\0", "x y"];

/// What is a decimal, and what only looks like one.
pub const DECIMALS: [&str; 12] = [
    "0.0",
    "1.5",
    "-1.50",
    "1.5000",
    "-0.0",
    "922337203685477.5807",
    "-922337203685477.5808",
    "922337203685477.5808",
    "1.",
    ".5",
    "1.00000",
    "01.5",
];

/// What is an address or a range, and what only looks like one.
pub const NETS: [&str; 22] = [
    "10.0.0.1",
    "10.0.0.0/8",
    "10.1.2.3/8",
    "127.0.0.1",
    "127.0.0.0/7",
    "224.0.0.1",
    "0.0.0.0/0",
    "::1",
    "::1/127",
    "ff00::/8",
    "ff00::1",
    "2001:db8::/32",
    "2001:db8:0:0:0:0:0:1",
    "::/0",
    "::ffff:10.0.0.1",
    "10.0.0.01",
    "10.0.0.1/33",
    "10.0.0.1/032",
    "10.0.0",
    "::1%lo",
    "10.0.0.0/",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
];

/// What is a moment, and what only looks like one.
pub const TIMES: [&str; 18] = [
    "2026-11-21",
    "1970-01-01",
    "1969-12-31",
    "2024-02-29",
    "2023-02-29",
    "2026-11-21T10:20:30Z",
    "2026-11-21T10:20:30.400Z",
    "2026-11-21T10:20:30+0100",
    "2026-11-21T10:20:30.400-2359",
    "2026-11-21T23:59:60Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T10:20:30+2400",
    "0000-01-01",
    "9999-12-31T23:59:59.999Z",
    "2026-11-21T10:20:30",
    "2026-1-1",
    "2026-11-21T10:20:30.4Z",
    "10000-01-01",
];

/// What is a span of time, and what only looks like one.
pub const SPANS: [&str; 14] = [
    "0ms",
    "1h30m",
    "1d2h3m4s5ms",
    "-1d",
    "-0s",
    "9223372036854775807ms",
    "-9223372036854775808ms",
    "9223372036854775808ms",
    "1h1d",
    "1.5h",
    "",
    "106751991168d",
    "86399999ms",
    "1h 1m",
];

const LONGS: [&str; 8] = [
    "0",
    "1",
    "2",
    "(-1)",
    "9223372036854775807",
    "(-9223372036854775808)",
    "86400000",
    "4294967296",
];

const PATTERNS: [&str; 8] = ["*", "a", "a*", "*b", "a\\*b", "*.0.*", "", "\\u{e9}*"];

/// A string in quotes, as Cedar reads it.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// An entity.
pub fn entity(choices: &mut Choices<'_>) -> String {
    let kind = choices.of(&KINDS);
    format!("{kind}::{}", quoted(choices.of(&IDS)))
}

/// An expression that is meant to be of this type, and sometimes is not.
pub fn expression(choices: &mut Choices<'_>, of: Type, depth: usize) -> String {
    let of = if choices.one_in(60) { choices.of(&TYPES) } else { of };
    if depth == 0 || choices.one_in(4) {
        return leaf(choices, of);
    }
    if choices.one_in(6) {
        return path(choices, of, depth - 1);
    }
    if choices.one_in(16) {
        let test = expression(choices, Bool, depth - 1);
        let then = expression(choices, of, depth - 1);
        let otherwise = expression(choices, of, depth - 1);
        return format!("(if {test} then {then} else {otherwise})");
    }
    inner(choices, of, depth - 1)
}

/// A literal or a part of the request.
pub fn leaf(choices: &mut Choices<'_>, of: Type) -> String {
    let call = |function: &str, argument: &str| format!("{function}({})", quoted(argument));
    match of {
        Bool => choices.of(&["true", "false"]).into(),
        Long => choices.of(&LONGS).into(),
        Text => quoted(choices.of(&TEXTS)),
        Entity if choices.one_in(2) => choices.of(&["principal", "action", "resource"]).into(),
        Entity => entity(choices),
        Set => {
            let members = choices.of(&TYPES);
            let members = choices.some(3, |choices| match members {
                Set | Record => leaf(choices, Long),
                plain => leaf(choices, plain),
            });
            format!("[{}]", members.join(", "))
        }
        Record => {
            choices.of(&["context", "{}", "{a: 1}", "{a: 1, b: \"a\"}", "{\"x y\": []}"]).into()
        }
        Decimal => call("decimal", choices.of(&DECIMALS)),
        Ip => call("ip", choices.of(&NETS)),
        DateTime => call("datetime", choices.of(&TIMES)),
        Duration => call("duration", choices.of(&SPANS)),
    }
}

/// An attribute, or an attribute of one.
pub fn path(choices: &mut Choices<'_>, of: Type, depth: usize) -> String {
    let typed = TYPED.iter().find(|(_, kind)| *kind == of).map(|(name, _)| *name);
    let name = match typed {
        Some(name) if !choices.one_in(16) => name,
        _ => choices.of(&NAMES),
    };
    let root = if choices.one_in(6) {
        let of = choices.of(&[Entity, Record]);
        expression(choices, of, depth)
    } else {
        choices
            .of(&[
                "context",
                "principal",
                "resource",
                "context.r",
                "principal.e",
                "context.e",
                "action",
            ])
            .into()
    };
    access(choices, &root, name)
}

fn access(choices: &mut Choices<'_>, of: &str, name: &str) -> String {
    if name.contains(' ') || choices.one_in(6) {
        format!("{of}[{}]", quoted(name))
    } else {
        format!("{of}.{name}")
    }
}

fn inner(choices: &mut Choices<'_>, of: Type, depth: usize) -> String {
    match of {
        Bool => boolean(choices, depth),
        Long => {
            if choices.one_in(4) {
                let method =
                    choices.of(&["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"]);
                return format!("{}.{method}()", expression(choices, Duration, depth));
            }
            if choices.one_in(6) {
                return format!("-({})", expression(choices, Long, depth));
            }
            let op = choices.of(&["+", "-", "*"]);
            let left = expression(choices, Long, depth);
            format!("({left} {op} {})", expression(choices, Long, depth))
        }
        Text | Entity | Ip | Decimal if choices.one_in(2) => tag(choices, depth, "getTag"),
        Text => quoted(choices.of(&TEXTS)),
        Entity => entity(choices),
        Set => {
            let members = choices.of(&TYPES);
            let members = choices.some(4, |choices| expression(choices, members, depth));
            format!("[{}]", members.join(", "))
        }
        Record => {
            let first = choices.below(NAMES.len());
            let count = choices.below(NAMES.len() - first);
            let field = |name: &&str| {
                let of = TYPED.iter().find(|(typed, _)| typed == name).map_or(Long, |(_, of)| *of);
                format!("{}: {}", quoted(name), expression(choices, of, depth))
            };
            let fields: Vec<String> = NAMES[first..first + count].iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Decimal => format!("decimal({})", expression(choices, Text, depth)),
        Ip => format!("ip({})", expression(choices, Text, depth)),
        DateTime => {
            let time = expression(choices, DateTime, depth);
            if choices.one_in(2) {
                return format!("{time}.toDate()");
            }
            format!("{time}.offset({})", expression(choices, Duration, depth))
        }
        Duration => {
            let time = expression(choices, DateTime, depth);
            if choices.one_in(2) {
                return format!("{time}.toTime()");
            }
            format!("{time}.durationSince({})", expression(choices, DateTime, depth))
        }
    }
}

fn tag(choices: &mut Choices<'_>, depth: usize, method: &str) -> String {
    let of = expression(choices, Entity, depth);
    let name = match choices.of(&NAMES) {
        _ if choices.one_in(6) => expression(choices, Text, depth),
        name => quoted(name),
    };
    format!("{of}.{method}({name})")
}

fn boolean(choices: &mut Choices<'_>, depth: usize) -> String {
    let binary = |choices: &mut Choices<'_>, left, op: &str, right| {
        let left = expression(choices, left, depth);
        let right = expression(choices, right, depth);
        format!("({left} {op} {right})")
    };
    let method = |choices: &mut Choices<'_>, left, op: &str, right| {
        let left = expression(choices, left, depth);
        let right = expression(choices, right, depth);
        format!("({left}).{op}({right})")
    };
    match choices.below(16) {
        0 => format!("!({})", expression(choices, Bool, depth)),
        1 | 2 => {
            let op = choices.of(&["&&", "||"]);
            binary(choices, Bool, op, Bool)
        }
        3 | 4 => {
            let op = choices.of(&["==", "!="]);
            let of = choices.of(&TYPES);
            binary(choices, of, op, of)
        }
        5 => {
            let op = choices.of(&["<", "<=", ">", ">="]);
            let of = choices.of(&[Long, DateTime, Duration]);
            binary(choices, of, op, of)
        }
        6 => {
            let right = choices.of(&[Entity, Set]);
            if right == Set && choices.one_in(2) {
                let left = expression(choices, Entity, depth);
                let all = choices.some(4, |choices| expression(choices, Entity, depth));
                return format!("({left} in [{}])", all.join(", "));
            }
            binary(choices, Entity, "in", right)
        }
        7 => {
            let of = choices.of(&TYPES);
            method(choices, Set, "contains", of)
        }
        8 => {
            let op = choices.of(&["containsAll", "containsAny"]);
            method(choices, Set, op, Set)
        }
        9 => format!("({}).isEmpty()", expression(choices, Set, depth)),
        10 => has(choices, depth),
        11 => {
            let text = expression(choices, Text, depth);
            format!("({text} like \"{}\")", choices.of(&PATTERNS))
        }
        12 => {
            let (entity, kind) = (expression(choices, Entity, depth), choices.of(&KINDS));
            if choices.one_in(2) {
                return format!("({entity} is {kind})");
            }
            let of = choices.of(&[Entity, Set]);
            format!("({entity} is {kind} in {})", expression(choices, of, depth))
        }
        13 => {
            let op =
                choices.of(&["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]);
            method(choices, Decimal, op, Decimal)
        }
        14 => {
            if choices.one_in(3) {
                return method(choices, Ip, "isInRange", Ip);
            }
            let test = choices.of(&["isIpv4", "isIpv6", "isLoopback", "isMulticast"]);
            format!("({}).{test}()", expression(choices, Ip, depth))
        }
        _ => tag(choices, depth, "hasTag"),
    }
}

fn has(choices: &mut Choices<'_>, depth: usize) -> String {
    let of = choices.of(&[Entity, Record]);
    let of = expression(choices, of, depth);
    let name = choices.of(&NAMES);
    if name.contains(' ') || choices.one_in(3) {
        return format!("({of} has {})", quoted(name));
    }
    let mut names = vec![name];
    names.extend(choices.some(2, |choices| choices.of(&NAMES[..5])));
    format!("({of} has {})", names.join("."))
}
