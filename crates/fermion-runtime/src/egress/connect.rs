//! Connecting to upstreams: name resolution, judgement of every address, TCP, TLS. Only addresses that passed are
//! connected to, so a name that changes its mind in between gains nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::address::{HostKind, Prohibited, judge, kind_of};
use super::network::Network;
use super::observe::EgressOutcome;
use super::origin::Origin;
use super::resolve::DnsFailure;
use crate::grants::EgressRule;
use crate::limits;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name could not be resolved: {0}")]
    Dns(DnsFailure),
    #[error("EGRESS_DENIED: {} may not be called: {}", .0.address, .0.reason)]
    Prohibited(Prohibited),
    #[error("EGRESS_DENIED: the host is an address in disguise")]
    Disguised,
    #[error("connecting took longer than allowed")]
    Timeout,
    #[error("too many connections to this upstream")]
    Limit,
    #[error("cannot connect: {0}")]
    Tcp(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the upstream does not speak HTTP: {0}")]
    Handshake(hyper::Error),
    #[error("the target has no usable host")]
    Target,
}

impl ConnectError {
    /// The name under which a guest sees it.
    pub(crate) fn to_wasi(&self) -> Error {
        match self {
            Self::Dns(DnsFailure::Timeout) => Error::DnsTimeout,
            Self::Dns(failure) => Error::DnsError {
                rcode: Some(failure.to_string()),
                info_code: None,
            },
            Self::Prohibited(_) | Self::Disguised => Error::DestinationIpProhibited,
            Self::Timeout => Error::ConnectionTimeout,
            Self::Limit => Error::ConnectionLimitReached,
            Self::Tcp(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    Error::DestinationIpUnroutable
                }
                _ => Error::ConnectionTerminated,
            },
            Self::Tls(error) => tls_error(error),
            Self::Handshake(_) => Error::HttpProtocolError,
            Self::Target => Error::HttpRequestUriInvalid,
        }
    }

    pub(crate) fn outcome(&self) -> EgressOutcome {
        match self {
            Self::Dns(_) => EgressOutcome::Dns,
            Self::Prohibited(_) | Self::Disguised => EgressOutcome::Denied,
            Self::Timeout => EgressOutcome::Timeout,
            Self::Limit => EgressOutcome::Limit,
            Self::Tcp(_) => EgressOutcome::Connect,
            Self::Tls(_) => EgressOutcome::Tls,
            Self::Handshake(_) => EgressOutcome::Protocol,
            Self::Target => EgressOutcome::Guest,
        }
    }
}

fn tls_error(error: &io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        _ => Error::TlsProtocolError,
    }
}

/// A connection and what is known of it.
pub(crate) struct Connected {
    pub(crate) stream: Upstream,
    /// TLS agreed on HTTP/2.
    pub(crate) is_h2: bool,
}

/// Connects to an upstream before the deadline. `was_public` is kept for the next time: whether its name has led to
/// public addresses.
pub(crate) async fn connect(
    network: &Network,
    rules: &[EgressRule],
    origin: &Origin,
    was_public: &AtomicBool,
    deadline: Instant,
) -> Result<Connected, ConnectError> {
    if kind_of(&origin.host) == HostKind::Disguised {
        tracing::warn!(code = "EGRESS_DENIED", upstream = %origin, "outgoing request denied: the host is an address in disguise");
        return Err(ConnectError::Disguised);
    }
    let names = network.names();
    let addresses = timeout_at(deadline, names.addresses(origin))
        .await
        .unwrap_or(Err(DnsFailure::Timeout))
        .map_err(ConnectError::Dns)?;
    let is_public = judge(rules, origin, was_public.load(Relaxed), &addresses).map_err(|prohibited| {
        tracing::warn!(
            code = "EGRESS_DENIED", upstream = %origin, address = %prohibited.address, reason = prohibited.reason,
            "outgoing request denied: the address must not be called"
        );
        ConnectError::Prohibited(prohibited)
    })?;
    was_public.fetch_or(is_public, Relaxed);
    timeout_at(deadline, async {
        let stream = race(addresses).await.map_err(ConnectError::Tcp)?;
        stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let (stream, is_h2) = if origin.is_tls {
            handshake(network, origin, stream).await?
        } else {
            (Upstream::Plain(stream), false)
        };
        Ok(Connected { stream, is_h2 })
    })
    .await
    .unwrap_or(Err(ConnectError::Timeout))
}

/// The first connection of a few: the next address is tried when one fails, or beside it when it takes its time
/// (after RFC 8305).
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = interleave(addresses).into_iter();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let mut attempts = JoinSet::new();
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(last);
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = tokio::time::sleep(limits::EGRESS_NEXT_ADDRESS_AFTER), if rest.len() > 0 => {}
        }
    }
}

/// Families in turn, so that a network without one of them costs one attempt.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    let longest = v4.len().max(v6.len());
    (0..longest)
        .flat_map(|n| [v4.get(n), v6.get(n)])
        .flatten()
        .copied()
        .collect()
}

async fn handshake(
    network: &Network,
    origin: &Origin,
    stream: TcpStream,
) -> Result<(Upstream, bool), ConnectError> {
    let name = origin.bare_host().trim_end_matches('.').to_owned();
    let server = ServerName::try_from(name).map_err(|_| ConnectError::Target)?;
    let connecting = network.tls().connect(server, stream);
    let stream = connecting.await.map_err(ConnectError::Tls)?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Upstream::Tls(Box::new(stream)), is_h2))
}

/// A connection to an upstream.
pub(crate) enum Upstream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
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
