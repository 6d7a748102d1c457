//! What strangers and apps choose makes no series: thousands of hosts, paths, methods, header values, upstreams and trace ids
//! leave as many as the first few of each kind did, in the metrics and in what is exported.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use crate::platform::{Site, Up};
use crate::support::Connection;
use crate::support::collector::Collector;
use crate::up_telemetry::Metrics;

/// Requests of each kind in a round.
const ROUND: u64 = 120;
const KINDS: u64 = 6;

/// Names that never come twice (Steele and others, splitmix64).
struct Names(u64);

impl Names {
    fn next(&mut self) -> String {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("x{:016x}", mixed ^ (mixed >> 31))
    }
}

/// A request of each kind, with names of its own: the method, and the bytes of the whole.
fn hostile(names: &mut Names) -> [(String, String); 6] {
    let mut name = || names.next();
    let ask = |method: &str, path: String, host: String, fields: String| {
        let bytes = format!("{method} {path} HTTP/1.1\r\nhost: {host}.example\r\n{fields}\r\n");
        (method.to_owned(), bytes)
    };
    let trace = format!("traceparent: 00-{0}{0}-{0}-01\r\n", &name()[1..]);
    let fields = format!("{}: {}\r\nuser-agent: {}\r\n{trace}", name(), name(), name());
    let method = name().to_uppercase();
    [
        // A path of the app, and a query.
        ask(
            "GET",
            format!("/shop/{}?{}={}", name(), name(), name()),
            name(),
            String::new(),
        ),
        // No app at all.
        ask("GET", format!("/{}/{}", name(), name()), name(), String::new()),
        // A method of their own making.
        ask(&method, "/shop/hello".to_owned(), name(), String::new()),
        // Header names and values, and a trace of their own.
        ask("GET", "/shop/hello".to_owned(), name(), fields),
        // An upstream that the app was not granted.
        ask(
            "GET",
            format!("/shop/fetch?url=http%3A%2F%2F{}.test%2F{}", name(), name()),
            name(),
            String::new(),
        ),
        // What an app writes into its log.
        ask("GET", format!("/shop/log/{}", name()), name(), String::new()),
    ]
}

fn round(up: &Up, names: &mut Names, times: u64) {
    let mut connection = Connection::open(up.gateway);
    for (method, bytes) in (0..times).flat_map(|_| hostile(names)) {
        let whole = connection.send(&bytes) && connection.try_response(&method).is_some();
        if !whole {
            connection = Connection::open(up.gateway);
            connection.send(&bytes);
            connection.response(&method);
        }
    }
}

/// Names and labels of every series, when so many requests are counted.
fn series(up: &Up, requests: u64) -> BTreeSet<String> {
    let metrics = Metrics::when(up, |metrics| {
        let routed = metrics.sum("fermion_requests_total", &[]);
        routed + metrics.sum("fermion_unrouted_requests_total", &[]) >= requests as f64
    });
    // How objectives stand is known some seconds later, and has no name of a request.
    let mut names = metrics.names();
    names.retain(|name| !name.starts_with("fermion_slo_") && !name.starts_with("fermion_frames_"));
    names
}

/// The sets of attributes by which requests are told apart in what is exported, when so many have come.
fn exported(collector: &Collector, requests: u64) -> BTreeSet<String> {
    collector.when("every request in what is exported", |received| {
        let (mut count, mut sets) = (0, BTreeSet::new());
        for (app, metric) in &received.metrics {
            let Some(Data::ExponentialHistogram(histogram)) = &metric.data else {
                continue;
            };
            for point in &histogram.data_points {
                let attributes = point.attributes.iter().map(|attribute| format!("{attribute:?}"));
                sets.insert((
                    app.clone(),
                    metric.name.clone(),
                    attributes.collect::<Vec<_>>().join(","),
                ));
                count += u64::from(metric.name == "http.server.request.duration") * point.count;
            }
        }
        let sets = sets.into_iter().map(|set| format!("{set:?}")).collect();
        (count >= requests).then_some(sets)
    })
}

#[test]
fn names_that_strangers_choose_make_no_series() {
    let (site, collector) = (Site::new(), Collector::http());
    let project = site.simple("shop", "1.0.0", "p2-edge");
    let url = format!("http://{}", collector.address);
    let up = Up::start_with(
        &site,
        &[&project],
        &["--otlp", &url, "--telemetry-interval", "1s"],
    );
    let mut names = Names(1);
    round(&up, &mut names, 3);
    let first = series(&up, 3 * KINDS);
    round(&up, &mut names, ROUND);
    let after = series(&up, (3 + ROUND) * KINDS);
    assert_eq!(
        first,
        after,
        "{:#?}",
        after.difference(&first).collect::<Vec<_>>()
    );
    assert!(first.len() < 400, "{}", first.len());
    let chosen = |set: &BTreeSet<String>| {
        let mut again = Names(1);
        let names: BTreeSet<_> = (0..4_000).map(|_| again.next()[1..].to_owned()).collect();
        set.iter()
            .filter(|series| names.iter().any(|name| series.contains(name)))
            .count()
    };
    assert_eq!(chosen(&after), 0, "no series has a name of theirs");
    // One app, one release: methods of their own making are one, so are upstreams and paths. All but one kind reach it.
    let sets = exported(&collector, (3 + ROUND) * (KINDS - 1));
    assert!(sets.len() < 40, "{sets:#?}");
    assert_eq!(chosen(&sets), 0, "{sets:#?}");
    assert!(sets.iter().any(|set| set.contains("_OTHER")), "{sets:#?}");
    up.stop();
}
