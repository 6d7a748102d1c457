//! The smallest useful WASI 0.2 handler: one header, one body. The benchmark measures the platform with it.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        headers
            .append("content-type", b"text/plain")
            .expect("the header is an acceptable one");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        // A reader that has gone is not this guest's concern.
        drop(stream.blocking_write_and_flush(b"Hello, world!\n"));
        drop(stream);
        drop(OutgoingBody::finish(body, None));
    }
}

wasip2::http::proxy::export!(Hello);
