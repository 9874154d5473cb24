//! Endpoints that are asked about tokens, or for tokens: over TLS, slow, broken, hostile or honest.

#[cfg(test)]
mod server;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod outgoing;
