//! Which protocol a new connection speaks: HTTP/2 announces itself with a fixed preface (RFC 9113 section 3.4), all
//! else is HTTP/1.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::{ConnectionState, Order};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the connection's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is known; what was read stays in `buffer`. None if the connection ended before that.
pub(crate) async fn sniff(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    state: &ConnectionState,
) -> Option<Protocol> {
    std::future::poll_fn(|cx| {
        loop {
            if buffer.starts_with(PREFACE) {
                return Poll::Ready(Some(Protocol::Http2));
            }
            if !PREFACE.starts_with(buffer) {
                return Poll::Ready(Some(Protocol::Http1));
            }
            match pin!(stream.read_buf(buffer)).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        match state.order(cx.waker()) {
            Order::None | Order::Stalled => Poll::Pending,
            Order::Drain if !buffer.is_empty() => Poll::Pending,
            // Part of a preface may be part of a request too; whoever reads requests says what is to be said.
            Order::TooSlow if !buffer.is_empty() => Poll::Ready(Some(Protocol::Http1)),
            Order::Drain | Order::Close | Order::TooSlow => Poll::Ready(None),
        }
    })
    .await
}

/// A stream that gives again what was read of it, and notices a caller that does not read.
#[derive(Debug)]
pub(crate) struct Rewound {
    read_before: BytesMut,
    stream: TcpStream,
    state: Arc<ConnectionState>,
}

impl Rewound {
    pub(crate) fn new(read_before: BytesMut, stream: TcpStream, state: Arc<ConnectionState>) -> Self {
        Self {
            read_before,
            stream,
            state,
        }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        match &written {
            Poll::Ready(_) => self.state.stall_ends(),
            Poll::Pending => self.state.stall_begins(),
        }
        written
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.read_before.len().min(buf.remaining());
        buf.put_slice(&self.read_before[..count]);
        self.read_before.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
