//! One request's standard output and error: bytes in, lines out, within a budget.

use std::sync::{Arc, Mutex, PoisonError};

use fermion_model::record::Served;

use crate::limits::{CONTEXT_BYTES_MAX, LINE_BYTES_MAX, REQUEST_LOG_BYTES_MAX};
use crate::log_hub::{Level, LogHub, LogLine, Stream};

/// What a guest writes while it answers one request. Clones share lines and budget; when the last one is dropped, an
/// unfinished line goes out.
#[derive(Debug, Clone)]
pub struct GuestLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: LogHub,
    served: Arc<Served>,
    request_id: [u8; 16],
    span_id: [u8; 8],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    bytes: usize,
    is_cut: bool,
}

impl State {
    /// Messages come whole, so only the two standard streams have a line that is not finished.
    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr | Stream::Log => &mut self.stderr,
        }
    }

    /// Takes as many of so many bytes as the request still has.
    fn spend(&mut self, bytes: usize) -> usize {
        let allowed = bytes.min(REQUEST_LOG_BYTES_MAX - self.bytes);
        self.bytes += allowed;
        allowed
    }
}

/// The longest beginning of at most so many bytes that ends with a whole character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

impl GuestLog {
    pub(crate) fn new(hub: LogHub, served: Arc<Served>, request_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self {
            shared: Arc::new(Shared {
                hub,
                served,
                request_id,
                span_id,
                state: Mutex::default(),
            }),
        }
    }

    /// Takes bytes. What is over the request's budget is dropped, and one line says so.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        let shared = &*self.shared;
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = state.spend(bytes.len());
        for part in bytes[..allowed].split_inclusive(|&b| b == b'\n') {
            shared.add(state.line(stream), stream, part);
        }
        if allowed < bytes.len() {
            shared.say_cut(&mut state, stream);
        }
    }

    /// Takes a message: each of its lines becomes one with this level and context. The same budget holds; a context is
    /// cut at `CONTEXT_BYTES_MAX`.
    pub fn log(&self, level: Level, context: &str, message: &str) {
        let shared = &*self.shared;
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let context = cut(context, CONTEXT_BYTES_MAX);
        // One more for the end of the line, so that saying nothing is not free.
        let wanted = context.len() + message.len() + 1;
        let allowed = state.spend(wanted);
        let message = cut(message, allowed.saturating_sub(context.len()));
        let context: Option<Arc<str>> = (!context.is_empty()).then(|| context.into());
        if allowed == wanted || !message.is_empty() {
            for mut line in message.split('\n') {
                while line.len() > LINE_BYTES_MAX {
                    let first = cut(line, LINE_BYTES_MAX);
                    shared.push(Stream::Log, Some(level), context.clone(), first.as_bytes());
                    line = &line[first.len()..];
                }
                shared.push(Stream::Log, Some(level), context.clone(), line.as_bytes());
            }
        }
        if allowed < wanted {
            shared.say_cut(&mut state, Stream::Log);
        }
    }
}

impl Shared {
    fn add(&self, line: &mut Vec<u8>, stream: Stream, mut part: &[u8]) {
        let is_whole = part.ends_with(b"\n");
        if is_whole {
            part = &part[..part.len() - 1];
        }
        while line.len() + part.len() > LINE_BYTES_MAX {
            let (fits, rest) = part.split_at(LINE_BYTES_MAX - line.len());
            line.extend_from_slice(fits);
            self.emit(stream, line);
            line.clear();
            part = rest;
        }
        if !is_whole {
            line.extend_from_slice(part);
        } else if line.is_empty() {
            self.emit(stream, part);
        } else {
            line.extend_from_slice(part);
            self.emit(stream, line);
            line.clear();
        }
    }

    /// Says once that more was written than is kept.
    fn say_cut(&self, state: &mut State, stream: Stream) {
        if !state.is_cut {
            state.is_cut = true;
            self.flush(state);
            let text = format!("output truncated after {REQUEST_LOG_BYTES_MAX} bytes");
            self.emit(stream, text.as_bytes());
        }
    }

    fn emit(&self, stream: Stream, line: &[u8]) {
        self.push(stream, None, None, line);
    }

    fn push(&self, stream: Stream, level: Option<Level>, context: Option<Arc<str>>, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.hub.push(LogLine {
            time: self.hub.now(),
            served: Arc::clone(&self.served),
            request_id: self.request_id,
            span_id: self.span_id,
            stream,
            level,
            context,
            line: String::from_utf8_lossy(line).into_owned(),
        });
    }

    fn flush(&self, state: &mut State) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(state.line(stream));
            if !line.is_empty() {
                self.emit(stream, &line);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.flush(&mut state);
    }
}
