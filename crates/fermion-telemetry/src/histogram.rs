//! A histogram of durations whose observation is three atomic additions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Upper bounds in nanoseconds: from an instance's start, some microseconds, to the default wall time, some seconds.
const BOUNDS: [u64; 20] = [
    5 * MICRO,
    10 * MICRO,
    25 * MICRO,
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2_500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    SECOND,
    2_500 * MILLI,
    5 * SECOND,
    10 * SECOND,
];

/// Counts by bucket, the last one without a bound, and the sum.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// The sum of several histograms, as it is written out.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Snapshot {
    counts: [u64; BOUNDS.len() + 1],
    sum_nanos: u64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < nanos);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn sum_nanos(&self) -> u64 {
        self.sum_nanos.load(Relaxed)
    }

    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        for (sum, count) in snapshot.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
        snapshot.sum_nanos += self.sum_nanos.load(Relaxed);
    }
}

impl Snapshot {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        seconds(self.sum_nanos)
    }

    /// Upper bound in seconds and the observations in that bucket alone, in order.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|&nanos| seconds(nanos)).chain([f64::MAX]);
        bounds.zip(self.counts).collect()
    }
}

/// Nanoseconds as seconds; exact for the bounds, and to a part in 2^53 for sums.
#[expect(
    clippy::cast_precision_loss,
    reason = "a metric's sum needs no more than a double's precision"
)]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for nanos in [0, 5_000, 5_001, 10_000_000_000, 10_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let mut snapshot = Snapshot::default();
        histogram.add_to(&mut snapshot);
        let buckets = snapshot.buckets();
        assert_eq!((buckets[0], buckets[1]), ((5e-6, 2), (1e-5, 1)));
        assert_eq!((buckets[19], buckets[20].1), ((10.0, 1), 1));
        assert_eq!(snapshot.count(), 5);
        assert!(BOUNDS.is_sorted());
    }
}
