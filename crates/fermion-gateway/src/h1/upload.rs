//! The read side of a connection: used by the connection itself between requests, and lent to a request's body while
//! there is one. Nothing is read that nobody asked for.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use fermion_model::Fault;
use fermion_model::fault::Failure;
use futures::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use super::decoder::{Decoded, Decoder};
use crate::limits::{BODY_READ_BYTES, DRAIN_BYTES_MAX, READ_BUFFER_BYTES};

/// Bytes coming in.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) read: OwnedReadHalf,
    pub(crate) buffer: BytesMut,
}

impl Inbound {
    /// Reads once; zero means that the caller sends no more.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < want / 8 {
            self.buffer.reserve(want);
        }
        pin!(self.read.read_buf(&mut self.buffer)).poll(cx)
    }

    /// Ready when the caller has left while its request is being answered. Pipelined requests are kept, up to a buffer.
    pub(crate) fn poll_hangup(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buffer.len() < READ_BUFFER_BYTES {
            match ready!(self.poll_fill(cx, READ_BUFFER_BYTES)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

/// A connection's read side while a request body is read from it.
#[derive(Debug)]
pub(crate) struct Upload {
    lent: Mutex<Option<Lent>>,
    expects_continue: AtomicBool,
    wants_continue: AtomicBool,
    is_released: AtomicBool,
    connection: AtomicWaker,
}

#[derive(Debug)]
struct Lent {
    inbound: Inbound,
    decoder: Decoder,
}

/// What is left of a body when its request is over.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// Nothing: the connection can be used again.
    Nothing(Inbound),
    /// Part of the body is still to come.
    Rest(Inbound, Decoder),
}

impl Upload {
    pub(crate) fn new(inbound: Inbound, decoder: Decoder, expects_continue: bool) -> Self {
        Self {
            lent: Mutex::new(Some(Lent { inbound, decoder })),
            expects_continue: AtomicBool::new(expects_continue),
            wants_continue: AtomicBool::new(false),
            is_released: AtomicBool::new(false),
            connection: AtomicWaker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lent>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut lent = self.lock();
        let Some(Lent { inbound, decoder }) = &mut *lent else {
            return Poll::Ready(Some(Err(Failure::new(
                Fault::BadRequest,
                "the answer has already ended",
            ))));
        };
        if self.expects_continue.load(Relaxed) && self.expects_continue.swap(false, Relaxed) {
            self.wants_continue.store(true, Relaxed);
            self.connection.wake();
        }
        loop {
            match decoder.decode(&mut inbound.buffer) {
                Err(failure) => return Poll::Ready(Some(Err(failure))),
                Ok(Decoded::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedMore) => {}
            }
            let failure = match ready!(inbound.poll_fill(cx, BODY_READ_BYTES)) {
                Ok(0) => Failure::new(Fault::BadRequest, "the caller left in the middle of the body"),
                Ok(_) => continue,
                Err(error) => Failure::new(Fault::BadRequest, format!("reading the body: {error}")),
            };
            return Poll::Ready(Some(Err(failure)));
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.lock().as_ref().is_none_or(|lent| lent.decoder.is_done())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.lock().as_ref().map(|lent| lent.decoder.bytes_left()) {
            Some(Some(left)) => SizeHint::with_exact(left),
            Some(None) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }

    /// The guest holds the body no more.
    pub(crate) fn release(&self) {
        self.is_released.store(true, Relaxed);
        self.connection.wake();
    }

    pub(crate) fn is_released(&self) -> bool {
        self.is_released.load(Relaxed)
    }

    /// Arranges for the connection to be woken when the guest asks for the body, or lets go of it.
    pub(crate) fn watch(&self, connection: &Waker) {
        self.connection.register(connection);
    }

    /// True once, when the caller is to be told that its body is wanted.
    pub(crate) fn take_wants_continue(&self) -> bool {
        self.wants_continue.load(Relaxed) && self.wants_continue.swap(false, Relaxed)
    }

    /// True if the caller waits to be told so, which it must be now and then waits no more.
    pub(crate) fn meet_expectation(&self) -> bool {
        let expects = self.expects_continue.swap(false, Relaxed);
        self.take_wants_continue() || expects
    }

    /// True while the caller waits to be told so.
    pub(crate) fn expects_continue(&self) -> bool {
        self.expects_continue.load(Relaxed) || self.wants_continue.load(Relaxed)
    }

    /// Takes the read side back. The guest can read no more.
    pub(crate) fn reclaim(&self) -> Option<Leftover> {
        let Lent { inbound, decoder } = self.lock().take()?;
        Some(if decoder.is_done() {
            Leftover::Nothing(inbound)
        } else {
            Leftover::Rest(inbound, decoder)
        })
    }
}

/// Reads the rest of a body and throws it away. Ready with false if that is not worth it or not possible.
pub(crate) fn poll_drain(
    inbound: &mut Inbound,
    decoder: &mut Decoder,
    drained: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    loop {
        if *drained > DRAIN_BYTES_MAX || decoder.bytes_left().is_some_and(|left| left > DRAIN_BYTES_MAX) {
            return Poll::Ready(false);
        }
        match decoder.decode(&mut inbound.buffer) {
            Err(_) => return Poll::Ready(false),
            Ok(Decoded::End) => return Poll::Ready(true),
            Ok(Decoded::Frame(frame)) => *drained += frame.data_ref().map_or(0, |data| data.len() as u64),
            Ok(Decoded::NeedMore) => match ready!(inbound.poll_fill(cx, READ_BUFFER_BYTES)) {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(_) => {}
            },
        }
    }
}
