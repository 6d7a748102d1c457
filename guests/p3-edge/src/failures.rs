//! Failing on purpose: in silence, by a trap, by never ending, by an error value.

use edge_cases::{SECRET, hostile};
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{ErrorCode, Fields, Response};
use wasip3::{spawn_local, wit_stream};

use crate::reply::{self, Reply};
use crate::{Answer, Behaviour, Call};

pub(crate) fn find(name: &str) -> Option<Behaviour> {
    Some(match name {
        "never" => |_| Box::pin(never()),
        "hang" => |_| Box::pin(sleep_without_end()),
        "hang-after-body" => {
            |_| Box::pin(async { after_body(|| Box::pin(async { drop(sleep_without_end().await) })) })
        }
        "loop" => |_| Box::pin(async { hostile::spin() }),
        "loop-after-body" => |_| Box::pin(async { after_body(|| Box::pin(async { hostile::spin() })) }),
        "stack" => |_| Box::pin(async { reply::text(200, format!("{}\n", hostile::overflow_stack())) }),
        "trap" => |_| Box::pin(async { hostile::trap() }),
        "panic" => |_| Box::pin(async { panic!("{SECRET}") }),
        "abort-body" => |_| Box::pin(async { after_body(|| Box::pin(async { hostile::trap() })) }),
        "err" => |call| Box::pin(async move { Err(error(&call)) }),
        "hostcall" => |call| Box::pin(async move { host_calls(&call) }),
        _ => return None,
    })
}

/// Awaits what nothing will ever wake: a stream whose other end is here, and stays unwritten.
async fn never() -> Answer {
    let (silent, mut reader) = wit_stream::new::<u8>();
    let end = reader.read(Vec::with_capacity(1)).await;
    drop(silent);
    reply::text(200, format!("{end:?}\n"))
}

async fn sleep_without_end() -> Answer {
    const HOUR_NS: u64 = 3_600_000_000_000;
    loop {
        wait_for(HOUR_NS).await;
    }
}

/// What happens once the first half of the body is out.
type Act = fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn after_body(act: Act) -> Answer {
    let (response, mut reply): (Response, Reply) = Reply::start(200, &[("content-type", "text/plain")]);
    spawn_local(async move {
        reply.write(b"the first half\n".to_vec()).await;
        reply::let_travel().await;
        act().await;
    });
    Ok(response)
}

fn error(call: &Call) -> ErrorCode {
    match call.target.text(0) {
        "timeout" => ErrorCode::HttpResponseTimeout,
        "loop" => ErrorCode::LoopDetected,
        "denied" => ErrorCode::HttpRequestDenied,
        "refused" => ErrorCode::ConnectionRefused,
        "configuration" => ErrorCode::ConfigurationError,
        _ => ErrorCode::InternalError(Some(SECRET.to_owned())),
    }
}

/// `/hostcall` keeps the host busy for ever with header maps; `/hostcall/N/BYTES` hands it N headers of so many bytes
/// in one call.
fn host_calls(call: &Call) -> Answer {
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
    reply::text(200, format!("{outcome}\n"))
}

fn header_list(count: usize, bytes: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|index| (format!("x-h-{index}"), vec![b'v'; bytes]))
        .collect()
}
