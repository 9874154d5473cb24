//! tonic's server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Connected, Connection, Listener};
use crate::connection::Client;

impl<P: Client> tonic::transport::server::Connected for Connection<P> {
    type ConnectInfo = Connected;

    fn connect_info(&self) -> Connected {
        self.connected().clone()
    }
}

impl<P: Client> Stream for Listener<P> {
    type Item = io::Result<Connection<P>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_accept(cx).map(|connection| Some(Ok(connection)))
    }
}
