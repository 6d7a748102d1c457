//! The measurements of one request, made into a [`RequestRecord`] when its last owner lets go: the answer's body, or
//! the request itself if the caller left before there was an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fermion_model::Fault;
use fermion_model::copies::Copied;
use fermion_model::fault::Failure;
use fermion_model::record::{RequestRecord, Served};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method};

use crate::connection::InFlight;
use crate::copies::Witness;
use crate::request_body::BodyMeter;
use crate::share::Assigned;
use crate::{TraceContext, UsageMeter, clock};

/// Takes the record of every request, on the request's own thread: it must not block.
pub trait Record: Send + Sync + 'static {
    /// One request is over.
    fn record(&self, record: RequestRecord);

    /// False leaves [`RequestRecord::path`] empty, which saves an allocation a request.
    fn wants_path(&self) -> bool {
        false
    }
}

/// A recorder behind a count that only one serving thread touches: requests of all threads would share the cache line
/// of the recorder's own.
pub(crate) type PerThread<R> = Arc<Arc<R>>;

/// How far the answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Dropping the tally now means that the caller left.
    Open,
    /// The last byte is out.
    Complete,
    /// A fault ended it.
    Failed,
}

/// A record in the making.
#[derive(Debug)]
pub(crate) struct Tally<R: Record> {
    recorder: PerThread<R>,
    start: Instant,
    trace: TraceContext,
    method: Method,
    path: String,
    pub(crate) served: Option<Arc<Served>>,
    pub(crate) assigned: Assigned,
    pub(crate) status: u16,
    fault: Option<Fault>,
    detail: String,
    pub(crate) progress: Progress,
    pub(crate) queue: Duration,
    first_byte: Option<Duration>,
    pub(crate) usage: UsageMeter,
    pub(crate) upload: Option<Arc<BodyMeter>>,
    pub(crate) bytes_out: u64,
    pub(crate) in_flight: Option<InFlight>,
    /// Where the request is copied.
    pub(crate) witness: Option<Witness>,
    /// What an experiment counts.
    pub(crate) metric: Option<f64>,
    /// Of a copy.
    pub(crate) copied: Option<Box<Copied>>,
}

impl<R: Record> Tally<R> {
    pub(crate) fn begin(recorder: &PerThread<R>, method: Method, path: &str, trace: TraceContext) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            start: clock::now(),
            trace,
            method,
            path: if recorder.wants_path() {
                path.to_owned()
            } else {
                String::new()
            },
            served: None,
            assigned: Assigned::default(),
            status: 0,
            fault: None,
            detail: String::new(),
            progress: Progress::Open,
            queue: Duration::ZERO,
            first_byte: None,
            usage: UsageMeter::default(),
            upload: None,
            bytes_out: 0,
            in_flight: None,
            witness: None,
            metric: None,
            copied: None,
        }
    }

    pub(crate) fn trace(&self) -> &TraceContext {
        &self.trace
    }

    pub(crate) fn elapsed(&self) -> Duration {
        clock::now().saturating_duration_since(self.start)
    }

    /// The answer's head is known.
    pub(crate) fn head(&mut self, status: u16) {
        self.status = status;
        self.first_byte = Some(self.elapsed());
    }

    /// Gives a caller the cookie that was made for them, whoever answers: one who comes again after a failure is to be
    /// known.
    pub(crate) fn issue_cookie(&self, headers: &mut HeaderMap) {
        if let Some(cookie) = &self.assigned.cookie {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }

    /// The platform answers, or cuts the answer, for this reason. The first reason stays.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.progress = Progress::Failed;
        if self.fault.is_none() {
            self.fault = Some(failure.fault);
            self.detail.clone_from(&failure.detail);
        }
    }
}

impl<R: Record> Drop for Tally<R> {
    fn drop(&mut self) {
        let total = self.elapsed();
        let mut usage = self.usage.get();
        usage.calls.since = Some(self.start);
        if std::thread::panicking() {
            self.fail(&Failure::new(
                Fault::Internal,
                "the platform panicked while it handled the request",
            ));
        }
        if let Some(witness) = self.witness.take()
            && self.progress == Progress::Complete
            && self.fault.is_none()
        {
            witness.end(total);
        }
        self.recorder.record(RequestRecord {
            served: self.served.take(),
            trace_id: self.trace.trace_id,
            span_id: self.trace.span_id,
            parent_id: self.trace.parent_id,
            is_sampled: self.trace.flags & 1 == 1,
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            status: self.status,
            fault: self.fault,
            detail: std::mem::take(&mut self.detail),
            client_gone: self.progress == Progress::Open,
            cold: usage.cold,
            queue: self.queue,
            instantiate: usage.instantiate,
            first_byte: self.first_byte.unwrap_or(total),
            total,
            cpu: usage.cpu,
            memory_bytes: usage.memory_bytes,
            bytes_in: self.upload.as_ref().map_or(0, |meter| meter.bytes()),
            bytes_out: self.bytes_out,
            calls: usage.calls,
            arm: self.assigned.arm,
            caller: self.assigned.caller,
            metric: self.metric,
            copied: self.copied.take(),
        });
    }
}
