//! Under load: quantiles within the bucket's and the sketch's error bound, ratios and burn rates, alerts, and traces that
//! stand for buckets.

use std::collections::BTreeSet;
use std::fs;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::Value;

use super::Scene;
use crate::support::collector::{Collector, Received};
use crate::support::prometheus::Prometheus;

const QUANTILES: [f64; 4] = [0.25, 0.5, 0.9, 0.99];

/// What each of several clients asks for.
const LOAD: [(&str, usize); 5] = [
    ("/shop/hello", 30),
    ("/shop/trap", 16),
    ("/shop/sleep/20", 8),
    ("/shop/sleep/180", 4),
    ("/shop/hello", 30),
];

fn objective<'v>(list: &'v Value, name: &str) -> &'v Value {
    let mut objectives = list["objectives"].as_array().unwrap().iter();
    objectives.find(|view| view["objective"]["name"] == name).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn its_own_arithmetic_agrees_with_ours() {
    let scene = Scene::start();
    let prometheus = scene.prometheus();
    let sent: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| scene.asks(&LOAD))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let all = |samples: &[(Value, f64)]| {
        let count: f64 = samples.iter().map(|(_, count)| count).sum();
        (count - sent as f64).abs() < 0.5
    };
    prometheus.when("sum(fermion_requests_total{app=\"shop\"})", all);
    prometheus.when("sum(fermion_slo_events_total{objective=\"success\"})", all);
    // The rules have seen all of it too: those that are evaluated from now on.
    let now = prometheus.number("vector(time())");
    prometheus.when("timestamp(fermion_slo:burn:1h)", |samples| {
        samples.len() == 2 && samples.iter().all(|(_, at)| *at > now + 1.0)
    });
    let ours = scene.up.run(&["slo", "shop"]).json();
    error_ratio_is_ours(&prometheus, &ours, sent);
    burn_rates_are_ours(&prometheus, &ours);
    alerts_are_ours(&scene, &prometheus);
    let estimates = QUANTILES.map(|q| prometheus.number(&quantile(q)));
    let sketches = scene.collector.when("every request in the sketches", |received| {
        let buckets = sketch(received);
        (buckets.iter().map(|(_, _, count)| count).sum::<u64>() == sent).then_some(buckets)
    });
    let examples = examples(&prometheus);
    traces_are_kept(&scene.collector, &examples);
    let log = scene.site.path().join("access.log");
    scene.up.stop();
    let log: Vec<Value> = fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: BTreeSet<_> = log
        .iter()
        .map(|line| line["trace_id"].as_str().unwrap())
        .collect();
    assert!(
        examples.iter().all(|id| ids.contains(id.as_str())),
        "{examples:?}"
    );
    let mut micros: Vec<u64> = log
        .iter()
        .map(|line| line["total_us"].as_u64().unwrap())
        .collect();
    micros.sort_unstable();
    assert_eq!(micros.len() as u64, sent);
    quantiles_are_ours(&micros, estimates, &sketches);
}

fn error_ratio_is_ours(prometheus: &Prometheus, ours: &Value, sent: u64) {
    let success = objective(ours, "success");
    assert_eq!(success["whole"]["total"], sent, "{success:#}");
    let ratio = prometheus.number(
        "sum(fermion_requests_total{app=\"shop\",blame=~\"guest|upstream|platform\"}) / \
         sum(fermion_requests_total{app=\"shop\",blame!=\"client\"})",
    );
    let good = number(&success["whole"]["good"]) / number(&success["whole"]["total"]);
    assert!((ratio - (1.0 - good)).abs() < 1e-9, "{ratio} {good}");
    let left = number(&success["budget_left"]);
    assert!((1.0 - ratio / 0.01 - left).abs() < 1e-6, "{left}");
}

/// An hour holds everything that happened. Rules round events to whole ones; there is no other difference.
fn burn_rates_are_ours(prometheus: &Prometheus, ours: &Value) {
    for name in ["success", "quick"] {
        let view = objective(ours, name);
        let mut burns = view["burns"].as_array().unwrap().iter();
        let hour = burns.find(|burn| burn["window_seconds"] == 3_600).unwrap();
        let burn = prometheus.number(&format!("fermion_slo:burn:1h{{objective=\"{name}\"}}"));
        let (good, total) = (number(&hour["good"]), number(&hour["total"]));
        let bound = number(&hour["burn"]) * (0.6 / (total - good).max(1.0) + 0.6 / total);
        assert!(
            (burn - number(&hour["burn"])).abs() <= bound,
            "{name}: {burn}, ours {hour:#}"
        );
    }
}

/// What burns calls for the same: a page makes tickets and notifications needless, a mitigation notifies.
fn alerts_are_ours(scene: &Scene, prometheus: &Prometheus) {
    let firing = |name: &str| {
        let query = format!("ALERTS{{alertstate=\"firing\",objective=\"{name}\"}}");
        let alerts = prometheus.query(&query);
        let severities = alerts
            .iter()
            .map(|(labels, _)| labels["severity"].as_str().unwrap().to_owned());
        let mut severities: BTreeSet<String> = severities.collect();
        if severities.contains("page") {
            severities.retain(|severity| severity == "page");
        }
        severities
    };
    let called_for = |name: &str| {
        let list = scene.up.run(&["slo", "shop"]).json();
        let actions = objective(&list, name)["actions"].as_array().unwrap().clone();
        let words = actions.iter().map(|action| action.as_str().unwrap().to_owned());
        words
            .filter(|word| !["mitigate", "rollback"].contains(&word.as_str()))
            .collect::<BTreeSet<_>>()
    };
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let pairs = ["success", "quick"].map(|name| (firing(name), called_for(name)));
        if pairs.iter().all(|(theirs, ours)| theirs == ours) && pairs[0].0.contains("page") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{pairs:?}");
    }
    // All three pages of ours, each with its windows.
    let pages = prometheus.query("ALERTS{alertstate=\"firing\",objective=\"success\",severity=\"page\"}");
    let windows: BTreeSet<_> = pages
        .iter()
        .map(|(labels, _)| labels["long_window"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(windows, ["15m", "1h", "6h"].map(str::to_owned).into());
    prometheus.when(
        "fermion_slo_alert_firing{objective=\"success\",severity=\"page\"} == 1",
        |samples| samples.len() == 1,
    );
}

fn quantile(q: f64) -> String {
    format!(
        "histogram_quantile({q}, sum by (le) (fermion_request_duration_seconds_bucket{{app=\"shop\",phase=\"total\"}}))"
    )
}

/// The buckets of all durations that were exported: from, to, how many.
fn sketch(received: &Received) -> Vec<(f64, f64, u64)> {
    let metrics = received.metrics.iter();
    let mine = metrics.filter(|(app, metric)| app == "shop" && metric.name == "http.server.request.duration");
    let mut buckets = Vec::new();
    for (_, metric) in mine {
        let Some(Data::ExponentialHistogram(histogram)) = &metric.data else {
            panic!("{metric:?}");
        };
        for point in &histogram.data_points {
            let base = 2_f64.powf(2_f64.powi(-point.scale));
            let positive = point.positive.as_ref().unwrap();
            for (index, &count) in (positive.offset..).zip(&positive.bucket_counts) {
                buckets.push((base.powi(index), base.powi(index + 1), count));
            }
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

/// Both are held against the access log, which has every request to the microsecond.
fn quantiles_are_ours(micros: &[u64], estimates: [f64; 4], sketches: &[(f64, f64, u64)]) {
    const BOUNDS: [f64; 21] = [
        0.0, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    for (q, estimate) in QUANTILES.into_iter().zip(estimates) {
        let rank = (q * micros.len() as f64).ceil();
        let (exact, _) = micros
            .iter()
            .zip(1_u32..)
            .find(|(_, place)| f64::from(*place) >= rank)
            .unwrap();
        let exact = *exact as f64 / 1e6;
        // Beyond the last bound Prometheus gives that bound.
        let is_in = |pair: &[f64]| pair[0] <= exact + 1e-6 && exact <= pair[1];
        let is_near = BOUNDS
            .windows(2)
            .any(|pair| is_in(pair) && pair[0] <= estimate && estimate <= pair[1]);
        assert!(
            is_near || exact > 10.0,
            "p{q}: {estimate} is not in the bucket of {exact}"
        );
        let mut below = 0;
        let found = sketches.iter().find(|(_, _, count)| {
            below += count;
            below as f64 >= rank
        });
        let (from, to, _) = found.unwrap();
        assert!(
            *from <= exact + 1e-6 && exact <= to * (1.0 + 1e-9),
            "p{q}: {exact} is not from {from} to {to}"
        );
        assert!(to / from < 1.022, "a bucket is 2.2 % wide");
    }
}

/// The ids of the traces that stand for buckets.
fn examples(prometheus: &Prometheus) -> Vec<String> {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let path =
            "/api/v1/query_exemplars?query=fermion_request_duration_seconds_bucket&start=0&end=9999999999";
        let series = prometheus.ask(path);
        let mut ids = Vec::new();
        for one in series.as_array().unwrap() {
            assert_eq!(one["seriesLabels"]["phase"], "total", "{one}");
            let exemplars = one["exemplars"].as_array().unwrap().iter();
            ids.extend(exemplars.map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap().to_owned()));
        }
        // At least one that is quick and one that is slow.
        if ids.len() >= 2 {
            return ids;
        }
        assert!(std::time::Instant::now() < deadline, "{series:#}");
    }
}

fn traces_are_kept(collector: &Collector, ids: &[String]) {
    collector.when("the traces that stand for buckets", |received| {
        let kept: BTreeSet<String> = received
            .spans
            .iter()
            .map(|(_, span)| span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        ids.iter().all(|id| kept.contains(id)).then_some(())
    });
}
