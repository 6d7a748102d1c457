//! What one request used, shared between the guest's store, the epoch callback and whoever records the request.
//! CPU time is measured by the thread's own clock from the first epoch tick on, so that a guest that answers within a
//! tick costs no system call, and a guest that was only waiting is never charged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fermion_model::calls::{Calls, HostCall};

use crate::limits::CALLS_LISTED_MAX;

/// Counters of one request.
#[derive(Debug, Default)]
pub struct Meter {
    cpu_nanos: AtomicU64,
    mark_nanos: AtomicU64,
    measuring: AtomicBool,
    growth_refused: AtomicBool,
    instantiate_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    /// Whether anything is in `calls`: most requests call nobody, and need no lock to say so.
    has_called: AtomicBool,
    calls: Mutex<Calls>,
}

/// CPU time of this thread.
pub(crate) fn thread_cpu_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl Meter {
    /// Guest CPU time so far; zero while the guest has run for less than one epoch tick.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Relaxed))
    }

    /// How long making the instance took, or taking one that waited: then [`Meter::TAKEN`].
    pub fn instantiate(&self) -> Duration {
        Duration::from_nanos(self.instantiate_nanos.load(Relaxed))
    }

    /// What taking an instance counts as: more than nothing, less than any clock measures.
    pub const TAKEN: Duration = Duration::from_nanos(1);

    /// True if the instance was made while the request waited.
    pub fn is_cold(&self) -> bool {
        self.instantiate() > Self::TAKEN
    }

    /// The most linear memory that the instance had while it served the request, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// The instance has so much linear memory. It never gives any back, so the newest figure is the greatest.
    pub(crate) fn holds(&self, memory_bytes: u64) {
        self.memory_bytes.store(memory_bytes, Relaxed);
    }

    /// True if the guest was refused memory or table space.
    pub fn growth_refused(&self) -> bool {
        self.growth_refused.load(Relaxed)
    }

    /// The host did something for the request.
    pub(crate) fn called(&self, call: HostCall) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.add(call, CALLS_LISTED_MAX);
        self.has_called.store(true, Relaxed);
    }

    /// What the host has done for the request.
    pub fn take_calls(&self) -> Calls {
        if !self.has_called.load(Relaxed) {
            return Calls::default();
        }
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *calls)
    }

    pub(crate) fn refuse_growth(&self) {
        self.growth_refused.store(true, Relaxed);
    }

    /// The instance was there already, unless this request has made one before.
    pub(crate) fn taken(&self) {
        if self.instantiate_nanos.load(Relaxed) == 0 {
            self.instantiated(Self::TAKEN);
        }
    }

    pub(crate) fn instantiated(&self, took: Duration) {
        self.instantiate_nanos
            .store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The guest is about to run on this thread.
    pub(crate) fn enter(&self) {
        if self.measuring.load(Relaxed) {
            self.mark_nanos.store(thread_cpu_nanos(), Relaxed);
        }
    }

    /// The guest has stopped running on this thread.
    pub(crate) fn leave(&self) {
        if self.measuring.load(Relaxed) {
            self.charge();
        }
    }

    /// An epoch tick passed while the guest ran: charges it and gives the total.
    pub(crate) fn tick(&self) -> Duration {
        if self.measuring.swap(true, Relaxed) {
            self.charge();
        } else {
            self.mark_nanos.store(thread_cpu_nanos(), Relaxed);
        }
        self.cpu()
    }

    /// Adds what somebody else has measured.
    pub(crate) fn charge_nanos(&self, nanos: u64) {
        self.cpu_nanos.fetch_add(nanos, Relaxed);
    }

    fn charge(&self) {
        let now = thread_cpu_nanos();
        let since = now.saturating_sub(self.mark_nanos.swap(now, Relaxed));
        self.cpu_nanos.fetch_add(since, Relaxed);
    }
}
