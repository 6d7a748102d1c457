//! OTLP over HTTP/1.1: one POST a batch, on a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::deliver::{DELIVER_MAX, Deliver, Outcome, rejected};
use super::receiver::Receiver;
use crate::buffer::Batch;
use crate::limits::RECEIVER_ANSWER_BYTES_MAX;

/// A receiver and the connection to it.
pub(crate) struct Http {
    receiver: Receiver,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with the connection.
    _driver: JoinSet<()>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Http {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            connection: None,
        }
    }

    async fn post(&mut self, batch: &Batch) -> Result<Outcome, Failure> {
        let is_open = match &mut self.connection {
            Some(connection) => connection.requests.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.connection = Some(connect(&self.receiver).await?);
        }
        let Some(connection) = &mut self.connection else {
            return Err("there is no connection".into());
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.receiver.path(batch.signal))
            .body(Full::new(batch.payload.clone()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.receiver.authority().parse()?);
        headers.insert(CONTENT_TYPE, "application/x-protobuf".parse()?);
        headers.extend(self.receiver.headers.clone());
        read(connection.requests.send_request(request).await?).await
    }
}

impl Deliver for Http {
    async fn deliver(&mut self, batch: &Batch) -> Outcome {
        let outcome = timeout(DELIVER_MAX, self.post(batch)).await;
        let failed = match outcome {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) => Outcome::failed(error),
            Err(_) => Outcome::failed("it takes too long"),
        };
        self.connection = None;
        failed
    }
}

async fn connect(receiver: &Receiver) -> Result<Connection, Failure> {
    let host = receiver.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, receiver.port)).await?;
    stream.set_nodelay(true)?;
    let mut driver = JoinSet::new();
    let requests = if receiver.is_secure {
        let name = ServerName::try_from(host.to_owned())?;
        let stream = tls()?.connect(name, stream).await?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        driver.spawn(async move { drop(connection.await) });
        requests
    } else {
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        driver.spawn(async move { drop(connection.await) });
        requests
    };
    Ok(Connection {
        requests,
        _driver: driver,
    })
}

fn tls() -> Result<TlsConnector, Failure> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn read(answer: Response<Incoming>) -> Result<Outcome, Failure> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, RECEIVER_ANSWER_BYTES_MAX)
        .collect()
        .await?
        .to_bytes();
    Ok(judge(parts.status, &parts.headers, &body))
}

/// What says that the batch is at fault is final. What says that the receiver is away, busy, elsewhere or does not let us
/// in is not: that is what the buffer is for.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
    if status.is_success() {
        return Outcome::Taken {
            rejected: rejected(body),
        };
    }
    let why = format!("it answers {status}");
    match status.as_u16() {
        300..=399 | 401 | 403 | 404 | 407 | 408 | 429 | 502 | 503 | 504 => Outcome::Later {
            after: headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
            why,
        },
        _ => Outcome::Refused { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_batch_is_final() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let judged = |code: u16| judge(StatusCode::from_u16(code).unwrap(), &headers, b"");
        assert_eq!(judged(200), Outcome::Taken { rejected: 0 });
        for code in [401, 404, 429, 502, 503, 504] {
            let Outcome::Later { after, .. } = judged(code) else {
                panic!("{code}")
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
        for code in [400, 413, 415, 500] {
            assert!(matches!(judged(code), Outcome::Refused { .. }), "{code}");
        }
    }
}
