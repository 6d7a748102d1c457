//! An upstream's body on its way to the guest: read only as fast as the guest reads, with a bound on silences. It holds
//! the connection until it ends, and tells the breaker how that went.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fermion_planner::breaker::Outcome;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::call::Verdict;
use super::lease::Lease;

/// See the module.
pub(crate) struct UpstreamBody {
    body: Incoming,
    between_bytes: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    held: Option<(Lease, Verdict)>,
    /// What is said if everything goes well.
    outcome: Outcome,
}

impl UpstreamBody {
    pub(crate) fn new(
        body: Incoming,
        between_bytes: Duration,
        outcome: Outcome,
        lease: Lease,
        verdict: Verdict,
    ) -> Self {
        let mut body = Self {
            body,
            between_bytes,
            timer: None,
            held: Some((lease, verdict)),
            outcome,
        };
        if body.body.is_end_stream() {
            body.end(outcome);
        }
        body
    }

    /// Gives the connection back.
    fn end(&mut self, outcome: Outcome) {
        if let Some((lease, verdict)) = self.held.take() {
            verdict.give(outcome);
            drop(lease);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                if this.body.is_end_stream() {
                    this.end(this.outcome);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(Outcome::Failure);
                Poll::Ready(Some(Err(if error.is_timeout() {
                    Error::HttpResponseTimeout
                } else {
                    Error::HttpResponseIncomplete
                })))
            }
            Poll::Ready(None) => {
                this.end(this.outcome);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let wait = this.between_bytes;
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + wait)));
                timer.as_mut().poll(cx).map(|()| {
                    this.end(Outcome::Failure);
                    Some(Err(Error::ConnectionReadTimeout))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UpstreamBody {
    /// A guest that has read enough says nothing against the upstream.
    fn drop(&mut self) {
        self.end(self.outcome);
    }
}
