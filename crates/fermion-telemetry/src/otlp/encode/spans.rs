//! A request as a trace: the gateway's span, and what it was made of as its children.

use std::time::{Duration, SystemTime};

use fermion_model::Blame;
use fermion_model::calls::{CallKind, HostCall};
use fermion_model::record::RequestRecord;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use super::{Identity, Owner, SCHEMA_URL, batch, divide, nanos, owner, real, release, text, truth, whole};
use crate::Signal;
use crate::buffer::Batch;
use crate::limits::EXPORT_PATH_BYTES_MAX;
use crate::otlp::meters::method;

/// What becomes of these requests, each with when it ended.
pub(crate) fn batches<'a>(
    identity: &Identity,
    requests: impl Iterator<Item = (SystemTime, &'a RequestRecord)>,
) -> Vec<Batch> {
    let mut spans: Vec<(Owner, Span)> = Vec::new();
    for (end, record) in requests {
        let owner = record.served.as_deref().and_then(owner);
        spans.extend(trace(end, record).into_iter().map(|span| (owner.clone(), span)));
    }
    divide(spans)
        .into_iter()
        .map(|grouped| {
            let items = grouped.iter().map(|(_, spans)| spans.len()).sum();
            let resource_spans = grouped
                .into_iter()
                .map(|(owner, spans)| ResourceSpans {
                    resource: Some(identity.resource(&owner)),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(identity.scope()),
                        spans,
                        schema_url: SCHEMA_URL.to_owned(),
                    }],
                    schema_url: SCHEMA_URL.to_owned(),
                })
                .collect();
            batch(
                Signal::Traces,
                items,
                &ExportTraceServiceRequest { resource_spans },
            )
        })
        .collect()
}

/// How many spans a request's trace has.
pub(crate) fn count(record: &RequestRecord) -> u64 {
    if record.served.is_none() {
        return 1;
    }
    let (has_queued, has_run) = (record.queue > Duration::ZERO, record.instantiate > Duration::ZERO);
    let calls = if has_run {
        record.calls.listed.len() as u64
    } else {
        0
    };
    1 + u64::from(has_queued) + 2 * u64::from(has_run) + calls
}

/// The spans of one request, the gateway's first.
pub(crate) fn trace(end: SystemTime, record: &RequestRecord) -> Vec<Span> {
    let start = end.checked_sub(record.total).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut spans = vec![server(record, start, end)];
    if record.served.is_none() {
        return spans;
    }
    let mut from = start;
    let mut child = |number: u64, name: &str, lasted: Duration| {
        let until = (from + lasted).min(end);
        let span = Span {
            trace_id: record.trace_id.to_vec(),
            span_id: child_id(record.span_id, number).to_vec(),
            parent_span_id: record.span_id.to_vec(),
            flags: flags(record, false),
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanos(from),
            end_time_unix_nano: nanos(until),
            ..Span::default()
        };
        from = until;
        span
    };
    if record.queue > Duration::ZERO {
        spans.push(child(1, "queue", record.queue));
    }
    if record.instantiate > Duration::ZERO {
        let mut instantiate = child(2, "instantiate", record.instantiate);
        instantiate.attributes.push(truth("faas.coldstart", record.cold));
        spans.push(instantiate);
        let mut guest = child(3, "guest", record.total);
        let cpu = record.cpu.as_secs_f64();
        guest.attributes.push(real("fermion.cpu_time", cpu));
        if record.blame() == Some(Blame::Guest) {
            guest.status = Some(status(record));
        }
        let parent = guest.span_id.clone();
        spans.push(guest);
        let calls = record.calls.listed.iter().zip(FIRST_CALL..);
        spans.extend(calls.map(|(one, number)| call(record, &parent, start, one, number)));
    }
    spans
}

/// The number of the span of a request's first call.
const FIRST_CALL: u64 = 4;

/// A call to an upstream or a store, below the guest's span.
fn call(record: &RequestRecord, parent: &[u8], start: SystemTime, call: &HostCall, number: u64) -> Span {
    let from = start + record.calls.after(call);
    let operation = call.kind.operation();
    let (kind, mut attributes) = match &call.kind {
        CallKind::Http(used) => {
            let mut attributes = vec![
                text("http.request.method", method(used)),
                text("server.address", &call.target),
            ];
            if call.status > 0 {
                attributes.push(whole("http.response.status_code", u64::from(call.status)));
            }
            if call.retries > 0 {
                attributes.push(whole("http.request.resend_count", u64::from(call.retries)));
            }
            (SpanKind::Client, attributes)
        }
        CallKind::KeyValue(_) => (
            SpanKind::Client,
            vec![
                text("db.system.name", "fermion.keyvalue"),
                text("db.operation.name", operation),
                text("db.namespace", &call.target),
            ],
        ),
    };
    attributes.push(text("fermion.outcome", call.outcome));
    let failed = call.is_failure().then(|| Status {
        message: call.outcome.to_owned(),
        code: StatusCode::Error.into(),
    });
    Span {
        trace_id: record.trace_id.to_vec(),
        span_id: child_id(record.span_id, number).to_vec(),
        parent_span_id: parent.to_vec(),
        flags: flags(record, false),
        name: operation.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(from),
        end_time_unix_nano: nanos(from + call.took),
        attributes,
        status: failed,
        ..Span::default()
    }
}

fn server(record: &RequestRecord, start: SystemTime, end: SystemTime) -> Span {
    let is_error = record.blame().is_some_and(|blame| blame != Blame::Client);
    Span {
        trace_id: record.trace_id.to_vec(),
        span_id: record.span_id.to_vec(),
        parent_span_id: record.parent_id.map(|id| id.to_vec()).unwrap_or_default(),
        flags: flags(record, record.parent_id.is_some()),
        // Without a route of low cardinality the conventions want the method alone.
        name: match method(&record.method) {
            "_OTHER" => "HTTP".to_owned(),
            name => name.to_owned(),
        },
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        attributes: attributes(record),
        status: is_error.then(|| status(record)),
        ..Span::default()
    }
}

/// What is said of a request in spans and in log records.
pub(super) fn attributes(record: &RequestRecord) -> Vec<KeyValue> {
    let name = method(&record.method);
    let path = &record.path[..record.path.floor_char_boundary(EXPORT_PATH_BYTES_MAX)];
    let mut attributes = vec![
        text("http.request.method", name),
        text("url.path", path),
        text("url.scheme", "http"),
    ];
    if name == "_OTHER" {
        attributes.push(text("http.request.method_original", record.method.as_str()));
    }
    if record.status > 0 {
        attributes.push(whole("http.response.status_code", u64::from(record.status)));
    }
    if let Some(served) = &record.served {
        attributes.push(release(served));
        attributes.push(truth("faas.coldstart", record.cold));
    }
    if let Some(blame) = record.blame() {
        let class = record.fault.map(|fault| fault.code().to_owned());
        let class = class.unwrap_or_else(|| match record.client_gone {
            true => "client_gone".to_owned(),
            false => record.status.to_string(),
        });
        attributes.push(text("error.type", &class));
        attributes.push(text("fermion.blame", blame.as_str()));
    }
    attributes.push(whole("http.request.body.size", record.bytes_in));
    attributes.push(whole("http.response.body.size", record.bytes_out));
    attributes
}

fn status(record: &RequestRecord) -> Status {
    let message = match record.fault {
        Some(fault) if record.detail.is_empty() => fault.code().to_owned(),
        Some(fault) => format!("{}: {}", fault.code(), record.detail),
        None => String::new(),
    };
    Status {
        message,
        code: StatusCode::Error.into(),
    }
}

fn flags(record: &RequestRecord, is_parent_remote: bool) -> u32 {
    let mask = |flag: SpanFlags| u32::try_from(i32::from(flag)).unwrap_or(0);
    let remote = if is_parent_remote {
        mask(SpanFlags::ContextIsRemoteMask)
    } else {
        0
    };
    u32::from(record.is_sampled) | mask(SpanFlags::ContextHasIsRemoteMask) | remote
}

/// The id of a child: drawn from the parent's by `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators"), so that it is as unique as the parent's own.
fn child_id(parent: [u8; 8], number: u64) -> [u8; 8] {
    let seed = u64::from_be_bytes(parent);
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1).to_be_bytes()
}
