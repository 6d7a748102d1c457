//! Bodies in and out: streamed, summed, ignored, cut short, with trailers.

use std::fmt::Write as _;

use edge_cases::{SECRET, Sum, filler, wit_name};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Trailers};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use wasip3::{spawn_local, wit_future};

use crate::reply::{self, Reply};
use crate::{Answer, Behaviour, Call};

/// How much a read asks for at once.
const READ_BYTES_MAX: usize = 64 * 1024;

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// A body that comes in, and what comes after it.
pub(crate) struct Body {
    stream: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
}

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "echo" => |call| Box::pin(async { echo(call) }),
        "echo-direct" => |call| Box::pin(async { echo_direct(call) }),
        "upper" => |call| Box::pin(async { upper(call) }),
        "count" => |call| Box::pin(count(call)),
        "ignore" => |_| Box::pin(async { reply::text(200, "ignored\n") }),
        "early" => |call| Box::pin(early(call)),
        "req-trailers" => |call| Box::pin(request_trailers(call)),
        "trailers" => |_| Box::pin(async { trailers() }),
        "trailers-error" => |_| Box::pin(async { trailers_error() }),
        "stream" => |call| Box::pin(async { stream(call) }),
        "drip" => |call| Box::pin(async { drip(call) }),
        "content-length" => |call| Box::pin(async { content_length(call) }),
        _ => return None,
    })
}

impl Body {
    pub(crate) fn of_request(request: Request) -> Self {
        let (_, done) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Request::consume_body(request, done);
        Self { stream, trailers }
    }

    pub(crate) fn of_response(response: Response) -> Self {
        let (_, done) = wit_future::new(|| Ok(()));
        let (stream, trailers) = Response::consume_body(response, done);
        Self { stream, trailers }
    }

    /// The next piece; `None` at the end, of which [`Body::end`] says whether it is a good one.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let (result, bytes) = self.stream.read(Vec::with_capacity(READ_BYTES_MAX)).await;
        (result != StreamResult::Dropped || !bytes.is_empty()).then_some(bytes)
    }

    /// What came after the body.
    pub(crate) async fn end(self) -> Result<Option<Trailers>, ErrorCode> {
        drop(self.stream);
        self.trailers.await
    }

    /// Copies the body and its trailers into `reply`, each piece changed by `change`; it ends as the body ended.
    pub(crate) async fn pour(mut self, mut reply: Reply, change: fn(Vec<u8>) -> Vec<u8>) {
        while let Some(piece) = self.next().await {
            if !reply.write(change(piece)).await {
                return;
            }
        }
        // What came in is immutable: a copy can be sent on.
        let end = self
            .end()
            .await
            .map(|trailers| trailers.map(|fields| fields.clone()));
        drop(reply.finish(end).await);
    }
}

/// The trailers as lines of text.
pub(crate) fn trailer_lines(trailers: Result<Option<Trailers>, ErrorCode>) -> String {
    match trailers {
        Ok(None) => "none\n".to_owned(),
        Ok(Some(fields)) => {
            let mut text = String::new();
            for (name, value) in fields.copy_all() {
                let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(&value));
            }
            text
        }
        Err(error) => format!("error {}\n", wit_name(&format!("{error:?}"))),
    }
}

fn echo(call: Call) -> Answer {
    let (response, reply) = Reply::start(200, &BYTES);
    spawn_local(Body::of_request(call.request).pour(reply, |piece| piece));
    Ok(response)
}

/// The host joins the two bodies; the guest never holds the bytes.
fn echo_direct(call: Call) -> Answer {
    let body = Body::of_request(call.request);
    let fields = Fields::new();
    for (name, value) in BYTES {
        fields
            .append(name, value.as_bytes())
            .expect("the header is an acceptable one");
    }
    let (response, _sent) = Response::new(fields, Some(body.stream), body.trailers);
    Ok(response)
}

fn upper(call: Call) -> Answer {
    let (response, reply) = Reply::start(200, &BYTES);
    spawn_local(Body::of_request(call.request).pour(reply, |piece| piece.to_ascii_uppercase()));
    Ok(response)
}

async fn count(call: Call) -> Answer {
    let mut body = Body::of_request(call.request);
    let mut sum = Sum::default();
    while let Some(piece) = body.next().await {
        sum.add(&piece);
    }
    match body.end().await {
        Ok(_) => reply::text(200, sum.to_string()),
        Err(_) => reply::text(400, "body broken off\n"),
    }
}

async fn early(call: Call) -> Answer {
    let mut body = Body::of_request(call.request);
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        bytes += piece.len();
        if bytes > 0 {
            break;
        }
    }
    drop(body);
    reply::text(200, if bytes > 0 { "early\n" } else { "empty\n" })
}

async fn request_trailers(call: Call) -> Answer {
    let mut body = Body::of_request(call.request);
    while body.next().await.is_some() {}
    reply::text(200, trailer_lines(body.end().await))
}

fn trailers() -> Answer {
    let (response, mut reply) = Reply::start(200, &[("content-type", "text/plain")]);
    let fields = Fields::new();
    fields
        .append("x-sum", b"42")
        .expect("the trailer is an acceptable one");
    spawn_local(async move {
        reply.write(b"body\n".to_vec()).await;
        drop(reply.finish(Ok(Some(fields))).await);
    });
    Ok(response)
}

fn trailers_error() -> Answer {
    let (response, mut reply) = Reply::start(200, &[("content-type", "text/plain")]);
    spawn_local(async move {
        reply.write(b"body\n".to_vec()).await;
        reply::let_travel().await;
        drop(
            reply
                .finish(Err(ErrorCode::InternalError(Some(SECRET.to_owned()))))
                .await,
        );
    });
    Ok(response)
}

fn stream(call: Call) -> Answer {
    let (chunks, bytes) = (
        call.target.number(0).unwrap_or(1),
        call.target.number(1).unwrap_or(1),
    );
    let (response, mut reply) = Reply::start(200, &BYTES);
    spawn_local(async move {
        let chunk = filler(0, bytes);
        for _ in 0..chunks {
            if !reply.write(chunk.clone()).await {
                return;
            }
        }
        drop(reply.finish(Ok(None)).await);
    });
    Ok(response)
}

fn drip(call: Call) -> Answer {
    let (chunks, ms) = (
        call.target.number(0).unwrap_or(1),
        call.target.number(1).unwrap_or(1),
    );
    let (response, mut reply) = Reply::start(200, &[("content-type", "text/plain")]);
    spawn_local(async move {
        for index in 0..chunks {
            if index > 0 {
                wait_for(ms as u64 * 1_000_000).await;
            }
            if !reply.write(format!("drip {index}\n").into_bytes()).await {
                return;
            }
        }
        drop(reply.finish(Ok(None)).await);
    });
    Ok(response)
}

/// Declares one length and writes another; what the host says to that goes to stdout.
fn content_length(call: Call) -> Answer {
    let (declared, actual) = (call.target.text(0).to_owned(), call.target.number(1).unwrap_or(0));
    let (response, mut reply) = Reply::start(200, &[("content-length", &declared)]);
    spawn_local(async move {
        let written = reply.write(filler(0, actual)).await;
        let finished = reply
            .finish(Ok(None))
            .await
            .map_err(|error| wit_name(&format!("{error:?}")));
        println!("content-length: written {written} finished {finished:?}");
    });
    Ok(response)
}
