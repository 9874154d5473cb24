//! Small changes to texts and JSON that are well formed, after which most are so no longer.

use serde_json::{Map, Value as Json, json};

use crate::choices::Choices;

const TOKENS: [&str; 78] = [
    "permit",
    "forbid",
    "when",
    "unless",
    "principal",
    "action",
    "resource",
    "context",
    "if",
    "then",
    "else",
    "in",
    "is",
    "has",
    "like",
    "true",
    "false",
    "__cedar",
    "User",
    "Action",
    "a",
    "ip",
    "decimal",
    "contains",
    "isEmpty",
    "getTag",
    "isInRange",
    "toDate",
    "foo",
    "?principal",
    "?resource",
    "?x",
    "?",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "::",
    ".",
    "@",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "=",
    "&&",
    "||",
    "&",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "0",
    "1",
    "9223372036854775808",
    "\"a\"",
    "\"\"",
    "\"*\\*\"",
    "\"\\u{41}\\x41\\n\"",
    "\"\\q\"",
    "\"",
    "//",
    "// x\n",
    "// x\r",
    "\r",
    "\u{a0}",
    "é",
    "#",
    "\\",
];

/// A text, of which up to four tokens are others.
pub fn text(choices: &mut Choices<'_>, text: &str) -> String {
    let mut tokens = tokens(text);
    for _ in 0..choices.below(5) {
        let at = choices.below(tokens.len() + 1);
        let token = choices.of(&TOKENS);
        match choices.below(5) {
            0 => tokens.insert(at, token),
            1 if at < tokens.len() => tokens[at] = token,
            2 if at < tokens.len() => tokens.insert(at, tokens[at]),
            3 if at + 1 < tokens.len() => tokens.swap(at, at + 1),
            _ if at < tokens.len() => drop(tokens.remove(at)),
            _ => {}
        }
    }
    let between = choices.of(&[" ", "", "\n"]);
    tokens.join(between)
}

/// Tokens that nobody put in order.
pub fn soup(choices: &mut Choices<'_>) -> String {
    choices.some(24, |choices| choices.of(&TOKENS)).join(" ")
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let len = if first == '"' {
            end_of_string(rest)
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            let pairs = ["==", "!=", "<=", ">=", "&&", "||", "::"];
            let is_pair = pairs.iter().any(|pair| rest.starts_with(pair));
            if is_pair { 2 } else { first.len_utf8() }
        };
        let (token, after) = rest.split_at(len);
        if !token.trim().is_empty() {
            tokens.push(token);
        }
        rest = after;
    }
    tokens
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = true; // The quote with which it begins.
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

const KEYS: [&str; 62] = [
    "Value",
    "Var",
    "Slot",
    "Unknown",
    "Error",
    "!",
    "neg",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "in",
    "+",
    "-",
    "*",
    "contains",
    "containsAll",
    "getTag",
    "hasTag",
    "isEmpty",
    ".",
    "has",
    "like",
    "is",
    "if-then-else",
    "if",
    "then",
    "else",
    "Set",
    "Record",
    "ip",
    "decimal",
    "isIpv4",
    "isInRange",
    "datetime",
    "offset",
    "foo",
    "__entity",
    "__extn",
    "__expr",
    "type",
    "id",
    "fn",
    "arg",
    "args",
    "left",
    "right",
    "attr",
    "pattern",
    "entity_type",
    "entity",
    "entities",
    "slot",
    "op",
    "kind",
    "body",
    "conditions",
    "annotations",
    "uid",
    "attrs",
    "parents",
];

const WORDS: [&str; 32] = [
    "User",
    "Ns::User",
    "A :: B",
    "a b",
    "",
    "if",
    "__cedar",
    "__cedar::A",
    "Action",
    "1",
    "?principal",
    "?resource",
    "?x",
    "principal",
    "context",
    "unknown",
    "Wildcard",
    "All",
    "==",
    "in",
    "is",
    "permit",
    "forbid",
    "when",
    "unless",
    "ip",
    "isIpv4",
    "foo",
    "10.0.0.1",
    "User::\"a\"",
    "tags",
    "\u{0}",
];

/// Changes up to three places of a JSON.
pub fn json(choices: &mut Choices<'_>, json: &mut Json) {
    for _ in 0..choices.below(4) {
        let place = choices.below(count(json));
        if let Some(at) = nth(json, &mut { place }) {
            change(choices, at);
        }
    }
}

fn count(json: &Json) -> usize {
    1 + match json {
        Json::Array(items) => items.iter().map(count).sum(),
        Json::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'j>(json: &'j mut Json, left: &mut usize) -> Option<&'j mut Json> {
    if *left == 0 {
        return Some(json);
    }
    *left -= 1;
    match json {
        Json::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Json::Object(fields) => fields.values_mut().find_map(|item| nth(item, left)),
        _ => None,
    }
}

fn change(choices: &mut Choices<'_>, at: &mut Json) {
    match (choices.below(6), &mut *at) {
        (0, Json::Object(fields)) => {
            let key = choices.of(&KEYS);
            fields.insert(key.into(), scrap(choices, 2));
        }
        (1, Json::Object(fields)) => drop(take(choices, fields)),
        (2, Json::Object(fields)) => {
            if let Some(value) = take(choices, fields) {
                fields.insert(choices.of(&KEYS).into(), value);
            }
        }
        (0 | 1, Json::Array(items)) => items.push(scrap(choices, 2)),
        (2, Json::Array(items)) => drop(items.pop()),
        (3, other) => *other = Json::Array(vec![other.take()]),
        (4, other) => *other = json!({choices.of(&KEYS): other.take()}),
        (_, other) => *other = scrap(choices, 2),
    }
}

fn take(choices: &mut Choices<'_>, fields: &mut Map<String, Json>) -> Option<Json> {
    let key = fields.keys().nth(choices.below(fields.len()))?.clone();
    fields.remove(&key)
}

fn scrap(choices: &mut Choices<'_>, depth: usize) -> Json {
    match choices.below(12) {
        0 => Json::Null,
        1 => json!(choices.one_in(2)),
        2 => json!(choices.of(&[0, 1, -1, i64::MAX, i64::MIN])),
        3 => choices.of(&[1.5, 1e3, -0.0]).into(),
        4 => json!(u64::MAX),
        5 => json!({"Value": 1}),
        6 => json!({"type": choices.of(&WORDS), "id": choices.of(&WORDS)}),
        7 if depth > 0 => Json::Array(choices.some(2, |choices| scrap(choices, depth - 1))),
        8 if depth > 0 => {
            let fields =
                choices.some(2, |choices| (choices.of(&KEYS).into(), scrap(choices, depth - 1)));
            Json::Object(fields.into_iter().collect())
        }
        _ => json!(choices.of(&WORDS)),
    }
}
