//! What is remembered of one rollout on this node from one table of routes to the next.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};

use crate::limits::METRIC_CALLERS_MAX;

/// See the module.
#[derive(Debug, Default)]
pub struct Trial {
    /// Copies on their way.
    pub(crate) in_flight: AtomicU32,
    /// Copies without room since one was told of.
    pub(crate) dropped: AtomicU64,
    /// Requests that could not be copied since then.
    pub(crate) skipped: AtomicU64,
    /// Hashes of callers whom an experiment has counted.
    counted: Mutex<HashSet<u64>>,
}

impl Trial {
    /// Whether an experiment has not counted this caller yet. From now on it has. When there are too many callers to
    /// remember, nobody else is counted, of either release.
    pub(super) fn is_first(&self, caller: u64) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.len() < METRIC_CALLERS_MAX && counted.insert(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_count_once_and_are_so_many_at_most() {
        let trial = Trial::default();
        let callers = METRIC_CALLERS_MAX as u64;
        assert!((0..callers).all(|caller| trial.is_first(caller)));
        assert!(!trial.is_first(3) && !trial.is_first(callers));
    }
}
