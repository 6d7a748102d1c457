//! How many instances are kept beyond a request and how much memory they hold: one account a release and one a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A bounded account.
#[derive(Debug)]
pub(crate) struct Ledger {
    instances: AtomicU64,
    bytes: AtomicU64,
    instances_max: u64,
    bytes_max: u64,
}

impl Ledger {
    pub(crate) fn new(instances_max: u64, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            instances: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            instances_max,
            bytes_max,
        })
    }

    /// Instances that are kept, in use or not.
    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Relaxed)
    }

    fn take(&self, instances: u64, bytes: u64) -> bool {
        let taken = self.instances.fetch_add(instances, Relaxed) + instances;
        let held = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let fits = taken <= self.instances_max && held <= self.bytes_max;
        if !fits {
            self.give(instances, bytes);
        }
        fits
    }

    fn give(&self, instances: u64, bytes: u64) {
        self.instances.fetch_sub(instances, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// One kept instance's entry in both accounts, from when it is first kept until it is dropped: taking it out and
/// putting it back touches nothing shared.
#[derive(Debug)]
pub(crate) struct Entry {
    accounts: [Arc<Ledger>; 2],
    bytes: u64,
}

impl Entry {
    /// None if one of the accounts is full.
    pub(crate) fn open(accounts: [Arc<Ledger>; 2], bytes: u64) -> Option<Self> {
        let [first, second] = &accounts;
        if !first.take(1, bytes) {
            return None;
        }
        if !second.take(1, bytes) {
            first.give(1, bytes);
            return None;
        }
        Some(Self { accounts, bytes })
    }

    /// Follows an instance that grew. False if it may not be kept with so much.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let [first, second] = &self.accounts;
        if !first.take(0, more) {
            return false;
        }
        if !second.take(0, more) {
            first.give(0, more);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        for account in &self.accounts {
            account.give(1, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_nothing_is_held_beyond_the_bounds() {
        let (release, process) = (Ledger::new(2, 100), Ledger::new(3, 120));
        let open = |bytes| Entry::open([release.clone(), process.clone()], bytes);
        let mut first = open(50).unwrap();
        let second = open(50).unwrap();
        assert!(open(0).is_none(), "a third instance");
        assert!(!first.grow(60), "more than the release may hold");
        drop(second);
        assert!(first.grow(90));
        assert!(open(20).is_none(), "more bytes than the release may hold");
        let other = Entry::open([Ledger::new(9, 900), process.clone()], 40);
        assert!(other.is_none(), "more bytes than the process may hold");
        drop(first);
        for account in [&release, &process] {
            assert_eq!((account.instances(), account.bytes.load(Relaxed)), (0, 0));
        }
    }
}
