//! Tokens that are bound to a key or a certificate: issued by a certified provider, sent by clients
//! that nobody here wrote, over real sockets with certificates of openssl.

mod service;
mod clients;
mod outgoing;
