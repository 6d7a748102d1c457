//! What a scraper sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fermion_model::Fault;
use fermion_telemetry::{
    BuildInfo, CallResult, Format, InstanceReading, Telemetry, Trace, UpstreamMetrics, limits,
};

use crate::{record, served};

fn telemetry() -> Telemetry {
    Telemetry::new(BuildInfo {
        version: "1.2.3",
        commit: "abc",
    })
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|given| given == *line), "no {line:?} in\n{text}");
    }
}

#[test]
fn every_promised_series_is_there() {
    let telemetry = telemetry();
    let app = served("tax", 7);
    telemetry.observe(&record(Some(&app)), Trace::Found);
    let mut trapped = record(Some(&app));
    (trapped.status, trapped.fault, trapped.cold) = (502, Some(Fault::GuestTrap), false);
    telemetry.observe(&trapped, Trace::Found);
    let mut gone = record(Some(&app));
    (gone.status, gone.client_gone) = (0, true);
    telemetry.observe(&gone, Trace::Found);
    let mut lost = record(None);
    (lost.status, lost.fault) = (404, Some(Fault::NoRoute));
    telemetry.observe(&lost, Trace::Found);
    telemetry.watch_instances(&app, || InstanceReading { in_use: 4, kept: 2 });
    telemetry.watch_dropped_lines("access", || 9);
    let text = telemetry.render(Format::OpenMetrics);
    let (who, id) = (r#"namespace="shop",app="tax",release="r7""#, "ab".repeat(16));
    has(
        &text,
        &[
            "# TYPE fermion_requests counter",
            &format!(r#"fermion_requests_total{{{who},status_class="2xx",blame="none"}} 1"#),
            &format!(r#"fermion_requests_total{{{who},status_class="5xx",blame="guest"}} 1"#),
            &format!(r#"fermion_requests_total{{{who},status_class="none",blame="client"}} 1"#),
            "# TYPE fermion_request_duration_seconds histogram",
            &format!(r#"fermion_request_duration_seconds_bucket{{{who},phase="instantiate",le="1e-05"}} 3"#),
            &format!(r#"fermion_request_duration_seconds_bucket{{{who},phase="total",le="+Inf"}} 3"#),
            &format!(
                r#"fermion_request_duration_seconds_bucket{{{who},phase="total",le="0.0001"}} 3 # {{trace_id="{id}"}} 0.00007"#
            ),
            &format!(r#"fermion_request_duration_seconds_count{{{who},phase="first_byte"}} 3"#),
            &format!(r#"fermion_request_duration_seconds_sum{{{who},phase="queue"}} 0"#),
            &format!(r#"fermion_faults_total{{{who},code="GUEST_TRAP"}} 1"#),
            &format!("fermion_cold_starts_total{{{who}}} 2"),
            &format!("fermion_warm_starts_total{{{who}}} 1"),
            &format!("fermion_guest_cpu_seconds_total{{{who}}} 0.75"),
            &format!("fermion_request_bytes_total{{{who}}} 9"),
            &format!("fermion_response_bytes_total{{{who}}} 15"),
            &format!("fermion_instances{{{who}}} 4"),
            &format!("fermion_instances_kept{{{who}}} 2"),
            r#"fermion_unrouted_requests_total{code="NO_ROUTE"} 1"#,
            r#"fermion_dropped_log_lines_total{log="access"} 9"#,
            r#"fermion_build_info{version="1.2.3",commit="abc"} 1"#,
        ],
    );
    assert!(!cfg!(target_os = "linux") || text.contains(r#"fermion_memory_bytes{kind="resident"} "#));
    assert!(text.ends_with("# EOF\n"));
    // The older format has other names for families, no exemplars, and the same numbers.
    let plain = telemetry.render(Format::Text);
    let samples = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("_memory_"));
        lines
            .map(|line| line.split(" # ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(samples(&plain), samples(&text));
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF"), "{plain}");
    has(
        &plain,
        &[
            "# TYPE fermion_requests_total counter",
            "# TYPE fermion_build_info gauge",
        ],
    );
}

#[test]
fn a_request_that_nobody_finds_stands_for_no_other() {
    let telemetry = telemetry();
    telemetry.observe(&record(Some(&served("tax", 7))), Trace::Dropped);
    assert!(!telemetry.render(Format::OpenMetrics).contains("trace_id"));
}

#[test]
fn a_release_has_one_set_of_counters_whatever_its_address() {
    let telemetry = telemetry();
    for _ in 0..3 {
        telemetry.observe(&record(Some(&served("tax", 1))), Trace::Found);
    }
    telemetry.observe(&record(Some(&served("tax", 2))), Trace::Found);
    let text = telemetry.render(Format::OpenMetrics);
    has(
        &text,
        &[r#"fermion_cold_starts_total{namespace="shop",app="tax",release="r1"} 3"#],
    );
    has(
        &text,
        &[r#"fermion_cold_starts_total{namespace="shop",app="tax",release="r2"} 1"#],
    );
}

#[test]
fn a_retired_release_is_scraped_once_more_and_then_gone() {
    let telemetry = telemetry();
    let app = served("tax", 1);
    let pool = Arc::new(AtomicU64::new(2));
    let reader = Arc::clone(&pool);
    telemetry.watch_instances(&app, move || InstanceReading {
        in_use: reader.load(Relaxed),
        kept: 0,
    });
    telemetry.observe(&record(Some(&app)), Trace::Found);
    telemetry.retire(&app);
    assert_eq!(Arc::strong_count(&pool), 1);
    telemetry.observe(&record(Some(&app)), Trace::Found);
    let last = telemetry.render(Format::OpenMetrics);
    has(
        &last,
        &[r#"fermion_cold_starts_total{namespace="shop",app="tax",release="r1"} 2"#],
    );
    assert!(!last.contains("fermion_instances{"));
    assert!(!telemetry.render(Format::OpenMetrics).contains("tax"));
    telemetry.observe(&record(Some(&app)), Trace::Found);
    telemetry.retire(&app);
    telemetry.watch_instances(&served("tax", 1), || InstanceReading { in_use: 1, kept: 0 });
    drop(telemetry.render(Format::OpenMetrics));
    assert!(
        telemetry.render(Format::OpenMetrics).contains("tax"),
        "a release that came back stays"
    );
}

#[test]
fn releases_beyond_the_bound_share_their_counters() {
    let telemetry = telemetry();
    for release in 0..=u32::try_from(limits::RELEASES_MAX).unwrap() + 1 {
        telemetry.observe(&record(Some(&served("tax", release))), Trace::Found);
    }
    let text = telemetry.render(Format::OpenMetrics);
    has(
        &text,
        &[
            r#"fermion_cold_starts_total{namespace="other",app="other",release="r0"} 2"#,
            r#"fermion_series_overflow_total{of="releases"} 2"#,
        ],
    );
}

#[test]
fn counts_from_many_threads_add_up() {
    let telemetry = telemetry();
    let app = served("tax", 1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..1000).for_each(|_| telemetry.observe(&record(Some(&app)), Trace::Found)));
        }
    });
    has(
        &telemetry.render(Format::OpenMetrics),
        &[r#"fermion_cold_starts_total{namespace="shop",app="tax",release="r1"} 8000"#],
    );
}

#[test]
fn calls_to_upstreams_are_counted_by_rule() {
    let telemetry = telemetry();
    let app = served("tax", 7);
    let upstreams = Arc::new(UpstreamMetrics::new(["api.test".to_owned(), "*".to_owned()]));
    telemetry.watch_upstreams(&app, upstreams.clone());
    let text = telemetry.render(Format::OpenMetrics);
    assert!(!text.contains("upstream=\"none\""), "{text}");
    upstreams.called(Some(0), CallResult::Answered, Duration::from_millis(3));
    upstreams.called(Some(1), CallResult::Breaker, Duration::ZERO);
    upstreams.called(None, CallResult::Denied, Duration::ZERO);
    upstreams.connected(Some(0), false);
    upstreams.connected(Some(0), true);
    upstreams.connected(Some(0), true);
    upstreams.retried(Some(0));
    upstreams.breaker(Some(1), true);
    upstreams.breaker(Some(1), false);
    upstreams.breaker(Some(1), true);
    let text = telemetry.render(Format::OpenMetrics);
    let who = r#"namespace="shop",app="tax",release="r7",upstream"#;
    has(
        &text,
        &[
            &format!(r#"fermion_egress_calls_total{{{who}="api.test",result="answered"}} 1"#),
            &format!(r#"fermion_egress_calls_total{{{who}="*",result="breaker"}} 1"#),
            &format!(r#"fermion_egress_calls_total{{{who}="none",result="denied"}} 1"#),
            &format!(r#"fermion_egress_attempts_total{{{who}="api.test",connection="new"}} 1"#),
            &format!(r#"fermion_egress_attempts_total{{{who}="api.test",connection="reused"}} 2"#),
            &format!(r#"fermion_egress_retries_total{{{who}="api.test"}} 1"#),
            &format!(r#"fermion_egress_breaker_opens_total{{{who}="*"}} 2"#),
            &format!(r#"fermion_egress_breakers_open{{{who}="*"}} 1"#),
            &format!(r#"fermion_egress_duration_seconds_count{{{who}="api.test"}} 1"#),
        ],
    );
    telemetry.retire(&app);
    telemetry.render(Format::OpenMetrics);
    assert!(!telemetry.render(Format::OpenMetrics).contains("api.test"));
}
