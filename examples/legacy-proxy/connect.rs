//! The end beside a client: what connects here comes out at the proxy, with this workload's
//! identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zt_examples::{Outcome, chain};
use zt_tls::Connector;

const PATIENCE: Duration = Duration::from_secs(10);

pub struct LocalEnd {
    connector: Connector,
    proxy: SocketAddr,
}

impl LocalEnd {
    pub fn new(connector: Connector, proxy: SocketAddr) -> Self {
        Self { connector, proxy }
    }

    pub async fn serve(self, listener: TcpListener) -> Outcome<()> {
        let end = Arc::new(self);
        loop {
            let (client, _from) = listener.accept().await?;
            let end = Arc::clone(&end);
            tokio::spawn(async move {
                if let Err(error) = end.connection(client).await {
                    eprintln!("{}", chain(&*error));
                }
            });
        }
    }

    async fn connection(&self, mut client: TcpStream) -> Outcome<()> {
        client.set_nodelay(true)?;
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
