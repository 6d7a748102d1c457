//! An answer's body on its way out: the guest's or the platform's. Counts bytes, holds the guest to the length it
//! declared and to its limit, keeps alive whatever the answer needs, and finishes the request's record.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fermion_model::Fault;
use fermion_model::fault::Failure;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};

use crate::problem;
use crate::record::{Progress, Record, Tally};

pin_project_lite::pin_project! {
    /// The guest is dropped before the tally, so that its last CPU time is in the record.
    pub(crate) struct AnswerBody<B, R: Record> {
        #[pin]
        guest: Option<B>,
        fixed: Bytes,
        first: Option<Frame<Bytes>>,
        is_ended: bool,
        length: Option<u64>,
        holds_failures: bool,
        held: Option<Failure>,
        declared_left: Option<u64>,
        allowed_left: u64,
        tally: Tally<R>,
    }
}

impl<B, R: Record> AnswerBody<B, R> {
    /// The platform's own answer.
    pub(crate) fn fixed(fixed: Bytes, mut tally: Tally<R>) -> Self {
        if tally.progress == Progress::Open && fixed.is_empty() {
            tally.progress = Progress::Complete;
        }
        Self {
            guest: None,
            fixed,
            first: None,
            is_ended: false,
            length: None,
            holds_failures: false,
            held: None,
            declared_left: None,
            allowed_left: u64::MAX,
            tally,
        }
    }

    /// True if the platform answers, not the guest.
    pub(crate) fn is_fixed(&self) -> bool {
        self.guest.is_none()
    }
}

impl<B: Body<Data = Bytes, Error = Failure>, R: Record> AnswerBody<B, R> {
    /// The guest's answer, of at most `bytes_max` bytes.
    pub(crate) fn guest(guest: B, bytes_max: u64, declared: Option<u64>, tally: Tally<R>) -> Self {
        Self {
            length: guest.size_hint().exact(),
            guest: Some(guest),
            fixed: Bytes::new(),
            first: None,
            is_ended: false,
            holds_failures: false,
            held: None,
            declared_left: declared,
            allowed_left: bytes_max,
            tally,
        }
    }

    /// Lets the task go round once before a failure, so that what was sent before it reaches the caller: HTTP/2 throws
    /// away what is queued when a stream is reset.
    pub(crate) fn hold_failures(self: Pin<&mut Self>) {
        *self.project().holds_failures = true;
    }

    /// Looks at the first frame if it is ready, before the head goes out: a guest that has failed by then still gets a
    /// proper answer, and one that has finished gets a length.
    pub(crate) fn poll_first(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.is_fixed() || self.is_ended {
            return Ok(());
        }
        match self.as_mut().poll_guest(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Some(Err(failure))) => Err(failure),
            Poll::Ready(Some(Ok(frame))) => {
                *self.project().first = Some(frame);
                Ok(())
            }
            Poll::Ready(None) => Ok(()),
        }
    }

    /// Replaces the answer by the platform's, before its head has gone out.
    pub(crate) fn replace(self: Pin<&mut Self>, failure: &Failure) -> Parts {
        let mut this = self.project();
        this.tally.fail(failure);
        let (mut parts, fixed) = problem::answer(failure, Some(&this.tally.trace().trace_id)).into_parts();
        this.tally.issue_cookie(&mut parts.headers);
        this.tally.status = parts.status.as_u16();
        this.guest.set(None);
        *this.first = None;
        *this.is_ended = false;
        *this.declared_left = None;
        *this.fixed = fixed;
        parts
    }

    /// The length to promise in the head. With `trailers_may_follow` only a body that has ended has one, because an
    /// HTTP/1.1 message with a length has no trailers.
    pub(crate) fn known_length(&self, trailers_may_follow: bool) -> Option<u64> {
        let guest_may_go_on = self
            .guest
            .as_ref()
            .is_some_and(|guest| !self.is_ended && !guest.is_end_stream());
        if trailers_may_follow && guest_may_go_on {
            None
        } else {
            self.size_hint().exact()
        }
    }

    /// Holds the guest to a length that is being promised in its name.
    pub(crate) fn declare(self: Pin<&mut Self>, length: u64) {
        let this = self.project();
        let first = this
            .first
            .as_ref()
            .and_then(Frame::data_ref)
            .map_or(0, Bytes::len);
        if this.guest.is_some() {
            *this.declared_left = Some(length.saturating_sub(first as u64));
        }
    }

    /// The answer has no body by HTTP's rules (HEAD, 204, 304): its end is here.
    pub(crate) fn skip(self: Pin<&mut Self>) {
        let this = self.project();
        if this.tally.progress == Progress::Open {
            this.tally.progress = Progress::Complete;
        }
    }

    /// The caller did not get the whole answer.
    pub(crate) fn abandon(self: Pin<&mut Self>) {
        let this = self.project();
        if this.tally.progress == Progress::Complete {
            this.tally.progress = Progress::Open;
        }
    }

    /// Drops what HTTP/2 must not send: the body of an answer that has none.
    pub(crate) fn clear(mut self: Pin<&mut Self>) {
        self.as_mut().skip();
        let mut this = self.project();
        this.guest.set(None);
        *this.first = None;
        *this.declared_left = None;
        *this.fixed = Bytes::new();
    }

    fn poll_guest(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut this = self.project();
        loop {
            let Some(guest) = this.guest.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let frame = match ready!(guest.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(failure)) => {
                    *this.is_ended = true;
                    this.tally.fail(&failure);
                    return Poll::Ready(Some(Err(failure)));
                }
                None => {
                    *this.is_ended = true;
                    return Poll::Ready(match *this.declared_left {
                        Some(left) if left > 0 => {
                            Some(Err(cut(this.tally, "shorter than its content-length")))
                        }
                        _ => None,
                    });
                }
            };
            let Some(data) = frame.data_ref() else {
                return Poll::Ready(Some(Ok(frame)));
            };
            let length = data.len() as u64;
            if length == 0 {
                continue;
            }
            let over = match this.declared_left.as_mut() {
                Some(left) if length > *left => Some("longer than its content-length"),
                Some(left) => {
                    *left -= length;
                    None
                }
                None => None,
            };
            let over =
                over.or((length > *this.allowed_left).then_some("longer than the package's response_body"));
            if let Some(reason) = over {
                *this.is_ended = true;
                return Poll::Ready(Some(Err(cut(this.tally, reason))));
            }
            *this.allowed_left -= length;
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

fn cut<R: Record>(tally: &mut Tally<R>, reason: &str) -> Failure {
    let failure = Failure::new(
        Fault::GuestResponseInvalid,
        format!("the answer's body is {reason}"),
    );
    tally.fail(&failure);
    failure
}

impl<B: Body<Data = Bytes, Error = Failure>, R: Record> Body for AnswerBody<B, R> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.as_mut().project();
        let frame = if let Some(first) = this.first.take() {
            Some(Ok(first))
        } else if let Some(failure) = this.held.take() {
            Some(Err(failure))
        } else if *this.is_ended {
            None
        } else if this.guest.is_some() {
            ready!(self.as_mut().poll_guest(cx))
        } else {
            *this.is_ended = true;
            let fixed = std::mem::take(this.fixed);
            (!fixed.is_empty()).then(|| Ok(Frame::data(fixed)))
        };
        if self.holds_failures
            && let Some(Err(failure)) = frame
        {
            let this = self.project();
            *this.holds_failures = false;
            *this.held = Some(failure);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_last = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.is_end_stream(),
            Some(Err(_)) => false,
        };
        let this = self.project();
        if let Some(Ok(frame)) = &frame {
            this.tally.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
            if let (Some(witness), Some(data)) = (&mut this.tally.witness, frame.data_ref()) {
                witness.see(data);
            }
        }
        if is_last && this.tally.progress == Progress::Open {
            this.tally.progress = Progress::Complete;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if self.first.is_some() || self.held.is_some() || self.declared_left.is_some_and(|left| left > 0) {
            return false;
        }
        match &self.guest {
            Some(guest) => self.is_ended || guest.is_end_stream(),
            None => self.fixed.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let first = self
            .first
            .as_ref()
            .and_then(Frame::data_ref)
            .map_or(0, |data| data.len() as u64);
        match &self.guest {
            None => SizeHint::with_exact(self.fixed.len() as u64),
            // Trailers cannot follow a length in HTTP/1.1; a first frame of them means an empty body with trailers.
            Some(_) if self.first.as_ref().is_some_and(Frame::is_trailers) => SizeHint::default(),
            Some(guest) if self.is_ended || guest.is_end_stream() => SizeHint::with_exact(first),
            // What the guest said before its first frame was taken.
            Some(_) => self.length.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
