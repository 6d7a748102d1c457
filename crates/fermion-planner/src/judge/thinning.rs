//! One caller that fails again and again is one failure, not many: at most one of a sticky key counts within ten
//! seconds. Without it a single client that retries could abort a release, or hide that another one fails.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{THINNING, THINNING_KEYS_MAX};

/// Which keys have failed lately.
#[derive(Debug, Clone, Default)]
pub struct Thinning {
    until: BTreeMap<u64, u64>,
    order: BTreeSet<(u64, u64)>,
}

impl Thinning {
    /// Whether a failure of the key with this hash counts at this second. When more keys fail than are remembered, the
    /// oldest are forgotten: so many different callers are no single one that repeats itself.
    pub fn counts(&mut self, key: u64, now: u64) -> bool {
        while let Some(&(until, oldest)) = self.order.first() {
            // A clock that was set back would keep keys for longer than they may be.
            let current = now < until && until <= now.saturating_add(THINNING.as_secs());
            if current && self.order.len() < THINNING_KEYS_MAX {
                break;
            }
            self.order.pop_first();
            self.until.remove(&oldest);
        }
        if self.until.contains_key(&key) {
            return false;
        }
        let until = now.saturating_add(THINNING.as_secs());
        self.until.insert(key, until);
        self.order.insert((until, key));
        true
    }

    /// Keys that are remembered.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_in_ten_seconds() {
        let mut thinning = Thinning::default();
        let counted: Vec<u64> = (0..35).filter(|&second| thinning.counts(1, second)).collect();
        assert_eq!(counted, [0, 10, 20, 30]);
        assert!(thinning.counts(2, 35) && !thinning.counts(1, 35));
    }

    #[test]
    fn memory_is_bounded() {
        let mut thinning = Thinning::default();
        for key in 0..200_000 {
            assert!(thinning.counts(key, 7));
        }
        assert!(thinning.len() <= THINNING_KEYS_MAX && !thinning.is_empty());
        assert!(!thinning.counts(199_999, 7), "the latest is remembered");
        thinning.counts(1, 1_000);
        assert_eq!(thinning.len(), 1);
        assert!(thinning.counts(1, 500), "a clock that was set back");
    }
}
