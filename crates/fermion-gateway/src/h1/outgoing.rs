//! One answer as it goes out: head, body, end. Decides how the body ends, and never lets a broken one look whole.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fermion_model::fault::Failure;
use http::{Response, StatusCode};
use http_body::Body as _;

use super::encode::{self, BodyEnd, Facts};
use super::head::Framing;
use super::upload::{Inbound, Upload};
use super::writer::Writer;
use crate::Record;
use crate::answer_body::AnswerBody;

/// The answer was broken off, or the caller left.
pub(super) struct Broken;

/// One answer on its way out.
pub(super) struct Outgoing<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) framing: &'a Framing,
    pub(super) upload: Option<&'a Upload>,
    pub(super) inbound: Option<&'a mut Inbound>,
}

impl Outgoing<'_> {
    /// Writes head and body. True if the connection can be used again, as far as the answer goes. The body, and with
    /// it the guest's permit, is let go when its last byte has been written.
    pub(super) async fn send<B, R: Record>(
        mut self,
        answer: Response<AnswerBody<B, R>>,
        is_head: bool,
        connection_may_live: bool,
    ) -> Result<bool, Broken>
    where
        B: http_body::Body<Data = Bytes, Error = Failure>,
    {
        let (mut parts, body) = answer.into_parts();
        let mut body = pin!(body);
        if let Err(failure) = std::future::poll_fn(|cx| Poll::Ready(body.as_mut().poll_first(cx))).await {
            parts = body.as_mut().replace(&failure);
        }
        // Whoever sends one request that makes no sense is not trusted with where the next one begins.
        let makes_no_sense = body.is_fixed() && parts.status == StatusCode::BAD_REQUEST;
        let refused_early = body.is_fixed() && self.upload.is_some_and(|upload| !upload.is_end_stream());
        let expectation_open = self.upload.is_some_and(|upload| {
            // A guest that answers before it reads may still read: after the head nobody could ask for the body.
            if !body.is_fixed() && !upload.is_released() && upload.meet_expectation() {
                self.writer.out.extend_from_slice(encode::CONTINUE);
            }
            upload.expects_continue()
        });
        let facts = Facts {
            is_head,
            is_http_10: self.framing.is_http_10,
            keep_alive: connection_may_live && !expectation_open && !refused_early && !makes_no_sense,
            length: body.known_length(self.framing.wants_trailers),
        };
        let (end, reusable) = encode::head(&mut self.writer.out, &parts, facts);
        if end == BodyEnd::NoBody {
            body.as_mut().skip();
        } else if let (BodyEnd::Length, Some(length)) = (end, facts.length) {
            body.as_mut().declare(length);
        }
        let sent = self.send_body(body.as_mut(), end).await;
        if sent.is_err() {
            body.abandon();
        }
        sent.map(|()| reusable)
    }

    async fn send_body<B, R: Record>(
        &mut self,
        mut body: Pin<&mut AnswerBody<B, R>>,
        end: BodyEnd,
    ) -> Result<(), Broken>
    where
        B: http_body::Body<Data = Bytes, Error = Failure>,
    {
        let is_ended = end == BodyEnd::NoBody;
        let mut fill = Fill {
            end,
            wants_trailers: self.framing.wants_trailers,
            is_ended,
            is_broken: false,
        };
        let mut others = pin!(tokio::task::yield_now());
        let mut waits_for_others = self.writer.has_company();
        std::future::poll_fn(|cx| {
            loop {
                let is_waiting = fill.poll_fill(self.writer, body.as_mut(), cx).is_pending();
                // Waking a reader is the dearest part of a short answer: one that is whole goes out together with those
                // of the other requests that have come in already.
                if waits_for_others && fill.is_ended && !fill.is_broken && self.writer.has_room() {
                    ready!(others.as_mut().poll(cx));
                    waits_for_others = false;
                }
                match self.writer.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken)),
                    Poll::Pending => return Poll::Pending,
                }
                if fill.is_broken {
                    if end == BodyEnd::Close {
                        self.writer.reset_on_close();
                    }
                    return Poll::Ready(Err(Broken));
                }
                if fill.is_ended {
                    return Poll::Ready(Ok(()));
                }
                if is_waiting {
                    let Some(inbound) = &mut self.inbound else {
                        return Poll::Pending;
                    };
                    ready!(inbound.poll_hangup(cx));
                    return Poll::Ready(Err(Broken));
                }
            }
        })
        .await
    }
}

/// Moves frames from the body to the writer.
struct Fill {
    end: BodyEnd,
    wants_trailers: bool,
    is_ended: bool,
    is_broken: bool,
}

impl Fill {
    /// Pending if the body has no frame now; ready if the writer is full or the body has ended.
    fn poll_fill<B, R: Record>(
        &mut self,
        writer: &mut Writer,
        mut body: Pin<&mut AnswerBody<B, R>>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: http_body::Body<Data = Bytes, Error = Failure>,
    {
        let chunked = self.end == BodyEnd::Chunked;
        while !self.is_ended && writer.has_room() {
            let mut trailers = None;
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if !data.is_empty() {
                            writer.push(data, chunked);
                        }
                        if !body.is_end_stream() {
                            continue;
                        }
                    }
                    Err(frame) => trailers = frame.into_trailers().ok().filter(|_| self.wants_trailers),
                },
                None => {}
                Some(Err(_)) => {
                    self.is_broken = true;
                    self.is_ended = true;
                    return Poll::Ready(());
                }
            }
            self.is_ended = true;
            if chunked {
                writer.push_end(trailers.as_ref());
            }
        }
        Poll::Ready(())
    }
}
