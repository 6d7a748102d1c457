//! One call's hold on a connection, from the request to the end of the answer's body.

use std::sync::{Arc, Weak};

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use wasmtime_wasi_http::WasiBody;

use super::origin::Origin;
use super::pool::Pool;

/// The sending half of a connection.
pub(crate) enum Sender {
    /// For one call at a time.
    H1(http1::SendRequest<WasiBody>),
    /// For several calls at once; with the connection's number.
    H2(http2::SendRequest<WasiBody>, u64),
}

/// A connection in use. Dropping it gives the connection back.
pub(crate) struct Lease {
    pool: Weak<Pool>,
    origin: Arc<Origin>,
    sender: Option<Sender>,
    is_reused: bool,
}

impl Lease {
    pub(crate) fn new(pool: Weak<Pool>, origin: &Arc<Origin>, sender: Sender, is_reused: bool) -> Self {
        Self {
            pool,
            origin: origin.clone(),
            sender: Some(sender),
            is_reused,
        }
    }

    /// True if it has carried a call before.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// True if it is an HTTP/2 connection.
    pub(crate) fn is_h2(&self) -> bool {
        matches!(self.sender, Some(Sender::H2(..)))
    }

    /// Sends a request. A request that never left is in the error.
    pub(crate) async fn send(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<WasiBody>>> {
        match self.sender.as_mut().expect("there until dropped") {
            Sender::H1(sender) => sender.try_send_request(for_http1(request)).await,
            Sender::H2(sender, _) => sender.try_send_request(for_http2(request)).await,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        match self.sender.take() {
            Some(Sender::H1(sender)) => pool.give_back(&self.origin, sender),
            Some(Sender::H2(_, id)) => pool.end_call(&self.origin, id),
            None => {}
        }
    }
}

/// HTTP/1 has the path in its first line and the authority in `host`.
fn for_http1(mut request: Request<WasiBody>) -> Request<WasiBody> {
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().parse());
    if let Some(Ok(host)) = authority {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    request
}

/// HTTP/2 has scheme and authority beside the path.
fn for_http2(mut request: Request<WasiBody>) -> Request<WasiBody> {
    if let Some(host) = request.headers_mut().remove(HOST)
        && request.uri().authority().is_none()
        && let Ok(authority) = Authority::try_from(host.as_bytes())
    {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.authority = Some(authority);
        parts.scheme.get_or_insert(Scheme::HTTPS);
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path are all there");
    }
    *request.version_mut() = Version::HTTP_2;
    request
}
