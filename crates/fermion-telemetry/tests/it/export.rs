//! The export as a whole, but for the binary around it: records and lines in, OTLP out at a receiver on a real socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fermion_model::Fault;
use fermion_model::record::RequestRecord;
use fermion_telemetry::{
    Echo, Export, ExportConfig, Exporter, Identity, LogHub, Receiver, Signal, Stream, TraceConfig,
};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{clock, record, served};

/// The ids of every record here.
const TRACE: [u8; 16] = [0xab; 16];
const SPAN: [u8; 8] = [0xcd; 8];

/// Paths and bodies, in order.
type Came = Arc<Mutex<Vec<(String, Bytes)>>>;

/// Answers everything with this status until it is dropped.
async fn receive(listener: &TcpListener, status: u16, came: Came) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            came.lock().unwrap().push((path, body));
            let mut answer = hyper::Response::new(Full::<Bytes>::default());
            *answer.status_mut() = status.try_into().unwrap();
            Ok::<_, Infallible>(answer)
        });
        let http = hyper::server::conn::http1::Builder::new();
        drop(http.serve_connection(TokioIo::new(stream), answer).await);
    }
}

fn open(folder: &std::path::Path, address: SocketAddr, every: Duration) -> (Arc<Export>, Exporter) {
    let config = ExportConfig {
        receiver: Receiver::parse(&format!("http://{address}/base"), &[]).unwrap(),
        identity: Identity {
            version: "1.2.3".to_owned(),
            node: "local".to_owned(),
            host: "machine".to_owned(),
            instance: "one".to_owned(),
        },
        buffer: folder.to_owned(),
        buffer_bytes_max: 1 << 24,
        every,
        traces: TraceConfig::default(),
    };
    Exporter::open(config, clock()).unwrap()
}

fn trapped() -> RequestRecord {
    let mut trapped = record(Some(&served("tax", 7)));
    (trapped.status, trapped.fault) = (502, Some(Fault::GuestTrap));
    trapped.detail = "unreachable".to_owned();
    trapped.parent_id = Some([9; 8]);
    (trapped.is_sampled, trapped.queue) = (true, Duration::from_micros(10));
    trapped.total = Duration::from_micros(100);
    trapped
}

#[tokio::test]
async fn requests_and_lines_arrive_as_three_signals_that_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (export, exporter) = open(
        folder.path(),
        listener.local_addr().unwrap(),
        Duration::from_secs(3600),
    );
    let hub = LogHub::new(clock(), Echo::Off).unwrap();
    let lines = hub.follow_to_export();
    export.observe(&trapped(), clock().now());
    // Nothing is special about this one, and its trace id is not of the share.
    let mut plain = record(Some(&served("tax", 7)));
    plain.trace_id = [0; 16];
    export.observe(&plain, clock().now());
    hub.guest(&served("tax", 7), [0xab; 16], [0xcd; 8])
        .write(Stream::Stderr, b"oh\n");
    let came = Came::default();
    let stop = CancellationToken::new();
    stop.cancel();
    // What has come together before the end goes out at the end.
    tokio::select! {
        ran = exporter.run(lines, stop) => ran.unwrap(),
        () = receive(&listener, 200, Arc::clone(&came)) => {}
    }
    let came = came.lock().unwrap();
    let body = |path: &str| came.iter().find(|(known, _)| known == path).unwrap().1.clone();
    has_traces(body("/base/v1/traces"));
    has_logs(body("/base/v1/logs"));
    has_metrics(body("/base/v1/metrics"));
    let reading = export.reading();
    assert_eq!(reading.buffer.totals.sent[Signal::Traces as usize], 4);
    assert_eq!(reading.buffer.totals.sent[Signal::Logs as usize], 2);
    assert_eq!((reading.traces.passed, reading.buffer.bytes), (1, 0));
}

fn has_traces(body: Bytes) {
    let traces = ExportTraceServiceRequest::decode(body).unwrap();
    let [resource] = traces.resource_spans.as_slice() else {
        panic!("{traces:#?}")
    };
    let attributes = format!("{:?}", resource.resource);
    assert!(
        attributes.contains("service.namespace") && attributes.contains("tax"),
        "{attributes}"
    );
    let spans = &resource.scope_spans[0].spans;
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET", "queue", "instantiate", "guest"]);
    let server = &spans[0];
    assert_eq!(server.kind, SpanKind::Server as i32);
    assert_eq!(
        (&server.trace_id[..], &server.span_id[..]),
        (&TRACE[..], &SPAN[..])
    );
    assert_eq!((&server.parent_span_id[..], server.flags), (&[9; 8][..], 0x301));
    assert_eq!(server.end_time_unix_nano - server.start_time_unix_nano, 100_000);
    assert_eq!(server.status.as_ref().unwrap().message, "GUEST_TRAP: unreachable");
    assert!(
        spans[1..]
            .iter()
            .all(|span| span.parent_span_id == server.span_id)
    );
    assert_eq!(spans[1].start_time_unix_nano, server.start_time_unix_nano);
    assert_eq!(spans[3].end_time_unix_nano, server.end_time_unix_nano);
}

fn has_logs(body: Bytes) {
    let logs = ExportLogsServiceRequest::decode(body).unwrap();
    let records = &logs.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records.len(), 2, "{records:#?}");
    for record in records {
        assert_eq!(
            (&record.trace_id[..], &record.span_id[..]),
            (&TRACE[..], &SPAN[..])
        );
    }
}

fn has_metrics(body: Bytes) {
    let metrics = ExportMetricsServiceRequest::decode(body).unwrap();
    let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
    let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    for name in [
        "http.server.request.duration",
        "faas.coldstarts",
        "faas.init_duration",
        "faas.cpu_usage",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let Some(Data::ExponentialHistogram(durations)) = &metrics[0].data else {
        panic!("{metrics:#?}")
    };
    let counts: Vec<_> = durations.data_points.iter().map(|point| point.count).collect();
    assert_eq!(counts, [1, 1], "one of each kind");
    let examples = durations.data_points.iter().flat_map(|point| &point.exemplars);
    let ids: Vec<_> = examples.map(|example| &example.trace_id[..]).collect();
    assert_eq!(ids, [&TRACE[..]]);
}

#[tokio::test]
async fn what_nobody_takes_waits_for_the_next_start_and_queues_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (export, exporter) = open(folder.path(), address, Duration::from_secs(3600));
    let hub = LogHub::new(clock(), Echo::Off).unwrap();
    for _ in 0..500 {
        export.observe(&trapped(), clock().now());
    }
    let stop = CancellationToken::new();
    stop.cancel();
    tokio::select! {
        ran = exporter.run(hub.follow_to_export(), stop.clone()) => ran.unwrap(),
        () = receive(&listener, 503, Came::default()) => {}
    }
    let reading = export.reading();
    // The clock stands still, so that all of it is one second.
    assert_eq!(reading.buffer.items[Signal::Traces as usize], 4 * 100);
    assert_eq!(reading.buffer.items[Signal::Logs as usize], 200);
    assert_eq!((reading.traces.kept[0], reading.traces.over[0]), (100, 400));
    assert!(reading.failures.iter().sum::<u64>() > 0);

    let (export, exporter) = open(folder.path(), address, Duration::from_secs(3600));
    assert_eq!(export.reading().buffer, reading.buffer);
    let came = Came::default();
    tokio::select! {
        ran = exporter.run(hub.follow_to_export(), stop) => ran.unwrap(),
        () = receive(&listener, 200, Arc::clone(&came)) => {}
    }
    let came = came.lock().unwrap();
    let paths: Vec<_> = came.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/base/v1/metrics", "/base/v1/traces", "/base/v1/logs"]);
    assert_eq!(export.reading().buffer.bytes, 0);
}

#[tokio::test]
async fn calls_of_a_request_are_spans_below_its_guest() {
    use fermion_model::calls::{CallKind, Calls, HostCall};

    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (export, exporter) = open(folder.path(), address, Duration::from_secs(3600));
    let hub = LogHub::new(clock(), Echo::Off).unwrap();
    let lines = hub.follow_to_export();
    let begun = tokio::time::Instant::now().into_std();
    let mut calls = Calls {
        since: Some(begun),
        ..Calls::default()
    };
    let call = |kind, target: &str, status, outcome| HostCall {
        kind,
        target: target.into(),
        status,
        outcome,
        retries: 1,
        begun: begun + Duration::from_micros(30),
        took: Duration::from_micros(20),
    };
    let get = CallKind::Http(http::Method::GET);
    calls.add(call(get.clone(), "https://a.test:443", 503, "server_error"), 2);
    calls.add(call(CallKind::KeyValue("set"), "rates", 0, "done"), 2);
    calls.add(call(get, "https://a.test:443", 200, "answered"), 2);
    assert_eq!((calls.unlisted, calls.upstream), (1, Duration::from_micros(40)));
    let mut record = trapped();
    record.calls = calls;
    record.instantiate = Duration::from_micros(5);
    export.observe(&record, clock().now());
    let came = Came::default();
    let stop = CancellationToken::new();
    stop.cancel();
    tokio::select! {
        ran = exporter.run(lines, stop) => ran.unwrap(),
        () = receive(&listener, 200, Arc::clone(&came)) => {}
    }
    let came = came.lock().unwrap();
    let body = came
        .iter()
        .find(|(path, _)| path == "/base/v1/traces")
        .unwrap()
        .1
        .clone();
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let guest = spans.iter().find(|span| span.name == "guest").unwrap();
    let calls: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == guest.span_id)
        .collect();
    let names: Vec<_> = calls.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET", "set"]);
    assert!(calls[0].status.is_some() && calls[1].status.is_none());
    let server = spans.iter().find(|span| span.span_id == record.span_id).unwrap();
    let after = calls[0].start_time_unix_nano - server.start_time_unix_nano;
    assert_eq!(after, 30_000);
}
