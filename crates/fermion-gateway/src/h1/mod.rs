//! HTTP/1.0 and 1.1 on one connection: one request after another, each driven on the connection's own task. Keeps the
//! promises of the crate's front page that hyper's HTTP/1 server cannot: it answers malformed heads itself and empty,
//! hides a content-length beside a transfer-encoding, and drops trailers whose names the head did not announce.

mod decoder;
mod encode;
mod head;
mod outgoing;
mod upload;
mod writer;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::BytesMut;
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::{Method, Request};
use tokio::net::TcpStream;

use crate::connection::{ConnectionState, InFlight, Order, Phase};
use crate::exchange::Door;
use crate::limits::{LINGER_MAX, READ_BUFFER_BYTES};
use crate::{Dispatch, Record, RequestBody};

use encode::{BodyEnd, Facts};
use head::Head;
use outgoing::{Broken, Outgoing};
use upload::{Inbound, Leftover};
use writer::Writer;

pub(crate) use upload::Upload;

/// What becomes of the connection after an answer.
enum After {
    KeepAlive(Inbound),
    /// The answer is out, and the caller may still be sending.
    Linger(Option<Inbound>),
    /// Broken, or the caller left.
    Drop,
}

/// Serves one connection until it is over. `buffer` holds what was read of it already.
pub(crate) async fn serve<D: Dispatch, R: Record>(
    door: &Door<D, R>,
    state: &Arc<ConnectionState>,
    stream: TcpStream,
    buffer: BytesMut,
) {
    let (read, write) = stream.into_split();
    let mut inbound = Inbound { read, buffer };
    let mut writer = Writer::new(write, Arc::clone(state));
    loop {
        let head = match next_head(&mut inbound, state).await {
            Ok(head) => head,
            Err(Stop::Close) => return,
            Err(Stop::Refuse(failure)) => {
                refuse(door, &mut writer, &failure).await;
                return linger(&mut writer, Some(inbound)).await;
            }
        };
        state.enter(Phase::Busy);
        inbound = match exchange(door, state, &mut writer, inbound, head).await {
            After::KeepAlive(inbound) => inbound,
            After::Linger(inbound) => return linger(&mut writer, inbound).await,
            After::Drop => return writer.break_off(),
        };
        state.answer_is_out();
        state.enter(if inbound.buffer.is_empty() {
            Phase::Idle
        } else {
            Phase::Reading
        });
    }
}

/// Why there is no next request.
enum Stop {
    Refuse(Failure),
    Close,
}

async fn next_head(inbound: &mut Inbound, state: &ConnectionState) -> Result<Head, Stop> {
    // After an incomplete head, parsing waits for what could complete it, so that a head sent byte by byte costs no
    // more than one sent at once.
    let mut searched = None;
    std::future::poll_fn(|cx| {
        loop {
            if !inbound.buffer.is_empty()
                && searched.is_none_or(|from| may_be_complete(&inbound.buffer, from))
            {
                match head::parse(&mut inbound.buffer) {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Err(failure) => return Poll::Ready(Err(Stop::Refuse(failure))),
                    Ok(None) => searched = Some(inbound.buffer.len()),
                }
            }
            match inbound.poll_fill(cx, READ_BUFFER_BYTES) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Stop::Close)),
                Poll::Ready(Ok(_)) if state.phase() == Phase::Idle => state.enter(Phase::Reading),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        match state.order(cx.waker()) {
            Order::Close => Poll::Ready(Err(Stop::Close)),
            Order::Drain if inbound.buffer.is_empty() => Poll::Ready(Err(Stop::Close)),
            Order::TooSlow if inbound.buffer.is_empty() => Poll::Ready(Err(Stop::Close)),
            Order::TooSlow => Poll::Ready(Err(Stop::Refuse(Failure::new(
                Fault::RequestTimeout,
                "request head",
            )))),
            Order::None | Order::Drain | Order::Stalled => Poll::Pending,
        }
    })
    .await
}

/// True if bytes from `from` on end a head, or if so many came that its length must be looked at.
fn may_be_complete(buffer: &[u8], from: usize) -> bool {
    let recent = &buffer[from.saturating_sub(3).min(buffer.len())..];
    buffer.len() >= from * 2 || recent.windows(2).any(|pair| pair == b"\n\n" || pair == b"\n\r")
}

/// Answers a head that could not be read.
async fn refuse<D: Dispatch, R: Record>(door: &Door<D, R>, writer: &mut Writer, failure: &Failure) {
    let (parts, body) = door.refuse_unread(failure).into_parts();
    let facts = Facts {
        is_head: false,
        is_http_10: false,
        keep_alive: false,
        length: Some(body.len() as u64),
    };
    let _: (BodyEnd, bool) = encode::head(&mut writer.out, &parts, facts);
    writer.out.extend_from_slice(&body);
    if let Err(error) = std::future::poll_fn(|cx| writer.poll_flush(cx)).await {
        tracing::debug!(%error, "the caller left before its refusal");
    }
}

/// One request and its answer.
async fn exchange<D: Dispatch, R: Record>(
    door: &Door<D, R>,
    state: &Arc<ConnectionState>,
    writer: &mut Writer,
    inbound: Inbound,
    head: Head,
) -> After {
    let Head { request, framing } = head;
    let is_head = request.method() == Method::HEAD;
    let (mut inbound, upload) = match &framing.body {
        None => (Some(inbound), None),
        Some(decoder) => {
            let upload = Arc::new(Upload::new(inbound, decoder.clone(), framing.expects_continue));
            (None, Some(upload))
        }
    };
    let body = match &upload {
        None => RequestBody::empty(),
        Some(upload) => RequestBody::upload(Arc::clone(upload), door.limits.body_idle_max),
    };
    let (parts, ()) = request.into_parts();
    let answer = pin!(door.answer(Request::from_parts(parts, body), InFlight::request(state)));
    let Some(answer) = await_answer(answer, writer, inbound.as_mut(), upload.as_deref()).await else {
        return After::Drop;
    };
    let connection_may_live = framing.keep_alive && !state.is_draining();
    let outcome = Outgoing {
        writer,
        framing: &framing,
        upload: upload.as_deref(),
        inbound: inbound.as_mut(),
    }
    .send(answer, is_head, connection_may_live)
    .await;
    match outcome {
        Ok(reusable) => settle(state, inbound, upload, reusable).await,
        Err(Broken) => After::Drop,
    }
}

/// Polls the request until its answer's head is there, telling a caller that waits for it to send its body. None if the
/// caller left.
async fn await_answer<T>(
    mut answer: Pin<&mut impl Future<Output = T>>,
    writer: &mut Writer,
    mut inbound: Option<&mut Inbound>,
    upload: Option<&Upload>,
) -> Option<T> {
    std::future::poll_fn(|cx| {
        if let Some(upload) = upload {
            upload.watch(cx.waker());
        }
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        if let Some(upload) = upload {
            if upload.take_wants_continue() {
                writer.out.extend_from_slice(encode::CONTINUE);
            }
            if let Poll::Ready(Err(_)) = writer.poll_flush(cx) {
                return Poll::Ready(None);
            }
        }
        match &mut inbound {
            Some(inbound) => inbound.poll_hangup(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Gets the read side back, with nothing of the old request left in it.
async fn settle(
    state: &ConnectionState,
    inbound: Option<Inbound>,
    upload: Option<Arc<Upload>>,
    reusable: bool,
) -> After {
    let Some(upload) = upload else {
        return match inbound {
            Some(inbound) if reusable => After::KeepAlive(inbound),
            inbound => After::Linger(inbound),
        };
    };
    // A guest may go on reading after its answer is complete.
    std::future::poll_fn(|cx| {
        upload.watch(cx.waker());
        if upload.is_released() || upload.is_end_stream() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    match upload.reclaim() {
        Some(Leftover::Nothing(inbound)) if reusable => After::KeepAlive(inbound),
        Some(Leftover::Rest(mut inbound, mut decoder)) if reusable => {
            state.enter(Phase::Reading);
            let mut drained = 0;
            let is_clean = std::future::poll_fn(|cx| {
                match state.order(cx.waker()) {
                    Order::None | Order::Drain => {}
                    Order::Close | Order::TooSlow | Order::Stalled => return Poll::Ready(false),
                }
                upload::poll_drain(&mut inbound, &mut decoder, &mut drained, cx)
            })
            .await;
            if is_clean {
                After::KeepAlive(inbound)
            } else {
                After::Linger(Some(inbound))
            }
        }
        Some(Leftover::Nothing(inbound) | Leftover::Rest(inbound, _)) => After::Linger(Some(inbound)),
        None => After::Drop,
    }
}

/// Closes in a way that lets the caller read the answer: a close with unread bytes would be a reset, which discards it.
async fn linger(writer: &mut Writer, inbound: Option<Inbound>) {
    let Some(mut inbound) = inbound else { return };
    let closing = std::future::poll_fn(|cx| {
        if let Err(error) = ready!(writer.poll_shutdown(cx)) {
            tracing::debug!(%error, "the caller closed first");
            return Poll::Ready(());
        }
        loop {
            inbound.buffer.clear();
            match ready!(inbound.poll_fill(cx, READ_BUFFER_BYTES)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    });
    if tokio::time::timeout(LINGER_MAX, closing).await.is_err() {
        tracing::debug!("the caller did not close in time");
    }
}
