//! Guests' lines and failed requests as log records, each with the trace and the span that it belongs to.

use std::time::SystemTime;

use fermion_model::record::RequestRecord;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};

use super::{Identity, Owner, SCHEMA_URL, batch, divide, nanos, owner, release, spans, text};
use crate::Signal;
use crate::buffer::Batch;
use crate::log_hub::{Level, LogLine, Stream};

/// What becomes of these lines and these failed requests, each with when it ended.
pub(crate) fn batches<'a>(
    identity: &Identity,
    lines: impl Iterator<Item = &'a LogLine>,
    failed: impl Iterator<Item = (SystemTime, &'a RequestRecord)>,
) -> Vec<Batch> {
    let lines = lines.map(|said| (owner(&said.served), line(said)));
    let failed = failed.map(|(end, record)| {
        let owner = record.served.as_deref().and_then(owner);
        (owner, request(end, record))
    });
    let records: Vec<(Owner, LogRecord)> = lines.chain(failed).collect();
    divide(records)
        .into_iter()
        .map(|grouped| {
            let items = grouped.iter().map(|(_, records)| records.len()).sum();
            let resource_logs = grouped
                .into_iter()
                .map(|(owner, log_records)| ResourceLogs {
                    resource: Some(identity.resource(&owner)),
                    scope_logs: vec![ScopeLogs {
                        scope: Some(identity.scope()),
                        log_records,
                        schema_url: SCHEMA_URL.to_owned(),
                    }],
                    schema_url: SCHEMA_URL.to_owned(),
                })
                .collect();
            batch(Signal::Logs, items, &ExportLogsServiceRequest { resource_logs })
        })
        .collect()
}

fn body(text: String) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::StringValue(text)),
    })
}

/// The standard streams say nothing of how grave a line is, and so does the record.
fn severity(level: Option<Level>) -> (SeverityNumber, &'static str) {
    match level {
        None => (SeverityNumber::Unspecified, ""),
        Some(Level::Trace) => (SeverityNumber::Trace, "TRACE"),
        Some(Level::Debug) => (SeverityNumber::Debug, "DEBUG"),
        Some(Level::Info) => (SeverityNumber::Info, "INFO"),
        Some(Level::Warn) => (SeverityNumber::Warn, "WARN"),
        Some(Level::Error) => (SeverityNumber::Error, "ERROR"),
        Some(Level::Critical) => (SeverityNumber::Fatal, "FATAL"),
    }
}

/// An id, or nothing where a line belongs to no request.
fn id(bytes: &[u8]) -> Vec<u8> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Vec::new();
    }
    bytes.to_vec()
}

fn line(said: &LogLine) -> LogRecord {
    let (number, word) = severity(said.level);
    let mut attributes = vec![release(&said.served)];
    match said.stream {
        Stream::Stdout | Stream::Stderr => attributes.push(text("log.iostream", said.stream.as_str())),
        Stream::Log => {}
    }
    if let Some(context) = &said.context {
        attributes.push(text("fermion.log.context", context));
    }
    LogRecord {
        time_unix_nano: nanos(said.time),
        observed_time_unix_nano: nanos(said.time),
        severity_number: number.into(),
        severity_text: word.to_owned(),
        body: body(said.line.clone()),
        attributes,
        trace_id: id(&said.request_id),
        span_id: id(&said.span_id),
        ..LogRecord::default()
    }
}

fn request(end: SystemTime, record: &RequestRecord) -> LogRecord {
    let why = record.fault.map_or("the app answered so", |fault| fault.title());
    let mut attributes = spans::attributes(record);
    if !record.detail.is_empty() {
        attributes.push(text("fermion.detail", &record.detail));
    }
    LogRecord {
        time_unix_nano: nanos(end),
        observed_time_unix_nano: nanos(end),
        severity_number: SeverityNumber::Error.into(),
        severity_text: "ERROR".to_owned(),
        body: body(format!("{} answered {}: {why}", record.method, record.status)),
        attributes,
        trace_id: record.trace_id.to_vec(),
        span_id: record.span_id.to_vec(),
        event_name: "fermion.request.failed".to_owned(),
        ..LogRecord::default()
    }
}
