//! Connecting to upstreams: name resolution, the address check, TCP and TLS. Only the addresses that passed the check
//! are connected to, so a name that changes its mind in between gains nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wasmtime_wasi_http::Error;

use crate::egress::{Reach, reach};
use crate::grants::Grants;
use crate::limits;

tokio::task_local! {
    static CONNECT_TIMEOUT: Duration;
}

/// Runs an exchange whose connecting, if it needs any, may take this long.
pub(crate) async fn with_timeout<F: Future>(timeout: Duration, exchange: F) -> F::Output {
    CONNECT_TIMEOUT.scope(timeout, exchange).await
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name could not be resolved: {0}")]
    Dns(io::Error),
    #[error("EGRESS_DENIED: the address {0} is not public and was not granted by name")]
    Prohibited(SocketAddr),
    #[error("connecting took longer than allowed")]
    Timeout,
    #[error("cannot connect: {0}")]
    Tcp(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the target has no usable host")]
    Target,
}

impl ConnectError {
    /// The name under which a guest sees it.
    pub(crate) fn to_wasi(&self) -> Error {
        match self {
            Self::Dns(_) => Error::DnsError {
                rcode: Some("name not resolved".into()),
                info_code: None,
            },
            Self::Prohibited(_) => Error::DestinationIpProhibited,
            Self::Timeout => Error::ConnectionTimeout,
            Self::Tcp(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    Error::DestinationIpUnroutable
                }
                _ => Error::ConnectionTerminated,
            },
            Self::Tls(_) => Error::TlsProtocolError,
            Self::Target => Error::HttpRequestUriInvalid,
        }
    }
}

/// Makes connections for one release.
#[derive(Clone)]
pub(crate) struct Connector {
    grants: Arc<Grants>,
}

impl Connector {
    pub(crate) fn new(grants: Arc<Grants>) -> Self {
        Self { grants }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Upstream>, ConnectError> {
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or(ConnectError::Target)?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let resolved = tokio::net::lookup_host((name, port))
            .await
            .map_err(ConnectError::Dns)?;
        let mut last = ConnectError::Dns(io::ErrorKind::NotFound.into());
        for address in resolved {
            if !self.permits(host, address) {
                tracing::warn!(code = "EGRESS_DENIED", host, %address, "outgoing request denied: address not public");
                return Err(ConnectError::Prohibited(address));
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return finish(stream, tls, name).await,
                Err(error) => last = ConnectError::Tcp(error),
            }
        }
        Err(last)
    }

    fn permits(&self, host: &str, address: SocketAddr) -> bool {
        let rules = &self.grants.http;
        match reach(address) {
            Reach::Public => true,
            Reach::Private => rules.iter().any(|rule| rule.is_any() || rule.names(host)),
            Reach::Special => rules.iter().any(|rule| rule.names(host)),
        }
    }
}

async fn finish(stream: TcpStream, tls: bool, name: &str) -> Result<TokioIo<Upstream>, ConnectError> {
    stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
    if !tls {
        return Ok(TokioIo::new(Upstream::Plain(stream)));
    }
    let server = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Target)?;
    let stream = tls_connector()
        .connect(server, stream)
        .await
        .map_err(ConnectError::Tls)?;
    Ok(TokioIo::new(Upstream::Tls(Box::new(stream))))
}

fn tls_connector() -> &'static TlsConnector {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    CONNECTOR.get_or_init(|| {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    })
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Upstream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let timeout = CONNECT_TIMEOUT
            .try_with(|timeout| *timeout)
            .unwrap_or(limits::EGRESS_CONNECT_MAX);
        let connect = self.clone().connect(uri);
        Box::pin(async move {
            tokio::time::timeout(timeout, connect)
                .await
                .unwrap_or(Err(ConnectError::Timeout))
        })
    }
}

/// A connection to an upstream.
pub(crate) enum Upstream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection for Upstream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Upstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
