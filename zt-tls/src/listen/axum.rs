//! `axum::serve`.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info;
use axum::serve::IncomingStream;

use super::{Connected, Connection, Listener};
use crate::connection::Client;

impl<P: Client> axum::serve::Listener for Listener<P> {
    type Io = Connection<P>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let connection = Self::accept(self).await;
        let from = connection.from();
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

impl<P: Client> connect_info::Connected<IncomingStream<'_, Listener<P>>> for Connected {
    fn connect_info(stream: IncomingStream<'_, Listener<P>>) -> Self {
        stream.io().connected().clone()
    }
}
