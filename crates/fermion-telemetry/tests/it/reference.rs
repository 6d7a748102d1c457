//! The published table of metrics: current, complete, and without a family that is never written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fermion_model::Fault;
use fermion_telemetry::reference::{FAMILIES, Family, page};
use fermion_telemetry::{
    BuildInfo, CacheReading, CallResult, Compilation, Deployed, Door, ExportReading, Format, Heard,
    InstanceReading, ObjectiveReading, Order, Standing, StoreOperation, StoreResult, Telemetry,
    ThreadReading, Trace, UpstreamMetrics, Wake,
};

use crate::{record, served};

/// The families that this system can write: resident memory is known on Linux only.
fn families() -> impl Iterator<Item = Family> {
    FAMILIES
        .into_iter()
        .filter(|family| cfg!(target_os = "linux") || family.name != "fermion_memory_bytes")
}

fn objective() -> ObjectiveReading {
    ObjectiveReading {
        namespace: "shop".to_owned(),
        app: "tax".to_owned(),
        objective: "success".to_owned(),
        target: 0.999,
        window: Duration::from_secs(30 * 24 * 3600),
        events: 1_000,
        bad: 1,
        standing: Some(Standing {
            left: Some(0.5),
            burns: [Some(1.0), None, None, None, None],
            pages: true,
            ..Standing::default()
        }),
    }
}

/// A scrape in which every family has at least one series.
fn scrape() -> String {
    let telemetry = Telemetry::new(BuildInfo {
        version: "1.2.3",
        commit: "abc",
    });
    let app = served("tax", 7);
    let mut trapped = record(Some(&app));
    (trapped.status, trapped.fault) = (502, Some(Fault::GuestTrap));
    telemetry.observe(&trapped, Trace::Found);
    let mut lost = record(None);
    (lost.status, lost.fault) = (404, Some(Fault::NoRoute));
    telemetry.observe(&lost, Trace::Found);
    telemetry.watch_instances(&app, || InstanceReading { in_use: 1, kept: 1 });
    let upstreams = Arc::new(UpstreamMetrics::new(["api.test".to_owned()]));
    upstreams.called(Some(0), CallResult::Answered, Duration::from_millis(3));
    telemetry.watch_upstreams(&app, upstreams);
    telemetry.watch_dropped_lines("access", || 1);
    telemetry.doors().refused(Door::Load, "DIGEST_MISMATCH");
    telemetry.doors().compiled(Compilation::Made);
    telemetry.doors().woke(Wake::Loaded);
    telemetry.doors().watch_cache("native", CacheReading::default);
    telemetry
        .serving()
        .watch_threads(|| vec![ThreadReading::default()]);
    let store = telemetry.keyvalue().store("shop", "tax", "rates");
    store.observe(StoreOperation::Get, StoreResult::Done, Duration::from_micros(20));
    telemetry.watch_export(ExportReading::default);
    telemetry.watch_objectives(|| vec![objective()]);
    telemetry.control().deployed(Order::Deploy, Deployed::Done);
    telemetry.control().rolled_out("succeeded");
    telemetry.control().heard(Heard::Taken, 1);
    telemetry.control().registry(&http::Method::GET, 200);
    telemetry.render(Format::OpenMetrics)
}

#[test]
fn the_published_table_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let generated = page();
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == generated,
        "docs/reference/metrics.md is not what the metrics say: run \
         `UPDATE_REFERENCES=1 cargo test -p fermion-telemetry` and look at the difference"
    );
}

#[test]
fn a_scrape_has_exactly_the_families_of_the_table() {
    let text = scrape();
    let described = |keyword: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(keyword));
        lines
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
            .collect()
    };
    let types: BTreeMap<_, _> = families()
        .map(|family| (family.name.to_owned(), family.kind.as_str().to_owned()))
        .collect();
    assert_eq!(described("# TYPE "), types);
    let helps: BTreeMap<_, _> = families()
        .map(|family| (family.name.to_owned(), family.help.to_owned()))
        .collect();
    assert_eq!(described("# HELP "), helps);
}

#[test]
fn every_series_has_the_name_and_the_labels_of_the_table() {
    let known: BTreeMap<String, &[&str]> = families()
        .flat_map(|family| {
            let suffixes = family.kind.suffixes().iter();
            suffixes.map(move |suffix| (format!("{}{suffix}", family.name), family.labels))
        })
        .collect();
    let mut seen = BTreeSet::new();
    let text = scrape();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        // A family of the whole process has no labels, and its series no braces.
        let line = line.split(" # ").next().unwrap();
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels: Vec<_> = labels
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        assert_eq!(known.get(name).copied(), Some(labels.as_slice()), "{line}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen, known.into_keys().collect(), "a family without a series");
}
