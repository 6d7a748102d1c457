//! What a Prometheus of somebody's own makes of a platform: it reads both formats, and its quantiles, error ratios, burn rates
//! and alerts say what ours say.

mod agreement;
mod rules;

use std::fs;
use std::path::Path;
use std::process::Command;

use fermion_telemetry::prometheus::Dashboard;
use serde_json::Value;

use crate::platform::{Ran, Site, Up};
use crate::support::Connection;
use crate::support::collector::Collector;
use crate::support::prometheus::{Prometheus, promtool};

const APP: &str = "apiVersion: fermion.dev/v1
kind: App
metadata: {name: shop}
spec:
  objectives:
    - {name: success, indicator: success, target: 99%, window: 30d}
    - {name: quick, indicator: {latency_below: 100ms}, target: 60%, window: 7d}
";

/// The parser of OpenMetrics that its authors wrote, on a file; says how many families there are.
const PARSER: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1]).read()))
assert any(s.exemplar for f in families for s in f.samples), 'no exemplar'
print(len(families))";

/// A platform with one app, its telemetry going everywhere.
struct Scene {
    site: Site,
    collector: Collector,
    up: Up,
}

impl Scene {
    fn start() -> Self {
        let (site, collector) = (Site::new(), Collector::http());
        let project = site.simple("shop", "1.0.0", "p2-edge");
        fs::write(project.join("app.yaml"), APP).unwrap();
        let url = format!("http://{}", collector.address);
        let log = site.path().join("access.log");
        let options = ["--otlp", &url, "--telemetry-interval", "1s", "--trace-share", "1"];
        let more = ["--access-log", log.to_str().unwrap()];
        let up = Up::start_with(&site, &[&project], &[&options[..], &more].concat());
        Self { site, collector, up }
    }

    fn prometheus(&self) -> Prometheus {
        let folder = self.site.path().join("prometheus");
        fs::create_dir_all(&folder).unwrap();
        let rules = Ran::new(["rules"]).done().to_owned();
        promtool(&["check", "rules"], &write(&folder, "checked.yml", &rules));
        let prometheus = Prometheus::start(&folder, self.up.admin, &self.up.token(), &rules);
        // Counters are there, at zero, before anything happens: nothing that follows is missed.
        prometheus.when("fermion_slo_events_total{app=\"shop\"}", |samples| {
            samples.len() == 2
        });
        prometheus
    }

    /// Asks for these paths, one after the other.
    fn asks(&self, paths: &[(&str, usize)]) -> u64 {
        let mut connection = Connection::open(self.up.gateway);
        let mut count = 0;
        for (path, times) in paths {
            for _ in 0..*times {
                let ask = crate::support::Ask::get(path);
                if ask.send_on(&mut connection).is_none() {
                    connection = Connection::open(self.up.gateway);
                    ask.send_on(&mut connection).expect("an answer");
                }
                count += 1;
            }
        }
        count
    }

    fn metrics(&self, accept: &str) -> String {
        let mut connection = Connection::open(self.up.admin);
        connection.send(format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\r\n",
            self.up.token()
        ));
        connection.response("GET").text().to_owned()
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn both_formats_are_read_by_those_who_made_them() {
    let scene = Scene::start();
    scene.asks(&[("/shop/hello", 5), ("/shop/trap", 2), ("/nowhere", 1)]);
    crate::up_telemetry::Metrics::when(&scene.up, |metrics| {
        metrics.sum("fermion_slo_events_total", &["objective=\"quick\""]) >= 7.0
            && metrics.sum("fermion_slo_budget_left_ratio", &[]) < 0.0
    });
    let plain = write(scene.site.path(), "plain.txt", &scene.metrics("text/plain"));
    promtool(&["check", "metrics"], &plain);
    let open = scene.metrics("application/openmetrics-text;version=1.0.0");
    let open = write(scene.site.path(), "open.txt", &open);
    let parsed = Command::new("/usr/bin/python3")
        .args(["-c", PARSER])
        .arg(&open)
        .output();
    let parsed = Ran::of(parsed.expect("Python 3 is there"));
    let families: usize = parsed.done().trim().parse().unwrap();
    assert_eq!(families, fermion_telemetry::reference::FAMILIES.len());
    scene.up.stop();
}

#[test]
fn every_query_of_a_dashboard_is_one() {
    let scene = Scene::start();
    let prometheus = scene.prometheus();
    scene.asks(&[("/shop/hello", 3)]);
    prometheus.when("sum(fermion_requests_total)", |samples| {
        samples.first().is_some_and(|(_, count)| *count >= 3.0)
    });
    for (board, name) in Dashboard::ALL.into_iter().zip(["executive", "on-call", "debug"]) {
        let printed: Value = Ran::new(["dashboard", name]).json();
        assert_eq!(printed, board.json());
        for query in board.queries() {
            let query = query.replace("$__rate_interval", "1m");
            prometheus.query(&query.replace("$namespace", ".*").replace("$app", ".*"));
        }
    }
    let [(_, left)] = prometheus
        .when(
            "fermion_slo_budget_left_ratio{objective=\"success\"}",
            |samples| samples.len() == 1,
        )
        .try_into()
        .unwrap();
    assert!((left - 1.0).abs() < 1e-9, "nothing has failed: {left}");
    scene.up.stop();
}
