#![doc = include_str!("../README.md")]

// In this order: a module uses only those above it.
pub mod name;
pub mod pattern;
pub mod extension;
pub mod value;
pub mod expr;
pub mod policy;
pub mod entity;
pub mod evaluate;
pub mod cedar;
pub mod model;
pub mod set;
pub mod folder;
