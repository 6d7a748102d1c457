//! Sending a response: whole, or head first and then piece by piece.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam, Trailers};
use wasip2::io::streams::OutputStream;

/// The most that one blocking write of WASI 0.2 takes.
const WRITE_BYTES_MAX: usize = 4096;
/// How long a reply is let travel. Any wait gives the host its turn; this one gives the network one too.
const TRAVEL_NS: u64 = 20_000_000;

/// A response whose head is on its way.
pub(crate) struct Reply {
    body: OutgoingBody,
    stream: OutputStream,
}

impl Reply {
    /// Sends the head; `headers` must be acceptable ones.
    pub(crate) fn start(out: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> Self {
        let fields = Fields::new();
        for (name, value) in headers {
            fields
                .append(name, value.as_bytes())
                .expect("the header is an acceptable one");
        }
        Self::start_with(out, status, fields)
    }

    /// The same with headers made elsewhere.
    pub(crate) fn start_with(out: ResponseOutparam, status: u16, fields: Fields) -> Self {
        let response = OutgoingResponse::new(fields);
        response
            .set_status_code(status)
            .expect("the status is an acceptable one");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        Self { body, stream }
    }

    /// Writes and flushes; false once the reader has gone.
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        bytes
            .chunks(WRITE_BYTES_MAX)
            .all(|piece| self.stream.blocking_write_and_flush(piece).is_ok())
    }

    /// Waits, so that a host which gathers what a guest writes in one go sends head and body on their way.
    pub(crate) fn let_travel(&self) {
        subscribe_duration(TRAVEL_NS).block();
    }

    /// The stream, for a splice.
    pub(crate) fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Ends the body as complete. An error is the host's answer to a body that breaks its own content-length.
    pub(crate) fn finish(self, trailers: Option<Trailers>) -> Result<(), wasip2::http::types::ErrorCode> {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers)
    }

    /// Ends the body as broken.
    pub(crate) fn abandon(self) {
        drop(self.stream);
        drop(self.body);
    }
}

/// A whole response with text.
pub(crate) fn text(out: ResponseOutparam, status: u16, body: impl AsRef<[u8]>) {
    let reply = Reply::start(out, status, &[("content-type", "text/plain")]);
    reply.write(body.as_ref());
    // What the caller still wanted to know he has, or he has gone.
    drop(reply.finish(None));
}
