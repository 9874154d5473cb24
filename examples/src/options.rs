//! A command line of names and values: `--listen 127.0.0.1:8443`.

use std::str::FromStr;

use crate::Outcome;

/// What was said, until it is taken.
#[derive(Debug)]
pub struct Options(Vec<(String, String)>);

impl Options {
    /// Reads pairs of a name and a value.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut pairs = Vec::new();
        while let Some(name) = arguments.next() {
            if !name.starts_with("--") {
                return Err(format!("{name:?} is not an option").into());
            }
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of this name, which has to be there.
    pub fn take<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Outcome<T> {
        let at = self.0.iter().position(|(said, _)| said == name);
        let (_, value) = self.0.remove(at.ok_or_else(|| format!("{name} is missing"))?);
        value.parse().map_err(|error| format!("{name} {value}: {error}").into())
    }

    /// Refuses what nobody has taken.
    pub fn finish(self) -> Outcome<()> {
        match self.0.first() {
            Some((name, _)) => Err(format!("{name} is not known, or said twice").into()),
            None => Ok(()),
        }
    }
}
