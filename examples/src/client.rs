//! Callers: real TLS connections, and one HTTP/1.1 request over each.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zt_tls::Connector;

use crate::Outcome;

/// A workload that calls, with the certificate that it has.
#[derive(Clone)]
pub struct Client {
    pub name: &'static str,
    tls: Tls,
}

#[derive(Clone)]
enum Tls {
    Mutual(Connector),
    /// Verifies the service, and proves nobody.
    Anonymous(Arc<ClientConfig>),
}

/// What a caller learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The service answered.
    Http {
        status: StatusCode,
        /// `WWW-Authenticate`.
        challenge: Option<String>,
        body: Bytes,
    },
    /// The connection was refused.
    Alert(AlertDescription),
}

impl Answer {
    /// The status, unless the connection was refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(status.as_u16()),
            Self::Alert(_) => None,
        }
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> Value {
        match self {
            Self::Http { body, .. } => serde_json::from_slice(body).unwrap_or_default(),
            Self::Alert(_) => Value::Null,
        }
    }
}

impl Client {
    pub fn new(name: &'static str, connector: &Connector) -> Self {
        Self { name, tls: Tls::Mutual(connector.clone()) }
    }

    /// One that verifies the service and presents no certificate of its own.
    pub fn without_certificate(name: &'static str, connector: &Connector) -> Self {
        let mut tls = ClientConfig::clone(&connector.config());
        tls.client_auth_cert_resolver = Arc::new(NoCertificate);
        Self { name, tls: Tls::Anonymous(Arc::new(tls)) }
    }

    /// Asks for what is at `path`.
    pub async fn get(&self, service: SocketAddr, path: &str) -> Outcome<Answer> {
        self.call(service, &Method::GET, path, None, None).await
    }

    /// Connects, sends one request, for the user of a token and with a body if there is one, and
    /// reads the answer.
    pub async fn call(
        &self,
        service: SocketAddr,
        method: &Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        match self.exchange(service, request.body(body.into())?).await {
            Ok(answer) => Ok(answer),
            Err(error) => alert(&*error).map(Answer::Alert).ok_or(error),
        }
    }

    async fn exchange(
        &self,
        service: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Outcome<Answer> {
        let stream = self.connect(service).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = match sender.send_request(request).await {
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
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer::Http { status, challenge, body })
    }

    /// A connection to the service, whose identity is verified. Its address names nobody.
    async fn connect(&self, service: SocketAddr) -> Outcome<Box<dyn Stream>> {
        let stream = TcpStream::connect(service).await?;
        stream.set_nodelay(true)?;
        let host = ServerName::IpAddress(service.ip().into());
        Ok(match &self.tls {
            Tls::Mutual(connector) => Box::new(connector.connect(host, stream).await?),
            Tls::Anonymous(config) => {
                Box::new(TlsConnector::from(Arc::clone(config)).connect(host, stream).await?)
            }
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The alert behind an error, if there was one.
pub fn alert(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
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
