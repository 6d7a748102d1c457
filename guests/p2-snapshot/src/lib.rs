//! Has a costly start: a table of primes, made by `wizer-initialize` when a snapshot is taken, else by the first request
//! of an instance. Answers how often an initialisation has run before the request came, and the last prime.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: r#"
        package fermion:guest;

        world initialised {
            export wizer-initialize: func();
        }
    "#,
});

/// Numbers that are sieved: some hundred thousand steps, and a table of some hundred KiB.
const BELOW: usize = 100_000;

static PRIMES: OnceLock<Vec<u32>> = OnceLock::new();
static INITIALISED: AtomicU32 = AtomicU32::new(0);

struct Snapshot;

impl Guest for Snapshot {
    fn wizer_initialize() {
        INITIALISED.fetch_add(1, Ordering::Relaxed);
        primes();
    }
}

fn primes() -> &'static [u32] {
    PRIMES.get_or_init(|| {
        let mut composite = vec![false; BELOW];
        let mut found = Vec::new();
        for number in 2..BELOW {
            if composite[number] {
                continue;
            }
            found.push(u32::try_from(number).expect("the bound is one of 32 bits"));
            for multiple in (number * number..BELOW).step_by(number) {
                composite[multiple] = true;
            }
        }
        found
    })
}

impl wasip2::exports::http::incoming_handler::Guest for Snapshot {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let is_ready = PRIMES.get().is_some();
        let last = primes().last().expect("there is a prime");
        let times = INITIALISED.load(Ordering::Relaxed);
        let body = format!("initialised {times} times, table ready: {is_ready}, last prime {last}\n");
        let response = OutgoingResponse::new(Fields::new());
        let outgoing = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = outgoing.write().expect("the stream is taken once");
        drop(stream.blocking_write_and_flush(body.as_bytes()));
        drop(stream);
        drop(OutgoingBody::finish(outgoing, None));
    }
}

export!(Snapshot);
wasip2::http::proxy::export!(Snapshot);
