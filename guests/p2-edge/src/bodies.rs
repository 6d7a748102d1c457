//! Bodies in and out: streamed, summed, ignored, cut short, with trailers.

use std::fmt::Write as _;

use edge_cases::{Sum, filler, wit_name};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, Trailers, http_error_code};
use wasip2::io::streams::StreamError;

use crate::reply::{self, Reply};
use crate::{Behaviour, Call};

/// How much a read asks for at once.
const READ_BYTES_MAX: u64 = 64 * 1024;

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// Why a body was not read to its end.
pub(crate) enum Cut {
    /// The reader wanted no more.
    Stopped,
    /// It broke off, for the reason of this name.
    Broken(String),
}

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "echo" => echo,
        "echo-direct" => echo_direct,
        "upper" => upper,
        "count" => count,
        "ignore" => ignore,
        "early" => early,
        "req-trailers" => request_trailers,
        "trailers" => trailers,
        "trailers-error" => trailers_error,
        "stream" => stream,
        "drip" => drip,
        "content-length" => content_length,
        _ => return None,
    })
}

/// Hands each chunk of a body on until it ends or `take` says to stop.
pub(crate) fn read(body: &IncomingBody, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), Cut> {
    let stream = body.stream().expect("the stream is taken once");
    loop {
        match stream.blocking_read(READ_BYTES_MAX) {
            Ok(chunk) => {
                if !take(&chunk) {
                    return Err(Cut::Stopped);
                }
            }
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => {
                let name = http_error_code(&error).map(|code| wit_name(&format!("{code:?}")));
                return Err(Cut::Broken(name.unwrap_or_else(|| "io".to_owned())));
            }
        }
    }
}

pub(crate) fn consume(request: &IncomingRequest) -> IncomingBody {
    request.consume().expect("the body is taken once")
}

/// The trailers of a body that was read to its end.
pub(crate) fn trailers_of(body: IncomingBody) -> Result<Option<Trailers>, String> {
    let future = IncomingBody::finish(body);
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(trailers))) => Ok(trailers),
        Some(Ok(Err(error))) => Err(wit_name(&format!("{error:?}"))),
        _ => Err("taken".to_owned()),
    }
}

/// The trailers as lines of text.
pub(crate) fn trailer_lines(trailers: Result<Option<Trailers>, String>) -> String {
    match trailers {
        Ok(None) => "none\n".to_owned(),
        Ok(Some(fields)) => {
            let mut text = String::new();
            for (name, value) in fields.entries() {
                let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(&value));
            }
            text
        }
        Err(error) => format!("error {error}\n"),
    }
}

fn echo(call: Call) {
    let body = consume(&call.request);
    let reply = Reply::start(call.out, 200, &BYTES);
    let whole = read(&body, |chunk| reply.write(chunk)).is_ok();
    finish_like(reply, body, whole);
}

/// The host moves the bytes; the guest never holds them.
fn echo_direct(call: Call) {
    let body = consume(&call.request);
    let stream = body.stream().expect("the stream is taken once");
    let reply = Reply::start(call.out, 200, &BYTES);
    let end = loop {
        if let Err(error) = reply.stream().blocking_splice(&stream, READ_BYTES_MAX) {
            break error;
        }
    };
    drop(stream);
    let whole = matches!(end, StreamError::Closed) && reply.stream().blocking_flush().is_ok();
    finish_like(reply, body, whole);
}

/// Ends the reply as `body` ended: with its trailers, or broken.
pub(crate) fn finish_like(reply: Reply, body: IncomingBody, whole: bool) {
    if !whole {
        return reply.abandon();
    }
    match trailers_of(body) {
        // What came in is immutable: a copy can be sent on.
        Ok(trailers) => drop(reply.finish(trailers.map(|fields| fields.clone()))),
        Err(_) => reply.abandon(),
    }
}

fn upper(call: Call) {
    let body = consume(&call.request);
    let reply = Reply::start(call.out, 200, &BYTES);
    let whole = read(&body, |chunk| reply.write(&chunk.to_ascii_uppercase())).is_ok();
    finish_like(reply, body, whole);
}

fn count(call: Call) {
    let body = consume(&call.request);
    let mut sum = Sum::default();
    let whole = read(&body, |chunk| {
        sum.add(chunk);
        true
    })
    .is_ok();
    let (status, text) = if whole {
        (200, sum.to_string())
    } else {
        (400, "body broken off\n".to_owned())
    };
    reply::text(call.out, status, text);
}

fn ignore(call: Call) {
    reply::text(call.out, 200, "ignored\n");
}

fn early(call: Call) {
    let body = consume(&call.request);
    let mut bytes = 0;
    // It stops by itself; how a shorter body ended makes no difference here.
    let _ = read(&body, |chunk| {
        bytes += chunk.len();
        bytes == 0
    });
    drop(body);
    reply::text(call.out, 200, if bytes > 0 { "early\n" } else { "empty\n" });
}

fn request_trailers(call: Call) {
    let body = consume(&call.request);
    let whole = read(&body, |_| true).is_ok();
    let text = if whole {
        trailer_lines(trailers_of(body))
    } else {
        "error body\n".to_owned()
    };
    reply::text(call.out, 200, text);
}

fn trailers(call: Call) {
    let reply = Reply::start(call.out, 200, &[("content-type", "text/plain")]);
    reply.write(b"body\n");
    let fields = Fields::new();
    fields
        .append("x-sum", b"42")
        .expect("the trailer is an acceptable one");
    drop(reply.finish(Some(fields)));
}

/// WASI 0.2 has no other way to say that the trailers failed than never to finish the body.
fn trailers_error(call: Call) {
    let reply = Reply::start(call.out, 200, &[("content-type", "text/plain")]);
    reply.write(b"body\n");
    reply.let_travel();
    reply.abandon();
}

fn stream(call: Call) {
    let (chunks, bytes) = (
        call.target.number(0).unwrap_or(1),
        call.target.number(1).unwrap_or(1),
    );
    let chunk = filler(0, bytes);
    let reply = Reply::start(call.out, 200, &BYTES);
    if (0..chunks).all(|_| reply.write(&chunk)) {
        drop(reply.finish(None));
    } else {
        reply.abandon();
    }
}

fn drip(call: Call) {
    let (chunks, ms) = (
        call.target.number(0).unwrap_or(1),
        call.target.number(1).unwrap_or(1),
    );
    let reply = Reply::start(call.out, 200, &[("content-type", "text/plain")]);
    for index in 0..chunks {
        if index > 0 {
            subscribe_duration(ms as u64 * 1_000_000).block();
        }
        if !reply.write(format!("drip {index}\n").as_bytes()) {
            return reply.abandon();
        }
    }
    drop(reply.finish(None));
}

/// Declares one length and writes another; what the host says to that goes to stdout.
fn content_length(call: Call) {
    let (declared, actual) = (call.target.text(0).to_owned(), call.target.number(1).unwrap_or(0));
    let reply = Reply::start(call.out, 200, &[("content-length", &declared)]);
    let written = reply.write(&filler(0, actual));
    let finished = reply
        .finish(None)
        .map_err(|error| wit_name(&format!("{error:?}")));
    println!("content-length: written {written} finished {finished:?}");
}
