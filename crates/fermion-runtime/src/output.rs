//! Guest stdout and stderr as a sink that the embedder chooses. Nothing is allocated until a guest writes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How grave a guest calls a message of `wasi:logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Values and the flow of control.
    Trace,
    /// For whoever debugs.
    Debug,
    /// For whoever watches.
    Info,
    /// Something may go wrong.
    Warn,
    /// Something went wrong.
    Error,
    /// Nothing goes on.
    Critical,
}

/// Takes what a guest writes. Must not block: it is called on a serving thread.
pub trait GuestOutput: Send + Sync + 'static {
    /// Takes bytes as the guest wrote them; lines may be split anywhere.
    fn write(&self, stream: Stream, bytes: &[u8]);

    /// The same place for what one of several requests wrote, and nobody knows which.
    fn nameless(&self) -> Arc<dyn GuestOutput>;

    /// Takes a message; `context` groups messages and may be empty.
    fn log(&self, level: Level, context: &str, message: &str);
}

/// Throws everything away.
impl GuestOutput for () {
    fn write(&self, _stream: Stream, _bytes: &[u8]) {}

    fn nameless(&self) -> Arc<dyn GuestOutput> {
        Arc::new(())
    }

    fn log(&self, _level: Level, _context: &str, _message: &str) {}
}

/// Where the output of an instance goes that outlives a request: to the request that it serves now.
pub(crate) struct CurrentOutput(Mutex<Option<Arc<dyn GuestOutput>>>);

impl CurrentOutput {
    pub(crate) fn new(output: Option<Arc<dyn GuestOutput>>) -> Self {
        Self(Mutex::new(output))
    }

    pub(crate) fn set(&self, output: Option<Arc<dyn GuestOutput>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = output;
    }
}

impl GuestOutput for CurrentOutput {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let output = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(output) = output {
            output.write(stream, bytes);
        }
    }

    fn nameless(&self) -> Arc<dyn GuestOutput> {
        let output = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        output.map_or_else(|| ().nameless(), |output| output.nameless())
    }

    fn log(&self, level: Level, context: &str, message: &str) {
        let output = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(output) = output {
            output.log(level, context, message);
        }
    }
}

/// Bytes a guest may hand over in one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone)]
pub(crate) struct OutputSink {
    pub(crate) output: Arc<dyn GuestOutput>,
    pub(crate) stream: Stream,
}

impl IsTerminal for OutputSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputSink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for OutputSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for OutputSink {
    fn ready<'life, 'ready>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'ready>>
    where
        'life: 'ready,
        Self: 'ready,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for OutputSink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
