//! One JSON line a request. The thread that serves only hands its record over: many lines are made at once by another,
//! which takes half the time that making each between two requests would.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fermion_model::frame::Arm;
use serde::Serialize;

use crate::Error;
use crate::intake::{Ended, Uncounted};
use crate::limits::{ACCESS_GATHER, ACCESS_LINES_MAX};
use crate::line_sink::{Destination, Gather, LineQueue, LineSink};
use crate::log_hub::push_hex;
use crate::timestamp::rfc3339_bytes;

/// Records on their way to the log.
pub(crate) type Lines = LineQueue<Ended>;

/// The access log.
pub struct AccessLog {
    sink: LineSink<Ended>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(destination: &Destination) -> Result<Self, Error> {
        let gather = Gather {
            lines_max: ACCESS_LINES_MAX,
            time: ACCESS_GATHER,
        };
        let sink = LineSink::open(destination, "access-log", gather, format)?;
        Ok(Self { sink })
    }

    /// False if records need not be handed in.
    pub fn is_on(&self) -> bool {
        self.sink.queue().is_on()
    }

    pub(crate) fn lines(&self) -> Lines {
        self.sink.queue().clone()
    }

    /// Set by the intake whose records are written here.
    pub(crate) fn uncounted(&self) -> &Uncounted {
        self.sink.queue().uncounted()
    }

    /// Reads how many records have been dropped so far, also when the log is closed.
    pub fn dropped_reader(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counter = self.sink.queue().dropped_counter();
        move || counter.load(Relaxed)
    }

    /// Writes what is queued and ends the writer. Dropping the log does the same.
    pub fn close(self) {
        drop(self);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Appends one member of the line's object; `key` is all that comes before its value.
fn member<T: Serialize + ?Sized>(out: &mut Vec<u8>, key: &str, value: &T) {
    out.extend_from_slice(key.as_bytes());
    serde_json::to_writer(out, value).expect("a plain value can be written to memory");
}

fn hex_member(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    push_hex(out, bytes);
    out.push(b'"');
}

/// One line; durations are microseconds. Keys and digits are written as they are: at tens of thousands of lines a second,
/// serialising a structure would cost twice as much.
fn format(Ended { end, record }: &Ended, out: &mut Vec<u8>) {
    let served = record.served.as_deref();
    out.extend_from_slice(br#"{"time":""#);
    out.extend_from_slice(&rfc3339_bytes(*end));
    member(out, r#"","namespace":"#, &served.map(|served| &*served.namespace));
    member(out, r#","app":"#, &served.map(|served| &*served.app));
    match served {
        Some(served) => {
            member(out, r#","release":"r"#, &served.release);
            out.push(b'"');
        }
        None => out.extend_from_slice(br#","release":null"#),
    }
    member(out, r#","method":"#, record.method.as_str());
    member(out, r#","path":"#, &record.path);
    member(out, r#","status":"#, &record.status);
    if let Some(fault) = record.fault {
        member(out, r#","fault":"#, fault.code());
    }
    if let Some(blame) = record.blame() {
        member(out, r#","blame":"#, blame.as_str());
    }
    if !record.detail.is_empty() {
        member(out, r#","detail":"#, &record.detail);
    }
    member(out, r#","client_gone":"#, &record.client_gone);
    // A copy for a release that is tried: nobody got the answer.
    if record.arm == Arm::Mirror {
        member(out, r#","copy":"#, &true);
    }
    member(out, r#","cold":"#, &record.cold);
    for (key, duration) in [
        (r#","queue_us":"#, record.queue),
        (r#","instantiate_us":"#, record.instantiate),
        (r#","first_byte_us":"#, record.first_byte),
        (r#","total_us":"#, record.total),
        (r#","cpu_us":"#, record.cpu),
    ] {
        member(out, key, &micros(duration));
    }
    for (key, bytes) in [
        (r#","memory_bytes":"#, record.memory_bytes),
        (r#","bytes_in":"#, record.bytes_in),
        (r#","bytes_out":"#, record.bytes_out),
    ] {
        member(out, key, &bytes);
    }
    hex_member(out, r#","request_id":"#, &record.trace_id);
    hex_member(out, r#","trace_id":"#, &record.trace_id);
    hex_member(out, r#","span_id":"#, &record.span_id);
    out.push(b'}');
}
