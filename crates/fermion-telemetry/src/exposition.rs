//! The metrics' names, types and labels: what a scraper sees. Only this file knows them.

use std::fmt;
use std::sync::Arc;

use fermion_model::{Fault, ReleaseNumber};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::histogram::seconds;
use crate::metrics::{BuildInfo, Releases};
use crate::process;
use crate::release_metrics::{BLAMES, CLASSES, PHASES, ReleaseMetrics, Totals};

/// Writes all metrics at a scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    releases: Arc<Releases>,
    version: String,
    commit: String,
}

/// One release's numbers with its labels.
struct Row {
    namespace: String,
    app: String,
    release: String,
    totals: Totals,
    instances: Option<u64>,
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

fn counter(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

impl Exposition {
    pub(crate) fn new(releases: Arc<Releases>, build: BuildInfo<'_>) -> Self {
        Self {
            releases,
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
        let help = "Requests by status class and by whose fault a failed one is";
        let mut family = encoder.encode_descriptor("fermion_requests", help, None, MetricType::Counter)?;
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
        let name = "fermion_request_duration_seconds";
        let help = "Time from the request's head, by phase: waiting for a permit, making or taking the instance, \
                    until the answer's head, until its end";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
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
        let help = "Answers that the platform gave or cut in a guest's stead, by code";
        let mut family = encoder.encode_descriptor("fermion_faults", help, None, MetricType::Counter)?;
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
        let counters: [(&str, &str, Read); 4] = [
            (
                "fermion_cold_starts",
                "Instances made while a request waited",
                |totals| totals.cold,
            ),
            (
                "fermion_warm_starts",
                "Requests that found an instance ready",
                |totals| totals.warm,
            ),
            ("fermion_request_bytes", "Request body bytes read", |totals| {
                totals.bytes_in
            }),
            ("fermion_response_bytes", "Answer body bytes written", |totals| {
                totals.bytes_out
            }),
        ];
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for row in rows {
                counter(&mut family, &row.labels(&[]), read(&row.totals))?;
            }
        }
        let help = "CPU time that guests used";
        let mut family =
            encoder.encode_descriptor("fermion_guest_cpu_seconds", help, None, MetricType::Counter)?;
        for row in rows {
            let value = seconds(row.totals.cpu_nanos);
            family
                .encode_family(&row.labels(&[]))?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let help = "Instances in use";
        let mut family = encoder.encode_descriptor("fermion_instances", help, None, MetricType::Gauge)?;
        for row in rows {
            if let Some(instances) = row.instances {
                family.encode_family(&row.labels(&[]))?.encode_gauge(&instances)?;
            }
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that reached no app, by code";
        let mut family =
            encoder.encode_descriptor("fermion_unrouted_requests", help, None, MetricType::Counter)?;
        for (code, count) in self.releases.unrouted().filter(|(_, count)| *count > 0) {
            counter(&mut family, &[("code", code)], count)?;
        }
        let help = "Lines that a log could not take in time";
        let mut family =
            encoder.encode_descriptor("fermion_dropped_log_lines", help, None, MetricType::Counter)?;
        for (log, count) in self.releases.dropped_lines() {
            counter(&mut family, &[("log", log)], count)?;
        }
        if let Some(bytes) = process::resident_bytes() {
            let help = "Memory of the process that is in use";
            let mut family =
                encoder.encode_descriptor("fermion_memory_bytes", help, None, MetricType::Gauge)?;
            family
                .encode_family(&[("kind", "resident")])?
                .encode_gauge(&bytes)?;
        }
        let help = "What is running";
        let mut family = encoder.encode_descriptor("fermion_build", help, None, MetricType::Info)?;
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
        self.process(&mut encoder)
    }
}
