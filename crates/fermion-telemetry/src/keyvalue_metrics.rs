//! What apps do with their key-value stores: operations by store and result, and how long they took. The number of
//! stores is bounded; those beyond share one row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::format::Encoder;
use crate::histogram::Histogram;
use crate::limits::STORES_MAX;
use crate::reference;

/// What was asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    /// Values were read.
    Get,
    /// Keys were listed.
    List,
    /// Something was changed.
    Write,
}

impl StoreOperation {
    pub(crate) const ALL: [&'static str; 3] = ["get", "list", "write"];
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreResult {
    /// What was asked for.
    Done,
    /// The guest asked for what may not be.
    Refused,
    /// The store failed, or was too busy.
    Failed,
}

impl StoreResult {
    pub(crate) const ALL: [&'static str; 3] = ["done", "refused", "failed"];
}

/// The counters of one store.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    operations: [[AtomicU64; StoreResult::ALL.len()]; StoreOperation::ALL.len()],
    durations: Mutex<Histogram>,
}

impl StoreMetrics {
    /// Counts one operation.
    pub fn observe(&self, operation: StoreOperation, result: StoreResult, duration: Duration) {
        self.operations[operation as usize][result as usize].fetch_add(1, Relaxed);
        self.durations().observe(duration);
    }

    fn durations(&self) -> MutexGuard<'_, Histogram> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Name = [String; 3];

/// The name that stores too many share.
const OTHER: [&str; 3] = ["other"; 3];

/// The counters of every store, by namespace, app and name.
#[derive(Debug, Default)]
pub struct KeyValueMetrics {
    stores: Mutex<BTreeMap<Name, Arc<StoreMetrics>>>,
}

impl KeyValueMetrics {
    /// The counters of a store. They go on counting when its app has another release.
    pub fn store(&self, namespace: &str, app: &str, store: &str) -> Arc<StoreMetrics> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let mut name = [namespace, app, store].map(str::to_owned);
        if stores.len() >= STORES_MAX && !stores.contains_key(&name) {
            name = OTHER.map(str::to_owned);
        }
        stores.entry(name).or_default().clone()
    }

    /// Operations on stores too many.
    pub(crate) fn overflow(&self) -> u64 {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let other = stores.get(&OTHER.map(str::to_owned));
        let counts = other.iter().flat_map(|store| store.operations.as_flattened());
        counts.map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = encoder.family(&reference::STORE_OPERATIONS);
        for ([namespace, app, store], metrics) in &stores {
            for (operation, results) in StoreOperation::ALL.into_iter().zip(&metrics.operations) {
                for (result, count) in StoreResult::ALL.into_iter().zip(results) {
                    let count = count.load(Relaxed);
                    let labels = [
                        ("namespace", namespace.as_str()),
                        ("app", app),
                        ("store", store),
                        ("operation", operation),
                        ("answer", result),
                    ];
                    if count > 0 {
                        family.put(&labels, count);
                    }
                }
            }
        }
        let mut family = encoder.family(&reference::STORE_DURATION);
        for ([namespace, app, store], metrics) in &stores {
            let labels = [("namespace", namespace.as_str()), ("app", app), ("store", store)];
            family.histogram(&labels, &metrics.durations().clone().into());
        }
    }
}
