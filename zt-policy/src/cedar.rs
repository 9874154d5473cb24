//! Cedar as text and as JSON, read strictly and written.
//!
//! Both readers accept what `cedar-policy` 4.14 accepts within the limits below, and refuse the
//! rest with line and column. What a later version of the language adds is refused by its name
//! like anything else that is not known: a function, an operator, a node or a field.

pub mod refusal;
mod lexer;
mod parser;
mod expression;
pub mod text;
mod json;
pub mod data;
pub mod est;
mod print;

/// The version of the language that is read, as upstream counts it.
pub const LANGUAGE_VERSION: &str = "4.6.0";

/// The longest text or JSON that is read, in bytes: room for more than 100,000 policies.
pub const MAX_LEN: usize = 32 * 1024 * 1024;
