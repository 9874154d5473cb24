//! The end beside a client: what connects here comes out at the proxy, with this workload's
//! identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use zt_examples::{Outcome, chain};
use zt_tls::Connector;

use crate::endpoint::{Local, Stream};

/// How long the proxy may take to be reached, and to do its part of a handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be taken, as when there are no file descriptors left.
const RETRY: Duration = Duration::from_millis(50);

pub struct LocalEnd {
    connector: Connector,
    proxy: SocketAddr,
}

impl LocalEnd {
    pub fn new(connector: Connector, proxy: SocketAddr) -> Self {
        Self { connector, proxy }
    }

    pub async fn serve(self, local: Local) -> Outcome<()> {
        let end = Arc::new(self);
        loop {
            let client = match local.accept().await {
                Ok(client) => client,
                Err(error) => {
                    eprintln!("{error}");
                    sleep(RETRY).await;
                    continue;
                }
            };
            let end = Arc::clone(&end);
            tokio::spawn(async move {
                if let Err(error) = end.connection(client).await {
                    eprintln!("{}", chain(&*error));
                }
            });
        }
    }

    async fn connection(&self, mut client: Box<dyn Stream>) -> Outcome<()> {
        let stream = timeout(PATIENCE, TcpStream::connect(self.proxy)).await??;
        stream.set_nodelay(true)?;
        // The server is known by its SPIFFE ID; the name is only what is asked for.
        let host = ServerName::IpAddress(self.proxy.ip().into());
        let mut server = timeout(PATIENCE, self.connector.connect(host, stream)).await??;
        let lease = server.lease().clone();
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut server) => copied.map(drop)?,
            why = lease.ended() => return Err(why.into()),
        }
        Ok(())
    }
}
