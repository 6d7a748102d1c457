//! The counters of one release: sharded, so that serving threads do not share cache lines, and found by pointer, so
//! that a request compares no strings.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
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

/// One thread's share; aligned to two cache lines, which neighbours are fetched in.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    requests: [[AtomicU64; BLAMES.len()]; CLASSES.len()],
    faults: [AtomicU64; FAULTS],
    phases: [Histogram; PHASES.len()],
    /// Of the last phase.
    links: Links,
    cold: AtomicU64,
    warm: AtomicU64,
    cpu_nanos: AtomicU64,
    memory_bytes_max: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

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

/// One release's counters, summed over the shards.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: [[u64; BLAMES.len()]; CLASSES.len()],
    pub(crate) faults: [u64; FAULTS],
    pub(crate) phases: [Snapshot; PHASES.len()],
    pub(crate) cold: u64,
    pub(crate) warm: u64,
    pub(crate) cpu_nanos: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
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

fn count(counter: &AtomicU64, by: u64) {
    if by > 0 {
        counter.fetch_add(by, Relaxed);
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
        let shard = &self.shards[thread_index() % self.shards.len()];
        let class = usize::from(record.status / 100).min(CLASSES.len() - 1);
        count(&shard.requests[class][blame_index(record.blame())], 1);
        if let Some(fault) = record.fault {
            count(&shard.faults[fault_index(fault)], 1);
        }
        let phases = [record.queue, record.instantiate, record.first_byte, record.total];
        for (histogram, duration) in shard.phases.iter().zip(phases) {
            histogram.observe(duration);
        }
        if is_found {
            shard.links.observe(record.total, record.trace_id);
        }
        if record.cold {
            count(&shard.cold, 1);
        } else if record.instantiate > Duration::ZERO {
            count(&shard.warm, 1);
        }
        count(
            &shard.cpu_nanos,
            u64::try_from(record.cpu.as_nanos()).unwrap_or(u64::MAX),
        );
        // Read first: the greatest is known after a few requests, and a line that nobody writes is shared for nothing.
        if record.memory_bytes > shard.memory_bytes_max.load(Relaxed) {
            shard.memory_bytes_max.fetch_max(record.memory_bytes, Relaxed);
        }
        count(&shard.bytes_in, record.bytes_in);
        count(&shard.bytes_out, record.bytes_out);
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            for (sums, counts) in totals.requests.iter_mut().zip(&shard.requests) {
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum += count.load(Relaxed);
                }
            }
            for (sum, count) in totals.faults.iter_mut().zip(&shard.faults) {
                *sum += count.load(Relaxed);
            }
            for (sum, histogram) in totals.phases.iter_mut().zip(&shard.phases) {
                histogram.add_to(sum);
            }
            if let Some(total) = totals.phases.last_mut() {
                shard.links.add_to(total);
            }
            totals.cold += shard.cold.load(Relaxed);
            totals.warm += shard.warm.load(Relaxed);
            totals.cpu_nanos += shard.cpu_nanos.load(Relaxed);
            let memory_bytes = shard.memory_bytes_max.load(Relaxed);
            totals.memory_bytes_max = totals.memory_bytes_max.max(memory_bytes);
            totals.bytes_in += shard.bytes_in.load(Relaxed);
            totals.bytes_out += shard.bytes_out.load(Relaxed);
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
        let buckets = Snapshot::default().counts().len();
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
