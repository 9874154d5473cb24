//! Records in memory, for demonstrations and tests. A service writes them down: see
//! `zt_core::record::JsonLines`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use zt_core::record::{Record, RecordSink};

/// The records so far, as they would be written. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Vec<Value>>>);

impl Kept {
    /// Takes them out.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RecordSink for Kept {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            kept.push(serde_json::to_value(record)?);
        }
        Ok(())
    }
}
