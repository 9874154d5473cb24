//! A protocol of lines over plain streams of tokio: the lease of the connection ends it.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zt_core::spiffe::{SpiffeId, TrustDomain};
use zt_core::time::{Clock, SystemClock};
use zt_identity::Authorizer;
use zt_identity::authority::Authority;
use zt_tls::connection::ServerStream;
use zt_tls::{Acceptor, Connector};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For development. In production: `X509Source::from_pem_files`, or the Workload API.
    let domain = TrustDomain::from_name("example.org")?;
    let members = Authorizer::member_of(domain.clone());
    let authority = Authority::new(domain, SystemClock.now())?;
    let echo = authority.source("/echo")?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Acceptor::new(echo.clone(), members)?));

    let cart = authority.source("/cart")?;
    let server = Authorizer::id(SpiffeId::parse("spiffe://example.org/echo")?);
    let connector = Connector::new(cart.clone(), server)?;
    let tcp = TcpStream::connect(address).await?;
    // A SPIFFE server is known by its ID: the name is for proxies on the way.
    let stream = connector.connect("echo.example.org".try_into()?, tcp).await?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"hello\n").await?;
    stream.flush().await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    print!("{line}");

    let revoked = authority.revoke(cart.load().identity()?)?;
    let material = echo.current();
    let bundles = material.bundles().clone().with_revocation_list(revoked);
    echo.replace(material.identity()?.clone(), bundles);
    line.clear();
    stream.read_line(&mut line).await?;
    print!("{line}");
    Ok(())
}

async fn serve(listener: TcpListener, acceptor: Acceptor) -> Result<(), Error> {
    loop {
        let (tcp, _from) = listener.accept().await?;
        let acceptor = acceptor.clone();
        // A handshake beside the loop, and with a limit: `zt_tls::listen` does both, with caps.
        tokio::spawn(async move {
            let stream = timeout(Duration::from_secs(10), acceptor.accept(tcp)).await??;
            echo(stream).await
        });
    }
}

async fn echo(stream: ServerStream<TcpStream>) -> Result<(), Error> {
    let (peer, lease) = (stream.peer().clone(), stream.lease().clone());
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        tokio::select! {
            biased;
            // Within a second of the revocation, whatever the peer does. By itself the stream would
            // break after the grace.
            why = lease.ended() => {
                stream.write_all(format!("goodbye, {}: {why}\n", peer.id()).as_bytes()).await?;
                return Ok(stream.shutdown().await?);
            }
            read = stream.read_line(&mut line) => if read? == 0 { return Ok(()) },
        }
        stream.write_all(format!("{} says {line}", peer.id()).as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
}
