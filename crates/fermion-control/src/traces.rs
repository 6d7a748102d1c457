//! Kept traces as the API shows them: a request taken apart into what it waited for, ran and called.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fermion_api::{SpanView, TraceList, TraceRequest, TraceSummary, TraceView};
use fermion_model::calls::{CallKind, HostCall};
use fermion_model::record::RequestRecord;
use fermion_model::{AppName, Blame, Namespace};
use fermion_telemetry::KeptTrace;

use crate::{Control, Error};

/// Digits of a whole id.
const ID_DIGITS: usize = 32;

impl Control {
    /// Kept traces, newest first.
    pub(crate) fn traces(
        &self,
        namespace: Option<&Namespace>,
        app: Option<&AppName>,
        traces_max: usize,
    ) -> TraceList {
        let (namespace, app) = (namespace.map(Namespace::as_str), app.map(AppName::as_str));
        let kept = self.shared.parts.traces.recent(namespace, app, traces_max);
        TraceList {
            traces: kept.iter().map(summary).collect(),
        }
    }

    /// One trace, by its id or how that begins.
    pub(crate) fn trace(&self, id: &str) -> Result<TraceView, Error> {
        let id = id.to_ascii_lowercase();
        if id.is_empty() || id.len() > ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            let what = format!("a trace's id is up to {ID_DIGITS} hexadecimal digits");
            return Err(Error::Request { what });
        }
        let mut found = self.shared.parts.traces.find(&id);
        let count = found.len();
        let requests = match (found.pop(), count) {
            (None, _) => return Err(Error::NoSuchTrace { id }),
            (Some(requests), 1) => requests,
            (Some(_), _) => return Err(Error::AmbiguousTrace { id, count }),
        };
        let first = requests.first().map_or(SystemTime::UNIX_EPOCH, KeptTrace::start);
        Ok(TraceView {
            id: requests.first().map(KeptTrace::id).unwrap_or_default(),
            requests: requests.iter().map(|trace| request(trace, first)).collect(),
        })
    }
}

fn summary(trace: &KeptTrace) -> TraceSummary {
    let record = &trace.record;
    let served = record.served.as_deref();
    let since = trace
        .start()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    TraceSummary {
        id: trace.id(),
        namespace: served.map(|served| served.namespace.clone()).unwrap_or_default(),
        app: served.map(|served| served.app.clone()).unwrap_or_default(),
        release: served.map_or(0, |served| served.release),
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        micros: micros(record.total),
        method: record.method.as_str().to_owned(),
        path: record.path.clone(),
        status: record.status,
        fault: record.fault.map(|fault| fault.code().to_owned()),
        blame: record.blame().map(|blame| blame.as_str().to_owned()),
        kept: trace.reason.as_str().to_owned(),
    }
}

fn request(trace: &KeptTrace, first: SystemTime) -> TraceRequest {
    let offset = trace.start().duration_since(first).unwrap_or_default();
    TraceRequest {
        request: summary(trace),
        detail: trace.record.detail.clone(),
        spans: spans(&trace.record, offset),
        unlisted: trace.record.calls.unlisted,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a request was made of. `offset` is how long after the trace's first request it came.
fn spans(record: &RequestRecord, offset: Duration) -> Vec<SpanView> {
    let part = |name: &str, depth: u8, after: Duration, took: Duration| SpanView {
        name: name.to_owned(),
        depth,
        start_micros: micros(offset + after),
        micros: micros(took),
        failed: false,
        attributes: BTreeMap::new(),
    };
    let mut gateway = part("gateway", 0, Duration::ZERO, record.total);
    gateway.failed = record.blame().is_some_and(|blame| blame != Blame::Client);
    let mut spans = vec![gateway];
    if record.queue > Duration::ZERO {
        spans.push(part("queue", 1, Duration::ZERO, record.queue));
    }
    if record.instantiate > Duration::ZERO {
        let mut instantiate = part("instantiate", 1, record.queue, record.instantiate);
        put(&mut instantiate, "cold", record.cold);
        spans.push(instantiate);
        let before = record.queue + record.instantiate;
        let mut guest = part("guest", 1, before, record.total.saturating_sub(before));
        guest.failed = record.blame() == Some(Blame::Guest);
        put(&mut guest, "cpu_micros", micros(record.cpu));
        spans.push(guest);
    }
    let mut calls: Vec<&HostCall> = record.calls.listed.iter().collect();
    calls.sort_by_key(|call| call.begun);
    for call in calls {
        let name = format!("{} {}", call.kind.operation(), call.target);
        let mut span = part(&name, 2, record.calls.after(call), call.took);
        span.failed = call.is_failure();
        put(&mut span, "outcome", call.outcome);
        if matches!(call.kind, CallKind::Http(_)) && call.status > 0 {
            put(&mut span, "status", call.status);
        }
        if call.retries > 0 {
            put(&mut span, "retries", call.retries);
        }
        spans.push(span);
    }
    spans
}

fn put(span: &mut SpanView, name: &str, value: impl ToString) {
    span.attributes.insert(name.to_owned(), value.to_string());
}
