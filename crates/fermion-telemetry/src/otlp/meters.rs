//! What requests were like since the last export, in as much detail as the conventions ask for. Sharded by thread, and
//! each shard twice: requests write to one while the exporter reads the other and sets it back to zero, so that a request
//! never waits for the reader and, once a series is there, allocates nothing.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fermion_model::Fault;
use fermion_model::record::{RequestRecord, Served};
use fermion_model::sketch::Sketch;
use rustc_hash::FxHashMap;

use crate::limits::{EXPORT_SERIES_MAX, SHARDS_MAX};
use crate::recorder::Recorder;
use crate::release_metrics::{BLAMES, CLASSES, blame_index, fault_index, thread_index};

/// Methods that have a name of their own; every other one is `_OTHER`, as the conventions say.
pub(crate) const METHODS: [&str; 10] = [
    "_OTHER", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
];

/// The name of a method among [`METHODS`].
pub(crate) fn method(method: &http::Method) -> &'static str {
    METHODS[method_index(method)]
}

fn method_index(method: &http::Method) -> usize {
    METHODS
        .iter()
        .position(|known| *known == method.as_str())
        .unwrap_or(0)
}

/// What requests of one release are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kind {
    method: u8,
    class: u8,
    blame: u8,
    pub(crate) is_cold: bool,
}

impl Kind {
    fn of(record: &RequestRecord) -> Self {
        let small = |index: usize| u8::try_from(index).unwrap_or(0);
        Self {
            method: small(method_index(&record.method)),
            class: small(usize::from(record.status / 100).min(CLASSES.len() - 1)),
            blame: small(blame_index(record.blame())),
            is_cold: record.cold,
        }
    }

    pub(crate) fn method(self) -> &'static str {
        METHODS[usize::from(self.method)]
    }

    pub(crate) fn class(self) -> &'static str {
        CLASSES[usize::from(self.class)]
    }

    pub(crate) fn blame(self) -> &'static str {
        BLAMES[usize::from(self.blame)]
    }
}

/// A request whose trace is kept, as an example of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Example {
    pub(crate) time: SystemTime,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) seconds: f64,
}

/// Requests of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Requests<D = Sketch> {
    pub(crate) duration: D,
    pub(crate) example: Option<Example>,
}

/// What is measured of a release whatever the kind of request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phases<D = Sketch> {
    pub(crate) requests: u64,
    pub(crate) queue: D,
    pub(crate) first_byte: D,
    pub(crate) init: D,
    pub(crate) invoke: D,
    pub(crate) cpu: D,
    pub(crate) faults: [u64; Fault::ALL.len()],
}

impl<D: Default> Default for Phases<D> {
    fn default() -> Self {
        Self {
            requests: 0,
            queue: D::default(),
            first_byte: D::default(),
            init: D::default(),
            invoke: D::default(),
            cpu: D::default(),
            faults: [0; Fault::ALL.len()],
        }
    }
}

impl<D> Phases<D> {
    fn distributions(&mut self) -> [&mut D; 5] {
        [
            &mut self.queue,
            &mut self.first_byte,
            &mut self.init,
            &mut self.invoke,
            &mut self.cpu,
        ]
    }
}

impl Phases<Recorder> {
    fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        let add = |recorder: &mut Recorder, duration: Duration| recorder.add(duration.as_secs_f64());
        add(&mut self.queue, record.queue);
        add(&mut self.first_byte, record.first_byte);
        if record.cold {
            add(&mut self.init, record.instantiate);
        }
        let before = record.queue + record.instantiate;
        if record.instantiate > Duration::ZERO {
            add(&mut self.invoke, record.total.saturating_sub(before));
            add(&mut self.cpu, record.cpu);
        }
        if let Some(fault) = record.fault {
            self.faults[fault_index(fault)] += 1;
        }
    }

    fn empty_into(&mut self, sum: &mut Phases) {
        sum.requests += mem::take(&mut self.requests);
        for (mine, all) in self.distributions().into_iter().zip(sum.distributions()) {
            mine.empty_into(all);
        }
        for (mine, all) in self.faults.iter_mut().zip(&mut sum.faults) {
            *all += mem::take(mine);
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// Holds the name, so that its address belongs to nobody else.
    served: Arc<Served>,
    phases: Phases<Recorder>,
    kinds: FxHashMap<Kind, Requests<Recorder>>,
}

/// One half of a shard, by the address of the release's name.
#[derive(Debug, Default)]
struct Half {
    entries: FxHashMap<usize, Entry>,
    unrouted: HashMap<Fault, u64>,
}

/// One thread's share, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    active: Mutex<Half>,
    other: Mutex<Half>,
}

/// Requests since the last export.
#[derive(Debug)]
pub(crate) struct Meters {
    shards: Box<[Shard]>,
    /// For releases too many.
    overflow: Arc<Served>,
    /// Their requests.
    overflowed: AtomicU64,
}

/// Everything of one release.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) phases: Phases,
    pub(crate) kinds: HashMap<Kind, Requests>,
}

/// What is taken out for one export.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) releases: HashMap<Arc<Served>, Measured>,
    /// Requests that reached no app.
    pub(crate) unrouted: HashMap<Fault, u64>,
}

impl Default for Meters {
    fn default() -> Self {
        let shards = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shards: (0..shards.clamp(1, SHARDS_MAX))
                .map(|_| Shard::default())
                .collect(),
            overflow: Arc::new(Served {
                namespace: "other".to_owned(),
                app: "other".to_owned(),
                release: 0,
            }),
            overflowed: AtomicU64::new(0),
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meters {
    /// Takes in one request, and when it ended if its trace is kept.
    pub(crate) fn observe(&self, record: &RequestRecord, kept: Option<SystemTime>) {
        let shard = &self.shards[thread_index() % self.shards.len()];
        let mut half = held(&shard.active);
        let Some(served) = &record.served else {
            if let Some(fault) = record.fault {
                *half.unrouted.entry(fault).or_default() += 1;
            }
            return;
        };
        let address = |served: &Arc<Served>| Arc::as_ptr(served).addr();
        let is_full = half.entries.len() >= EXPORT_SERIES_MAX && !half.entries.contains_key(&address(served));
        let served = if is_full { &self.overflow } else { served };
        self.overflowed.fetch_add(u64::from(is_full), Relaxed);
        let entry = half.entries.entry(address(served)).or_insert_with(|| Entry {
            served: Arc::clone(served),
            phases: Phases::default(),
            kinds: FxHashMap::default(),
        });
        entry.phases.add(record);
        let seconds = record.total.as_secs_f64();
        let requests = entry.kinds.entry(Kind::of(record)).or_default();
        requests.duration.add(seconds);
        if let Some(time) = kept {
            requests.example = Some(Example {
                time,
                trace_id: record.trace_id,
                span_id: record.span_id,
                seconds,
            });
        }
    }

    /// Requests of releases too many, since the start.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Everything since the last call.
    pub(crate) fn take(&self) -> Taken {
        let mut taken = Taken::default();
        for shard in &self.shards {
            let mut other = held(&shard.other);
            mem::swap(&mut *held(&shard.active), &mut *other);
            for (fault, count) in other.unrouted.drain() {
                *taken.unrouted.entry(fault).or_default() += count;
            }
            // A series that had nothing in a whole interval goes.
            other.entries.retain(|_, entry| entry.phases.requests > 0);
            for entry in other.entries.values_mut() {
                let measured = taken.releases.entry(Arc::clone(&entry.served)).or_default();
                entry.empty_into(measured);
            }
        }
        taken
    }
}

impl Entry {
    fn empty_into(&mut self, measured: &mut Measured) {
        self.phases.empty_into(&mut measured.phases);
        self.kinds.retain(|_, requests| !requests.duration.is_empty());
        for (kind, requests) in &mut self.kinds {
            let sum = measured.kinds.entry(*kind).or_default();
            requests.duration.empty_into(&mut sum.duration);
            sum.example = requests.example.take().or(sum.example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(served: Option<&Arc<Served>>, fault: Option<Fault>) -> RequestRecord {
        RequestRecord {
            served: served.cloned(),
            trace_id: [1; 16],
            span_id: [2; 8],
            parent_id: None,
            is_sampled: false,
            method: http::Method::from_bytes(b"BREW").unwrap(),
            path: String::new(),
            status: fault.map_or(200, Fault::status),
            fault,
            detail: String::new(),
            client_gone: false,
            cold: true,
            queue: Duration::ZERO,
            instantiate: Duration::from_millis(1),
            first_byte: Duration::from_millis(2),
            total: Duration::from_millis(3),
            cpu: Duration::ZERO,
            memory_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
            calls: Default::default(),
            arm: fermion_model::frame::Arm::Stable,
            caller: 0,
            copied: None,
            metric: None,
        }
    }

    fn named(app: &str) -> Arc<Served> {
        Arc::new(Served {
            namespace: "shop".to_owned(),
            app: app.to_owned(),
            release: 1,
        })
    }

    #[test]
    fn each_request_is_taken_once_whichever_half_it_lay_in() {
        let meters = Meters::default();
        let served = named("tax");
        for round in 1..=4_u64 {
            for _ in 0..round {
                meters.observe(&record(Some(&served), None), None);
            }
            meters.observe(
                &record(Some(&served), Some(Fault::GuestTrap)),
                Some(SystemTime::UNIX_EPOCH),
            );
            meters.observe(&record(None, Some(Fault::NoRoute)), None);
            let taken = meters.take();
            let measured = &taken.releases[&served];
            assert_eq!(measured.phases.requests, round + 1);
            assert_eq!(measured.phases.invoke.count(), round + 1);
            assert_eq!(measured.phases.queue.zeros, round + 1);
            assert_eq!(measured.phases.faults.iter().sum::<u64>(), 1);
            let kinds: Vec<_> = measured.kinds.iter().collect();
            assert_eq!(
                kinds
                    .iter()
                    .map(|(_, requests)| requests.duration.count())
                    .sum::<u64>(),
                round + 1
            );
            assert!(kinds.iter().all(|(kind, _)| kind.method() == "_OTHER"));
            let examples = kinds
                .iter()
                .filter_map(|(kind, requests)| Some((kind.blame(), requests.example?)));
            let blames: Vec<_> = examples.map(|(blame, _)| blame).collect();
            assert_eq!(blames, ["guest"]);
            assert_eq!(taken.unrouted[&Fault::NoRoute], 1);
        }
        // A half in which nothing happened since forgets its series: twice, and both are empty.
        for _ in 0..2 {
            assert!(meters.take().releases.is_empty());
        }
        let is_empty =
            |shard: &Shard| held(&shard.active).entries.is_empty() && held(&shard.other).entries.is_empty();
        assert!(meters.shards.iter().all(is_empty));
    }

    #[test]
    fn releases_too_many_share_one_series() {
        let meters = Meters::default();
        let names: Vec<_> = (0..EXPORT_SERIES_MAX + 3)
            .map(|n| named(&format!("a{n}")))
            .collect();
        for name in &names {
            meters.observe(&record(Some(name), None), None);
        }
        let taken = meters.take();
        assert_eq!(taken.releases.len(), EXPORT_SERIES_MAX + 1);
        assert_eq!(taken.releases[&meters.overflow].phases.requests, 3);
        assert_eq!(meters.overflowed(), 3);
    }
}
