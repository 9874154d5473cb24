//! What there is to a peer.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::setup::{Setup, Who};

/// What went well, or why not.
pub type Outcome<T> = Result<T, String>;

/// Another implementation.
pub trait Peer {
    fn name(&self) -> &'static str;

    /// What it cannot do at an end, of what is asked here.
    fn cannot(&self, end: End) -> &'static [Cannot];

    /// Starts it as a server.
    fn serve<'a>(&'a self, setup: &'a Setup) -> BoxFuture<'a, Outcome<Box<dyn Server>>>;

    /// Starts it as a client of a server of ours.
    fn client<'a>(
        &'a self,
        setup: &'a Setup,
        to: SocketAddr,
    ) -> BoxFuture<'a, Outcome<Box<dyn Client>>>;
}

/// Which end the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Server,
    Client,
}

/// Something that a peer cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cannot {
    /// It does not refuse us for this.
    Refuse(Who),
    /// It cannot be brought to be this.
    Be(Who),
    /// It does not take up what it was offered to resume, whatever the server is.
    Resume,
}

/// A peer that serves.
pub trait Server: Send {
    fn address(&self) -> SocketAddr;

    /// Whether the connection of the last answer was resumed, as the peer says.
    fn resumed<'a>(&'a mut self, headers: &'a HeaderMap) -> BoxFuture<'a, Outcome<bool>>;

    /// Moves what it is set up with now into its files, and waits until that counts.
    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>>;
}

/// A peer that calls.
pub trait Client: Send {
    /// Asks once, on a new connection.
    fn ask(&mut self) -> BoxFuture<'_, Outcome<Asked>>;

    /// Moves what it is set up with now into its files, and waits until that counts.
    fn reload<'a>(&'a mut self, setup: &'a Setup) -> BoxFuture<'a, Outcome<()>>;
}

/// What a peer was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub text: String,
    /// Whether the connection was resumed, as the peer says.
    pub resumed: bool,
}
