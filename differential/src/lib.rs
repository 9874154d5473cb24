//! zt-policy beside `cedar-policy`, the implementation that defines Cedar.
//!
//! Each function of [`readers`], [`values`] and [`decisions`] gives one thing to both and says
//! where they disagree. What they are given is written by hand, or made from bytes by [`choices`],
//! which both the property tests here and the fuzz targets in `fuzz/` provide.
//!
//! It is a crate of its own so that nobody else builds `cedar-policy`.

pub mod choices;
pub mod expression;
pub mod policy;
pub mod world;
pub mod mutation;
pub mod readers;
pub mod decisions;
pub mod values;

/// What two sides say about one thing, or that it is not the same.
pub type Agreed<T = ()> = Result<T, String>;

/// Says where two sides differ.
///
/// # Errors
///
/// What both say.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Agreed {
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{what}:\n  ours   {ours:?}\n  theirs {theirs:?}"))
}
