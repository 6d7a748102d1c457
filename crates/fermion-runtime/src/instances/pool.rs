//! The instances of one release that wait: fresh ones in a place for all threads, used ones with the thread that used
//! them last, whose caches know them. Taking and giving back lock what only the own thread uses.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermion_model::manifest::Instances;

use super::instance::Instance;
use super::ledger::{Entry, Ledger};
use super::shared::{Place, Shared};
use crate::limits;
use crate::program::Core;

/// Waiting instances, the one used last on top. Aligned to two cache lines, which neighbours are fetched in.
#[derive(Default)]
#[repr(align(128))]
struct Shelf {
    waiting: Mutex<Vec<Instance>>,
    /// Their number, to pass by an empty shelf without its lock.
    count: AtomicUsize,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Instance> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let mut waiting = self.lock();
        let instance = waiting.pop();
        self.count.store(waiting.len(), Relaxed);
        instance
    }

    fn give(&self, instance: Instance) {
        let mut waiting = self.lock();
        waiting.push(instance);
        self.count.store(waiting.len(), Relaxed);
    }

    /// Takes out those that have waited since before `since`, but leaves `keep`.
    fn expire(&self, since: u32, keep: usize) -> Vec<Instance> {
        if self.count.load(Relaxed) <= keep {
            return Vec::new();
        }
        let mut waiting = self.lock();
        let old = waiting
            .iter()
            .take_while(|instance| instance.since <= since)
            .count();
        let old = old.min(waiting.len().saturating_sub(keep));
        let expired = waiting.drain(..old).collect();
        self.count.store(waiting.len(), Relaxed);
        expired
    }
}

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A small number for each thread that serves, in the order in which they come.
fn thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREAD.with(|thread| {
        thread.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Relaxed);
            thread.set(Some(number));
            number
        })
    })
}

/// The waiting instances of one release.
pub(crate) struct Pool {
    policy: Instances,
    accounts: [Arc<Ledger>; 2],
    ready: Shelf,
    used: Box<[Shelf]>,
    /// Instances that several requests are in, or were: each thread has its own.
    open: Box<[Mutex<Vec<Arc<Shared>>>]>,
    /// Counts up each half of the idle time.
    pub(super) time: AtomicU32,
    /// Requests since the keeper looked; counted only where it sizes the pool.
    pub(super) taken: AtomicU64,
    make_nanos: AtomicU64,
    /// The keeper knows of this pool.
    pub(super) is_listed: AtomicBool,
    pub(super) is_filling: AtomicBool,
}

impl Pool {
    pub(crate) fn new(policy: Instances, concurrency: u32, process: Arc<Ledger>) -> Self {
        let kept_max = u64::from(concurrency.max(policy.warm_max)).max(1);
        let release = Ledger::new(kept_max, limits::KEPT_BYTES_PER_RELEASE_MAX);
        let shelves = if policy.reuse_requests > 1 {
            limits::POOL_SHELVES
        } else {
            0
        };
        Self {
            policy,
            accounts: [release, process],
            ready: Shelf::default(),
            used: (0..shelves).map(|_| Shelf::default()).collect(),
            open: (0..shelves).map(|_| Mutex::default()).collect(),
            time: AtomicU32::new(2),
            taken: AtomicU64::new(0),
            make_nanos: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
            is_filling: AtomicBool::new(false),
        }
    }

    pub(crate) fn policy(&self) -> &Instances {
        &self.policy
    }

    /// True if instances of this release may serve more than one request.
    pub(crate) fn is_reusing(&self) -> bool {
        self.policy.reuse_requests > 1
    }

    /// An instance that waits, best the one that this thread used last.
    pub(crate) fn take(&self) -> Option<Instance> {
        if self.policy.warm_min > 0 {
            self.taken.fetch_add(1, Relaxed);
        }
        if self.used.is_empty() {
            return self.ready.take();
        }
        let own = thread() % self.used.len();
        let others = self.used.iter().skip(own + 1).chain(self.used.iter().take(own));
        self.used[own]
            .take()
            .or_else(|| self.ready.take())
            .or_else(|| others.into_iter().find_map(Shelf::take))
    }

    /// A place in an instance of this thread that takes another request.
    pub(crate) fn place(&self, core: &Arc<Core>) -> Option<Place> {
        let mut open = self.open(thread());
        open.retain(|shared| !shared.is_over(self.policy.reuse_requests));
        open.iter().rev().find_map(|shared| shared.sit(core, false))
    }

    /// Opens an instance for several requests, of which this is the first.
    pub(crate) fn share(&self, instance: Instance, core: &Arc<Core>) -> Option<Place> {
        let shared = Shared::open(instance, core)?;
        let place = shared.sit(core, true);
        self.open(thread()).push(shared);
        place
    }

    fn open(&self, thread: usize) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        let open = &self.open[thread % self.open.len()];
        open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out those that are empty since before `since`.
    fn close(&self, since: u32) -> Vec<Arc<Shared>> {
        let threads = 0..self.open.len();
        let idle = threads.flat_map(|thread| {
            let mut open = self.open(thread);
            open.extract_if(.., |shared| shared.is_idle(since))
                .collect::<Vec<_>>()
        });
        idle.collect()
    }

    /// Its time: it goes on with each half of the idle time.
    pub(super) fn now(&self) -> u32 {
        self.time.load(Relaxed)
    }

    /// Enters an instance in the books, or follows its growth. False if there is no room for it.
    pub(crate) fn enter(&self, instance: &mut Instance) -> bool {
        let bytes = instance.memory_bytes();
        match &mut instance.entry {
            Some(entry) => entry.grow(bytes),
            None => {
                instance.entry = Entry::open(self.accounts.clone(), bytes);
                instance.entry.is_some()
            }
        }
    }

    /// Puts an instance that is in the books where its thread finds it again.
    pub(crate) fn give(&self, mut instance: Instance) {
        instance.store.data_mut().rest();
        instance.since = self.time.load(Relaxed);
        let shelf = match (instance.served, self.used.len()) {
            (0, _) | (_, 0) => &self.ready,
            (_, shelves) => &self.used[thread() % shelves],
        };
        shelf.give(instance);
    }

    /// Instances that wait for their first request.
    pub(crate) fn ready(&self) -> usize {
        self.ready.count.load(Relaxed)
    }

    /// All that wait.
    pub(crate) fn waiting(&self) -> usize {
        let open = (0..self.open.len()).map(|thread| self.open(thread).len());
        self.ready()
            + self
                .used
                .iter()
                .map(|shelf| shelf.count.load(Relaxed))
                .sum::<usize>()
            + open.sum::<usize>()
    }

    /// All that are kept beyond a request, waiting or at work.
    pub(crate) fn kept(&self) -> u64 {
        self.accounts[0].instances()
    }

    /// Half of the idle time has passed: drops what has waited for all of it, but leaves `ready` fresh ones.
    pub(super) fn expire(&self, ready: usize) {
        let since = self.time.fetch_add(1, Relaxed).saturating_sub(2);
        drop(self.ready.expire(since, ready));
        for shelf in &self.used {
            drop(shelf.expire(since, 0));
        }
        drop(self.close(since));
    }

    /// Drops everything that waits: another release has no room. Gives how many they were.
    pub(crate) fn clear(&self) -> usize {
        let ready = self.ready.expire(u32::MAX, 0).len();
        let used = self.used.iter().map(|shelf| shelf.expire(u32::MAX, 0).len());
        ready + used.sum::<usize>() + self.close(u32::MAX).len()
    }

    pub(crate) fn made(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.make_nanos.load(Relaxed);
        let mean = if before == 0 {
            nanos
        } else {
            before - before / 8 + nanos / 8
        };
        self.make_nanos.store(mean, Relaxed);
    }

    /// How long making an instance takes, lately.
    pub(super) fn make_time(&self) -> Duration {
        Duration::from_nanos(self.make_nanos.load(Relaxed))
    }
}
