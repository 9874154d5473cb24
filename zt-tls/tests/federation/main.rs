//! Bundles of other trust domains, fetched over sockets from endpoints that behave and that do not.
#![cfg(feature = "federation")]

mod answers;
mod endpoints;
mod lasting;
mod redirects;
mod rotation;
mod support;
