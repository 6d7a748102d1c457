//! One resolution of a series: a ring of equal buckets, each two small numbers, without gaps in memory and bounded by its
//! length whatever happens in it.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Counts;

/// Counts of one bucket. Four thousand million events in one are taken for as many as fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    good: u32,
    total: u32,
}

impl Bucket {
    fn add(&mut self, counts: Counts) {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        self.good = self.good.saturating_add(small(counts.good));
        self.total = self.total.saturating_add(small(counts.total));
    }

    fn counts(self) -> Counts {
        Counts {
            good: u64::from(self.good),
            total: u64::from(self.total),
        }
    }
}

/// Buckets one after the other. The first and the last are never empty, so that equal contents are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Level {
    first: u64,
    buckets: VecDeque<Bucket>,
}

/// As it is stored: bad and total of each bucket, since a promise that is kept has zeros there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: u64,
    counts: Vec<(u32, u32)>,
}

impl From<Written> for Level {
    fn from(written: Written) -> Self {
        let bucket = |(bad, total): (u32, u32)| Bucket {
            good: total.saturating_sub(bad),
            total,
        };
        let mut level = Self {
            first: written.first,
            buckets: written.counts.into_iter().map(bucket).collect(),
        };
        level.trim();
        level
    }
}

impl From<Level> for Written {
    fn from(level: Level) -> Self {
        let counts = |bucket: Bucket| (bucket.total.saturating_sub(bucket.good), bucket.total);
        Self {
            first: level.first,
            counts: level.buckets.into_iter().map(counts).collect(),
        }
    }
}

impl Level {
    /// Adds to a bucket. The caller has seen to it that it is not further from the others than is kept.
    pub(super) fn add(&mut self, index: u64, counts: Counts) {
        if counts.total == 0 {
            return;
        }
        if self.buckets.is_empty() {
            self.first = index;
        }
        while index < self.first {
            self.first -= 1;
            self.buckets.push_front(Bucket::default());
        }
        let Ok(at) = usize::try_from(index - self.first) else {
            return;
        };
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, Bucket::default());
        }
        self.buckets[at].add(counts);
    }

    /// Drops every bucket before one.
    pub(super) fn forget(&mut self, oldest: u64) {
        while self.first < oldest && self.buckets.pop_front().is_some() {
            self.first += 1;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.buckets.back().is_some_and(|bucket| bucket.total == 0) {
            self.buckets.pop_back();
        }
        while self.buckets.front().is_some_and(|bucket| bucket.total == 0) {
            self.buckets.pop_front();
            self.first += 1;
        }
        if self.buckets.is_empty() {
            self.first = 0;
        }
    }

    /// The sum of a range of buckets.
    pub(super) fn sum(&self, range: RangeInclusive<u64>) -> Counts {
        let place = |index: u64| usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if *range.end() < self.first {
            return Counts::default();
        }
        let (from, to) = (place(*range.start()), place(*range.end()));
        let (from, to) = (
            from.min(self.buckets.len()),
            to.saturating_add(1).min(self.buckets.len()),
        );
        self.buckets
            .range(from..to.max(from))
            .fold(Counts::default(), |sum, bucket| sum.plus(bucket.counts()))
    }

    /// Every bucket that is not empty.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Counts)> {
        let filled = self.buckets.iter().zip(self.first..);
        filled
            .filter(|(bucket, _)| bucket.total > 0)
            .map(|(bucket, index)| (index, bucket.counts()))
    }

    /// Buckets in memory.
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Bytes in memory, beside the value itself.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }
}
