//! What a scraper sees: the families of `reference`, each filled with its values.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fermion_model::{Fault, ReleaseNumber};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};

use crate::doors::Doors;
use crate::histogram::seconds;
use crate::keyvalue_metrics::KeyValueMetrics;
use crate::metrics::{BuildInfo, Releases};
use crate::otlp::Exports;
use crate::process;
use crate::reference::{self, Family};
use crate::release_metrics::{BLAMES, CLASSES, InstanceReading, PHASES, ReleaseMetrics, Totals};
use crate::serving::{Serving, ThreadReading};
use crate::upstreams::{UpstreamMetrics, UpstreamRow};

/// Writes all metrics at a scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    releases: Arc<Releases>,
    doors: Arc<Doors>,
    serving: Arc<Serving>,
    keyvalue: Arc<KeyValueMetrics>,
    exports: Arc<Exports>,
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

    fn labels<'a>(&'a self, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
        let mut labels = vec![
            ("namespace", &*self.namespace),
            ("app", &*self.app),
            ("release", &*self.release),
        ];
        labels.extend_from_slice(more);
        labels
    }
}

/// Begins a family under the name and help of the reference.
pub(crate) fn begin<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    family: &'a Family,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(family.name, family.help, None, family.kind.metric_type())
}

pub(crate) fn counter(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

impl Exposition {
    pub(crate) fn new(
        releases: Arc<Releases>,
        doors: Arc<Doors>,
        serving: Arc<Serving>,
        keyvalue: Arc<KeyValueMetrics>,
        exports: Arc<Exports>,
        build: BuildInfo<'_>,
    ) -> Self {
        Self {
            releases,
            doors,
            serving,
            keyvalue,
            exports,
            version: build.version.to_owned(),
            commit: build.commit.to_owned(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self
            .releases
            .sorted()
            .iter()
            .map(|metrics| Row::of(metrics))
            .collect();
        let other = Row::of(self.releases.other());
        if other.totals.phases[0].count() > 0 {
            rows.push(other);
        }
        rows
    }

    fn requests(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
        let mut family = begin(encoder, &reference::REQUESTS)?;
        for row in rows {
            for (class, by_blame) in CLASSES.into_iter().zip(&row.totals.requests) {
                for (blame, &count) in BLAMES.into_iter().zip(by_blame) {
                    if count > 0 {
                        let labels = row.labels(&[("status_class", class), ("blame", blame)]);
                        counter(&mut family, &labels, count)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn durations(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
        let mut family = begin(encoder, &reference::REQUEST_DURATION)?;
        for row in rows {
            for (phase, snapshot) in PHASES.into_iter().zip(&row.totals.phases) {
                let labels = row.labels(&[("phase", phase)]);
                let mut metric = family.encode_family(&labels)?;
                let buckets = snapshot.buckets();
                metric.encode_histogram::<NoLabelSet>(
                    snapshot.sum_seconds(),
                    snapshot.count(),
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn faults(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
        let mut family = begin(encoder, &reference::FAULTS)?;
        for row in rows {
            for (fault, &count) in Fault::ALL.iter().zip(&row.totals.faults) {
                if count > 0 {
                    counter(&mut family, &row.labels(&[("code", fault.code())]), count)?;
                }
            }
        }
        Ok(())
    }

    fn per_release(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
        type Read = fn(&Totals) -> u64;
        let counters: [(&Family, Read); 4] = [
            (&reference::COLD_STARTS, |totals| totals.cold),
            (&reference::WARM_STARTS, |totals| totals.warm),
            (&reference::REQUEST_BYTES, |totals| totals.bytes_in),
            (&reference::RESPONSE_BYTES, |totals| totals.bytes_out),
        ];
        for (family, read) in counters {
            let mut family = begin(encoder, family)?;
            for row in rows {
                counter(&mut family, &row.labels(&[]), read(&row.totals))?;
            }
        }
        let mut family = begin(encoder, &reference::GUEST_CPU)?;
        for row in rows {
            let value = seconds(row.totals.cpu_nanos);
            family
                .encode_family(&row.labels(&[]))?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let mut family = begin(encoder, &reference::GUEST_MEMORY)?;
        for row in rows {
            family
                .encode_family(&row.labels(&[]))?
                .encode_gauge(&row.totals.memory_bytes_max)?;
        }
        type Gauge = fn(InstanceReading) -> u64;
        let gauges: [(&Family, Gauge); 2] = [
            (&reference::INSTANCES, |reading| reading.in_use),
            (&reference::INSTANCES_KEPT, |reading| reading.kept),
        ];
        for (family, read) in gauges {
            let mut family = begin(encoder, family)?;
            for row in rows {
                if let Some(reading) = row.instances {
                    family
                        .encode_family(&row.labels(&[]))?
                        .encode_gauge(&read(reading))?;
                }
            }
        }
        Ok(())
    }

    fn upstreams(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
        let each = |put: &mut dyn FnMut(&Row, &UpstreamRow) -> fmt::Result| -> fmt::Result {
            for row in rows {
                for upstream in row.upstreams.iter().flat_map(|upstreams| upstreams.rows()) {
                    put(row, upstream)?;
                }
            }
            Ok(())
        };
        let mut family = begin(encoder, &reference::EGRESS_CALLS)?;
        each(&mut |row, upstream| {
            for (result, count) in upstream.calls().filter(|(_, count)| *count > 0) {
                let labels = row.labels(&[("upstream", &upstream.name), ("result", result.as_str())]);
                counter(&mut family, &labels, count)?;
            }
            Ok(())
        })?;
        let mut family = begin(encoder, &reference::EGRESS_DURATION)?;
        each(&mut |row, upstream| {
            let snapshot = upstream.duration();
            let labels = row.labels(&[("upstream", &upstream.name)]);
            let mut metric = family.encode_family(&labels)?;
            let (sum, count) = (snapshot.sum_seconds(), snapshot.count());
            metric.encode_histogram::<NoLabelSet>(sum, count, &snapshot.buckets(), None)
        })?;
        let mut family = begin(encoder, &reference::EGRESS_ATTEMPTS)?;
        each(&mut |row, upstream| {
            for (connection, count) in [("new", &upstream.new), ("reused", &upstream.reused)] {
                let labels = row.labels(&[("upstream", &upstream.name), ("connection", connection)]);
                counter(&mut family, &labels, count.load(Relaxed))?;
            }
            Ok(())
        })?;
        let mut family = begin(encoder, &reference::EGRESS_RETRIES)?;
        each(&mut |row, upstream| {
            let labels = row.labels(&[("upstream", &upstream.name)]);
            counter(&mut family, &labels, upstream.retries.load(Relaxed))
        })?;
        let mut family = begin(encoder, &reference::EGRESS_BREAKER_OPENS)?;
        each(&mut |row, upstream| {
            let labels = row.labels(&[("upstream", &upstream.name)]);
            counter(&mut family, &labels, upstream.opens.load(Relaxed))
        })?;
        let mut family = begin(encoder, &reference::EGRESS_BREAKERS_OPEN)?;
        each(&mut |row, upstream| {
            let labels = row.labels(&[("upstream", &upstream.name)]);
            family.encode_family(&labels)?.encode_gauge(&upstream.open())
        })
    }

    fn doors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = begin(encoder, &reference::REFUSALS)?;
        for ((door, code), count) in self.doors.refusals() {
            counter(&mut family, &[("door", door.as_str()), ("code", code)], count)?;
        }
        let mut family = begin(encoder, &reference::COMPILATIONS)?;
        for (outcome, count) in self.doors.compilations() {
            counter(&mut family, &[("outcome", outcome.as_str())], count)?;
        }
        let mut family = begin(encoder, &reference::WAKES)?;
        for (outcome, count) in self.doors.wakes() {
            counter(&mut family, &[("outcome", outcome.as_str())], count)?;
        }
        let mut family = begin(encoder, &reference::DORMANT)?;
        family
            .encode_family(&[("state", "dormant")])?
            .encode_gauge(&self.doors.dormant())?;
        let mut family = begin(encoder, &reference::TRUST_EPOCH)?;
        family
            .encode_family(&[("root", "packages")])?
            .encode_gauge(&self.doors.epoch())?;
        let readings = self.doors.cache_readings();
        let mut family = begin(encoder, &reference::CACHE_BYTES)?;
        for (cache, reading) in &readings {
            family
                .encode_family(&[("cache", *cache)])?
                .encode_gauge(&reading.bytes)?;
        }
        let mut family = begin(encoder, &reference::QUARANTINED_FILES)?;
        for (cache, reading) in &readings {
            family
                .encode_family(&[("cache", *cache)])?
                .encode_gauge(&reading.quarantined)?;
        }
        Ok(())
    }

    fn serving(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&ThreadReading) -> u64;
        let readings: Vec<_> = self.serving.threads();
        let numbered = || {
            let numbers = (0..readings.len()).map(|number| number.to_string());
            numbers.zip(&readings)
        };
        let mut family = begin(encoder, &reference::THREAD_LAG)?;
        for (number, reading) in numbered() {
            family
                .encode_family(&[("thread", &*number)])?
                .encode_gauge(&reading.lag.as_secs_f64())?;
        }
        let gauges: [(&Family, Read); 2] = [
            (&reference::THREAD_CONNECTIONS, |reading| reading.connections),
            (&reference::THREAD_WAITING, |reading| reading.waiting),
        ];
        for (family, read) in gauges {
            let mut family = begin(encoder, family)?;
            for (number, reading) in numbered() {
                family
                    .encode_family(&[("thread", &*number)])?
                    .encode_gauge(&read(reading))?;
            }
        }
        let mut family = begin(encoder, &reference::THREAD_SHED)?;
        for (number, reading) in numbered() {
            counter(&mut family, &[("thread", &*number)], reading.shed)?;
        }
        let heavy = self.serving.heavy();
        begin(encoder, &reference::HEAVY_GUESTS)?.encode_gauge(&heavy.now)?;
        begin(encoder, &reference::MOVED_GUESTS)?.encode_counter::<NoLabelSet, _, u64>(&heavy.moved, None)
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = begin(encoder, &reference::UNROUTED_REQUESTS)?;
        for (code, count) in self.releases.unrouted().filter(|(_, count)| *count > 0) {
            counter(&mut family, &[("code", code)], count)?;
        }
        let mut family = begin(encoder, &reference::DROPPED_LOG_LINES)?;
        for (log, count) in self.releases.dropped_lines() {
            counter(&mut family, &[("log", log)], count)?;
        }
        if let Some(bytes) = process::resident_bytes() {
            let mut family = begin(encoder, &reference::MEMORY)?;
            family
                .encode_family(&[("kind", "resident")])?
                .encode_gauge(&bytes)?;
        }
        let mut family = begin(encoder, &reference::BUILD)?;
        family.encode_info(&[("version", &*self.version), ("commit", &*self.commit)])
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows = self.rows();
        Self::requests(&mut encoder, &rows)?;
        Self::durations(&mut encoder, &rows)?;
        Self::faults(&mut encoder, &rows)?;
        Self::per_release(&mut encoder, &rows)?;
        Self::upstreams(&mut encoder, &rows)?;
        self.doors(&mut encoder)?;
        self.serving(&mut encoder)?;
        self.keyvalue.encode(&mut encoder)?;
        self.exports.encode(&mut encoder)?;
        self.process(&mut encoder)
    }
}
