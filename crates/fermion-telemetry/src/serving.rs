//! How the serving threads fare, and the guests that have left them: read at each scrape.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One serving thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadReading {
    /// How late it came to what it had to do at a time.
    pub lag: Duration,
    /// Connections that are open.
    pub connections: u64,
    /// Requests that wait for their turn.
    pub waiting: u64,
    /// Requests refused because their turn would have come too late.
    pub shed: u64,
}

/// Guests that need more than a slice of CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeavyReading {
    /// Those that run now.
    pub now: u64,
    /// Those that ever did.
    pub moved: u64,
}

type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Who is asked at a scrape.
#[derive(Default)]
pub struct Serving {
    threads: Mutex<Option<Read<Vec<ThreadReading>>>>,
    heavy: Mutex<Option<Read<HeavyReading>>>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Serving {
    /// Reads the serving threads, in the order of their numbers.
    pub fn watch_threads(&self, read: impl Fn() -> Vec<ThreadReading> + Send + Sync + 'static) {
        *held(&self.threads) = Some(Box::new(read));
    }

    /// Reads the heavy guests.
    pub fn watch_heavy(&self, read: impl Fn() -> HeavyReading + Send + Sync + 'static) {
        *held(&self.heavy) = Some(Box::new(read));
    }

    pub(crate) fn threads(&self) -> Vec<ThreadReading> {
        held(&self.threads)
            .as_ref()
            .map(|read| read())
            .unwrap_or_default()
    }

    pub(crate) fn heavy(&self) -> HeavyReading {
        held(&self.heavy).as_ref().map(|read| read()).unwrap_or_default()
    }
}
