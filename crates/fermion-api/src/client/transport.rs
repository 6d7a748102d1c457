//! One HTTP exchange: address check, token, bounds, and the mapping of failures to `Error`. The token is marked
//! sensitive and appears in no message.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;

use crate::limits::{ANSWER_WAIT_MAX, CONNECT_WAIT_MAX, JSON_BYTES_MAX};
use crate::{Error, Problem, paths};

pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// What is asked, without the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) wait_max: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: &Method::GET,
            path,
            wait_max: ANSWER_WAIT_MAX,
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

#[derive(Clone)]
pub(super) struct Transport {
    client: Client<HttpConnector, Body>,
    /// `http://127.0.0.1:7070`
    address: String,
    authorization: HeaderValue,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn new(address: &str, token: &str) -> Result<Self, Error> {
        let address = check_address(address)?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| Error::Token)?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WAIT_MAX));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            client,
            address,
            authorization,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The answer's head, whatever its status.
    pub(super) async fn send(&self, call: Call<'_>, body: Body) -> Result<Response<Incoming>, Error> {
        self.send_sized(call, None, body).await
    }

    /// The answer as JSON; a refusal is an error.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call<'_>, body: Body) -> Result<T, Error> {
        let bytes = self.exchange(call, None, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.unexpected(call, error.to_string()))
    }

    /// The answer as text; a refusal is an error.
    pub(super) async fn text(&self, call: Call<'_>) -> Result<String, Error> {
        let bytes = self.exchange(call, None, empty()).await?;
        String::from_utf8(bytes.into()).map_err(|_| self.unexpected(call, "not text".to_owned()))
    }

    /// Sends a body of known length; a refusal is an error.
    pub(super) async fn upload(&self, call: Call<'_>, bytes: u64, body: Body) -> Result<(), Error> {
        self.exchange(call, Some(bytes), body).await.map(drop)
    }

    /// What a refusal says, or how it fails to say it.
    pub(super) async fn refusal(&self, call: Call<'_>, response: Response<Incoming>) -> Error {
        let status = response.status();
        let body = match self.collect(call, response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Refused {
                problem: Box::new(problem),
            },
            // An answer to HEAD has no body to say more.
            Err(_) if call.method == Method::HEAD => {
                let detail = format!("{} refused {call}", self.address);
                Error::Refused {
                    problem: Box::new(Problem::new(status, status_code(status), detail)),
                }
            }
            Err(_) => self.unexpected(call, format!("status {status} without a problem description")),
        }
    }

    async fn exchange(&self, call: Call<'_>, bytes: Option<u64>, body: Body) -> Result<Bytes, Error> {
        let response = self.send_sized(call, bytes, body).await?;
        if !response.status().is_success() {
            return Err(self.refusal(call, response).await);
        }
        self.collect(call, response).await
    }

    async fn send_sized(
        &self,
        call: Call<'_>,
        bytes: Option<u64>,
        body: Body,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.address, call.path))
            .header(AUTHORIZATION, self.authorization.clone());
        // A blob is the one body that is no JSON.
        if call.method == Method::POST || call.path == paths::TRUST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(bytes) = bytes {
            request = request.header(CONTENT_LENGTH, bytes);
        }
        let request = request.body(body).map_err(|error| Error::Request {
            doing: call.to_string(),
            what: error.to_string(),
        })?;
        let answer = tokio::time::timeout(call.wait_max, self.client.request(request)).await;
        answer.map_err(|_| self.timeout(call))?.map_err(|error| {
            let address = self.address.clone();
            let connect = error.is_connect();
            let source = innermost(error.into());
            if connect {
                Error::Connect { address, source }
            } else {
                Error::Exchange {
                    address,
                    doing: call.to_string(),
                    source,
                }
            }
        })
    }

    async fn collect(&self, call: Call<'_>, response: Response<Incoming>) -> Result<Bytes, Error> {
        let body = Limited::new(response.into_body(), JSON_BYTES_MAX).collect();
        let body = tokio::time::timeout(call.wait_max, body)
            .await
            .map_err(|_| self.timeout(call))?;
        let broken = |source| Error::Exchange {
            address: self.address.clone(),
            doing: call.to_string(),
            source,
        };
        Ok(body.map_err(broken)?.to_bytes())
    }

    fn timeout(&self, call: Call<'_>) -> Error {
        Error::Timeout {
            address: self.address.clone(),
            doing: call.to_string(),
            wait_max: call.wait_max,
        }
    }

    fn unexpected(&self, call: Call<'_>, what: String) -> Error {
        Error::Answer {
            address: self.address.clone(),
            doing: call.to_string(),
            what,
        }
    }
}

fn status_code(status: http::StatusCode) -> &'static str {
    match status {
        http::StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
        http::StatusCode::BAD_REQUEST => "BAD_REQUEST",
        _ => "REFUSED",
    }
}

/// `http://HOST:PORT` of this machine, or why not. The path and everything after it must be empty.
fn check_address(text: &str) -> Result<String, Error> {
    let refuse = || Error::Address {
        address: text.chars().take(200).collect(),
    };
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = with_scheme.parse().map_err(|_| refuse())?;
    let authority = uri.authority().ok_or_else(refuse)?;
    let plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
    if !plain || authority.as_str().contains('@') {
        return Err(refuse());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = host
        .parse::<std::net::IpAddr>()
        .map_or(host == "localhost", |ip| ip.is_loopback());
    if !loopback {
        return Err(Error::NotLoopback {
            address: authority.to_string(),
        });
    }
    Ok(format!("http://{authority}"))
}

/// The cause that says something to people: "connection refused" rather than "client error (Connect)".
fn innermost(error: Box<dyn std::error::Error + Send + Sync>) -> Box<dyn std::error::Error + Send + Sync> {
    let mut cause: &(dyn std::error::Error + 'static) = error.as_ref();
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().into()
}

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

pub(super) fn full(bytes: Vec<u8>) -> Body {
    Full::from(bytes).map_err(|never| match never {}).boxed()
}

/// A file as a body with its length; read as the connection takes it.
pub(super) async fn file(path: &Path) -> Result<(Body, u64), Error> {
    let refuse = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(refuse)?;
    let bytes = file.metadata().await.map_err(refuse)?.len();
    let stream = ReaderStream::new(file).map_ok(Frame::data);
    Ok((StreamBody::new(stream).boxed(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_http_addresses() {
        for good in [
            "127.0.0.1:7070",
            "http://127.0.0.1:7070",
            "http://127.0.0.1:7070/",
            "localhost:1",
            "[::1]:7070",
        ] {
            assert!(check_address(good).unwrap().starts_with("http://"), "{good}");
        }
        for bad in [
            "",
            "https://127.0.0.1:7070",
            "127.0.0.1:7070/api",
            "http://a@127.0.0.1:1",
            "http://127.0.0.1:1/?a",
        ] {
            assert!(matches!(check_address(bad), Err(Error::Address { .. })), "{bad}");
        }
        for remote in [
            "10.0.0.1:7070",
            "http://example.com:7070",
            "http://127.0.0.1.example.com:1",
            "0.0.0.0:7070",
        ] {
            assert!(
                matches!(check_address(remote), Err(Error::NotLoopback { .. })),
                "{remote}"
            );
        }
    }

    #[test]
    fn the_token_is_never_printed() {
        let transport = Transport::new("127.0.0.1:7070", "s3cret").unwrap();
        assert!(!format!("{transport:?} {:?}", transport.authorization).contains("s3cret"));
    }
}
