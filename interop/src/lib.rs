//! What the programs here have in common. The README says what they are for.

pub mod http;
pub mod workload_api;
