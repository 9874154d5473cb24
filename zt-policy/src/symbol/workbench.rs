//! Where values are put together, and what is known of an entity.

use super::store::Store;
use super::{Field, Full, RecordNo, Symbol, Term};
use crate::entity::Entity;
use crate::value::{MAX_VALUE_DEPTH, Record, Value};

/// Where values are put together before they get their number.
#[derive(Debug, Default)]
pub(crate) struct Workbench {
    pub(crate) terms: Vec<Term>,
    pub(crate) fields: Vec<Field>,
}

impl Workbench {
    /// Forgets what lies there.
    pub(crate) fn clear(&mut self) {
        self.terms.clear();
        self.fields.clear();
    }

    /// The set of what lies on the bench from `start` on, which it takes away.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn set(&mut self, start: usize, store: &mut Store<'_>) -> Result<Term, Full> {
        let set = store.set(self.terms.get_mut(start..).unwrap_or_default())?;
        self.terms.truncate(start);
        Ok(Term::Set(set))
    }

    /// The record of what lies on the bench from `start` on, which it takes away.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn record(&mut self, start: usize, store: &mut Store<'_>) -> Result<RecordNo, Full> {
        let record = store.record(self.fields.get_mut(start..).unwrap_or_default())?;
        self.fields.truncate(start);
        Ok(record)
    }

    /// As [`Workbench::record`], of a record that nothing is ever compared with.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn own_record(
        &mut self,
        start: usize,
        store: &mut Store<'_>,
    ) -> Result<RecordNo, Full> {
        let record = store.own_record(self.fields.get_mut(start..).unwrap_or_default())?;
        self.fields.truncate(start);
        Ok(record)
    }

    /// A value as a term. It recurses as deep as the value is nested.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room, or it is nested more than `depth` deep.
    fn term(&mut self, value: &Value, store: &mut Store<'_>, depth: usize) -> Result<Term, Full> {
        let depth = depth.checked_sub(1).ok_or(Full)?;
        Ok(match value {
            Value::Bool(value) => Term::Bool(*value),
            Value::Long(value) => Term::Long(*value),
            Value::String(value) => Term::Text(store.symbol(value)?),
            Value::Entity(value) => Term::Entity(store.uid(value)?),
            Value::Decimal(value) => Term::Decimal(*value),
            Value::Ip(value) => Term::Ip(*value),
            Value::DateTime(value) => Term::DateTime(*value),
            Value::Duration(value) => Term::Duration(*value),
            Value::Set(members) => {
                let start = self.terms.len();
                for member in &**members {
                    let member = self.term(member, store, depth)?;
                    self.terms.push(member);
                }
                self.set(start, store)?
            }
            Value::Record(fields) => {
                let start = self.fields.len();
                self.nested(fields, store, |_| true, depth)?;
                Term::Record(self.record(start, store)?)
            }
        })
    }

    /// Puts fields on the bench, those whose names are asked for.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room, or a value is nested too deep.
    pub(crate) fn fields(
        &mut self,
        fields: &Record,
        store: &mut Store<'_>,
        wanted: impl Fn(Symbol) -> bool,
    ) -> Result<(), Full> {
        self.nested(fields, store, wanted, MAX_VALUE_DEPTH)
    }

    fn nested(
        &mut self,
        fields: &Record,
        store: &mut Store<'_>,
        wanted: impl Fn(Symbol) -> bool,
        depth: usize,
    ) -> Result<(), Full> {
        for (name, value) in fields {
            let name = store.symbol(name)?;
            if wanted(name) {
                let value = self.term(value, store, depth)?;
                self.fields.push((name, value));
            }
        }
        Ok(())
    }
}

/// What a layer of a program knows of an entity of its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) attributes: RecordNo,
    pub(crate) tags: RecordNo,
}

impl Facts {
    /// The facts of an entity.
    ///
    /// # Errors
    ///
    /// [`Full`] where there is no room.
    pub(crate) fn of(
        entity: &Entity,
        bench: &mut Workbench,
        store: &mut Store<'_>,
        wanted: impl Fn(Symbol) -> bool,
    ) -> Result<Self, Full> {
        let start = bench.fields.len();
        bench.fields(&entity.attributes, store, wanted)?;
        let attributes = bench.own_record(start, store)?;
        bench.fields(&entity.tags, store, |_| true)?;
        let tags = bench.own_record(start, store)?;
        Ok(Self { attributes, tags })
    }
}
