//! Outgoing HTTP: denied unless granted, resolved once, checked, and connected to the very address that was checked.
//! Connections are pooled per release, so that nothing of one release is reused by another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::connect::{ConnectError, Connector};
use crate::grants::Grants;
use crate::limits;

/// Idle connections kept to one upstream host, per release.
const IDLE_CONNECTIONS_MAX: usize = 6;
/// How long an idle connection is kept: shorter than the minute that most servers keep theirs.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// The outgoing connections of one release.
pub(crate) struct EgressClient {
    grants: Arc<Grants>,
    client: Client<Connector, WasiBody>,
}

impl EgressClient {
    pub(crate) fn new(grants: Arc<Grants>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .set_host(false)
            .build(Connector::new(grants.clone()));
        Self { grants, client }
    }

    async fn send(
        &self,
        mut request: http::Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<http::Response<WasiBody>, Error> {
        let at_most = |asked: Option<Duration>, max: Duration| asked.unwrap_or(max).min(max);
        let connect = at_most(options.connect_timeout, limits::EGRESS_CONNECT_MAX);
        let first_byte = at_most(options.first_byte_timeout, limits::EGRESS_FIRST_BYTE_MAX);
        let between_bytes = at_most(options.between_bytes_timeout, limits::EGRESS_BETWEEN_BYTES_MAX);
        // The wait for the answer begins when there is a connection, new or pooled.
        let mut connection = capture_connection(&mut request);
        let silent = async {
            connection.wait_for_connection_metadata().await;
            tokio::time::sleep(first_byte).await;
        };
        let exchange = crate::connect::with_timeout(connect, self.client.request(request));
        let response = tokio::select! {
            biased;
            answered = exchange => answered.map_err(|error| name(&error))?,
            () = silent => return Err(Error::ConnectionReadTimeout),
        };
        Ok(response.map(|body| {
            UpstreamBody {
                body,
                between_bytes,
                timer: None,
            }
            .boxed_unsync()
        }))
    }
}

/// The engine's hooks for one request.
pub(crate) struct Egress {
    client: Arc<EgressClient>,
    traceparent: Option<http::HeaderValue>,
    requests_left: u32,
}

impl Egress {
    pub(crate) fn new(client: Arc<EgressClient>, traceparent: Option<http::HeaderValue>) -> Self {
        Self {
            client,
            traceparent,
            requests_left: limits::SUBREQUESTS_MAX,
        }
    }

    fn admit(&mut self, request: &http::Request<WasiBody>) -> Result<(), Error> {
        let uri = request.uri();
        let scheme = uri.scheme().ok_or(Error::HttpRequestUriInvalid)?;
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        let after_host = authority.as_str().strip_prefix(authority.host());
        if authority.port().is_none() && after_host.is_some_and(|rest| rest.len() > 1) {
            // A number that is no port names no destination, and never the default one.
            return Err(Error::HttpRequestUriInvalid);
        }
        let allowed = self
            .client
            .grants
            .http
            .iter()
            .any(|rule| rule.allows(scheme.as_str(), authority.host(), port));
        if !allowed {
            tracing::warn!(
                code = "EGRESS_DENIED",
                host = authority.host(),
                port,
                "outgoing request denied: not granted"
            );
            return Err(Error::HttpRequestDenied);
        }
        self.requests_left = self
            .requests_left
            .checked_sub(1)
            .ok_or(Error::ConnectionLimitReached)?;
        Ok(())
    }
}

type Exchange = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for Egress {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Exchange, Error>> + Send> {
        let admitted = self.admit(&request);
        if let Some(traceparent) = &self.traceparent {
            request
                .headers_mut()
                .entry("traceparent")
                .or_insert_with(|| traceparent.clone());
        }
        // Trailers are passed on, so an upstream may send them.
        request
            .headers_mut()
            .entry(http::header::TE)
            .or_insert(http::HeaderValue::from_static("trailers"));
        let client = self.client.clone();
        Box::new(async move {
            admitted?;
            let response = client.send(request, options.unwrap_or_default()).await?;
            Ok((
                response,
                Box::new(std::future::ready(Ok(()))) as Box<dyn Future<Output = _> + Send>,
            ))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        limits::BODY_CHUNKS_BUFFERED
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::BODY_CHUNK_BYTES_MAX
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        limits::BODY_CHUNK_BYTES_MAX
    }
}

/// Finds the wasi:http name of what went wrong.
fn name(error: &hyper_util::client::legacy::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(connect) = current.downcast_ref::<ConnectError>() {
            return connect.to_wasi();
        }
        if let Some(wasi) = current.downcast_ref::<Error>() {
            return body_error(wasi);
        }
        if let Some(hyper) = current.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() || hyper.is_closed() {
                return Error::ConnectionTerminated;
            }
            if hyper.is_parse() {
                return Error::HttpProtocolError;
            }
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                std::io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                _ => Error::ConnectionTerminated,
            };
        }
        cause = current.source();
    }
    Error::HttpProtocolError
}

/// The request's own body failed: its error is given back to the guest that wrote it.
fn body_error(error: &Error) -> Error {
    match error {
        Error::HttpRequestBodySize(size) => Error::HttpRequestBodySize(*size),
        _ => Error::HttpProtocolError,
    }
}

/// An upstream's body with a limit on its silences.
struct UpstreamBody {
    body: hyper::body::Incoming,
    between_bytes: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                let name = |e: hyper::Error| {
                    if e.is_timeout() {
                        Error::HttpResponseTimeout
                    } else {
                        Error::HttpResponseIncomplete
                    }
                };
                Poll::Ready(frame.map(|frame| frame.map_err(name)))
            }
            Poll::Pending => {
                let wait = this.between_bytes;
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + wait)));
                timer
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anywhere.
    Public,
    /// This machine or this network.
    Private,
    /// Link-local, metadata services, multicast, unspecified: never meant by a wildcard.
    Special,
}

/// Classifies an address, looking through the forms that wrap IPv4 in IPv6.
pub(crate) fn reach(address: SocketAddr) -> Reach {
    match address.ip() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, ..] = ip.octets();
    if ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || a == 0 || a >= 240 {
        return Reach::Special;
    }
    if ip.is_loopback()
        || ip.is_private()
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
    {
        return Reach::Private;
    }
    Reach::Public
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    let segments = ip.segments();
    if let Some(v4) = ip.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address inside.
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return embedded(segments[6], segments[7]);
    }
    if segments[0] == 0x2002 {
        return embedded(segments[1], segments[2]);
    }
    // The cloud metadata service's IPv6 address lies in the unique-local range.
    if ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        return Reach::Special;
    }
    if ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() {
        return Reach::Special;
    }
    if ip.is_loopback() || ip.is_unique_local() {
        return Reach::Private;
    }
    Reach::Public
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_far_an_address_reaches() {
        let cases = [
            ("1.1.1.1:80", Reach::Public),
            ("127.0.0.1:80", Reach::Private),
            ("10.1.2.3:80", Reach::Private),
            ("172.31.0.1:80", Reach::Private),
            ("192.168.1.1:80", Reach::Private),
            ("100.64.0.1:80", Reach::Private),
            ("169.254.169.254:80", Reach::Special),
            ("0.0.0.0:80", Reach::Special),
            ("224.0.0.1:80", Reach::Special),
            ("[::1]:80", Reach::Private),
            ("[fd12::1]:80", Reach::Private),
            ("[fe80::1]:80", Reach::Special),
            ("[fd00:ec2::254]:80", Reach::Special),
            ("[::ffff:169.254.169.254]:80", Reach::Special),
            ("[64:ff9b::a9fe:a9fe]:80", Reach::Special),
            ("[2002:7f00:1::]:80", Reach::Private),
            ("[2606:4700::1]:80", Reach::Public),
        ];
        for (address, expected) in cases {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }
}
