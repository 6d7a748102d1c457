//! Telemetry that leaves the node: a collector gets metrics, traces and logs that fit together, over HTTP and over gRPC, and
//! gets all of them although it was away and the node was killed meanwhile.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::platform::{Site, Up};
use crate::support::Ask;
use crate::support::collector::{Collector, Received, attribute};
use crate::up_telemetry::Metrics;

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const PARENT: u64 = 0xb7ad_6b71_6920_3331;
/// The status code of a span that failed.
const FAILED: i32 = 2;

fn start(site: &Site, url: &str, more: &[&str]) -> Up {
    let project = site.simple("shop", "1.0.0", "p2-edge");
    let options = ["--otlp", url, "--telemetry-interval", "1s"];
    Up::start_with(site, &[&project], &[&options, more].concat())
}

fn traced(up: &Up) {
    let traceparent = format!("00-{TRACE:032x}-{PARENT:016x}-01");
    let ask = Ask::get("/shop/log/traced").header("traceparent", &traceparent);
    assert_eq!(ask.send(up.gateway).status, 200);
}

/// The span that the gateway made for a request, with the spans below it.
fn trace_of(received: &Received, is_it: impl Fn(&Span) -> bool) -> Option<(Span, Vec<Span>)> {
    let spans = || received.spans.iter().filter(|(service, _)| service == "shop");
    let (_, server) = spans().find(|(_, span)| span.kind == SpanKind::Server as i32 && is_it(span))?;
    let below = spans().filter(|(_, span)| span.parent_span_id == server.span_id);
    Some((server.clone(), below.map(|(_, span)| span.clone()).collect()))
}

/// How many requests of the app the durations count.
fn counted(received: &Received) -> u64 {
    let metrics = received.metrics.iter();
    let durations =
        metrics.filter(|(app, metric)| app == "shop" && metric.name == "http.server.request.duration");
    let points = durations.flat_map(|(_, metric)| match &metric.data {
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.clone(),
        other => panic!("{other:?}"),
    });
    points.map(|point| point.count).sum()
}

/// What a collector must have got of one traced request and one that failed, of three in all.
fn fits_together(collector: &Collector) {
    let (server, below) = collector.when("the trace of the caller", |received| {
        trace_of(received, |span| span.trace_id == TRACE.to_be_bytes())
    });
    assert_eq!(server.parent_span_id, PARENT.to_be_bytes());
    assert_eq!(attribute(&server.attributes, "url.path"), "/shop/log/traced");
    assert_eq!(attribute(&server.attributes, "fermion.release"), "r1");
    let names: Vec<_> = below.iter().map(|span| span.name.as_str()).collect();
    assert!(names.ends_with(&["instantiate", "guest"]), "{names:?}");
    for span in &below {
        assert_eq!(span.trace_id, server.trace_id);
        assert!(
            span.start_time_unix_nano >= server.start_time_unix_nano,
            "{span:?}"
        );
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano, "{span:?}");
    }
    let said = collector.when("a line of the guest", |received| {
        let is_it = |body: &str| body.contains("stdout traced");
        let found = received
            .logs
            .iter()
            .find(|(_, record)| is_it(&format!("{:?}", record.body)));
        found.map(|(app, record)| (app.clone(), record.clone()))
    });
    assert_eq!(said.0, "shop");
    assert_eq!(
        (&said.1.trace_id, &said.1.span_id),
        (&server.trace_id, &server.span_id)
    );
    assert_eq!(attribute(&said.1.attributes, "log.iostream"), "stdout");

    let (failed, _) = collector.when("the trace of the failure", |received| {
        trace_of(received, |span| {
            attribute(&span.attributes, "error.type") == "GUEST_TRAP"
        })
    });
    assert_eq!(failed.status.map(|status| status.code), Some(FAILED));
    let logged = collector.when("the failure's record", |received| {
        let found = received
            .logs
            .iter()
            .find(|(_, record)| record.event_name == "fermion.request.failed");
        found.map(|(_, record)| record.clone())
    });
    assert_eq!(
        (&logged.trace_id, &logged.span_id),
        (&failed.trace_id, &failed.span_id)
    );
    collector.when("every request in the metrics", |received| {
        (counted(received) >= 3).then_some(())
    });
}

fn collects(collector: &Collector, scheme: &str) {
    let site = Site::new();
    let key = site.path().join("key");
    std::fs::write(&key, "s3cret\n").unwrap();
    let header = format!("x-key=@{}", key.display());
    let url = format!("{scheme}://{}", collector.address);
    let up = start(&site, &url, &["--otlp-header", &header]);
    traced(&up);
    assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    up.get("/shop/hello").expect(200, "Hello, world!\n");
    fits_together(collector);
    let keys = collector.when("the header", |received| Some(received.keys.clone()));
    assert!(
        !keys.is_empty() && keys.iter().all(|key| key == "s3cret"),
        "{keys:?}"
    );
    let now = Metrics::of(&up);
    assert!(
        now.sum("fermion_telemetry_sent_total", &[r#"signal="traces""#]) >= 6.0,
        "{now:?}"
    );
    for text in [up.process.stdout.text(), up.process.stderr.text()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    up.stop();
}

#[test]
fn a_collector_gets_what_fits_together_over_http() {
    collects(&Collector::http(), "http");
}

#[test]
fn a_collector_gets_what_fits_together_over_grpc() {
    collects(&Collector::grpc(), "grpc");
}

/// A collector that is busy gets the same batch again; one that refuses it costs that batch, which is counted.
#[test]
fn a_busy_collector_is_asked_again_and_a_refused_batch_is_dropped() {
    let collector = Collector::http();
    collector.refuse(&[503, 400]);
    let site = Site::new();
    let up = start(&site, &format!("http://{}", collector.address), &[]);
    assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    Metrics::when(&up, |now| {
        now.sum("fermion_telemetry_dropped_total", &[r#"reason="refused""#]) > 0.0
    });
    // What comes after it arrives.
    traced(&up);
    collector.when("the next trace", |received| {
        trace_of(received, |span| span.trace_id == TRACE.to_be_bytes())
    });
    let now = Metrics::of(&up);
    assert!(now.sum("fermion_telemetry_failures_total", &[]) >= 2.0, "{now:?}");
    up.stop();
}

/// The ids of failed requests, of which every one leaves a trace.
fn failures(received: &Received) -> BTreeSet<Vec<u8>> {
    let servers = received
        .spans
        .iter()
        .filter(|(_, span)| span.kind == SpanKind::Server as i32);
    let failed = servers.filter(|(_, span)| span.status.as_ref().is_some_and(|status| status.code == FAILED));
    failed.map(|(_, span)| span.trace_id.clone()).collect()
}

#[test]
fn what_waits_on_disk_survives_a_kill_and_arrives_in_order() {
    const BEFORE: usize = 20;
    let collector = Collector::http();
    collector.set_away(true);
    let url = format!("http://{}", collector.address);
    let site = Site::new();
    let up = start(&site, &url, &[]);
    for _ in 0..BEFORE {
        assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    }
    // A failed request leaves a log record, which is put behind its spans; and it is counted once in the metrics.
    let waiting = Metrics::when(&up, |now| {
        let items = |signal| now.sum("fermion_telemetry_buffer_items", &[signal]);
        items(r#"signal="logs""#) >= 20.0 && items(r#"signal="metrics""#) > 0.0
    });
    assert!(
        waiting.sum("fermion_telemetry_buffer_bytes", &[]) > 0.0,
        "{waiting:?}"
    );
    up.kill();

    collector.set_away(false);
    let up = Up::start_with::<&str>(&site, &[], &["--otlp", &url, "--telemetry-interval", "1s"]);
    assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    collector.when("every failed request", |received| {
        (failures(received).len() > BEFORE).then_some(())
    });
    collector.when("in order", |received| {
        let servers = received
            .spans
            .iter()
            .filter(|(_, span)| span.kind == SpanKind::Server as i32);
        let ends: Vec<_> = servers.map(|(_, span)| span.end_time_unix_nano).collect();
        assert!(ends.is_sorted(), "{ends:?}");
        assert_eq!(ends.len(), BEFORE + 1, "none comes twice");
        Some(())
    });
    let now = Metrics::when(&up, |now| {
        let waiting = now.sum("fermion_telemetry_buffer_items", &[r#"signal="traces""#]);
        let sent = now.sum("fermion_telemetry_sent_total", &[r#"signal="traces""#]);
        waiting < 0.5 && sent > 0.0
    });
    assert!(now.sum("fermion_telemetry_dropped_total", &[]) < 0.5, "{now:?}");
    up.stop();
}
