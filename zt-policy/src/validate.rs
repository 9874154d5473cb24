//! Policies that fit a schema, when they are loaded (feature `cedar-upstream`).
//!
//! Without a schema a misspelt attribute shows when a policy is evaluated. A [`Validator`] finds it
//! before: policies are loaded when, in this order,
//!
//! 1. they are read as without a schema, by the readers of this crate;
//! 2. upstream's validator, in its strict mode, finds nothing wrong with any of them.
//!
//! What it warns of is not a problem. Decisions are made as ever: upstream takes no part in them.
//!
//! ```
//! use zt_policy::PolicySet;
//! use zt_policy::set::Source;
//! use zt_policy::validate::Validator;
//!
//! let schema = r#"
//!     entity User;
//!     entity Order = { owner: User };
//!     action read appliesTo { principal: User, resource: Order };
//! "#;
//! let validator = Validator::parse("orders.cedarschema", schema)?;
//! let text = "permit (principal, action, resource) when { resource.ownr == principal };";
//! let source = Source { name: "orders.cedar", text };
//! let refused = PolicySet::from_sources_validated(&[source], &validator).unwrap_err();
//! assert!(refused.to_string().starts_with("orders.cedar:1:45: attribute `ownr`"));
//! # Ok::<(), zt_policy::cedar::refusal::NotCedar>(())
//! ```
//!
//! # Deployment caveat
//!
//! A schema says what requests look like; nothing holds requests to it. What a request has that its
//! schema has not is evaluated all the same, and what it lacks errs.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy as upstream;
use miette::Diagnostic;

use crate::cedar::MAX_LEN;
use crate::cedar::refusal::{Found, MAX_REFUSALS, NotCedar, Problem, not_cedar};
use crate::folder::FolderError;
use crate::live::Builder;
use crate::set::{LoadError, PolicySet, Source};

/// A schema, and what finds policies that do not fit it. A clone shares both.
#[derive(Clone, Debug)]
pub struct Validator(Arc<upstream::Validator>);

impl Validator {
    /// The validator of a schema in Cedar's own syntax, such as `orders.cedarschema`.
    ///
    /// # Errors
    ///
    /// [`NotCedar`] with what is wrong with the schema.
    pub fn parse(name: &str, schema: &str) -> Result<Self, NotCedar> {
        if schema.len() > MAX_LEN {
            let problem = Problem::TooLong { len: schema.len(), limit: MAX_LEN };
            return Err(not_cedar(name, schema, vec![Found::new(0, problem)]));
        }
        match upstream::Schema::from_str(schema) {
            Ok(schema) => Ok(Self(Arc::new(upstream::Validator::new(schema)))),
            Err(error) => Err(not_cedar(name, schema, vec![found(&error)])),
        }
    }

    /// Whether all policies of a text fit the schema.
    ///
    /// # Errors
    ///
    /// [`NotCedar`] with those that do not, and where, in the order of the text.
    pub fn validate(&self, source: &Source<'_>) -> Result<(), NotCedar> {
        let refused = |found| Err(not_cedar(source.name, source.text, found));
        let policies = match upstream::PolicySet::from_str(source.text) {
            Ok(policies) => policies,
            Err(error) => return refused(vec![found(&error)]),
        };
        let result = self.0.validate(&policies, upstream::ValidationMode::Strict);
        let mut all: Vec<Found> = result.validation_errors().map(|error| found(error)).collect();
        all.sort_by_key(|found| found.at);
        all.truncate(MAX_REFUSALS);
        if all.is_empty() { Ok(()) } else { refused(all) }
    }

    fn load(&self, sources: &[Source<'_>]) -> Result<PolicySet, LoadError> {
        let policies = PolicySet::from_sources(sources)?;
        let refused = sources.iter().filter_map(|source| self.validate(source).err());
        let refused: Vec<NotCedar> = refused.collect();
        if refused.is_empty() { Ok(policies) } else { Err(LoadError::NotCedar(refused)) }
    }
}

impl PolicySet {
    /// The policies of several texts, all of which fit a schema.
    ///
    /// # Errors
    ///
    /// As [`from_sources`](Self::from_sources), and where a policy does not fit.
    pub fn from_sources_validated(
        sources: &[Source<'_>],
        validator: &Validator,
    ) -> Result<Self, LoadError> {
        validator.load(sources)
    }

    /// The policies of a folder, all of which fit a schema.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder), and where a policy does not fit.
    pub fn from_folder_validated(
        path: impl AsRef<Path>,
        validator: &Validator,
    ) -> Result<Self, FolderError> {
        Self::from_folder_as(path.as_ref(), |sources| validator.load(sources))
    }
}

impl Builder {
    /// Loads only policies that fit a schema: at first it is an error where one does not, and later
    /// the last good policies stay in force.
    pub fn validated_by(self, validator: Validator) -> Self {
        self.load(Box::new(move |sources| validator.load(sources)))
    }
}

/// What upstream says, at the place that it points to.
fn found(error: &dyn Diagnostic) -> Found {
    let at = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let said = error.to_string();
    // It names a policy by a number of its own, where here a line and a column do.
    let why = said.split_once("`, ").filter(|(policy, _)| policy.starts_with("for policy `"));
    let why = why.map_or(&*said, |(_, why)| why).into();
    Found::new(at, Problem::Schema { why })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SCHEMA: &str = "entity User;\nentity Order = { owner: User };\n\
                          action read appliesTo { principal: User, resource: Order };";
    const GOOD: &str = "permit (principal, action, resource) when { resource.owner == principal };";
    const TYPO: &str =
        "// é\npermit (principal, action, resource)\n  when { resource.ownr == principal };";

    fn validator() -> Validator {
        Validator::parse("s.cedarschema", SCHEMA).unwrap()
    }

    #[test]
    fn a_policy_that_does_not_fit_the_schema_is_refused_with_its_place() {
        let validator = validator();
        PolicySet::from_sources_validated(&[Source { name: "a", text: GOOD }], &validator).unwrap();
        let wrong = format!("{TYPO}\n{GOOD}\npermit (principal == Usr::\"a\", action, resource);");
        let sources = [Source { name: "a", text: GOOD }, Source { name: "b", text: &wrong }];
        let refused = PolicySet::from_sources_validated(&sources, &validator).unwrap_err();
        let refused = refused.to_string();
        let lines: Vec<&str> = refused.lines().collect();
        assert!(lines[0].starts_with("b:3:10: attribute `ownr`"), "{refused}");
        assert!(lines[1].starts_with("b:5:"), "{refused}");
        assert!(lines[1].contains("unrecognized entity type `Usr`"), "{refused}");
    }

    #[test]
    fn what_is_not_cedar_is_refused_before_it_is_validated() {
        let source = Source { name: "a", text: "permit (principal);" };
        let refused = PolicySet::from_sources_validated(&[source], &validator()).unwrap_err();
        assert_eq!(refused.to_string(), "a:1:18: expected `,`, found `)`");
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        let refused = Validator::parse("s", "entity User;\nentity = {};").unwrap_err();
        assert_eq!((refused.refusals[0].line, refused.refusals[0].column), (2, 8), "{refused}");
        let long = Validator::parse("s", &" ".repeat(MAX_LEN + 1)).unwrap_err();
        assert!(matches!(long.refusals[0].problem, Problem::TooLong { .. }));
    }

    #[test]
    fn an_edit_that_does_not_fit_the_schema_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.cedar");
        fs::write(&file, GOOD).unwrap();
        let live = crate::live::LivePolicies::builder(folder.path());
        let live = live.validated_by(validator()).open().unwrap();
        fs::write(&file, TYPO).unwrap();
        let refused = live.reload().unwrap_err().to_string();
        assert!(refused.starts_with("a.cedar:3:10: attribute `ownr`"), "{refused}");
        assert_eq!((live.version().generation, live.failures()), (1, 1));
        assert!(PolicySet::from_folder_validated(folder.path(), &validator()).is_err());
    }
}
