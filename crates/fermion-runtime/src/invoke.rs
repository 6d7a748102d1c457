//! One request through one fresh instance. The guest is driven on the caller's own task: no task, thread or timer is
//! made for a guest that answers at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fermion_model::fault::{Failure, Fault};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::classify::classify;
use crate::guest_body::GuestBody;
use crate::heavy::{Guest, Work};
use crate::link::Handler;
use crate::meter::Meter;
use crate::output::GuestOutput;
use crate::program::Program;
use crate::response::validate;
use crate::state::State;

/// What comes with a request beside the request.
pub struct Call<P> {
    /// Held until the guest is done and the answer's body has gone out, whichever is later.
    pub permit: P,
    /// Where the guest's stdout and stderr go.
    pub output: Arc<dyn GuestOutput>,
    /// Added to outgoing requests that carry none.
    pub traceparent: Option<http::HeaderValue>,
    /// A new meter: counts what the guest uses, until its answer's body has ended.
    pub meter: Arc<Meter>,
}

type Slot = Arc<Mutex<Option<Result<http::Response<WasiBody>, String>>>>;

impl Program {
    /// Makes an instance and drops it: the first real request finds the memory image mapped and the code paged in.
    pub async fn warm(&self) -> Result<(), Failure> {
        let meter = Arc::new(Meter::default());
        let mut store = self.store(&meter, Arc::new(()), None);
        let instantiate = async {
            match &self.handler {
                Handler::P2(pre) => pre.instantiate_async(&mut store).await.map(drop),
                Handler::P3(pre) => pre.instantiate_async(&mut store).await.map(drop),
            }
        };
        match tokio::time::timeout(self.limits.wall_time, instantiate).await {
            Ok(instantiated) => instantiated.map_err(|error| classify(&error, &meter)),
            Err(_) => Err(Failure::new(
                Fault::GuestTimeout,
                "instantiating took longer than the wall time",
            )),
        }
    }

    /// Runs one request in a fresh instance and gives the answer as soon as its head is known. The body drives the guest.
    pub async fn handle<B, P>(
        &self,
        request: http::Request<B>,
        call: Call<P>,
    ) -> Result<http::Response<GuestBody>, Failure>
    where
        B: http_body::Body<Data = Bytes, Error = Failure> + Send + 'static,
        P: Send + Sync + 'static,
    {
        let slot = Slot::default();
        // Only a guest of WASI 0.3 goes on by itself after its answer, and must be told that the answer is out.
        let ended = matches!(self.handler, Handler::P3(_)).then(CancellationToken::new);
        let head_only = request.method() == http::Method::HEAD;
        let request = request.map(|body| {
            if body.is_end_stream() {
                http_body_util::Empty::new()
                    .map_err(|never| match never {})
                    .boxed_unsync()
            } else {
                body.map_err(request_body_error).boxed_unsync()
            }
        });
        let Call {
            permit,
            output,
            traceparent,
            meter,
        } = call;
        let store = self.store(&meter, output, traceparent);
        let work = self.start(request, store, &meter, &slot, ended.clone());
        let mut run = Run {
            guest: Guest::new(work, meter, self.appetite.clone(), self.engines.crew().clone()),
            deadline: Deadline::new(self.limits.wall_time),
        };
        let (response, run) = poll_fn(|cx| {
            let polled = run.poll(cx);
            let answer = slot.lock().expect("no panic while it is held").take();
            match (answer, polled) {
                (Some(Ok(response)), Poll::Ready(Ok(()))) => Poll::Ready(Ok((response, false))),
                (Some(Ok(response)), Poll::Pending) => Poll::Ready(Ok((response, true))),
                (Some(Err(code)), _) => Poll::Ready(Err(Failure::new(Fault::GuestError, code))),
                (_, Poll::Ready(Err(failure))) => Poll::Ready(Err(failure)),
                (None, Poll::Ready(Ok(()))) => Poll::Ready(Err(Failure::from(Fault::GuestNoResponse))),
                (None, Poll::Pending) => Poll::Pending,
            }
        })
        .await
        .map(|(response, running)| (response, running.then_some(run)))?;
        let (parts, body) = response.into_parts();
        validate(&parts)?;
        let mut body = GuestBody::new(body, run, ended, Arc::new(permit));
        poll_fn(|cx| Poll::Ready(body.prefetch(cx))).await?;
        if head_only {
            body = body.finish_unheard();
        }
        Ok(http::Response::from_parts(parts, body))
    }

    fn start(
        &self,
        request: http::Request<WasiBody>,
        mut store: Store<State>,
        meter: &Arc<Meter>,
        slot: &Slot,
        ended: Option<CancellationToken>,
    ) -> Work {
        let (meter, slot) = (meter.clone(), slot.clone());
        match &self.handler {
            Handler::P2(pre) => {
                let pre = pre.clone();
                Box::pin(async move {
                    let begun = Instant::now();
                    let proxy = pre.instantiate_async(&mut store).await?;
                    meter.instantiated(begun.elapsed());
                    let mut http = store.data_mut().http();
                    let request = http.new_incoming_request(Scheme::Http, with_some_authority(request))?;
                    let out = http.new_response_outparam_from_callback(move |answer| {
                        put(&slot, answer.map_err(|code| format!("{code:?}")));
                    })?;
                    proxy
                        .wasi_http_incoming_handler()
                        .call_handle(&mut store, request, out)
                        .await
                })
            }
            Handler::P3(pre) => {
                let (pre, ended) = (pre.clone(), ended.unwrap_or_default());
                Box::pin(async move {
                    let begun = Instant::now();
                    let service = pre.instantiate_async(&mut store).await?;
                    meter.instantiated(begun.elapsed());
                    let hooks = store.data_mut().http().hooks;
                    let (request, _io) =
                        wasmtime_wasi_http::p3::Request::from_http(hooks, with_authority(request));
                    store
                        .run_concurrent(async move |accessor| {
                            match service.handle(accessor, request).await? {
                                Ok(response) => {
                                    let ended = ended.clone();
                                    let sent = async move {
                                        ended.cancelled().await;
                                        Ok(())
                                    };
                                    let response =
                                        accessor.with(|mut store| response.into_http(&mut store, sent))?;
                                    put(&slot, Ok(response));
                                }
                                Err(code) => {
                                    put(&slot, Err(format!("{code:?}")));
                                    return Ok(());
                                }
                            }
                            ended.cancelled().await;
                            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                            Ok(())
                        })
                        .await?
                })
            }
        }
    }
}

/// What a guest that reads a failing request body is told.
fn request_body_error(failure: Failure) -> wasmtime_wasi_http::Error {
    match failure.fault {
        Fault::BodyTooLarge => wasmtime_wasi_http::Error::HttpRequestBodySize(None),
        Fault::RequestTimeout => wasmtime_wasi_http::Error::ConnectionReadTimeout,
        _ => wasmtime_wasi_http::Error::ConnectionTerminated,
    }
}

fn put(slot: &Slot, answer: Result<http::Response<WasiBody>, String>) {
    *slot.lock().expect("no panic while it is held") = Some(answer);
}

/// WASI 0.2 reads the authority off the `Host` field, so only a request without one is completed.
fn with_some_authority(request: http::Request<WasiBody>) -> http::Request<WasiBody> {
    if request.headers().contains_key(http::header::HOST) {
        request
    } else {
        with_authority(request)
    }
}

/// Completes an origin-form target with the scheme and the authority that the client meant, which WASI 0.3 reads off
/// the request.
fn with_authority(mut request: http::Request<WasiBody>) -> http::Request<WasiBody> {
    let host = request
        .headers()
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().cloned().or_else(|| match host {
        Some(host) => host.parse().ok(),
        // HTTP/1.0 may leave it out; WASI 0.2 requests cannot.
        None => Some(http::uri::Authority::from_static("localhost")),
    });
    let Some(authority) = authority else {
        return request;
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(authority);
    parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = http::Uri::from_parts(parts).expect("scheme, authority and path are all there");
    request
}

/// The end of the guest's wall time; a timer only once the guest has made its caller wait.
struct Deadline {
    at: Instant,
    wall_time: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(wall_time: Duration) -> Self {
        Self {
            at: Instant::now() + wall_time,
            wall_time,
            timer: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Failure::new(Fault::GuestTimeout, format!("wall time of {:?}", self.wall_time)))
    }
}

/// A guest that has not finished. Dropping it ends the guest and gives its memory back.
pub(crate) struct Run {
    guest: Guest,
    deadline: Deadline,
}

impl Run {
    /// Lets the guest run until it waits, ends or uses up what it may. Not to be polled after it is ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.guest.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(classify(&error, self.guest.meter()))),
            Poll::Pending => self.deadline.poll(cx).map(Err),
        }
    }
}

impl Run {
    /// True while a slice of the guest runs on another thread: how it ended may not be known yet.
    pub(crate) fn is_in_a_slice(&self) -> bool {
        self.guest.is_in_a_slice()
    }
}

impl Future for Run {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Run::poll(&mut self, cx)
    }
}
