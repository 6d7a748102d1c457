//! Failing on purpose: in silence, by a trap, by never ending, by an error value.

use edge_cases::{SECRET, hostile};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{ErrorCode, Fields, ResponseOutparam};

use crate::reply::{self, Reply};
use crate::{Behaviour, Call};

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "never" => never,
        "hang" => hang,
        "hang-after-body" => hang_after_body,
        "loop" => spin,
        "loop-after-body" => spin_after_body,
        "stack" => stack,
        "trap" => trap,
        "panic" => panic,
        "abort-body" => abort_body,
        "err" => error,
        "hostcall" => host_calls,
        _ => return None,
    })
}

/// Returns without an answer.
fn never(call: Call) {
    drop(call);
}

fn hang(_call: Call) {
    sleep_without_end()
}

fn hang_after_body(call: Call) {
    let _reply = start_of_body(call.out);
    sleep_without_end()
}

fn sleep_without_end() -> ! {
    const HOUR_NS: u64 = 3_600_000_000_000;
    loop {
        subscribe_duration(HOUR_NS).block();
    }
}

fn spin(_call: Call) {
    hostile::spin()
}

fn spin_after_body(call: Call) {
    let _reply = start_of_body(call.out);
    hostile::spin()
}

fn stack(call: Call) {
    reply::text(call.out, 200, format!("{}\n", hostile::overflow_stack()));
}

fn trap(_call: Call) {
    hostile::trap()
}

fn panic(_call: Call) {
    panic!("{SECRET}")
}

fn abort_body(call: Call) {
    let _reply = start_of_body(call.out);
    hostile::trap()
}

fn error(call: Call) {
    let code = match call.target.text(0) {
        "timeout" => ErrorCode::HttpResponseTimeout,
        "loop" => ErrorCode::LoopDetected,
        "denied" => ErrorCode::HttpRequestDenied,
        "refused" => ErrorCode::ConnectionRefused,
        "configuration" => ErrorCode::ConfigurationError,
        _ => ErrorCode::InternalError(Some(SECRET.to_owned())),
    };
    ResponseOutparam::set(call.out, Err(code));
}

/// `/hostcall` keeps the host busy for ever with header maps; `/hostcall/N/BYTES` hands it N headers of so many bytes
/// in one call.
fn host_calls(call: Call) {
    let Some(count) = call.target.number(0) else {
        let entries = header_list(100, 1000);
        loop {
            drop(Fields::from_list(&entries));
        }
    };
    let entries = header_list(count, call.target.number(1).unwrap_or(1));
    let outcome = match Fields::from_list(&entries) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("refused {}", edge_cases::wit_name(&format!("{error:?}"))),
    };
    reply::text(call.out, 200, format!("{outcome}\n"));
}

fn header_list(count: usize, bytes: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|index| (format!("x-h-{index}"), vec![b'v'; bytes]))
        .collect()
}

fn start_of_body(out: ResponseOutparam) -> Reply {
    let reply = Reply::start(out, 200, &[("content-type", "text/plain")]);
    reply.write(b"the first half\n");
    reply.let_travel();
    reply
}
