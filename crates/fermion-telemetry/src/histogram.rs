//! A histogram of durations, and a request that stands for each bucket. Plain values: whoever shares one has the lock.

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

/// The same as `le` names them, in seconds, and the one without a bound: as OpenMetrics wants numbers written.
pub(crate) const BOUND_NAMES: [&str; BOUNDS.len() + 1] = [
    "5e-06", "1e-05", "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
    "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf",
];

/// Counts by bucket, the last one without a bound, and the sum.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum_nanos: u64,
}

/// A request that stands for its bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Link {
    pub(crate) trace_id: [u8; 16],
    pub(crate) seconds: f64,
}

/// One request for each bucket of a histogram: the first since the last scrape.
#[derive(Debug, Default)]
pub(crate) struct Links([LinkSlot; BOUNDS.len() + 1]);

#[derive(Debug, Default)]
struct LinkSlot {
    is_new: bool,
    link: Option<Link>,
}

/// The sum of several histograms with the requests that stand for their buckets, as it is written out.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) histogram: Histogram,
    /// In the order of [`BOUND_NAMES`].
    pub(crate) links: [Option<Link>; BOUNDS.len() + 1],
}

impl From<Histogram> for Snapshot {
    fn from(histogram: Histogram) -> Self {
        Self {
            histogram,
            ..Self::default()
        }
    }
}

fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|&bound| bound < nanos)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Links {
    pub(crate) fn observe(&mut self, duration: Duration, trace_id: [u8; 16]) {
        let nanos = nanos(duration);
        let slot = &mut self.0[bucket(nanos)];
        if !slot.is_new {
            let seconds = seconds(nanos);
            *slot = LinkSlot {
                is_new: true,
                link: Some(Link { trace_id, seconds }),
            };
        }
    }

    /// Those that are new go first; from now on, later ones take their place.
    pub(crate) fn add_to(&mut self, links: &mut [Option<Link>; BOUNDS.len() + 1]) {
        for (link, slot) in links.iter_mut().zip(&mut self.0) {
            if std::mem::take(&mut slot.is_new) || link.is_none() {
                *link = slot.link.or(*link);
            }
        }
    }
}

impl Histogram {
    pub(crate) fn observe(&mut self, duration: Duration) {
        let nanos = nanos(duration);
        self.counts[bucket(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        seconds(self.sum_nanos)
    }

    /// The observations in each bucket alone, in the order of [`BOUND_NAMES`].
    pub(crate) fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        self.counts
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
        let mut histogram = Histogram::default();
        for nanos in [0, 5_000, 5_001, 10_000_000_000, 10_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[19], counts[20]), (2, 1, 1, 1));
        assert_eq!(histogram.count(), 5);
        assert!(BOUNDS.is_sorted());
        for (bound, name) in BOUNDS.into_iter().zip(BOUND_NAMES) {
            assert!(
                (name.parse::<f64>().unwrap() - seconds(bound)).abs() < 1e-12,
                "{name}"
            );
        }
    }

    #[test]
    fn a_bucket_keeps_one_request_from_scrape_to_scrape() {
        let mut links = Links::default();
        let scrape = |links: &mut Links| {
            let mut snapshot = Snapshot::default();
            links.add_to(&mut snapshot.links);
            snapshot.links[7].map(|link| link.trace_id[0])
        };
        assert_eq!(scrape(&mut links), None);
        for id in 1..=3 {
            links.observe(Duration::from_millis(1), [id; 16]);
        }
        assert_eq!(
            (scrape(&mut links), scrape(&mut links)),
            (Some(1), Some(1)),
            "the first one stays while none follows"
        );
        links.observe(Duration::from_millis(1), [4; 16]);
        assert_eq!(scrape(&mut links), Some(4));
    }
}
