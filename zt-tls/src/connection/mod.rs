//! Both ends of a mutually authenticated connection, and the peer that its handshake proves.
//!
//! [`Acceptor`] and [`Connector`] are made from the two things that they cannot do without: a
//! source of our own identity and of the bundles we trust, and an authorizer that says which of
//! the proven peers may connect. What they set and nobody can unset:
//!
//! 1. TLS 1.3 alone, unless TLS 1.2 is asked for by name (M-07);
//! 2. the peer presents an X509-SVID that verifies against the bundle of its own trust domain and
//!    the revocation lists of the source, at the time of the handshake, and that the authorizer
//!    admits;
//! 3. no resumption, no tickets, no early data: every connection asks the verifier (M-01);
//! 4. our own certificate is the source's current one; once it was withdrawn or has expired,
//!    handshakes fail;
//! 5. no key log unless one is handed over, no process-global provider.
//!
//! A rustls verifier hands out no data, so the peer is read from the leaf again once the handshake
//! is done. If source or authorizer changed in between, the chain is judged again under what they
//! hold now (M-13).
//!
//! # A connection does not outlive what it rests on
//!
//! Every connection has a [`Lease`](zt_core::lease::Lease), which ends (M-09):
//!
//! 1. when the peer's certificate expires, or the connection has its greatest age; up to a tenth of
//!    that time earlier, and at most five minutes, so that those who came together do not leave
//!    together. A clock that is set back does not prolong it;
//! 2. when bundles, revocation lists or the authorizer have changed and the chain does not verify
//!    under them any more: found by [`Lease::check`](zt_core::lease::Lease::check) at once, and
//!    without being asked within the interval of [`AcceptorBuilder::recheck_every`], one second by
//!    default;
//! 3. when a root, an intermediate or a revocation list has expired: within a minute more.
//!
//! Requests that begin after that are refused by whoever asks the lease, as
//! `serve` does; reading and writing fail once the grace of the acceptor is over.
//!
//! # Clients without a certificate
//!
//! [`AcceptorBuilder::optional_clients`] makes an acceptor of another type, whose connections have an
//! `Option<Verified<Peer>>` where those of the usual one have a `Verified<Peer>`. A client that
//! presents a certificate has to prove it all the same.

mod acceptor;
mod connector;
mod error;
#[cfg(any(feature = "client", feature = "serve"))]
mod frames;
#[cfg(any(feature = "client", feature = "serve"))]
mod farewell;
mod settings;
#[cfg(feature = "tokio")]
mod standing;
#[cfg(feature = "tokio")]
mod stream;

pub use self::acceptor::{Acceptor, AcceptorBuilder};
pub use self::connector::{Connector, ConnectorBuilder};
pub use self::error::{BuildError, HandshakeError};
pub use self::settings::Client;
#[cfg(feature = "tokio")]
pub use self::stream::{ChannelBinding, ClientStream, ServerStream, Stream, Tls};
pub use crate::verifier::Refused;

#[cfg(feature = "serve")]
pub(crate) use self::acceptor::let_alert_arrive;
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) use self::farewell::Farewell;
#[cfg(feature = "client")]
pub(crate) use self::farewell::Leave;
