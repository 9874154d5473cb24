//! Policies and expressions as Cedar text.
//!
//! What is printed is read back as the same form, as long as the form is one that a reader makes:
//! a chain of `&&` or `||` has two links at least and does not begin with a chain of its own kind,
//! the names of a `has` chain are identifiers, and a method has a receiver. Operands are put in
//! parentheses unless they are names, constants, calls or accesses, so no reader has to know which
//! operator binds stronger.

use std::fmt::{self, Display, Formatter, Write};

use crate::expr::{CallStyle, Expr, Literal};
use crate::name::is_identifier;
use crate::pattern::{Element, Pattern};
use crate::policy::{ActionScope, Condition, Policy, Scope, Slot, Target};

impl Display for Policy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.annotations {
            match value {
                Some(value) => writeln!(f, "@{name}({value:?})")?,
                None => writeln!(f, "@{name}")?,
            }
        }
        write!(f, "{} (\n    principal", self.effect)?;
        scope(f, &self.principal, Slot::Principal)?;
        f.write_str(",\n    action")?;
        action_scope(f, &self.action)?;
        f.write_str(",\n    resource")?;
        scope(f, &self.resource, Slot::Resource)?;
        f.write_str("\n)")?;
        for Condition { kind, body } in &self.conditions {
            write!(f, "\n{kind} {{ {body} }}")?;
        }
        f.write_str(";")
    }
}

fn scope(f: &mut Formatter<'_>, scope: &Scope, slot: Slot) -> fmt::Result {
    let (operator, target) = match scope {
        Scope::Any => return Ok(()),
        Scope::Is(kind) => return write!(f, " is {kind}"),
        Scope::Eq(target) => (String::from("=="), target),
        Scope::In(target) => (String::from("in"), target),
        Scope::IsIn(kind, target) => (format!("is {kind} in"), target),
    };
    match target {
        Target::Entity(entity) => write!(f, " {operator} {entity}"),
        Target::Slot => write!(f, " {operator} {slot}"),
    }
}

fn action_scope(f: &mut Formatter<'_>, scope: &ActionScope) -> fmt::Result {
    match scope {
        ActionScope::Any => Ok(()),
        ActionScope::Eq(action) => write!(f, " == {action}"),
        ActionScope::In(group) => write!(f, " in {group}"),
        ActionScope::InAny(groups) => {
            f.write_str(" in [")?;
            separated(f, groups, ", ", |f, group| write!(f, "{group}"))?;
            f.write_str("]")
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Var(var) => f.write_str(var.name()),
            Self::Not(operand) => write!(f, "!{}", Operand(operand)),
            Self::Neg(operand) => write!(f, "-{}", InParentheses(operand)),
            Self::And(all) => chain(f, all, " && ", "true"),
            Self::Or(any) => chain(f, any, " || ", "false"),
            Self::If { test, then, otherwise } => {
                write!(f, "if {test} then {then} else {otherwise}")
            }
            Self::Binary(op, left, right) if op.is_method() => {
                write!(f, "{}.{}({right})", Operand(left), op.name())
            }
            Self::Binary(op, left, right) => {
                write!(f, "{} {} {}", Operand(left), op.name(), Operand(right))
            }
            Self::IsEmpty(set) => write!(f, "{}.isEmpty()", Operand(set)),
            Self::Attribute { of, name } if is_identifier(name) => {
                write!(f, "{}.{name}", Operand(of))
            }
            Self::Attribute { of, name } => write!(f, "{}[{name:?}]", Operand(of)),
            Self::Has { of, path } => {
                write!(f, "{} has ", Operand(of))?;
                separated(f, path.names(), ".", |f, name| key(f, name))
            }
            Self::Like { text, pattern } => write!(f, "{} like {pattern}", Operand(text)),
            Self::Is { entity, kind, within: None } => write!(f, "{} is {kind}", Operand(entity)),
            Self::Is { entity, kind, within: Some(within) } => {
                write!(f, "{} is {kind} in {}", Operand(entity), Operand(within))
            }
            Self::Set(members) => {
                f.write_str("[")?;
                separated(f, members, ", ", |f, member| write!(f, "{member}"))?;
                f.write_str("]")
            }
            Self::Record(fields) => {
                f.write_str("{")?;
                separated(f, fields, ", ", |f, (name, value)| {
                    key(f, name)?;
                    write!(f, ": {value}")
                })?;
                f.write_str("}")
            }
            Self::Call(function, arguments) => {
                let arguments = match (function.style(), arguments.split_first()) {
                    (CallStyle::Method, Some((receiver, rest))) => {
                        write!(f, "{}.", Operand(receiver))?;
                        rest
                    }
                    _ => arguments,
                };
                write!(f, "{}(", function.name())?;
                separated(f, arguments, ", ", |f, argument| write!(f, "{argument}"))?;
                f.write_str(")")
            }
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Long(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Entity(value) => write!(f, "{value}"),
        }
    }
}

/// In quotes, as it stands behind `like`.
impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for element in self.elements() {
            match element {
                Element::Wildcard => f.write_char('*')?,
                Element::Char('*') => f.write_str("\\*")?,
                Element::Char(c) => write!(f, "{}", c.escape_debug())?,
            }
        }
        f.write_char('"')
    }
}

/// An operand, in parentheses unless it is one token or ends with a bracket of its own.
struct Operand<'e>(&'e Expr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let stands_alone = match self.0 {
            Expr::Literal(Literal::Long(value)) => *value >= 0,
            Expr::Binary(op, ..) => op.is_method(),
            Expr::Literal(_)
            | Expr::Var(_)
            | Expr::IsEmpty(_)
            | Expr::Attribute { .. }
            | Expr::Set(_)
            | Expr::Record(_)
            | Expr::Call(..) => true,
            Expr::Not(_)
            | Expr::Neg(_)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::If { .. }
            | Expr::Has { .. }
            | Expr::Like { .. }
            | Expr::Is { .. } => false,
        };
        if stands_alone { self.0.fmt(f) } else { InParentheses(self.0).fmt(f) }
    }
}

/// Always: `-(5)` negates a number, `-5` is one.
struct InParentheses<'e>(&'e Expr);

impl Display for InParentheses<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.0)
    }
}

/// A chain that has too few links gets those that change nothing.
fn chain(f: &mut Formatter<'_>, links: &[Expr], operator: &str, neutral: &str) -> fmt::Result {
    separated(f, links, operator, |f, link| write!(f, "{}", Operand(link)))?;
    match links.len() {
        0 => f.write_str(neutral),
        1 => write!(f, "{operator}{neutral}"),
        _ => Ok(()),
    }
}

fn key(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    if is_identifier(name) { f.write_str(name) } else { write!(f, "{name:?}") }
}

fn separated<T>(
    f: &mut Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    separator: &str,
    mut item: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (n, next) in items.into_iter().enumerate() {
        if n > 0 {
            f.write_str(separator)?;
        }
        item(f, next)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::text;
    use super::*;
    use crate::expr::{BinaryOp, Function, HasPath, MAX_DEPTH, Var};
    use crate::name::{EntityType, EntityUid};

    #[test]
    fn a_policy_is_printed_as_people_write_it() {
        let text = "@id(\"a\")\n@note\nforbid (\n    principal is User in ?principal,\n    \
                    action in [Action::\"a\", Action::\"b\"],\n    resource == Doc::\"\\\"\"\n)\n\
                    when { principal.age >= 18 && context has mfa }\n\
                    unless { resource.name like \"a\\*b*\" };";
        let policy = text::policies("p", text).unwrap().remove(0);
        assert_eq!(
            policy
                .to_string()
                .replace("(context has mfa)", "context has mfa")
                .replace("(principal.age >= 18)", "principal.age >= 18"),
            text
        );
    }

    #[test]
    fn the_deepest_expression_is_read_back() {
        for text in [
            "!(".repeat(MAX_DEPTH - 1) + "true" + &")".repeat(MAX_DEPTH - 1),
            format!("1{}", " + 1".repeat(MAX_DEPTH - 1)),
        ] {
            let expr = text::expression(&text).unwrap();
            assert_eq!(text::expression(&expr.to_string()), Ok(expr));
        }
    }

    fn string() -> impl Strategy<Value = Arc<str>> {
        prop_oneof!["[a-c]{0,2}", "if|in|__cedar", any::<String>()].prop_map(Arc::from)
    }

    fn identifier() -> impl Strategy<Value = Arc<str>> {
        "[a-z_][a-z0-9_]{0,3}"
            .prop_filter("reserved", |word| is_identifier(word))
            .prop_map(Arc::from)
    }

    fn kind() -> impl Strategy<Value = EntityType> {
        proptest::collection::vec(identifier(), 1..3)
            .prop_map(|names| EntityType::parse(&names.join("::")).unwrap())
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let element = prop_oneof![Just(Element::Wildcard), any::<char>().prop_map(Element::Char)];
        proptest::collection::vec(element, 0..5).prop_map(Pattern::new)
    }

    fn leaf() -> impl Strategy<Value = Expr> {
        prop_oneof![
            any::<bool>().prop_map(|value| Expr::Literal(Literal::Bool(value))),
            any::<i64>().prop_map(|value| Expr::Literal(Literal::Long(value))),
            Just(Expr::Literal(Literal::Long(i64::MIN))),
            string().prop_map(|value| Expr::Literal(Literal::String(value))),
            (kind(), string())
                .prop_map(|(kind, id)| Expr::Literal(Literal::Entity(EntityUid::new(kind, id)))),
            proptest::sample::select(&Var::ALL).prop_map(Expr::Var),
        ]
    }

    fn expr() -> impl Strategy<Value = Expr> {
        leaf().prop_recursive(5, 40, 4, |inner| {
            let one = || inner.clone().prop_map(Box::new);
            let many = |size| proptest::collection::vec(inner.clone(), size);
            let path = prop_oneof![
                string().prop_map(HasPath::Name),
                proptest::collection::vec(identifier(), 2..4).prop_map(HasPath::Chain),
            ];
            let call = |function: Function, arguments: Vec<Expr>| Expr::Call(function, arguments);
            prop_oneof![
                one().prop_map(Expr::Not),
                one().prop_map(Expr::Neg),
                one().prop_map(Expr::IsEmpty),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::and(a, b)),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::or(a, b)),
                (one(), one(), one()).prop_map(|(test, then, otherwise)| Expr::If {
                    test,
                    then,
                    otherwise
                }),
                (proptest::sample::select(&BinaryOp::ALL), one(), one())
                    .prop_map(|(op, left, right)| Expr::Binary(op, left, right)),
                (one(), string()).prop_map(|(of, name)| Expr::Attribute { of, name }),
                (one(), path).prop_map(|(of, path)| Expr::Has { of, path }),
                (one(), pattern()).prop_map(|(text, pattern)| Expr::Like { text, pattern }),
                (one(), kind(), proptest::option::of(one()))
                    .prop_map(|(entity, kind, within)| Expr::Is { entity, kind, within }),
                many(0..4).prop_map(Expr::Set),
                proptest::collection::btree_map(string(), inner.clone(), 0..3)
                    .prop_map(Expr::Record),
                (proptest::sample::select(&Function::ALL), many(1..3))
                    .prop_map(move |(function, arguments)| call(function, arguments)),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_expression_is_read_back_as_it_was(expr in expr()) {
            prop_assert_eq!(text::expression(&expr.to_string()), Ok(expr));
        }
    }
}
