//! The metrics of one process: takes request records under locks that only a scraper shares, without an allocation, and gives the
//! text that a scraper reads. Cardinality is bounded: releases by number, everything else by construction.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use arc_swap::ArcSwap;
use fermion_model::Fault;
use fermion_model::health::{FrameInstances, FrameUpstream};
use fermion_model::record::{RequestRecord, Served};

use crate::control_metrics::ControlMetrics;
use crate::doors::Doors;
use crate::exposition::Exposition;
use crate::format::Format;
use crate::intake::Uncounted;
use crate::keyvalue_metrics::KeyValueMetrics;
use crate::limits::RELEASES_MAX;
use crate::objectives::ObjectiveReading;
use crate::otlp::ExportReading;
use crate::release_metrics::{InstanceReading, ReleaseMetrics, Watch, fault_index};
use crate::serving::Serving;
use crate::upstreams::UpstreamMetrics;

/// What is running, for `fermion_build_info`.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo<'a> {
    /// The binary's version.
    pub version: &'a str,
    /// The commit it was built from, or `unknown`.
    pub commit: &'a str,
}

/// The metrics of one process.
#[derive(Debug)]
pub struct Telemetry {
    all: Exposition,
    uncounted: Uncounted,
}

/// Whether whoever has the id of a request finds more of it than its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// In a collector of traces, or, where there is none, in logs.
    Found,
    /// There is a collector, and this trace is not kept.
    Dropped,
}

/// A release as requests name it, and its counters. Holding the name keeps its address from being used again.
#[derive(Debug, Clone)]
struct Known {
    name: Arc<Served>,
    metrics: Arc<ReleaseMetrics>,
}

/// A value read at each scrape, with the label it goes under.
pub(crate) type Watched = (&'static str, Box<dyn Fn() -> u64 + Send + Sync>);

/// Every release's counters.
pub(crate) struct Releases {
    /// Sorted by the name's address.
    known: ArcSwap<Vec<Known>>,
    /// Held while `known` is being replaced. How to read the instances of releases that nobody has asked for yet: those
    /// have no counters, whatever their number.
    change: Mutex<HashMap<usize, (Arc<Served>, Watch)>>,
    /// For releases beyond [`RELEASES_MAX`].
    other: ReleaseMetrics,
    /// Requests without a route by fault; the last is for those without one.
    unrouted: [AtomicU64; Fault::ALL.len() + 1],
    dropped_lines: Mutex<Vec<Watched>>,
    /// Requests that went to `other`.
    overflow: AtomicU64,
    overflows: Mutex<Vec<Watched>>,
    shards: usize,
}

impl fmt::Debug for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releases")
            .field("known", &self.known.load().len())
            .finish_non_exhaustive()
    }
}

fn address(served: &Arc<Served>) -> usize {
    Arc::as_ptr(served).addr()
}

impl Telemetry {
    /// Metrics at zero.
    pub fn new(build: BuildInfo<'_>) -> Self {
        let shards = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let other = Served {
            namespace: "other".to_owned(),
            app: "other".to_owned(),
            release: 0,
        };
        let releases = Releases {
            known: ArcSwap::default(),
            change: Mutex::default(),
            other: ReleaseMetrics::new(Arc::new(other), shards),
            unrouted: Default::default(),
            dropped_lines: Mutex::default(),
            overflow: AtomicU64::new(0),
            overflows: Mutex::default(),
            shards,
        };
        Self {
            all: Exposition::new(releases, build),
            uncounted: Uncounted::default(),
        }
    }

    /// Set by the intake whose requests are counted here.
    pub(crate) fn uncounted(&self) -> &Uncounted {
        &self.uncounted
    }

    /// Counts one request. `trace` says whether it may stand for others like it.
    pub fn observe(&self, record: &RequestRecord, trace: Trace) {
        let (releases, is_found) = (&*self.all.releases, trace == Trace::Found);
        let Some(served) = &record.served else {
            let index = record.fault.map_or(Fault::ALL.len(), fault_index);
            releases.unrouted[index].fetch_add(1, Relaxed);
            return;
        };
        {
            let known = releases.known.load();
            if let Ok(index) = known.binary_search_by_key(&address(served), |known| address(&known.name)) {
                return known[index].metrics.observe(record, is_found);
            }
            if known.len() >= RELEASES_MAX {
                return releases.observe_other(record, is_found);
            }
        }
        match releases.add(served) {
            Some(metrics) => metrics.observe(record, is_found),
            None => releases.observe_other(record, is_found),
        }
    }

    /// Reads the number of instances in use at each scrape, until the release is retired.
    pub fn watch_instances(
        &self,
        served: &Arc<Served>,
        read: impl Fn() -> InstanceReading + Send + Sync + 'static,
    ) {
        let is_known = |known: &Known| *known.name == **served;
        if !self.all.releases.known.load().iter().any(is_known) {
            let mut waiting = self.all.releases.change();
            waiting.insert(address(served), (Arc::clone(served), Box::new(read)));
        } else if let Some(metrics) = self.all.releases.add(served) {
            metrics.revive();
            metrics.watch_instances(Box::new(read));
        }
    }

    /// Writes a release's calls to upstreams at each scrape, until the release is retired.
    pub fn watch_upstreams(&self, served: &Arc<Served>, upstreams: Arc<UpstreamMetrics>) {
        if let Some(metrics) = self.all.releases.add(served) {
            metrics.revive();
            metrics.watch_upstreams(upstreams);
        }
    }

    /// Reads at each scrape how many lines a log has dropped.
    pub fn watch_dropped_lines(&self, log: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        watch(&self.all.releases.dropped_lines, log, Box::new(read));
    }

    /// Reads at each scrape how many requests had no place for series of their own, elsewhere than here.
    pub fn watch_overflow(&self, of: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        watch(&self.all.releases.overflows, of, Box::new(read));
    }

    /// Reads at each scrape how objectives stand.
    pub fn watch_objectives(&self, read: impl Fn() -> Vec<ObjectiveReading> + Send + Sync + 'static) {
        self.all.objectives.watch(Box::new(read));
    }

    /// Reads at each scrape what is exported.
    pub fn watch_export(&self, read: impl Fn() -> ExportReading + Send + Sync + 'static) {
        self.all.exports.watch(read);
    }

    /// What is exported, and what became of it; none where nothing is.
    pub fn export(&self) -> Option<ExportReading> {
        self.all.exports.read()
    }

    /// What apps have called since this was asked last, at most `rows_max` rows. For whoever sends frames: there is one.
    pub fn take_upstreams(&self, rows_max: usize) -> Vec<FrameUpstream> {
        let mut rows = Vec::new();
        for release in self.all.releases.sorted() {
            let Some(upstreams) = release.upstreams() else {
                continue;
            };
            let served = &release.served;
            rows.extend(upstreams.take().map(|row| FrameUpstream {
                namespace: served.namespace.clone(),
                app: served.app.clone(),
                release: served.release,
                ..row
            }));
        }
        rows.truncate(rows_max);
        rows
    }

    /// Instances of releases that have any, at most `rows_max` rows.
    pub fn instances(&self, rows_max: usize) -> Vec<FrameInstances> {
        let rows = self.all.releases.sorted().into_iter().filter_map(|release| {
            let InstanceReading { in_use, kept } = release.instances()?;
            let served = &release.served;
            (in_use + kept > 0).then(|| FrameInstances {
                namespace: served.namespace.clone(),
                app: served.app.clone(),
                running: in_use,
                kept,
            })
        });
        rows.take(rows_max).collect()
    }

    /// What apps do with their key-value stores.
    pub fn keyvalue(&self) -> &Arc<KeyValueMetrics> {
        &self.all.keyvalue
    }

    /// What is refused at the doors, and what waits behind them.
    pub fn doors(&self) -> &Arc<Doors> {
        &self.all.doors
    }

    /// What the control plane does.
    pub fn control(&self) -> &Arc<ControlMetrics> {
        &self.all.control
    }

    /// The serving threads and the guests that have left them.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.all.serving
    }

    /// A release is gone: its series leave after the next scrape, unless it comes back.
    pub fn retire(&self, served: &Served) {
        let releases = &self.all.releases;
        releases.change().retain(|_, (waiting, _)| **waiting != *served);
        for known in releases
            .known
            .load()
            .iter()
            .filter(|known| *known.name == *served)
        {
            known.metrics.retire();
        }
    }

    /// All metrics as text.
    pub fn render(&self, format: Format) -> String {
        self.uncounted.count();
        let text = self.all.render(format);
        self.all.releases.forget_retired();
        text
    }
}

fn watch(all: &Mutex<Vec<Watched>>, name: &'static str, read: Box<dyn Fn() -> u64 + Send + Sync>) {
    let mut watched = all.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|(known, _)| *known != name);
    watched.push((name, read));
}

fn read(all: &Mutex<Vec<Watched>>) -> Vec<(&'static str, u64)> {
    let watched = all.lock().unwrap_or_else(PoisonError::into_inner);
    watched.iter().map(|(name, read)| (*name, read())).collect()
}

impl Releases {
    /// The counters of a release, made if they are not there. None if there are too many releases.
    fn add(&self, served: &Arc<Served>) -> Option<Arc<ReleaseMetrics>> {
        let mut waiting = self.change();
        let known = self.known.load_full();
        let index = match known.binary_search_by_key(&address(served), |known| address(&known.name)) {
            Ok(index) => return Some(Arc::clone(&known[index].metrics)),
            Err(index) => index,
        };
        if known.len() >= RELEASES_MAX {
            tracing::warn!(
                namespace = served.namespace,
                app = served.app,
                "too many releases for metrics of their own"
            );
            return None;
        }
        // The same release under another address goes on with the same counters.
        let metrics = match known.iter().find(|known| known.name == *served) {
            Some(same) => {
                same.metrics.revive();
                Arc::clone(&same.metrics)
            }
            None => Arc::new(ReleaseMetrics::new(Arc::clone(served), self.shards)),
        };
        if let Some((_, read)) = waiting.remove(&address(served)) {
            metrics.watch_instances(read);
        }
        let mut next = Vec::clone(&known);
        next.insert(
            index,
            Known {
                name: Arc::clone(served),
                metrics: Arc::clone(&metrics),
            },
        );
        self.known.store(Arc::new(next));
        Some(metrics)
    }

    fn change(&self) -> MutexGuard<'_, HashMap<usize, (Arc<Served>, Watch)>> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_retired(&self) {
        let _held = self.change();
        let known = self.known.load_full();
        if known.iter().any(|known| known.metrics.is_retired()) {
            let kept = known
                .iter()
                .filter(|known| !known.metrics.is_retired())
                .cloned()
                .collect();
            self.known.store(Arc::new(kept));
        }
    }

    /// Every release once, in the order of their names; the overflow last, if it was needed.
    pub(crate) fn sorted(&self) -> Vec<Arc<ReleaseMetrics>> {
        let mut all: Vec<_> = self
            .known
            .load()
            .iter()
            .map(|known| Arc::clone(&known.metrics))
            .collect();
        all.sort_by(|a, b| a.served.cmp(&b.served));
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        all
    }

    pub(crate) fn other(&self) -> &ReleaseMetrics {
        &self.other
    }

    /// Requests without a route, by code.
    pub(crate) fn unrouted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let codes = Fault::ALL.iter().map(|fault| fault.code()).chain(["none"]);
        codes
            .zip(&self.unrouted)
            .map(|(code, count)| (code, count.load(Relaxed)))
    }

    pub(crate) fn dropped_lines(&self) -> Vec<(&'static str, u64)> {
        read(&self.dropped_lines)
    }

    fn observe_other(&self, record: &RequestRecord, is_found: bool) {
        self.overflow.fetch_add(1, Relaxed);
        self.other.observe(record, is_found);
    }

    /// What had no place for series of its own, by whose series.
    pub(crate) fn overflows(&self) -> Vec<(&'static str, u64)> {
        let mut overflows = vec![("releases", self.overflow.load(Relaxed))];
        overflows.extend(read(&self.overflows));
        overflows
    }
}
