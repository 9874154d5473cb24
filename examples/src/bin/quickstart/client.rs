//! Callers: real TLS connections, and one HTTP/1.1 request over each.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zt_tls::Connector;

use crate::Outcome;

/// A workload that calls, with the certificate that it has.
#[derive(Clone)]
pub struct Client {
    pub name: &'static str,
    tls: Arc<ClientConfig>,
}

/// What a caller learns.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The service answered, perhaps with a challenge.
    Http(StatusCode, Option<String>),
    /// The connection was refused.
    Alert(AlertDescription),
}

impl Client {
    pub fn new(name: &'static str, connector: &Connector) -> Self {
        Self { name, tls: connector.config() }
    }

    /// One that verifies the service and presents no certificate of its own.
    pub fn without_certificate(name: &'static str, connector: &Connector) -> Self {
        let mut tls = ClientConfig::clone(&connector.config());
        tls.client_auth_cert_resolver = Arc::new(NoCertificate);
        Self { name, tls: Arc::new(tls) }
    }

    /// Connects, sends one request and reads the answer.
    pub async fn call(
        &self,
        service: SocketAddr,
        method: &Method,
        path: &str,
        token: Option<&str>,
    ) -> Outcome<Answer> {
        match self.exchange(service, method, path, token).await {
            Ok(answer) => Ok(answer),
            Err(error) => alert(&*error).map(Answer::Alert).ok_or(error),
        }
    }

    async fn exchange(
        &self,
        service: SocketAddr,
        method: &Method,
        path: &str,
        token: Option<&str>,
    ) -> Outcome<Answer> {
        let stream = TcpStream::connect(service).await?;
        let host = ServerName::IpAddress(service.ip().into());
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(host, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, "orders");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = match sender.send_request(request.body(Empty::<Bytes>::new())?).await {
            Ok(response) => response,
            // The alert reaches whichever of the two reads first.
            Err(error) => {
                let other = connection.await?;
                return Err(match other {
                    Err(other) if alert(&error).is_none() => other.into(),
                    Err(_) | Ok(()) => error.into(),
                });
            }
        };
        let status = response.status();
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
        response.into_body().collect().await?;
        Ok(Answer::Http(status, challenge))
    }
}

/// The alert behind an error, if there was one.
fn alert(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() {
        return Some(*alert);
    }
    // An io::Error shows its source's source: look at what it holds.
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    held.and_then(|held| alert(held)).or_else(|| alert(error.source()?))
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
