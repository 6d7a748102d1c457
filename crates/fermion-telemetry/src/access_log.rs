//! One JSON line a request. Formatting and writing are the writer thread's; the request only hands its record over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use fermion_model::ReleaseNumber;
use fermion_model::frame::Arm;
use fermion_model::record::RequestRecord;

use crate::limits::ACCESS_QUEUE_RECORDS_MAX;
use crate::line_sink::{Destination, LineSink};
use crate::log_hub::hex;
use crate::{Clock, Error, rfc3339};

/// The access log.
pub struct AccessLog {
    sink: LineSink<(SystemTime, RequestRecord)>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// One line. Durations are microseconds.
#[derive(serde::Serialize)]
struct Line<'a> {
    time: String,
    namespace: Option<&'a str>,
    app: Option<&'a str>,
    release: Option<String>,
    method: &'a str,
    path: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    client_gone: bool,
    /// A copy for a release that is tried: nobody got the answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    copy: bool,
    cold: bool,
    queue_us: u64,
    instantiate_us: u64,
    first_byte_us: u64,
    total_us: u64,
    cpu_us: u64,
    memory_bytes: u64,
    bytes_in: u64,
    bytes_out: u64,
    request_id: &'a str,
    trace_id: &'a str,
    span_id: String,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(destination: &Destination, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let sink = LineSink::open(destination, "access-log", ACCESS_QUEUE_RECORDS_MAX, format)?;
        Ok(Self { sink, clock })
    }

    /// False if records need not be handed in.
    pub fn is_on(&self) -> bool {
        self.sink.is_on()
    }

    /// Queues one record; a full queue drops it.
    pub fn write(&self, record: RequestRecord) {
        if self.is_on() {
            self.sink.write((self.clock.now(), record));
        }
    }

    /// Records dropped so far.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }

    /// A reader of [`AccessLog::dropped`] that outlives the log.
    pub fn dropped_reader(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counter = self.sink.dropped_counter();
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

fn format((time, record): &(SystemTime, RequestRecord), out: &mut Vec<u8>) {
    let served = record.served.as_deref();
    let id = hex(&record.trace_id);
    let line = Line {
        time: rfc3339(*time),
        namespace: served.map(|served| &*served.namespace),
        app: served.map(|served| &*served.app),
        release: served.map(|served| ReleaseNumber(served.release).to_string()),
        method: record.method.as_str(),
        path: &record.path,
        status: record.status,
        fault: record.fault.map(|fault| fault.code()),
        blame: record.blame().map(|blame| blame.as_str()),
        detail: &record.detail,
        client_gone: record.client_gone,
        copy: record.arm == Arm::Mirror,
        cold: record.cold,
        queue_us: micros(record.queue),
        instantiate_us: micros(record.instantiate),
        first_byte_us: micros(record.first_byte),
        total_us: micros(record.total),
        cpu_us: micros(record.cpu),
        memory_bytes: record.memory_bytes,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        request_id: &id,
        trace_id: &id,
        span_id: hex(&record.span_id),
    };
    serde_json::to_writer(out, &line).expect("a line of plain values can be written to memory");
}
