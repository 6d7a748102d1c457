//! HTTP/2 with prior knowledge: requests on one connection, all under way at once.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::PATIENCE;

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// An answer over HTTP/2.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// False if the stream was reset before its end.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// A request with a body and perhaps a trailer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
    trailer: Option<(&'static str, &str)>,
) -> Request<Body> {
    let body = Full::new(Bytes::copy_from_slice(body));
    let trailers = trailer.map(|(name, value)| {
        let value = value.parse().expect("a value");
        Ok(HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static(name),
            value,
        )]))
    });
    let body = match trailers {
        Some(trailers) => body.with_trailers(async move { Some(trailers) }).boxed(),
        None => body.boxed(),
    };
    let request = Request::builder().method(method);
    let request = request.uri(format!("http://{address}{path}"));
    request.body(body).expect("the request is one")
}

/// A GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Request<Body> {
    request(address, "GET", path, b"", None)
}

/// Sends them all on one connection and gives the answers in the same order; none where a stream ended without one.
pub(crate) fn send(address: SocketAddr, requests: Vec<Request<Body>>) -> Vec<Option<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let all = tokio::time::timeout(PATIENCE, send_all(address, requests));
        all.await.expect("the answers come in time")
    })
}

async fn send_all(address: SocketAddr, requests: Vec<Request<Body>>) -> Vec<Option<Answer>> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the server accepts");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("the server speaks HTTP/2");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut under_way = JoinSet::new();
    for (index, request) in requests.into_iter().enumerate() {
        let mut sender = sender.clone();
        under_way.spawn(async move {
            match sender.send_request(request).await {
                Ok(response) => (index, Some(read(response).await)),
                Err(_) => (index, None),
            }
        });
    }
    let mut answers = under_way.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn read(response: Response<hyper::body::Incoming>) -> Answer {
    let (parts, mut incoming) = response.into_parts();
    let mut answer = Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: Vec::new(),
        trailers: None,
        whole: true,
    };
    while let Some(frame) = incoming.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => answer.body.extend_from_slice(&data),
            Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
            Err(_) => {
                answer.whole = false;
                break;
            }
        }
    }
    answer
}
