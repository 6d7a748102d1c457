//! What a scraper sees: the families of `reference`, each filled with its values.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fermion_model::{Fault, ReleaseNumber};

use crate::control_metrics::ControlMetrics;
use crate::doors::Doors;
use crate::format::{Encoder, Format, Label};
use crate::histogram::seconds;
use crate::keyvalue_metrics::KeyValueMetrics;
use crate::metrics::{BuildInfo, Releases};
use crate::objectives::Objectives;
use crate::otlp::Exports;
use crate::process;
use crate::reference::{self, Family};
use crate::release_metrics::{BLAMES, CLASSES, InstanceReading, PHASES, ReleaseMetrics, Totals};
use crate::serving::{Serving, ThreadReading};
use crate::upstreams::{UpstreamMetrics, UpstreamRow};

/// Writes all metrics at a scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) releases: Arc<Releases>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) keyvalue: Arc<KeyValueMetrics>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) control: Arc<ControlMetrics>,
    pub(crate) objectives: Objectives,
    version: String,
    commit: String,
}

/// One release's numbers with its labels.
struct Row {
    namespace: String,
    app: String,
    release: String,
    totals: Totals,
    upstreams: Option<Arc<UpstreamMetrics>>,
    instances: Option<InstanceReading>,
}

impl Row {
    fn of(metrics: &ReleaseMetrics) -> Self {
        let served = &*metrics.served;
        Self {
            namespace: served.namespace.clone(),
            app: served.app.clone(),
            release: ReleaseNumber(served.release).to_string(),
            totals: metrics.totals(),
            instances: metrics.instances(),
            upstreams: metrics.upstreams(),
        }
    }

    fn labels<'a>(&'a self, more: &[Label<'a>]) -> Vec<Label<'a>> {
        let mut labels = vec![
            ("namespace", &*self.namespace),
            ("app", &*self.app),
            ("release", &*self.release),
        ];
        labels.extend_from_slice(more);
        labels
    }
}

impl Exposition {
    /// Everything at zero.
    pub(crate) fn new(releases: Releases, build: BuildInfo<'_>) -> Self {
        Self {
            releases: Arc::new(releases),
            doors: Arc::default(),
            serving: Arc::default(),
            keyvalue: Arc::default(),
            exports: Arc::default(),
            control: Arc::default(),
            objectives: Objectives::default(),
            version: build.version.to_owned(),
            commit: build.commit.to_owned(),
        }
    }

    /// All metrics at this moment.
    pub(crate) fn render(&self, format: Format) -> String {
        let mut encoder = Encoder::new(format);
        let rows = self.rows();
        requests(&mut encoder, &rows);
        durations(&mut encoder, &rows);
        faults(&mut encoder, &rows);
        per_release(&mut encoder, &rows);
        upstreams(&mut encoder, &rows);
        self.doors(&mut encoder);
        self.serving(&mut encoder);
        self.keyvalue.encode(&mut encoder);
        self.exports.encode(&mut encoder);
        self.objectives.encode(&mut encoder);
        self.control.encode(&mut encoder);
        self.process(&mut encoder);
        encoder.finish()
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self
            .releases
            .sorted()
            .iter()
            .map(|metrics| Row::of(metrics))
            .collect();
        let other = Row::of(self.releases.other());
        if other.totals.phases[0].histogram.count() > 0 {
            rows.push(other);
        }
        rows
    }

    fn doors(&self, encoder: &mut Encoder) {
        let mut family = encoder.family(&reference::REFUSALS);
        for ((door, code), count) in self.doors.refusals() {
            family.put(&[("door", door.as_str()), ("code", code)], count);
        }
        let mut family = encoder.family(&reference::COMPILATIONS);
        for (outcome, count) in self.doors.compilations() {
            family.put(&[("outcome", outcome.as_str())], count);
        }
        let mut family = encoder.family(&reference::WAKES);
        for (outcome, count) in self.doors.wakes() {
            family.put(&[("outcome", outcome.as_str())], count);
        }
        let mut family = encoder.family(&reference::DORMANT);
        family.put(&[("state", "dormant")], self.doors.dormant());
        let mut family = encoder.family(&reference::TRUST_EPOCH);
        family.put(&[("root", "packages")], self.doors.epoch());
        let readings = self.doors.cache_readings();
        let mut family = encoder.family(&reference::CACHE_BYTES);
        for (cache, reading) in &readings {
            family.put(&[("cache", cache)], reading.bytes);
        }
        let mut family = encoder.family(&reference::QUARANTINED_FILES);
        for (cache, reading) in &readings {
            family.put(&[("cache", cache)], reading.quarantined);
        }
    }

    fn serving(&self, encoder: &mut Encoder) {
        type Read = fn(&ThreadReading) -> u64;
        let readings: Vec<_> = self.serving.threads();
        let numbered = || {
            let numbers = (0..readings.len()).map(|number| number.to_string());
            numbers.zip(&readings)
        };
        let mut family = encoder.family(&reference::THREAD_LAG);
        for (number, reading) in numbered() {
            family.put(&[("thread", &number)], reading.lag.as_secs_f64());
        }
        let families: [(&Family, Read); 3] = [
            (&reference::THREAD_CONNECTIONS, |reading| reading.connections),
            (&reference::THREAD_WAITING, |reading| reading.waiting),
            (&reference::THREAD_SHED, |reading| reading.shed),
        ];
        for (family, read) in families {
            let mut family = encoder.family(family);
            for (number, reading) in numbered() {
                family.put(&[("thread", &number)], read(reading));
            }
        }
        let heavy = self.serving.heavy();
        encoder.family(&reference::HEAVY_GUESTS).put(&[], heavy.now);
        encoder.family(&reference::MOVED_GUESTS).put(&[], heavy.moved);
    }

    fn process(&self, encoder: &mut Encoder) {
        let mut family = encoder.family(&reference::OVERFLOW);
        for (of, count) in self.releases.overflows() {
            family.put(&[("of", of)], count);
        }
        family.put(&[("of", "stores")], self.keyvalue.overflow());
        let mut family = encoder.family(&reference::UNROUTED_REQUESTS);
        for (code, count) in self.releases.unrouted().filter(|(_, count)| *count > 0) {
            family.put(&[("code", code)], count);
        }
        let mut family = encoder.family(&reference::DROPPED_LOG_LINES);
        for (log, count) in self.releases.dropped_lines() {
            family.put(&[("log", log)], count);
        }
        if let Some(bytes) = process::resident_bytes() {
            encoder
                .family(&reference::MEMORY)
                .put(&[("kind", "resident")], bytes);
        }
        let labels = [("version", &*self.version), ("commit", &*self.commit)];
        encoder.family(&reference::BUILD).put(&labels, 1);
    }
}

fn requests(encoder: &mut Encoder, rows: &[Row]) {
    let mut family = encoder.family(&reference::REQUESTS);
    for row in rows {
        for (class, by_blame) in CLASSES.into_iter().zip(&row.totals.requests) {
            for (blame, &count) in BLAMES.into_iter().zip(by_blame) {
                if count > 0 {
                    family.put(&row.labels(&[("status_class", class), ("blame", blame)]), count);
                }
            }
        }
    }
}

fn durations(encoder: &mut Encoder, rows: &[Row]) {
    let mut family = encoder.family(&reference::REQUEST_DURATION);
    for row in rows {
        for (phase, snapshot) in PHASES.into_iter().zip(&row.totals.phases) {
            family.histogram(&row.labels(&[("phase", phase)]), snapshot);
        }
    }
}

fn faults(encoder: &mut Encoder, rows: &[Row]) {
    let mut family = encoder.family(&reference::FAULTS);
    for row in rows {
        for (fault, &count) in Fault::ALL.iter().zip(&row.totals.faults) {
            if count > 0 {
                family.put(&row.labels(&[("code", fault.code())]), count);
            }
        }
    }
}

fn per_release(encoder: &mut Encoder, rows: &[Row]) {
    type Read = fn(&Totals) -> u64;
    let counters: [(&Family, Read); 4] = [
        (&reference::COLD_STARTS, |totals| totals.cold),
        (&reference::WARM_STARTS, |totals| totals.warm),
        (&reference::REQUEST_BYTES, |totals| totals.bytes_in),
        (&reference::RESPONSE_BYTES, |totals| totals.bytes_out),
    ];
    for (family, read) in counters {
        let mut family = encoder.family(family);
        for row in rows {
            family.put(&row.labels(&[]), read(&row.totals));
        }
    }
    let mut family = encoder.family(&reference::GUEST_CPU);
    for row in rows {
        family.put(&row.labels(&[]), seconds(row.totals.cpu_nanos));
    }
    let mut family = encoder.family(&reference::GUEST_MEMORY);
    for row in rows {
        family.put(&row.labels(&[]), row.totals.memory_bytes_max);
    }
    type Gauge = fn(InstanceReading) -> u64;
    let gauges: [(&Family, Gauge); 2] = [
        (&reference::INSTANCES, |reading| reading.in_use),
        (&reference::INSTANCES_KEPT, |reading| reading.kept),
    ];
    for (family, read) in gauges {
        let mut family = encoder.family(family);
        for row in rows {
            if let Some(reading) = row.instances {
                family.put(&row.labels(&[]), read(reading));
            }
        }
    }
}

fn upstreams(encoder: &mut Encoder, rows: &[Row]) {
    let each = |put: &mut dyn FnMut(&Row, &UpstreamRow)| {
        for row in rows {
            for upstream in row.upstreams.iter().flat_map(|upstreams| upstreams.rows()) {
                put(row, upstream);
            }
        }
    };
    let mut family = encoder.family(&reference::EGRESS_CALLS);
    each(&mut |row, upstream| {
        for (result, count) in upstream.calls().filter(|(_, count)| *count > 0) {
            let labels = row.labels(&[("upstream", &upstream.name), ("result", result.as_str())]);
            family.put(&labels, count);
        }
    });
    let mut family = encoder.family(&reference::EGRESS_DURATION);
    each(&mut |row, upstream| {
        family.histogram(&row.labels(&[("upstream", &upstream.name)]), &upstream.duration());
    });
    let mut family = encoder.family(&reference::EGRESS_ATTEMPTS);
    each(&mut |row, upstream| {
        for (connection, count) in [("new", &upstream.new), ("reused", &upstream.reused)] {
            let labels = row.labels(&[("upstream", &upstream.name), ("connection", connection)]);
            family.put(&labels, count.load(Relaxed));
        }
    });
    type Read = fn(&UpstreamRow) -> u64;
    let families: [(&Family, Read); 3] = [
        (&reference::EGRESS_RETRIES, |row| row.retries.load(Relaxed)),
        (&reference::EGRESS_BREAKER_OPENS, |row| row.opens.load(Relaxed)),
        (&reference::EGRESS_BREAKERS_OPEN, UpstreamRow::open),
    ];
    for (family, read) in families {
        let mut family = encoder.family(family);
        each(&mut |row, upstream| {
            family.put(&row.labels(&[("upstream", &upstream.name)]), read(upstream));
        });
    }
}
