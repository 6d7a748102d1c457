//! The body of a guest's answer. Reading it drives the guest: there is no task between the guest and the connection,
//! so a slow client holds the guest back and nothing else.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fermion_model::fault::{Failure, Fault};
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;

use crate::invoke::Run;
use crate::limits;

/// Body frames of a guest's answer. An error means that the answer is incomplete and the connection must break.
pub struct GuestBody {
    ready: VecDeque<Frame<Bytes>>,
    ready_bytes: u64,
    body: Option<WasiBody>,
    run: Option<Run>,
    ended: Option<CancellationToken>,
    /// The body is over, well or torn, and the guest, which runs on another thread, is still to say how it fares.
    over: Option<Result<(), String>>,
    /// Held until the body is done and the guest is, whichever is later.
    permit: Option<Permit>,
}

/// Whatever must live as long as a request does; the runtime only holds it.
pub(crate) type Permit = Arc<dyn Send + Sync>;

impl std::fmt::Debug for GuestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBody")
            .field("ready_bytes", &self.ready_bytes)
            .finish_non_exhaustive()
    }
}

impl GuestBody {
    pub(crate) fn new(
        body: WasiBody,
        run: Option<Run>,
        ended: Option<CancellationToken>,
        permit: Permit,
    ) -> Self {
        Self {
            ready: VecDeque::new(),
            ready_bytes: 0,
            body: Some(body),
            run,
            ended,
            over: None,
            permit: Some(permit),
        }
    }

    /// Gathers what the guest has written without waiting, so that a short answer is known whole, with its length,
    /// before its head is sent. A guest that has already failed fails the whole answer.
    pub(crate) fn prefetch(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.ready_bytes < limits::PREFETCH_BYTES_MAX as u64 {
            match self.poll_source(cx) {
                Poll::Ready(Some(Ok(frame))) => self.keep(frame),
                Poll::Ready(Some(Err(failure))) => return Err(failure),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Adjacent data is joined: one write to the client instead of several.
    fn keep(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame
            .into_data()
            .map_err(|trailers| self.ready.push_back(trailers))
        else {
            return;
        };
        if data.is_empty() {
            return;
        }
        self.ready_bytes += data.len() as u64;
        if let Some(last) = self.ready.back_mut().and_then(Frame::data_mut) {
            let joined = [&last[..], &data[..]].concat();
            *last = joined.into();
        } else {
            self.ready.push_back(Frame::data(data));
        }
    }

    /// For answers whose body nobody reads: lets the guest finish behind the answer and gives an empty body.
    pub(crate) fn finish_unheard(mut self) -> Self {
        let empty = Self {
            ready: VecDeque::new(),
            ready_bytes: 0,
            body: None,
            run: None,
            ended: None,
            over: None,
            permit: None,
        };
        if self.run.is_some() {
            self.ready.clear();
            spawn_behind(async move {
                let mut body = Pin::new(&mut self);
                while let Some(Ok(_)) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
            });
        }
        empty
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            let Some(body) = &mut self.body else {
                return self.poll_end(cx);
            };
            let waiting = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(error))) => return self.end(Err(error.to_string()), cx),
                Poll::Ready(None) => return self.end(Ok(()), cx),
                Poll::Pending => Poll::Pending,
            };
            // A finished guest has let go of its end: what is missing is only this task's turn.
            let Some(run) = &mut self.run else { return waiting };
            match run.poll(cx) {
                Poll::Ready(Ok(())) => self.run = None,
                Poll::Ready(Err(failure)) => {
                    self.run = None;
                    self.body = None;
                    return Poll::Ready(Some(Err(failure)));
                }
                // The guest may have written while it ran; its own wake-up tells of nothing newer.
                Poll::Pending => match Pin::new(self.body.as_mut().expect("there above")).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                    Poll::Ready(None) => return self.end(Ok(()), cx),
                    Poll::Ready(Some(Err(error))) => return self.end(Err(error.to_string()), cx),
                    Poll::Pending => return waiting,
                },
            }
        }
    }

    /// The body is over, or torn.
    fn end(
        &mut self,
        over: Result<(), String>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.body = None;
        if over.is_ok()
            && let Some(ended) = &self.ended
        {
            ended.cancel();
        }
        self.over = Some(over);
        self.poll_end(cx)
    }

    /// Asks the guest once more how it fares: a crash after the last byte cannot be told from one before it, one that
    /// tore the body is the better name, and work after the answer goes on behind it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(over) = self.over.take() else {
            return Poll::Ready(None);
        };
        // Looked at before the guest is asked: a slice that ends in between has left its answer.
        let is_in_a_slice = self.run.as_ref().is_some_and(Run::is_in_a_slice);
        let fares = self.run.as_mut().map(|run| run.poll(cx));
        match (fares, over) {
            (Some(Poll::Ready(Err(failure))), _) => {
                self.run = None;
                Poll::Ready(Some(Err(failure)))
            }
            (Some(Poll::Pending), over) if is_in_a_slice => {
                self.over = Some(over);
                Poll::Pending
            }
            (_, Err(torn)) => {
                self.run = None;
                Poll::Ready(Some(Err(Failure::new(Fault::GuestResponseInvalid, torn))))
            }
            (Some(Poll::Pending), Ok(())) => {
                self.go_on_behind();
                Poll::Ready(None)
            }
            (None | Some(Poll::Ready(Ok(()))), Ok(())) => {
                self.run = None;
                Poll::Ready(None)
            }
        }
    }

    fn go_on_behind(&mut self) {
        let Some(run) = self.run.take() else { return };
        let permit = self.permit.clone();
        spawn_behind(async move {
            let _permit = permit;
            if let Err(failure) = run.await {
                tracing::debug!(%failure, "guest failed after its answer");
            }
        });
    }
}

/// Work of a guest behind its answer: bounded by the guest's own wall time and by the permit that it holds.
#[expect(
    clippy::disallowed_methods,
    reason = "ends by itself at the guest's wall time; its permit counts it"
)]
fn spawn_behind(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(frame) = self.ready.pop_front() {
            self.ready_bytes -= frame.data_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(Ok(frame)));
        }
        self.poll_source(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.is_none() && self.over.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            None if self.over.is_none() && self.ready.iter().all(Frame::is_data) => {
                SizeHint::with_exact(self.ready_bytes)
            }
            _ => SizeHint::new(),
        }
    }
}
