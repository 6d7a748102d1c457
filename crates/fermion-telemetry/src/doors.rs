//! What the doors refuse and what waits behind them: packages, native code, compilations, the trust in force. All of it
//! is rare, so a lock for each count is cheap. Labels are words of the code, never of a package.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// When an operator wanted it, before a release was recorded.
    Deploy,
    /// When a node read it in order to run it.
    Load,
    /// When it was ready and about to be routed.
    Activation,
    /// When it ran, and trust had changed.
    Trust,
    /// Native code that was read from the cache.
    Native,
}

impl Door {
    /// Every door, in the order of a package's way.
    pub(crate) const ALL: [Self; 5] = [
        Self::Deploy,
        Self::Load,
        Self::Activation,
        Self::Trust,
        Self::Native,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Load => "load",
            Self::Activation => "activation",
            Self::Trust => "trust",
            Self::Native => "native",
        }
    }
}

/// How native code was come by, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compilation {
    /// A child compiled it.
    Made,
    /// It was in the cache, sealed.
    Cached,
    /// The child passed a limit.
    Limit,
    /// The child failed otherwise.
    Failed,
}

impl Compilation {
    /// Every outcome.
    pub(crate) const ALL: [Self; 4] = [Self::Made, Self::Cached, Self::Limit, Self::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Cached => "cached",
            Self::Limit => "limit",
            Self::Failed => "failed",
        }
    }
}

/// How a dormant app came back, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// From its sealed native code.
    Loaded,
    /// That was gone or damaged: it was verified and compiled again.
    Compiled,
    /// It could not be loaded.
    Lost,
}

impl Wake {
    /// Every outcome.
    pub(crate) const ALL: [Self; 3] = [Self::Loaded, Self::Compiled, Self::Lost];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Compiled => "compiled",
            Self::Lost => "lost",
        }
    }
}

/// A cache as it is read at a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheReading {
    /// What it holds, in bytes.
    pub bytes: u64,
    /// Files that were refused and are kept aside.
    pub quarantined: u64,
}

type ReadCache = Box<dyn Fn() -> CacheReading + Send + Sync>;

/// The counters.
#[derive(Default)]
pub struct Doors {
    /// Codes are words of the code: there are as many as there are.
    refused: Mutex<BTreeMap<(Door, &'static str), u64>>,
    compiled: Mutex<BTreeMap<Compilation, u64>>,
    woke: Mutex<BTreeMap<Wake, u64>>,
    dormant: AtomicU64,
    trust_epoch: AtomicU64,
    caches: Mutex<Vec<(&'static str, ReadCache)>>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Doors {
    /// Counts a refusal by its stable code.
    pub fn refused(&self, door: Door, code: &'static str) {
        *held(&self.refused).entry((door, code)).or_default() += 1;
    }

    /// Counts how native code was come by.
    pub fn compiled(&self, outcome: Compilation) {
        *held(&self.compiled).entry(outcome).or_default() += 1;
    }

    /// Counts how a dormant app came back.
    pub fn woke(&self, outcome: Wake) {
        *held(&self.woke).entry(outcome).or_default() += 1;
    }

    /// A release is verified and not loaded.
    pub fn dormant_begins(&self) {
        self.dormant.fetch_add(1, Relaxed);
    }

    /// It is loaded, or gone.
    pub fn dormant_ends(&self) {
        self.dormant.fetch_sub(1, Relaxed);
    }

    /// The serial of the trust root by which everything that serves has been judged.
    pub fn trusts(&self, epoch: u64) {
        self.trust_epoch.store(epoch, Relaxed);
    }

    /// Reads a cache at each scrape.
    pub fn watch_cache(&self, cache: &'static str, read: impl Fn() -> CacheReading + Send + Sync + 'static) {
        let mut caches = held(&self.caches);
        caches.retain(|(name, _)| *name != cache);
        caches.push((cache, Box::new(read)));
    }

    pub(crate) fn refusals(&self) -> BTreeMap<(Door, &'static str), u64> {
        held(&self.refused).clone()
    }

    pub(crate) fn compilations(&self) -> BTreeMap<Compilation, u64> {
        held(&self.compiled).clone()
    }

    pub(crate) fn wakes(&self) -> BTreeMap<Wake, u64> {
        held(&self.woke).clone()
    }

    pub(crate) fn dormant(&self) -> u64 {
        self.dormant.load(Relaxed)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.trust_epoch.load(Relaxed)
    }

    pub(crate) fn cache_readings(&self) -> Vec<(&'static str, CacheReading)> {
        held(&self.caches)
            .iter()
            .map(|(name, read)| (*name, read()))
            .collect()
    }
}
