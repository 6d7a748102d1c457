//! The counters of one release: sharded, so that a serving thread takes a lock that nobody else wants but a scraper, and
//! found by pointer, so that a request compares no strings.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermion_model::record::{RequestRecord, Served};
use fermion_model::{Blame, Fault};

use crate::histogram::{Histogram, Links, Snapshot};
use crate::limits::{RELEASE_SHARD_BYTES_MAX, SHARDS_MAX};
use crate::upstreams::UpstreamMetrics;

/// Label values of `status_class`; the first is for requests that got no answer.
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Label values of `blame`; the first is for requests that went well.
pub(crate) const BLAMES: [&str; 5] = ["none", "guest", "client", "upstream", "platform"];
/// Label values of `phase`.
pub(crate) const PHASES: [&str; 4] = ["queue", "instantiate", "first_byte", "total"];

const FAULTS: usize = Fault::ALL.len();

/// What is counted of requests.
#[derive(Debug, Default)]
pub(crate) struct Counts<D> {
    pub(crate) requests: [[u64; BLAMES.len()]; CLASSES.len()],
    pub(crate) faults: [u64; FAULTS],
    pub(crate) phases: [D; PHASES.len()],
    pub(crate) cold: u64,
    pub(crate) warm: u64,
    pub(crate) cpu_nanos: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// One release's counters, summed over the shards.
pub(crate) type Totals = Counts<Snapshot>;

#[derive(Debug, Default)]
struct Share {
    counts: Counts<Histogram>,
    /// Of the last phase.
    links: Links,
}

/// One thread's share; aligned to two cache lines, which neighbours are fetched in.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Share>);

const _: () = assert!(size_of::<Shard>() <= RELEASE_SHARD_BYTES_MAX);

/// A release's instances at a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InstanceReading {
    /// Requests that hold a permit.
    pub in_use: u64,
    /// Instances that outlive a request, or wait for their first.
    pub kept: u64,
}

/// Reads a release's instances at each scrape.
pub(crate) type Watch = Box<dyn Fn() -> InstanceReading + Send + Sync>;

/// One release's counters.
pub(crate) struct ReleaseMetrics {
    pub(crate) served: Arc<Served>,
    shards: Box<[Shard]>,
    instances: Mutex<Option<Watch>>,
    upstreams: Mutex<Option<Arc<UpstreamMetrics>>>,
    /// The release is gone; its series leave after they were scraped once more.
    is_retired: AtomicBool,
}

impl fmt::Debug for ReleaseMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleaseMetrics")
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Counts threads up, so that the first few, which serve, have shards of their own.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

/// Which of the threads this is; those that serve have the first numbers.
pub(crate) fn thread_index() -> usize {
    THREAD.with(|index| *index)
}

pub(crate) fn blame_index(blame: Option<Blame>) -> usize {
    match blame {
        None => 0,
        Some(Blame::Guest) => 1,
        Some(Blame::Client) => 2,
        Some(Blame::Upstream) => 3,
        Some(Blame::Platform) => 4,
    }
}

/// The position of a fault in [`Fault::ALL`], which lists every fault in the order of its declaration.
pub(crate) fn fault_index(fault: Fault) -> usize {
    fault as usize
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Shard {
    fn held(&self) -> MutexGuard<'_, Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn add(&mut self, counts: &Counts<Histogram>) {
        let each = counts.requests.as_flattened().iter().chain(&counts.faults);
        let sums = self.requests.as_flattened_mut().iter_mut();
        for (sum, count) in sums.chain(&mut self.faults).zip(each) {
            *sum += count;
        }
        for (sum, histogram) in self.phases.iter_mut().zip(&counts.phases) {
            sum.histogram.add(histogram);
        }
        self.cold += counts.cold;
        self.warm += counts.warm;
        self.cpu_nanos += counts.cpu_nanos;
        self.memory_bytes_max = self.memory_bytes_max.max(counts.memory_bytes_max);
        self.bytes_in += counts.bytes_in;
        self.bytes_out += counts.bytes_out;
    }
}

impl ReleaseMetrics {
    pub(crate) fn new(served: Arc<Served>, shards: usize) -> Self {
        Self {
            served,
            shards: (0..shards.clamp(1, SHARDS_MAX))
                .map(|_| Shard::default())
                .collect(),
            instances: Mutex::new(None),
            upstreams: Mutex::new(None),
            is_retired: AtomicBool::new(false),
        }
    }

    /// `is_found` says whether whoever has the request's id finds more of it: then it may stand for its bucket.
    pub(crate) fn observe(&self, record: &RequestRecord, is_found: bool) {
        let mut share = self.shards[thread_index() % self.shards.len()].held();
        if is_found {
            share.links.observe(record.total, record.trace_id);
        }
        let counts = &mut share.counts;
        let class = usize::from(record.status / 100).min(CLASSES.len() - 1);
        counts.requests[class][blame_index(record.blame())] += 1;
        if let Some(fault) = record.fault {
            counts.faults[fault_index(fault)] += 1;
        }
        let phases = [record.queue, record.instantiate, record.first_byte, record.total];
        for (histogram, duration) in counts.phases.iter_mut().zip(phases) {
            histogram.observe(duration);
        }
        if record.cold {
            counts.cold += 1;
        } else if record.instantiate > Duration::ZERO {
            counts.warm += 1;
        }
        counts.cpu_nanos = counts.cpu_nanos.saturating_add(nanos(record.cpu));
        counts.memory_bytes_max = counts.memory_bytes_max.max(record.memory_bytes);
        counts.bytes_in += record.bytes_in;
        counts.bytes_out += record.bytes_out;
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            let share = &mut *shard.held();
            totals.add(&share.counts);
            if let Some(total) = totals.phases.last_mut() {
                share.links.add_to(&mut total.links);
            }
        }
        totals
    }

    pub(crate) fn watch_instances(&self, read: Watch) {
        *self.instances.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    }

    /// None if nobody said how to read it.
    pub(crate) fn instances(&self) -> Option<InstanceReading> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|read| read())
    }

    pub(crate) fn watch_upstreams(&self, upstreams: Arc<UpstreamMetrics>) {
        *self.upstreams.lock().unwrap_or_else(PoisonError::into_inner) = Some(upstreams);
    }

    /// None if it calls nobody.
    pub(crate) fn upstreams(&self) -> Option<Arc<UpstreamMetrics>> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Relaxed);
        // What the reader holds, such as the release's pool, is let go now.
        *self.instances.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn revive(&self) {
        self.is_retired.store(false, Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing of a shard lies elsewhere: no number of requests makes it grow.
    #[test]
    fn a_series_takes_a_few_bytes_a_thread() {
        let buckets = Histogram::default().counts().len();
        let series = CLASSES.len() * BLAMES.len() + FAULTS + PHASES.len() * (buckets + 2) + 5;
        let bytes = size_of::<Shard>() / series;
        assert!(bytes <= 24, "{bytes} bytes for each of {series} series");
    }

    #[test]
    fn faults_are_listed_in_their_order() {
        for (index, &fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(fault_index(fault), index);
        }
    }
}
