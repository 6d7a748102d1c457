//! What an operator sees of requests: metrics, access log, guest output, and one id through all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::platform::{Package, Site, Up};
use crate::support::upstream::Upstream;
use crate::support::{Ask, PATIENCE};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What `/metrics` says at one moment.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn of(up: &Up) -> Self {
        let answer = up.ask_admin("/metrics", Some(&up.token()));
        assert_eq!(answer.status, 200);
        let samples = answer.text().lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.map(|line| line.rsplit_once(' ').expect("a sample has a value"));
        let read = |(name, value): (&str, &str)| (name.to_owned(), value.parse().expect("a number"));
        Self(pairs.map(read).collect())
    }

    /// Asks until so many requests are counted: a request is counted after its answer is out.
    fn when_counted(up: &Up, count: f64) -> Self {
        Self::when(up, |metrics| {
            let routed = metrics.sum("fermion_requests_total", &[]);
            routed + metrics.sum("fermion_unrouted_requests_total", &[]) >= count
        })
    }

    /// Asks until they are so.
    pub(crate) fn when(up: &Up, are_so: impl Fn(&Self) -> bool) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = Self::of(up);
            if are_so(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "{metrics:#?}");
        }
    }

    /// Every series, by its name and labels.
    pub(crate) fn names(&self) -> std::collections::BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// The sum of the samples of a name whose labels hold all of these.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let fits = |key: &str| {
            let (found, rest) = key.split_once('{').unwrap_or((key, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        };
        let found = self.0.iter().filter(|(key, _)| fits(key));
        found.map(|(_, value)| value).sum()
    }

    #[track_caller]
    fn expect(&self, name: &str, labels: &[&str], value: f64) {
        let found = self.sum(name, labels);
        assert!(
            (found - value).abs() < 0.5,
            "{name} {labels:?}: {found}, not {value}: {self:#?}"
        );
    }
}

/// The lines of an access log, by path; the log is whole when the process has ended.
fn access(log: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(log).expect("the log is there");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    lines
        .map(|line| (line["path"].as_str().expect("a path is text").to_owned(), line))
        .collect()
}

/// Three plain answers, a crash, a lost request and a traced one on r1; one plain answer on r2.
fn traffic(site: &Site, log: &Path) -> Up {
    let project = site.simple("shop", "1.0.0", "p2-edge");
    let up = Up::start_with(site, &[&project], &["--access-log", log.to_str().unwrap()]);
    for _ in 0..3 {
        up.get("/shop/hello").expect(200, "Hello, world!\n");
    }
    assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    assert_eq!(up.get("/nowhere").code(), "NO_ROUTE");
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let traced = Ask::get("/shop/log/traced").header("traceparent", &traceparent);
    assert_eq!(traced.send(up.gateway).status, 200);
    site.simple("shop", "1.0.1", "p2-hello");
    up.deploy(&project);
    up.get("/shop/hello").expect(200, "Hello, world!\n");
    up
}

#[test]
fn requests_are_counted_timed_and_blamed() {
    let site = Site::new();
    let up = traffic(&site, &site.path().join("access.log"));
    let now = Metrics::when_counted(&up, 7.0);
    let (shop, r1, r2) = (r#"app="shop""#, r#"release="r1""#, r#"release="r2""#);
    let (good, bad) = (r#"status_class="2xx""#, r#"status_class="5xx""#);
    now.expect(
        "fermion_requests_total",
        &[shop, r1, good, r#"blame="none""#],
        4.0,
    );
    now.expect(
        "fermion_requests_total",
        &[shop, r1, bad, r#"blame="guest""#],
        1.0,
    );
    now.expect("fermion_requests_total", &[shop, r2, good], 1.0);
    now.expect("fermion_unrouted_requests_total", &[r#"code="NO_ROUTE""#], 1.0);
    now.expect("fermion_faults_total", &[shop, r#"code="GUEST_TRAP""#], 1.0);
    let phases = ["queue", "instantiate", "first_byte", "total"].map(|phase| {
        let phase = format!("phase=\"{phase}\"");
        now.expect("fermion_request_duration_seconds_count", &[shop, r1, &phase], 5.0);
        now.sum("fermion_request_duration_seconds_sum", &[shop, r1, &phase])
    });
    let [_, instantiate, first_byte, total] = phases;
    assert!(
        0.0 < instantiate && instantiate < total && first_byte <= total,
        "{phases:?}"
    );
    now.expect("fermion_instances", &[shop], 0.0);
    // The first request after a deploy finds an instance that was made before the release was routed.
    now.expect("fermion_warm_starts_total", &[shop, r1], 1.0);
    now.expect("fermion_warm_starts_total", &[shop, r2], 1.0);
    now.expect("fermion_cold_starts_total", &[shop, r2], 0.0);
    assert!(
        now.sum("fermion_cold_starts_total", &[shop, r1]) >= 4.0,
        "{now:#?}"
    );
    assert!(
        now.sum("fermion_memory_bytes", &[r#"kind="resident""#]) > 1e6,
        "{now:#?}"
    );
    up.stop();
}

#[test]
fn a_request_has_one_id_in_access_log_and_guest_output() {
    let site = Site::new();
    let log = site.path().join("access.log");
    let up = traffic(&site, &log);
    let written = up.run(&["logs", "shop"]);
    let line = written.done().lines().find(|line| line.contains("stdout traced"));
    let line: Value = serde_json::from_str(line.expect("guest output is kept")).unwrap();
    assert_eq!(
        (&line["request_id"], &line["app"], &line["release"]),
        (&TRACE.into(), &"shop".into(), &1.into())
    );
    up.stop();

    let lines = access(&log);
    let traced = &lines["/shop/log/traced"];
    assert_eq!(
        (&traced["request_id"], &traced["status"]),
        (&TRACE.into(), &200.into())
    );
    let times = [
        "queue_us",
        "instantiate_us",
        "first_byte_us",
        "total_us",
        "cpu_us",
    ];
    for field in times.into_iter().chain(["bytes_in", "bytes_out"]) {
        assert!(traced[field].is_u64(), "{field}: {traced}");
    }
    assert!(
        traced["total_us"].as_u64() >= traced["first_byte_us"].as_u64(),
        "{traced}"
    );
    let trapped = &lines["/shop/trap"];
    assert_eq!(
        (&trapped["fault"], &trapped["blame"]),
        (&"GUEST_TRAP".into(), &"guest".into())
    );
    assert_eq!(
        (&trapped["app"], &trapped["release"]),
        (&"shop".into(), &"r1".into())
    );
    let lost = &lines["/nowhere"];
    assert_eq!((&lost["app"], &lost["blame"]), (&Value::Null, &"client".into()));
}

#[test]
fn cpu_time_and_memory_of_a_busy_guest_are_recorded() {
    let site = Site::new();
    let log = site.path().join("access.log");
    let project = site.simple("busy", "1.0.0", "p2-edge");
    let up = Up::start_with(&site, &[&project], &["--access-log", log.to_str().unwrap()]);
    // Memory that is touched page by page keeps a guest busy for many ticks.
    up.get("/busy/hello");
    up.get("/busy/alloc/100");
    let release = ["app=\"busy\"", "release=\"r1\""];
    let metrics = Metrics::when(&up, |metrics| {
        metrics.sum("fermion_guest_memory_max_bytes", &release) >= f64::from(100_u32 << 20)
    });
    assert!(metrics.sum("fermion_guest_memory_max_bytes", &release) < f64::from(129_u32 << 20));
    up.stop();
    let lines = access(&log);
    let (small, line) = (&lines["/busy/hello"], &lines["/busy/alloc/100"]);
    let memory = |line: &Value| line["memory_bytes"].as_u64().unwrap();
    assert!(memory(small) > 0 && memory(small) < 16 << 20, "{small}");
    assert!(memory(line) >= 100 << 20, "{line}");
    assert_eq!(line["status"], 200, "{line}");
    let (cpu, total) = (line["cpu_us"].as_u64(), line["total_us"].as_u64());
    assert!(cpu > Some(0) && cpu <= total, "{line}");
}

/// A request that fails before its answer's head is measured like any other.
#[test]
fn usage_of_a_request_that_fails_is_recorded() {
    let site = Site::new();
    let log = site.path().join("access.log");
    let project = site.project(Package {
        more: "[limits]\ncpu_time = \"50ms\"\n",
        ..Package::new("busy", "1.0.0", "p2-edge")
    });
    let up = Up::start_with(&site, &[&project], &["--access-log", log.to_str().unwrap()]);
    up.get("/busy/hello").expect(200, "Hello, world!\n");
    up.get("/busy/loop");
    up.stop();
    let line = &access(&log)["/busy/loop"];
    assert_eq!(line["fault"], "GUEST_CPU_LIMIT", "{line}");
    assert_eq!(line["cold"], true, "{line}");
    for field in ["cpu_us", "instantiate_us"] {
        assert!(line[field].as_u64() > Some(0), "{field}: {line}");
    }
}

#[test]
fn calls_to_upstreams_are_counted_by_the_rule_that_grants_them() {
    let site = Site::new();
    let upstream = Upstream::start();
    let rule = format!("http://{}", upstream.address);
    let more = format!("[capabilities]\nhttp = [\"{rule}\"]\n");
    let project = site.project(Package {
        more: &more,
        ..Package::new("shop", "1.0.0", "p2-edge")
    });
    let up = Up::start(&site, &[&project]);
    let get = |path: &str| up.get(&upstream.via("/shop/fetch", path));
    for _ in 0..3 {
        get("/status/200").expect(200, "200 status\n");
    }
    for _ in 0..5 {
        get("/status/500").expect(200, "500 status\n");
    }
    get("/status/200").expect(502, "destination-unavailable\n");
    up.get("/shop/fetch?url=http%3A%2F%2Fother.test%2F")
        .expect(502, "http-request-denied\n");
    let now = Metrics::when_counted(&up, 10.0);
    let upstream = format!("upstream=\"{rule}\"");
    let calls = |upstream: &str, result: &str, count| {
        let result = format!("result=\"{result}\"");
        now.expect(
            "fermion_egress_calls_total",
            &[r#"app="shop""#, upstream, &result],
            count,
        );
    };
    calls(&upstream, "answered", 3.0);
    calls(&upstream, "server_error", 5.0);
    calls(&upstream, "breaker", 1.0);
    calls(r#"upstream="none""#, "denied", 1.0);
    now.expect("fermion_egress_attempts_total", &[&upstream], 8.0);
    now.expect("fermion_egress_breaker_opens_total", &[&upstream], 1.0);
    now.expect("fermion_egress_breakers_open", &[&upstream], 1.0);
    up.stop();
}
