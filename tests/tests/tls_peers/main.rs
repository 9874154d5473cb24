//! Connections with programs that nobody here wrote: those that are to be, and those that are not.

mod clients;
mod resumption;
mod servers;
mod support;
