//! A connection to the agent.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Request;
use tonic::codegen::http::Uri;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::address::EndpointAddress;
use super::error::WorkloadApiError;
use super::message::MAX_MESSAGE_LEN;
use super::proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// What every request carries, so that no other program sends one by accident or by redirection
/// (SPIFFE Workload Endpoint §5.1, E-01).
pub(crate) const HEADER: &str = "workload.spiffe.io";

/// How long the agent may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// gRPC's Go server ends connections that are asked for a sign of life more than once in 5 minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(360);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) type Client = SpiffeWorkloadApiClient<Channel>;

/// A request with the header that makes it one of the Workload API.
pub(super) fn request<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true"));
    request
}

/// Connects to the agent.
pub(super) async fn connect(address: &EndpointAddress) -> Result<Client, WorkloadApiError> {
    let channel = match timeout(CONNECT, dial(address)).await {
        Ok(channel) => channel,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    };
    let channel = channel.map_err(|error| WorkloadApiError::of_connecting(address, error))?;
    Ok(SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_MESSAGE_LEN))
}

async fn dial(address: &EndpointAddress) -> io::Result<Channel> {
    match address {
        #[cfg(unix)]
        EndpointAddress::Unix(path) => over(UnixStream::connect(path).await?).await,
        #[cfg(not(unix))]
        EndpointAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        EndpointAddress::Tcp(address) => over(TcpStream::connect(address).await?).await,
    }
}

/// The stream that is open, and no other after it: who is at the other end is asked anew each time.
async fn over<S>(stream: S) -> io::Result<Channel>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let endpoint = Endpoint::from_static("http://localhost")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(Once(Some(stream))).await.map_err(io::Error::other)
}

/// Hands out what is open already.
struct Once<S>(Option<S>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Service<Uri> for Once<S> {
    type Response = TokioIo<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<S>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
