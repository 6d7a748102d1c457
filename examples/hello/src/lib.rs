//! The smallest useful handler: one header, one body, no dependency but the bindings of WASI 0.2.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain")
            .expect("the header is well-formed");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");
        // From here on the head may travel; the body follows it.
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        // A write fails when the caller has gone. Nothing is left to do for him then.
        let _ = stream.blocking_write_and_flush(b"Hello, world!\n");
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Hello);
