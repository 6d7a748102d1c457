//! Outgoing HTTP: denied unless granted, resolved and judged at every connection, pooled per release, guarded by a
//! breaker and a retry budget. One behaviour for both generations of WASI.

mod address;
mod body;
mod call;
mod client;
mod connect;
mod lease;
mod network;
mod observe;
mod origin;
pub(crate) mod p2_errors;
mod pool;
mod report;
mod resolve;
mod retry;

use std::sync::Arc;

use http::Method;
use http::uri::Scheme;
use wasmtime_wasi_http::{DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::limits;
use crate::meter::Meter;
use client::Upstream;
use origin::Origin;
use report::Report;

pub(crate) use address::{HostKind, Reach, kind_of, reach};
pub(crate) use client::EgressClient;
pub use network::{Network, NetworkConfig};
pub use observe::{EgressEvent, EgressObserver, EgressOutcome};

/// The way out that a release is given, and who counts what goes there.
#[derive(Clone, Default)]
pub struct Outbound {
    /// The system's own where nobody chose.
    pub network: Option<Arc<Network>>,
    /// Nobody, unless somebody is named.
    pub observer: Option<Arc<dyn EgressObserver>>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl Outbound {
    fn network(&self) -> Arc<Network> {
        self.network.clone().unwrap_or_else(Network::system)
    }

    fn observer(&self) -> Arc<dyn EgressObserver> {
        self.observer.clone().unwrap_or_else(|| Arc::new(()))
    }
}

/// The engine's hooks for one request.
pub(crate) struct Egress {
    client: Arc<EgressClient>,
    traceparent: Option<http::HeaderValue>,
    /// Whose calls they are; none where nobody is certain.
    meter: Option<Arc<Meter>>,
    requests_left: u32,
    is_denied: bool,
}

impl Egress {
    pub(crate) fn new(
        client: Arc<EgressClient>,
        traceparent: Option<http::HeaderValue>,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        Self {
            client,
            traceparent,
            meter,
            requests_left: limits::SUBREQUESTS_MAX,
            is_denied: false,
        }
    }

    /// The same for a copy of a request: nothing goes out, whatever is granted.
    pub(crate) fn denied(client: Arc<EgressClient>) -> Self {
        Self {
            is_denied: true,
            ..Self::new(client, None, None)
        }
    }

    /// Finds the upstream of a request and the rule that grants it.
    fn admit(&mut self, request: &http::Request<WasiBody>) -> Result<(Arc<Upstream>, usize), Error> {
        if self.is_denied {
            tracing::debug!("outgoing request denied: it is made for a copy of a request");
            return Err(Error::HttpRequestDenied);
        }
        let uri = request.uri();
        let scheme = uri.scheme().ok_or(Error::HttpRequestUriInvalid)?;
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let is_tls = *scheme == Scheme::HTTPS;
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let after_host = authority.as_str().strip_prefix(authority.host());
        if authority.port().is_none() && after_host.is_some_and(|rest| rest.len() > 1) {
            // A number that is no port names no destination, and never the default one.
            return Err(Error::HttpRequestUriInvalid);
        }
        if request.method() == Method::CONNECT {
            // A tunnel could lead anywhere.
            return Err(Error::HttpRequestMethodInvalid);
        }
        let rules = &self.client.grants.http;
        let rule = rules
            .iter()
            .position(|rule| rule.allows(scheme.as_str(), authority.host(), port));
        let Some(rule) = rule else {
            tracing::warn!(
                code = "EGRESS_DENIED",
                host = authority.host(),
                port,
                "outgoing request denied: not granted"
            );
            let denied = EgressEvent::Called(EgressOutcome::Denied, std::time::Duration::ZERO);
            self.client.observe(None, denied);
            return Err(Error::HttpRequestDenied);
        };
        let left = self.requests_left.checked_sub(1);
        let upstream = left.and_then(|left| {
            self.requests_left = left;
            let origin = Origin::new(is_tls, authority.host(), port);
            self.client.upstream(origin, rule)
        });
        let Some(upstream) = upstream else {
            let limit = EgressEvent::Called(EgressOutcome::Limit, std::time::Duration::ZERO);
            self.client.observe(Some(rule), limit);
            return Err(Error::ConnectionLimitReached);
        };
        Ok((upstream, rule))
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
        let (client, meter) = (self.client.clone(), self.meter.clone());
        Box::new(async move {
            let (upstream, rule) = admitted?;
            let report = Report::begin(&client, &upstream, rule, request.method(), meter);
            let options = options.unwrap_or_default();
            let response = call::call(client, upstream, report, request, options).await?;
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
