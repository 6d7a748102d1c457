//! Good and total over time, at several resolutions, in bounded space. Adding is the only operation, so that neither the
//! order of frames nor a split into parts changes an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::limits::{FRAME_FUTURE_MAX, FRAMES_AHEAD_MAX, SOURCES_MAX};

/// Seconds of a bucket, and how many buckets are kept: fine for the last hours, coarse for the last month. 3,700 buckets
/// of 24 bytes are the most a series ever needs, some 90 KiB; a quiet one needs next to nothing.
const LEVELS: [(u64, u64); 4] = [(10, 1_080), (60, 1_560), (600, 576), (3_600, 800)];

/// A series. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    newest: u64,
    levels: [BTreeMap<u64, Counts>; 4],
}

impl Series {
    /// Adds what happened at a time, which may lie in the past: a late frame. What lies further ahead of `now` than
    /// clocks may differ is refused, because it would push out what is true; what is older than the longest window is
    /// forgotten. Says whether it was taken.
    pub fn add(&mut self, at: u64, counts: Counts, now: u64) -> bool {
        if at > now.saturating_add(FRAME_FUTURE_MAX.as_secs()) {
            return false;
        }
        self.newest = self.newest.max(at);
        for (level, (seconds, _)) in self.levels.iter_mut().zip(LEVELS) {
            let bucket = level.entry(at / seconds).or_default();
            *bucket = bucket.plus(counts);
        }
        self.forget();
        true
    }

    /// Adds another series.
    pub fn merge(&mut self, other: &Self) {
        self.newest = self.newest.max(other.newest);
        for (level, others) in self.levels.iter_mut().zip(&other.levels) {
            for (index, counts) in others {
                let bucket = level.entry(*index).or_default();
                *bucket = bucket.plus(*counts);
            }
        }
        self.forget();
    }

    /// What has left a level's horizon, counted from the newest event. The horizon only ever moves on, so that what it
    /// keeps does not depend on the order of events.
    fn forget(&mut self) {
        for (level, (seconds, buckets)) in self.levels.iter_mut().zip(LEVELS) {
            let oldest = (self.newest / seconds).saturating_sub(buckets - 1);
            while level.first_key_value().is_some_and(|(index, _)| *index < oldest) {
                level.pop_first();
            }
        }
    }

    /// What happened in the last `window` before `now`, to within one bucket of the finest level that reaches so far.
    pub fn window(&self, window: Duration, now: u64) -> Counts {
        let window = window.as_secs();
        let reaches = |(seconds, buckets): (u64, u64)| seconds * (buckets - 2) >= window;
        let index = LEVELS
            .iter()
            .position(|level| reaches(*level))
            .unwrap_or(LEVELS.len() - 1);
        let (seconds, _) = LEVELS[index];
        let from = now.saturating_sub(window).div_ceil(seconds);
        let to = now.saturating_add(FRAME_FUTURE_MAX.as_secs()) / seconds;
        self.levels[index]
            .range(from..=to.max(from))
            .fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
    }

    /// Buckets in use.
    pub fn buckets(&self) -> usize {
        self.levels.iter().map(BTreeMap::len).sum()
    }
}

/// Which frames have been taken, so that one that is delivered twice counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    sources: BTreeMap<u64, Seen>,
}

/// The frames of one source: all below `next`, and some beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    next: u64,
    ahead: BTreeSet<u64>,
}

impl Ledger {
    /// Whether a frame is new, and remembers it. A source is one life of one node, numbered by itself from 0. When more
    /// frames are ahead of a gap than are remembered, the gap is given up: what then still comes of it is refused rather
    /// than counted twice. The same goes for a source too many.
    pub fn take(&mut self, source: u64, sequence: u64) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            return false;
        }
        let seen = self.sources.entry(source).or_default();
        if sequence < seen.next || !seen.ahead.insert(sequence) {
            return false;
        }
        if seen.ahead.len() > FRAMES_AHEAD_MAX {
            seen.next = seen.ahead.first().copied().unwrap_or(seen.next);
        }
        while seen.ahead.remove(&seen.next) {
            seen.next += 1;
        }
        true
    }

    /// Forgets a source that will send nothing any more.
    pub fn forget(&mut self, source: u64) {
        self.sources.remove(&source);
    }
}
