//! Computes while it is being instantiated, for longer than anybody likes to wait: a reactor's initialiser is called at
//! instantiation. Answers every request at once then.

use std::hint::black_box;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// Steps of the start: some tens of milliseconds on a quick machine.
const STEPS: u64 = 30_000_000;

struct Slow;

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    let mut sum = 0_u64;
    for step in 0..STEPS {
        sum = black_box(sum.wrapping_add(step));
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Slow {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        drop(stream.blocking_write_and_flush(b"started\n"));
        drop(stream);
        drop(OutgoingBody::finish(body, None));
    }
}

wasip2::http::proxy::export!(Slow);
