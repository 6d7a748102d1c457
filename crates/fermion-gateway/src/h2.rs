//! HTTP/2 with prior knowledge, by hyper: its bounds, and the way in and out of [`Door::answer`].

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;

use crate::answer_body::AnswerBody;
use crate::connection::{ConnectionState, InFlight, Order, Phase};
use crate::exchange::Door;
use crate::limits;
use crate::sniff::Rewound;
use crate::{Dispatch, Record, RequestBody};

/// Runs a connection's streams on the serving thread, owned by its tracker.
#[derive(Debug, Clone)]
struct OnTracker(TaskTracker);

impl<F> hyper::rt::Executor<F> for OnTracker
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

/// Serves one connection until it is over.
pub(crate) async fn serve<D: Dispatch, R: Record>(
    door: &Arc<Door<D, R>>,
    state: &Arc<ConnectionState>,
    io: Rewound,
    tasks: TaskTracker,
) {
    state.enter(Phase::Idle);
    let service = service_fn(|request: Request<Incoming>| {
        let door = Arc::clone(door);
        let in_flight = InFlight::stream(state);
        async move { Ok::<_, Infallible>(answer(&door, request, in_flight).await) }
    });
    let mut builder = http2::Builder::new(OnTracker(tasks));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .max_header_list_size(2 * u32::try_from(limits::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits::H2_RESETS_MAX)
        .max_local_error_reset_streams(limits::H2_RESETS_MAX)
        .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::H2_SEND_BUFFER_BYTES)
        .keep_alive_interval(limits::H2_PING_EVERY)
        .keep_alive_timeout(limits::H2_PING_WAIT_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut is_draining = false;
    let ended = std::future::poll_fn(|cx| {
        match state.order(cx.waker()) {
            Order::None => {}
            Order::Drain if is_draining => {}
            Order::Drain => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Close | Order::TooSlow | Order::Stalled => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/2 connection ended early");
    }
}

async fn answer<D: Dispatch, R: Record>(
    door: &Door<D, R>,
    request: Request<Incoming>,
    in_flight: InFlight,
) -> Response<Pin<Box<AnswerBody<D::Body, R>>>> {
    let is_head = request.method() == Method::HEAD;
    let body_idle_max = door.limits.body_idle_max;
    let request = request.map(|incoming| RequestBody::stream(incoming, body_idle_max));
    let response = door.answer(request, in_flight).await;
    let mut response = response.map(Box::pin);
    let body = response.body_mut();
    if let Err(failure) = std::future::poll_fn(|cx| Poll::Ready(body.as_mut().poll_first(cx))).await {
        let parts = body.as_mut().replace(&failure);
        let (_, body) = response.into_parts();
        response = Response::from_parts(parts, body);
    }
    response.body_mut().as_mut().hold_failures();
    let has_no_body = is_head || matches!(response.status().as_u16(), 204 | 304);
    if has_no_body {
        response.body_mut().as_mut().clear();
    }
    response
}
