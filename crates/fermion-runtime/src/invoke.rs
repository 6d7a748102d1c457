//! One request through one instance. The guest is driven on the caller's own task: no task, thread or timer is
//! made for a guest that answers at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fermion_model::fault::{Failure, Fault};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::classify::classify;
use crate::guest_body::{GuestBody, Permit};
use crate::heavy::{Guest, Work};
use crate::instances::{Begin, Bound, Head, Instance, Seat, Turn};
use crate::link::Handler;
use crate::meter::Meter;
use crate::output::GuestOutput;
use crate::program::{Core, Program};
use crate::response::validate;

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
    /// The request is a copy: its answer is thrown away, and what it would do beyond that is denied at the imports,
    /// whatever the guest thinks.
    pub is_copy: bool,
}

/// Where a guest's answer is put.
#[derive(Default)]
struct Slot {
    answer: Mutex<Option<Result<http::Response<WasiBody>, String>>>,
    is_answered: AtomicBool,
}

impl Slot {
    fn put(&self, answer: Result<http::Response<WasiBody>, String>) {
        *self.answer.lock().expect("no panic while it is held") = Some(answer);
        self.is_answered.store(true, Relaxed);
    }
}

impl Program {
    /// Runs one request in an instance of its own and gives the answer as soon as its head is known. The body drives
    /// the guest.
    pub async fn handle<B, P>(
        &self,
        request: http::Request<B>,
        call: Call<P>,
    ) -> Result<http::Response<GuestBody>, Failure>
    where
        B: http_body::Body<Data = Bytes, Error = Failure> + Send + 'static,
        P: Send + Sync + 'static,
    {
        let has_body = !request.body().is_end_stream();
        let turn = Turn {
            meter: call.meter,
            output: call.output,
            traceparent: call.traceparent,
            is_warmup: false,
            is_copy: call.is_copy,
            has_body,
        };
        let request = request.map(|body| {
            if has_body {
                body.map_err(request_body_error).boxed_unsync()
            } else {
                empty()
            }
        });
        let permit = Arc::new(call.permit);
        if turn.is_copy {
            return self.core.answer(None, request, turn, permit).await;
        }
        if !self.core.is_sharing() {
            let taken = self.core.take();
            return self.core.answer(taken, request, turn, permit).await;
        }
        // On the heap, and so is whatever else not every request needs: a future is as large as its largest branch, and is
        // moved as a whole into each of those around it.
        Box::pin(self.core.answer_shared(request, turn, permit)).await
    }
}

impl Core {
    /// Has an instance answer the package's own request, and keeps it.
    pub(crate) async fn warm_up(self: &Arc<Self>, instance: Instance) -> Result<(), Failure> {
        let path = self.pool.policy().warmup.as_deref().unwrap_or("/");
        let failed = |why: String| Failure::new(Fault::GuestError, format!("the warm-up {path} {why}"));
        let request = http::Request::get(path)
            .header(http::header::HOST, "localhost")
            .body(empty())
            .map_err(|error| failed(format!("cannot be asked: {error}")))?;
        // Dropped when the guest is done, wherever it ran.
        let (permit, done) = tokio::sync::oneshot::channel::<()>();
        let response = self
            .answer(Some(instance), request, Turn::warmup(), Arc::new(permit))
            .await?;
        if response.status().is_server_error() {
            return Err(failed(format!("was answered with {}", response.status())));
        }
        let mut body = Box::pin(response.into_body());
        while let Some(frame) = body.frame().await {
            drop(frame?);
        }
        drop(body);
        // Nobody sends: it ends when the other half is dropped.
        drop(done.await);
        Ok(())
    }

    async fn answer(
        self: &Arc<Self>,
        taken: Option<Instance>,
        request: http::Request<WasiBody>,
        turn: Turn,
        permit: Permit,
    ) -> Result<http::Response<GuestBody>, Failure> {
        let slot = Arc::new(Slot::default());
        // Only a guest of WASI 0.3 goes on by itself after its answer, and must be told that the answer is out.
        let ended = matches!(self.handler, Handler::P3(_)).then(CancellationToken::new);
        let head_only = request.method() == http::Method::HEAD;
        let meter = turn.meter.clone();
        let (core, answer) = (self.clone(), slot.clone());
        let work: Work = match ended.clone() {
            None => Box::pin(serve_p2(core, taken, request, turn, answer)),
            Some(ended) => Box::pin(serve_p3(core, taken, request, turn, answer, ended)),
        };
        let (appetite, crew) = (self.appetite.clone(), self.engines.crew().clone());
        let mut run = Run {
            guest: Working::Alone(Guest::new(work, meter, appetite, crew)),
            deadline: Deadline::new(self.limits.wall_time),
        };
        let (response, run) = poll_fn(|cx| {
            let polled = run.poll(cx);
            let answer = slot.answer.lock().expect("no panic while it is held").take();
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
        finish(response, run, ended, permit, head_only).await
    }

    /// One request in an instance that others may be in.
    async fn answer_shared(
        self: &Arc<Self>,
        request: http::Request<WasiBody>,
        turn: Turn,
        permit: Permit,
    ) -> Result<http::Response<GuestBody>, Failure> {
        let mut deadline = Deadline::new(self.limits.wall_time);
        let head_only = request.method() == http::Method::HEAD;
        let ended = CancellationToken::new();
        let running = self.engines.running();
        let mut begin = Begin {
            request,
            turn,
            running,
        };
        loop {
            let place = match self.pool.place(self) {
                Some(place) => {
                    begin.turn.meter.taken();
                    place
                }
                None => {
                    let taken = self.take();
                    if taken.is_none() && self.pool.policy().warmup.is_some() {
                        // An instance that was not warmed up serves one request, and is warmed up then.
                        return Box::pin(self.answer(None, begin.request, begin.turn, permit)).await;
                    }
                    let mut made = Box::pin(self.instance(taken, &begin.turn));
                    let made = poll_fn(|cx| match made.as_mut().poll(cx) {
                        Poll::Ready(made) => {
                            Poll::Ready(made.map_err(|error| classify(&error, &begin.turn.meter)))
                        }
                        Poll::Pending => deadline.poll(cx).map(Err),
                    });
                    let share = self.pool.share(made.await?, self);
                    share.ok_or_else(|| {
                        Failure::new(Fault::Internal, "an instance of WASI 0.2 cannot be shared")
                    })?
                }
            };
            let mut seat = place.order(begin, ended.clone());
            let mut is_first = true;
            let head = poll_fn(|cx| match seat.poll_head(cx, std::mem::take(&mut is_first)) {
                Poll::Ready(head) => Poll::Ready(head),
                Poll::Pending => deadline.poll(cx).map(Head::Failed),
            });
            match head.await {
                Head::Moved(again) => begin = again,
                Head::Failed(failure) => return Err(failure),
                Head::Answer(Err(code)) => {
                    seat.give_up(&ended);
                    return Err(Failure::new(Fault::GuestError, code));
                }
                Head::Answer(Ok(response)) => {
                    let run = Run {
                        guest: Working::Among(seat),
                        deadline,
                    };
                    return finish(response, Some(run), Some(ended), permit, head_only).await;
                }
            }
        }
    }
}

/// From an answer's head to what goes to the gateway.
async fn finish(
    response: http::Response<WasiBody>,
    run: Option<Run>,
    ended: Option<CancellationToken>,
    permit: Permit,
    head_only: bool,
) -> Result<http::Response<GuestBody>, Failure> {
    let (parts, body) = response.into_parts();
    validate(&parts)?;
    let mut body = GuestBody::new(body, run, ended, permit);
    poll_fn(|cx| Poll::Ready(body.prefetch(cx))).await?;
    if head_only {
        body = body.finish_unheard();
    }
    Ok(http::Response::from_parts(parts, body))
}

/// One request from taking or making its instance to keeping or dropping it. A guest that fails, and one whose caller
/// leaves, takes its instance along.
async fn serve_p2(
    core: Arc<Core>,
    taken: Option<Instance>,
    request: http::Request<WasiBody>,
    turn: Turn,
    slot: Arc<Slot>,
) -> wasmtime::Result<()> {
    let mut instance = core.instance(taken, &turn).await?;
    let Instance { store, bound, .. } = &mut instance;
    let Bound::P2(proxy) = bound else {
        return Err(other_generation());
    };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, with_some_authority(request))?;
    let answer = slot.clone();
    let out = http.new_response_outparam_from_callback(move |given| {
        answer.put(given.map_err(|code| format!("{code:?}")));
    })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, out)
        .await?;
    if slot.is_answered.load(Relaxed) {
        core.settle(instance, &turn);
    }
    Ok(())
}

/// The same for WASI 0.3, whose guest goes on until its answer is out.
async fn serve_p3(
    core: Arc<Core>,
    taken: Option<Instance>,
    request: http::Request<WasiBody>,
    turn: Turn,
    slot: Arc<Slot>,
    ended: CancellationToken,
) -> wasmtime::Result<()> {
    let mut instance = core.instance(taken, &turn).await?;
    let Instance { store, bound, .. } = &mut instance;
    let Bound::P3(service) = bound else {
        return Err(other_generation());
    };
    let hooks = store.data_mut().http().hooks;
    let (request, _io) = wasmtime_wasi_http::p3::Request::from_http(hooks, with_authority(request));
    let answer = slot.clone();
    store
        .run_concurrent(async move |accessor| {
            match service.handle(accessor, request).await? {
                Ok(response) => {
                    let ended = ended.clone();
                    let sent = async move {
                        ended.cancelled().await;
                        Ok(())
                    };
                    let response = accessor.with(|mut store| response.into_http(&mut store, sent))?;
                    answer.put(Ok(response));
                }
                Err(code) => {
                    answer.put(Err(format!("{code:?}")));
                    ended.cancel();
                }
            }
            ended.cancelled().await;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await
        .flatten()?;
    if slot.is_answered.load(Relaxed) {
        core.settle(instance, &turn);
    }
    Ok(())
}

/// An instance is never handed to a program of another engine.
fn other_generation() -> wasmtime::Error {
    wasmtime::format_err!("an instance of another generation of WASI")
}

fn empty() -> WasiBody {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What a guest that reads a failing request body is told.
fn request_body_error(failure: Failure) -> wasmtime_wasi_http::Error {
    match failure.fault {
        Fault::BodyTooLarge => wasmtime_wasi_http::Error::HttpRequestBodySize(None),
        Fault::RequestTimeout => wasmtime_wasi_http::Error::ConnectionReadTimeout,
        _ => wasmtime_wasi_http::Error::ConnectionTerminated,
    }
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
pub(crate) fn with_authority(mut request: http::Request<WasiBody>) -> http::Request<WasiBody> {
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
    guest: Working,
    deadline: Deadline,
}

enum Working {
    /// In an instance of its own.
    Alone(Guest),
    /// In an instance that others are in.
    Among(Seat),
}

impl Run {
    /// Lets the guest run until it waits, ends or uses up what it may. Not to be polled after it is ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let polled = match &mut self.guest {
            Working::Alone(guest) => guest.poll(cx).map_err(|error| classify(&error, guest.meter())),
            Working::Among(seat) => seat.poll(cx),
        };
        match polled {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => self.deadline.poll(cx).map(Err),
        }
    }

    /// True while a slice of the guest runs on another thread: how it ended may not be known yet.
    pub(crate) fn is_in_a_slice(&self) -> bool {
        matches!(&self.guest, Working::Alone(guest) if guest.is_in_a_slice())
    }
}

impl Future for Run {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Run::poll(&mut self, cx)
    }
}
