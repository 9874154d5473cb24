//! The pages of docs/ say what is so: what our code reads is read by it, what it does is compared with
//! it, and what is linked is there.

mod markdown;

mod callers;
mod defaults;
mod links;
mod manifests;
mod names;
