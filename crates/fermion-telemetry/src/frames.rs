//! What requests were like since the last look, by release: what a node's frames are made of. Sharded by thread, so that
//! a request takes a lock that nobody else wants but once a second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fermion_model::Blame;
use fermion_model::frame::{Arm, EXPERIMENT_METRIC, FrameSeries, SLOW_START};
use fermion_model::record::{RequestRecord, Served};
use fermion_planner::judge::thinning::Thinning;
use rustc_hash::FxHashMap;

use crate::intake::Uncounted;
use crate::limits::{FRAME_SERIES_MAX, SHARDS_MAX};
use crate::recorder::Recorder;
use crate::release_metrics::thread_index;

/// A release by the address of its name, which the entry holds, and the share of traffic.
type Key = (usize, Arm);

#[derive(Debug)]
struct Entry {
    served: Arc<Served>,
    series: FrameSeries,
    duration: Recorder,
    faults: HashMap<&'static str, u64>,
}

/// One thread's share, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    entries: Mutex<FxHashMap<Key, Entry>>,
}

/// Requests since the last frame.
#[derive(Debug)]
pub struct Frames {
    shards: Box<[Shard]>,
    unlisted: AtomicU64,
    /// The same since the start.
    unlisted_ever: AtomicU64,
    /// Seconds at the last look. No request reads a clock.
    now: AtomicU64,
    /// Who has failed lately. Only failures of callers who are known lock it.
    failed: Mutex<Thinning>,
    uncounted: Uncounted,
}

/// What is taken out for one frame.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// What had requests, by name and release.
    pub series: Vec<FrameSeries>,
    /// Requests of series too many.
    pub unlisted: u64,
}

impl Default for Frames {
    fn default() -> Self {
        let shards = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shards: (0..shards.clamp(1, SHARDS_MAX))
                .map(|_| Shard::default())
                .collect(),
            unlisted: AtomicU64::new(0),
            unlisted_ever: AtomicU64::new(0),
            now: AtomicU64::new(0),
            failed: Mutex::default(),
            uncounted: Uncounted::default(),
        }
    }
}

impl Frames {
    /// Set by the intake whose requests are counted here.
    pub(crate) fn uncounted(&self) -> &Uncounted {
        &self.uncounted
    }

    /// Takes in one request. What no app served is nobody's.
    pub fn observe(&self, record: &RequestRecord) {
        let Some(served) = &record.served else { return };
        let key = (Arc::as_ptr(served).addr(), record.arm);
        let is_distinct = is_failure(record) && self.is_distinct(key.0, record.caller);
        let shard = &self.shards[thread_index() % self.shards.len()];
        let mut entries = shard.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= FRAME_SERIES_MAX && !entries.contains_key(&key) {
            self.unlisted.fetch_add(1, Relaxed);
            self.unlisted_ever.fetch_add(1, Relaxed);
            return;
        }
        let entry = entries.entry(key).or_insert_with(|| Entry::new(served, key.1));
        entry.add(record);
        entry.series.distinct_failures += u64::from(is_distinct);
    }

    /// Requests that had no place in a frame since the start.
    pub fn unlisted(&self) -> u64 {
        self.unlisted_ever.load(Relaxed)
    }

    /// Whether a failure of this release is the first of its caller lately. Nobody in particular is always another one.
    fn is_distinct(&self, release: usize, caller: u64) -> bool {
        if caller == 0 {
            return true;
        }
        // A caller who was moved from one release to the other has not failed there yet.
        let key = caller ^ u64::try_from(release).unwrap_or(u64::MAX);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.counts(key, self.now.load(Relaxed))
    }

    /// Everything since the last call. `now` is the time by a monotonic clock, whatever it counts from: failures until
    /// the next call are thinned by it.
    pub fn take(&self, now: Duration) -> Taken {
        self.uncounted.count();
        self.now.store(now.as_secs(), Relaxed);
        let mut merged: HashMap<(Arc<Served>, Arm), FrameSeries> = HashMap::new();
        for shard in &self.shards {
            let entries = {
                let mut entries = shard.entries.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *entries)
            };
            for ((_, arm), entry) in entries {
                let (served, series) = entry.finish();
                match merged.get_mut(&(Arc::clone(&served), arm)) {
                    Some(known) => known.merge(&series),
                    None => drop(merged.insert((served, arm), series)),
                }
            }
        }
        let mut series: Vec<FrameSeries> = merged.into_values().collect();
        let name = |series: &FrameSeries| {
            let FrameSeries { namespace, app, .. } = series;
            (namespace.clone(), app.clone(), series.release, series.arm)
        };
        series.sort_by_cached_key(name);
        let unlisted = self.unlisted.swap(0, Relaxed);
        Taken { series, unlisted }
    }
}

/// Whether somebody else than the client is to blame for how a request went.
fn is_failure(record: &RequestRecord) -> bool {
    record.blame().is_some_and(|blame| blame != Blame::Client)
}

impl Entry {
    fn new(served: &Arc<Served>, arm: Arm) -> Self {
        Self {
            served: Arc::clone(served),
            series: FrameSeries {
                namespace: served.namespace.clone(),
                app: served.app.clone(),
                release: served.release,
                arm,
                ..FrameSeries::default()
            },
            duration: Recorder::default(),
            faults: HashMap::new(),
        }
    }

    fn add(&mut self, record: &RequestRecord) {
        let series = &mut self.series;
        series.requests += 1;
        match record.blame() {
            None => {}
            Some(Blame::Guest) => series.guest_failures += 1,
            Some(Blame::Client) => series.client_failures += 1,
            Some(Blame::Upstream) => series.upstream_failures += 1,
            Some(Blame::Platform) => series.platform_failures += 1,
        }
        if let Some(fault) = record.fault {
            *self.faults.entry(fault.code()).or_default() += 1;
        }
        if record.cold {
            series.cold += 1;
            series.slow_starts += u64::from(record.instantiate > SLOW_START);
        }
        series.memory_bytes_max = series.memory_bytes_max.max(record.memory_bytes);
        let upstream = record.calls.upstream.min(record.total);
        for (sum, took) in [
            (&mut series.cpu_nanos, record.cpu),
            (&mut series.total_nanos, record.total),
            (&mut series.queue_nanos, record.queue),
            (&mut series.instantiate_nanos, record.instantiate),
            (&mut series.upstream_nanos, upstream),
        ] {
            *sum = sum.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
        self.duration.add(record.total.as_secs_f64());
        if let Some(value) = record.metric {
            let name = EXPERIMENT_METRIC.to_owned();
            series.custom.entry(name).or_default().add(value);
        }
        if let Some(copied) = &record.copied {
            // A copy always has an instance made for it alone, which says nothing of how quick the release is.
            let took = record.total.saturating_sub(record.instantiate);
            let copies = series.copies.get_or_insert_default();
            copies.add(copied, record.status, took);
        }
    }

    fn finish(mut self) -> (Arc<Served>, FrameSeries) {
        let faults = self
            .faults
            .into_iter()
            .map(|(code, count)| (code.to_owned(), count));
        self.series.faults = faults.collect();
        self.duration.empty_into(&mut self.series.duration);
        (self.served, self.series)
    }
}

#[cfg(test)]
mod tests {
    use fermion_model::Fault;

    use super::*;

    fn record(served: Option<&Arc<Served>>, status: u16, fault: Option<Fault>) -> RequestRecord {
        RequestRecord {
            served: served.cloned(),
            status,
            fault,
            total: Duration::from_millis(10),
            instantiate: Duration::from_millis(6),
            cold: true,
            trace_id: [1; 16],
            span_id: [1; 8],
            parent_id: None,
            is_sampled: false,
            method: http::Method::GET,
            path: String::new(),
            detail: String::new(),
            client_gone: false,
            queue: Duration::ZERO,
            first_byte: Duration::from_millis(8),
            cpu: Duration::from_millis(1),
            memory_bytes: 1 << 20,
            bytes_in: 0,
            bytes_out: 0,
            calls: Default::default(),
            arm: Arm::Stable,
            caller: 0,
            copied: None,
            metric: None,
        }
    }

    #[test]
    fn a_frame_says_what_there_was_once_whichever_thread_saw_it() {
        let frames = Arc::new(Frames::default());
        let served = Arc::new(Served {
            namespace: "shop".to_owned(),
            app: "tax".to_owned(),
            release: 7,
        });
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (frames, served) = (Arc::clone(&frames), Arc::clone(&served));
                std::thread::spawn(move || {
                    for (status, fault) in [
                        (200, None),
                        (500, None),
                        (404, None),
                        (502, Some(Fault::GuestTrap)),
                        (503, Some(Fault::Overloaded)),
                    ] {
                        frames.observe(&record(Some(&served), status, fault));
                        frames.observe(&record(None, status, fault));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let taken = frames.take(Duration::ZERO);
        let [series] = taken.series.as_slice() else {
            panic!("{taken:?}")
        };
        assert_eq!(
            (series.app.as_str(), series.release, series.requests),
            ("tax", 7, 20)
        );
        assert_eq!((series.guest_failures, series.platform_failures), (8, 4));
        assert_eq!(
            (
                series.client_failures,
                series.failures(),
                series.distinct_failures
            ),
            (4, 12, 12)
        );
        assert_eq!(
            (series.cold, series.slow_starts, series.duration.count()),
            (20, 20, 20)
        );
        assert_eq!(series.faults["GUEST_TRAP"], 4);
        assert_eq!(frames.take(Duration::ZERO), Taken::default());
    }

    #[test]
    fn parts_of_a_rollout_are_apart_and_a_caller_fails_once_in_ten_seconds() {
        let frames = Frames::default();
        let [old, new] = [7, 8].map(|release| {
            Arc::new(Served {
                namespace: "shop".to_owned(),
                app: "tax".to_owned(),
                release,
            })
        });
        let fails = |served, arm, caller| RequestRecord {
            arm,
            caller,
            ..record(Some(served), 500, None)
        };
        let mut counted = Vec::new();
        for second in 1..=25 {
            for _ in 0..3 {
                frames.observe(&fails(&new, Arm::Canary, 1));
            }
            frames.observe(&fails(&new, Arm::Canary, second + 1));
            frames.observe(&fails(&new, Arm::Canary, 0));
            frames.observe(&fails(&new, Arm::Canary, 0));
            frames.observe(&fails(&old, Arm::Stable, 1));
            frames.observe(&RequestRecord {
                caller: 100 + second,
                ..record(Some(&new), 404, None)
            });
            let taken = frames.take(Duration::from_secs(second));
            let parts: Vec<_> = taken.series.iter().map(|s| (s.release, s.arm)).collect();
            assert_eq!(parts, [(7, Arm::Stable), (8, Arm::Stable), (8, Arm::Canary)]);
            assert_eq!(
                (taken.series[1].distinct_failures, taken.series[2].failures()),
                (0, 6)
            );
            counted.push((
                taken.series[0].distinct_failures,
                taken.series[2].distinct_failures,
            ));
        }
        // Three others, and the one who fails all the time in seconds 0, 10 and 20.
        let expected: Vec<_> = (0..25)
            .map(|second| if second % 10 == 0 { (1, 4) } else { (0, 3) })
            .collect();
        assert_eq!(counted, expected);
    }

    #[test]
    fn series_are_bounded_and_the_rest_is_counted() {
        let frames = Frames::default();
        let names: Vec<_> = (0..FRAME_SERIES_MAX + 3)
            .map(|n| {
                Arc::new(Served {
                    namespace: "shop".to_owned(),
                    app: format!("a{n}"),
                    release: 1,
                })
            })
            .collect();
        for name in &names {
            frames.observe(&record(Some(name), 200, None));
        }
        let taken = frames.take(Duration::ZERO);
        assert_eq!((taken.series.len(), taken.unlisted), (FRAME_SERIES_MAX, 3));
        assert_eq!((frames.take(Duration::ZERO).unlisted, frames.unlisted()), (0, 3));
    }
}
