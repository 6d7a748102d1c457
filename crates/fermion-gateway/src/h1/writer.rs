//! The write side of a connection: gathers small pieces, leaves large ones where they lie, and notices a caller that
//! does not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::encode;
use crate::connection::{ConnectionState, Order};
use crate::limits::{WRITE_BUFFER_KEPT_BYTES_MAX, WRITE_COPY_BYTES_MAX, WRITE_GATHER_BYTES};

/// Bytes going out: `out` from `sent` on, then `large`.
#[derive(Debug)]
pub(crate) struct Writer {
    io: OwnedWriteHalf,
    pub(crate) out: Vec<u8>,
    sent: usize,
    large: Bytes,
    /// What follows the large piece.
    after_large: Vec<u8>,
    state: Arc<ConnectionState>,
    is_stalled: bool,
    resets: bool,
}

impl Writer {
    pub(crate) fn new(io: OwnedWriteHalf, state: Arc<ConnectionState>) -> Self {
        Self {
            io,
            out: Vec::new(),
            sent: 0,
            large: Bytes::new(),
            after_large: Vec::new(),
            state,
            is_stalled: false,
            resets: false,
        }
    }

    /// True while another piece may be added before a flush.
    pub(crate) fn has_room(&self) -> bool {
        self.large.is_empty() && self.out.len() - self.sent < WRITE_GATHER_BYTES
    }

    /// True if other connections share the thread.
    pub(crate) fn has_company(&self) -> bool {
        self.state.has_company()
    }

    /// Adds a piece of the body. Only while there is room.
    pub(crate) fn push(&mut self, data: Bytes, chunked: bool) {
        if chunked {
            encode::chunk_line(&mut self.out, data.len());
        }
        if data.len() <= WRITE_COPY_BYTES_MAX {
            self.out.extend_from_slice(&data);
            if chunked {
                self.out.extend_from_slice(b"\r\n");
            }
        } else {
            self.large = data;
            if chunked {
                self.after_large.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Adds what ends a chunked body.
    pub(crate) fn push_end(&mut self, trailers: Option<&http::HeaderMap>) {
        let end = if self.large.is_empty() {
            &mut self.out
        } else {
            &mut self.after_large
        };
        encode::last_chunk(end, trailers);
    }

    /// Writes all there is.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.large.is_empty() && !self.after_large.is_empty() {
                self.out.append(&mut self.after_large);
            }
            let small = &self.out[self.sent..];
            if small.is_empty() && self.large.is_empty() {
                self.settle();
                return Poll::Ready(Ok(()));
            }
            let io = Pin::new(&mut self.io);
            let written = if self.large.is_empty() {
                io.poll_write(cx, small)
            } else if small.is_empty() {
                io.poll_write(cx, &self.large)
            } else {
                io.poll_write_vectored(cx, &[IoSlice::new(small), IoSlice::new(&self.large)])
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.is_stalled = true;
                    self.state.stall_begins();
                    if self.state.order(cx.waker()) == Order::Stalled {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn advance(&mut self, count: usize) {
        let small = (self.out.len() - self.sent).min(count);
        self.sent += small;
        if count > small {
            self.large.advance(count - small);
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        if self.is_stalled {
            self.is_stalled = false;
            self.state.stall_ends();
        }
    }

    fn settle(&mut self) {
        self.out.clear();
        self.sent = 0;
        if self.out.capacity() > WRITE_BUFFER_KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
    }

    /// Tells the caller that no more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Makes the coming close a reset, for an answer whose only end is the connection's.
    pub(crate) fn reset_on_close(&mut self) {
        self.resets = true;
        let socket = socket2::SockRef::from(self.io.as_ref());
        if let Err(error) = socket.set_linger(Some(std::time::Duration::ZERO)) {
            tracing::debug!(%error, "cannot make the close a reset");
        }
    }

    /// Lets the connection go after a broken answer.
    pub(crate) fn break_off(self) {
        if self.resets {
            // Dropped, it would first tell the caller in good order that no more comes.
            self.io.forget();
        }
    }
}
