//! Texts that were written to be easily read differently, one in each line of `texts/`. Those with
//! characters that a line cannot show are here.

use zt_differential::readers;

/// Texts in a line each, and more.
fn disagreements(
    lines: &'static str,
    more: &[&'static str],
    ask: impl Fn(&str) -> Vec<Result<(), String>>,
) -> String {
    let mut wrong = String::new();
    for text in lines.lines().chain(more.iter().copied()) {
        for error in ask(text).into_iter().filter_map(Result::err) {
            wrong += &format!("{text:?}\n{error}\n\n");
        }
    }
    wrong
}

fn policies(text: &str) -> Result<(), String> {
    readers::policies(text).map(drop)
}

#[test]
fn both_read_one_version_of_the_language() {
    let theirs = cedar_policy::get_lang_version().to_string();
    assert_eq!(zt_policy::cedar::LANGUAGE_VERSION, theirs);
}

#[test]
fn every_scope_is_read_or_refused_by_both() {
    let more = ["", "principal == A :: B // c\n :: \"a\", action, resource"];
    let wrong = disagreements(include_str!("texts/scopes.txt"), &more, |scope| {
        vec![policies(&format!("permit ({scope});"))]
    });
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_frame_is_read_or_refused_by_both() {
    let more = [
        "",
        "permit // a\r(principal, action, resource);",
        "permit // a\n(principal, action, resource);",
        "permit // a\r\n(principal, action, resource);",
        "permit // a\u{85}(principal, action, resource);",
        "permit // a\u{2028}(principal, action, resource);\npermit (principal, action, resource);",
        "permit // a\u{b}(principal, action, resource);",
        "\u{feff}permit (principal, action, resource);",
        "permit\u{a0}(principal,\u{3000}action,\u{85}resource)\u{2028};",
        "permit\u{200b}(principal, action, resource);",
        "permit\u{b}(principal,\u{c}action, resource);",
        "permit\u{1c}(principal, action, resource);",
        "permit\0(principal, action, resource);",
        "permit (principal, action, resource) when { true //} \n };",
    ];
    let wrong = disagreements(include_str!("texts/frames.txt"), &more, |text| vec![policies(text)]);
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_expression_is_read_or_refused_by_both() {
    let more = [
        "",
        " ",
        "\"a\" like \"\r\"",
        "\"a\" like \"\\\r\"",
        "\"a\" like \"\\\n\"",
        "\"a\" like \"\0\"",
        "context.\na",
        "User::\"\r\"",
        "User::\"\n\"",
        "\"a\nb\"",
        "\"a\rb\"",
        "\"a\r\nb\"",
        "\"a\tb\"",
        "\"a\0b\"",
        "\"a\u{1}b\"",
        "\"a\u{7f}b\"",
        "\"a\u{85}b\"",
        "\"a\u{2028}b\"",
        "\"a\\\nb\"",
        "\"a\\\n   b\"",
        "\"a\\\rb\"",
        "\"a\\\r\nb\"",
        "\"a\\\u{a0}b\"",
        "\"\u{feff}\"",
        "\"\u{202e}\"",
        "1 // a\r+ 1",
        "1 // a\n+ 1",
        "principal // a\n.a",
        "principal.//a\na",
        "User//a\n::\"a\"",
    ];
    let wrong = disagreements(include_str!("texts/expressions.txt"), &more, |expression| {
        let policy = format!("permit (principal, action, resource) when {{ {expression}\n }};");
        vec![readers::expression(expression), policies(&policy)]
    });
    assert!(wrong.is_empty(), "{wrong}");
}
