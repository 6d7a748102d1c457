//! One request and its answer: authorization, redirects, bounds on time and size, and what a failure is called.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Body, Response, Url};
use serde::Deserialize;

use super::progress::Event;
use super::retry::{pause_after, spread};
use super::session::{Session, registry_of};
use crate::limits::{REDIRECTS_MAX, REFUSAL_BYTES_MAX, RETRY_PAUSE_MAX};
use crate::{Error, RegistryFault, Result};

/// Bytes of an upload that are handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Characters of a registry's own words that an error repeats.
const WORDS_CHARS_MAX: usize = 300;

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What it is for, in words.
    pub(super) doing: String,
    /// The blob in the body, of which progress is told.
    pub(super) blob: Option<fermion_model::Digest>,
}

impl Call {
    pub(super) fn new(method: Method, url: Url, doing: impl Into<String>) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            doing: doing.into(),
            blob: None,
        }
    }

    #[must_use]
    pub(super) fn header(mut self, name: http::HeaderName, value: &str) -> Self {
        // Everything that goes in here has been checked to be plain text.
        if let Ok(value) = http::HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// A failure, whether the same may go well a moment later, and the pause that the registry asked for.
pub(super) struct Failed {
    pub(super) error: Box<Error>,
    passes: bool,
    asked: Option<Duration>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let passes = matches!(&error, Error::Registry { fault, .. } if fault.passes());
        Self {
            error: Box::new(error),
            passes,
            asked: None,
        }
    }
}

impl Failed {
    /// All the time that there was is used up: trying again would only double it.
    pub(super) fn at_last(error: Error) -> Self {
        Self {
            error: Box::new(error),
            passes: false,
            asked: None,
        }
    }

    pub(super) const fn passes(&self) -> bool {
        self.passes
    }
}

pub(super) type Try<T> = Result<T, Failed>;

impl Session {
    /// Tries a step, and again if it failed in passing. The step must be one that can be repeated.
    pub(super) async fn retry<T, F: Future<Output = Try<T>>>(
        &self,
        doing: &str,
        mut step: impl FnMut() -> F,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            let Failed { error, passes, asked } = match step().await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            failures += 1;
            let Some(pause) = pause_after(failures, asked, spread()).filter(|_| passes) else {
                return Err(*error);
            };
            tracing::debug!(%error, doing, ?pause, "trying again");
            let why = error.to_string();
            self.client.config().progress.tell(Event::Retry { why, pause });
            self.client.config().pause.wait(pause).await;
        }
    }

    /// The answer's head. Authorizes where the registry asks for it, and follows redirects of downloads.
    pub(super) async fn send(&self, call: &Call) -> Try<Response> {
        let mut url = call.url.clone();
        let mut authorized = 0;
        let mut redirects = 0;
        loop {
            let authorization = match self.is_own(&url) {
                true => self.authorization.lock().await.clone(),
                false => None,
            };
            let response = self.send_once(call, &url, authorization.as_ref()).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && self.is_own(&url) && authorized < 2 {
                authorized += 1;
                let challenges: Vec<String> = response
                    .headers()
                    .get_all(WWW_AUTHENTICATE)
                    .iter()
                    .filter_map(|value| value.to_str().ok().map(str::to_owned))
                    .collect();
                self.authorize(&challenges, authorization.as_ref(), &call.doing)
                    .await?;
                continue;
            }
            if !is_redirect(status) {
                return Ok(response);
            }
            redirects += 1;
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            url = self
                .redirect(call, &url, next, redirects)
                .map_err(|why| self.fault(RegistryFault::Redirect, &call.doing, why))?;
        }
    }

    fn redirect(&self, call: &Call, from: &Url, next: Option<&str>, count: usize) -> Result<Url, String> {
        if !matches!(call.method, Method::GET | Method::HEAD) {
            return Err("it redirects an upload; push to the address it lives at".to_owned());
        }
        if count > REDIRECTS_MAX {
            return Err(format!("more than {REDIRECTS_MAX} redirects"));
        }
        let next = next.ok_or("a redirect to nowhere")?;
        let to = from
            .join(next)
            .map_err(|why| format!("a redirect that is no address: {why}"))?;
        let target = registry_of(&to).ok_or("a redirect to no host")?;
        let is_plain_allowed = from.scheme() == "http" && self.client.is_plaintext(&target);
        if !(to.scheme() == "https" || to.scheme() == "http" && is_plain_allowed) {
            return Err(format!("a redirect to {target} without encryption"));
        }
        if target.is_loopback() && !self.registry.is_loopback() {
            return Err("a redirect to this machine".to_owned());
        }
        if !to.username().is_empty() || to.password().is_some() {
            return Err("a redirect with credentials in it".to_owned());
        }
        Ok(to)
    }

    pub(super) async fn send_once(
        &self,
        call: &Call,
        url: &Url,
        authorization: Option<&http::HeaderValue>,
    ) -> Try<Response> {
        let loopback = registry_of(url).is_some_and(|host| host.is_loopback());
        let connections = self.client.connections(loopback)?;
        let mut request = connections
            .request(call.method.clone(), url.clone())
            .headers(call.headers.clone());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if !call.body.is_empty() {
            request = request
                .header(CONTENT_LENGTH, call.body.len())
                .body(self.body(call));
        } else if !matches!(call.method, Method::GET | Method::HEAD) {
            request = request.header(CONTENT_LENGTH, 0);
        }
        let wait_max = match call.body.len() {
            0 => self.client.config().timing.idle_max,
            bytes => self.time_for(bytes as u64),
        };
        let answer = tokio::time::timeout(wait_max, request.send()).await;
        let answer = answer.map_err(|_| self.too_slow(&call.doing, wait_max))?;
        Ok(answer.map_err(|why| self.broken(&call.doing, &why))?)
    }

    /// The body in pieces, each told as it leaves.
    fn body(&self, call: &Call) -> Body {
        let Some(digest) = call.blob else {
            return Body::from(call.body.clone());
        };
        let progress = self.client.config().progress.clone();
        let rest = call.body.clone();
        Body::wrap_stream(stream::unfold(rest, move |mut rest| {
            let progress = progress.clone();
            async move {
                if rest.is_empty() {
                    return None;
                }
                let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                let bytes = piece.len() as u64;
                progress.tell(Event::Moved { digest, bytes });
                Some((Ok::<_, std::io::Error>(piece), rest))
            }
        }))
    }

    /// How long an exchange that moves so many bytes may take.
    pub(super) fn time_for(&self, bytes: u64) -> Duration {
        let timing = &self.client.config().timing;
        timing.exchange_max + Duration::from_secs(bytes / timing.rate_min.max(1))
    }

    /// The next piece of an answer's body; none at its end.
    pub(super) async fn piece(&self, response: &mut Response, doing: &str) -> Try<Option<Bytes>> {
        let idle_max = self.client.config().timing.idle_max;
        let piece = tokio::time::timeout(idle_max, response.chunk()).await;
        let piece = piece.map_err(|_| self.too_slow(doing, idle_max))?;
        Ok(piece.map_err(|why| self.broken(doing, &why))?)
    }

    /// The whole body of an answer, of at most `bytes_max`.
    pub(super) async fn body_of(&self, mut response: Response, bytes_max: u64, doing: &str) -> Try<Bytes> {
        let too_large = || {
            let why = format!("it answers with more than the {bytes_max} bytes that there may be");
            self.fault(RegistryFault::TooLarge, doing, why)
        };
        if response.content_length().is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large().into());
        }
        let wait_max = self.time_for(bytes_max);
        let read = async {
            let mut body = BytesMut::new();
            while let Some(piece) = self.piece(&mut response, doing).await? {
                if (body.len() + piece.len()) as u64 > bytes_max {
                    return Err(too_large().into());
                }
                body.extend_from_slice(&piece);
            }
            Ok(body.freeze())
        };
        let read = tokio::time::timeout(wait_max, read).await;
        read.map_err(|_| Failed::at_last(self.too_slow(doing, wait_max)))?
    }

    /// An answer that is none of those that were hoped for.
    pub(super) async fn refusal(&self, response: Response, doing: &str) -> Failed {
        let status = response.status();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_PAUSE_MAX));
        let fault = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryFault::Unauthorized,
            StatusCode::NOT_FOUND => RegistryFault::Missing,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => RegistryFault::Unavailable,
            status if status.is_server_error() => RegistryFault::Unavailable,
            status if status.is_client_error() => RegistryFault::Refused,
            _ => RegistryFault::Answer,
        };
        let body = self.body_of(response, REFUSAL_BYTES_MAX, doing).await;
        let words = body.ok().and_then(|body| words(&body)).unwrap_or_default();
        let why = format!("it answers {}{words}{}", status.as_u16(), advice(fault));
        let error = self.fault(fault, doing, why);
        Failed {
            asked,
            ..Failed::from(error)
        }
    }

    pub(super) fn too_slow(&self, doing: &str, waited: Duration) -> Error {
        let why = format!("no answer, or too slow a one, within {} s", waited.as_secs());
        self.fault(RegistryFault::Timeout, doing, why)
    }

    pub(super) fn broken(&self, doing: &str, why: &reqwest::Error) -> Error {
        let mut cause: &(dyn StdError + 'static) = why;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let fault = if why.is_timeout() {
            RegistryFault::Timeout
        } else {
            RegistryFault::Unreachable
        };
        let plain = self.url("").scheme() == "http";
        let hint = match why.is_connect() {
            true if plain => "; look whether it runs there",
            true => "; look whether it runs there; if it speaks plain HTTP, say --insecure",
            false => "",
        };
        self.fault(fault, doing, format!("{cause}{hint}"))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn advice(fault: RegistryFault) -> &'static str {
    match fault {
        RegistryFault::Unauthorized => "; the docker config must have credentials with this right",
        RegistryFault::Missing => "; look for the name, and the tag or digest",
        _ => "",
    }
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalEntry>,
}

#[derive(Deserialize)]
struct RefusalEntry {
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own words, made harmless for a terminal.
fn words(body: &[u8]) -> Option<String> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let RefusalEntry { code, message } = refusal.errors.into_iter().next()?;
    let text: String = format!(" {code}: {message}")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_CHARS_MAX)
        .collect();
    Some(text)
}
