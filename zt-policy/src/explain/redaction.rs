//! What an explanation does not show.
//!
//! A value is secret by the name that it is reached by: an attribute, a field of a record or a tag
//! whose name, without regard to case, `-` and `_`, contains one of a list of words. So is all that
//! is reached through it. Where a condition names a secret, its text is not shown either, as what
//! it compares with may be one, and errors do not quote what they found.

use std::sync::Arc;

use crate::evaluate::error::EvaluationError;
use crate::expr::{BinaryOp, Expr, Literal};
use crate::name::EntityUid;
use crate::value::Value;

/// What is shown instead.
pub const REDACTED: &str = "[redacted]";

/// The most characters that are shown of one value.
pub const MAX_SHOWN: usize = 256;

const WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "authorization",
    "cookie",
];

/// Which names are those of secrets: a list of words, and those that are added.
///
/// ```
/// use zt_policy::explain::Redaction;
///
/// let redaction = Redaction::default().with("iban");
/// assert!(redaction.is_secret("api_key") && redaction.is_secret("customerIBAN"));
/// assert!(!redaction.is_secret("owner"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    words: Arc<[Arc<str>]>,
}

impl Default for Redaction {
    /// The words `password`, `passwd`, `passphrase`, `secret`, `token`, `credential`, `apikey`,
    /// `privatekey`, `authorization` and `cookie`.
    fn default() -> Self {
        Self { words: WORDS.into_iter().map(Arc::from).collect() }
    }
}

impl Redaction {
    /// With one more word. The empty word makes every name secret.
    #[must_use]
    pub fn with(self, word: &str) -> Self {
        let word = Arc::from(plain(word));
        Self { words: self.words.iter().cloned().chain([word]).collect() }
    }

    /// Whether what has this name is not shown.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        let name = plain(name);
        self.words.iter().any(|word| name.contains(&**word))
    }

    /// Whether an expression names a secret anywhere. It recurses as deep as the expression.
    pub(super) fn is_in(&self, expr: &Expr) -> bool {
        let names_one = if let Expr::Attribute { name, .. } = expr {
            self.is_secret(name)
        } else if let Expr::Has { path, .. } = expr {
            path.names().iter().any(|name| self.is_secret(name))
        } else if let Expr::Record(fields) = expr {
            fields.keys().any(|name| self.is_secret(name))
        } else if let Expr::Binary(BinaryOp::GetTag | BinaryOp::HasTag, _, tag) = expr
            && let Expr::Literal(Literal::String(tag)) = &**tag
        {
            self.is_secret(tag)
        } else {
            false
        };
        names_one || expr.parts().any(|part| self.is_in(part))
    }

    /// The error without what it quotes.
    pub(super) fn error(error: EvaluationError) -> EvaluationError {
        let hidden =
            |entity: &EntityUid| EntityUid::new(entity.kind().clone(), Arc::from(REDACTED));
        match error {
            EvaluationError::NoSuchEntity { entity } => {
                EvaluationError::NoSuchEntity { entity: hidden(&entity) }
            }
            EvaluationError::NoSuchTag { entity, .. } => {
                EvaluationError::NoSuchTag { entity: hidden(&entity), tag: REDACTED.into() }
            }
            EvaluationError::NoSuchAttribute { name, .. } => {
                EvaluationError::NoSuchAttribute { of: REDACTED.into(), name }
            }
            EvaluationError::Malformed(mut malformed) => {
                malformed.text = REDACTED.into();
                EvaluationError::Malformed(malformed)
            }
            error @ (EvaluationError::Type { .. }
            | EvaluationError::Overflow { .. }
            | EvaluationError::Arity { .. }
            | EvaluationError::Unlinked { .. }) => error,
        }
    }

    /// A value as Cedar writes it, or nearly: what is secret in it is left out, what is long is cut.
    pub(super) fn shown(&self, value: &Value) -> String {
        let mut shown = String::new();
        self.show(value, &mut shown);
        if shown.chars().nth(MAX_SHOWN).is_none() {
            return shown;
        }
        shown.chars().take(MAX_SHOWN).chain("…".chars()).collect()
    }

    /// It recurses as deep as the value, and stops where it is long enough.
    fn show(&self, value: &Value, shown: &mut String) {
        let list = |shown: &mut String, ends: [char; 2], all: &mut dyn FnMut(&mut String)| {
            shown.push(ends[0]);
            all(shown);
            shown.push(ends[1]);
        };
        match value {
            Value::Set(members) => list(shown, ['[', ']'], &mut |shown| {
                for (place, member) in members.iter().enumerate() {
                    shown.push_str(if place == 0 { "" } else { ", " });
                    self.show(member, shown);
                    if shown.len() > MAX_SHOWN * 4 {
                        return;
                    }
                }
            }),
            Value::Record(fields) => list(shown, ['{', '}'], &mut |shown| {
                for (place, (name, value)) in fields.iter().enumerate() {
                    shown.push_str(if place == 0 { "" } else { ", " });
                    shown.push_str(&format!("{name:?}: "));
                    if self.is_secret(name) {
                        shown.push_str(REDACTED);
                    } else {
                        self.show(value, shown);
                    }
                    if shown.len() > MAX_SHOWN * 4 {
                        return;
                    }
                }
            }),
            Value::Bool(value) => shown.push_str(&value.to_string()),
            Value::Long(value) => shown.push_str(&value.to_string()),
            Value::String(value) => shown.push_str(&format!("{value:?}")),
            Value::Entity(value) => shown.push_str(&value.to_string()),
            Value::Decimal(value) => shown.push_str(&format!("decimal(\"{value}\")")),
            Value::Ip(value) => shown.push_str(&format!("ip(\"{value}\")")),
            Value::DateTime(value) => shown.push_str(&format!("datetime(\"{value}\")")),
            Value::Duration(value) => shown.push_str(&format!("duration(\"{value}\")")),
        }
    }
}

fn plain(name: &str) -> String {
    let kept = name.chars().filter(|letter| !matches!(letter, '-' | '_'));
    kept.flat_map(char::to_lowercase).collect()
}
