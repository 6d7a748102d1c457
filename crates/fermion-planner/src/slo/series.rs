//! Good and total over time, at several resolutions, in bounded space. Adding is the only operation, so that neither the
//! order of frames nor a split into parts changes an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counts;
use super::level::Level;
use crate::limits::{FRAME_FUTURE_MAX, FRAMES_AHEAD_MAX, SOURCES_MAX};

/// Seconds of a bucket, and how many buckets are kept: fine for the last hours, coarse for the last month. 4,016 buckets
/// of 8 bytes are the most a series ever needs, 32 KiB.
const LEVELS: [(u64, u64); 4] = [(10, 1_080), (60, 1_560), (600, 576), (3_600, 800)];
/// The same for who is to blame: the longest window of an alert, to ten minutes.
const RECENT: (u64, u64) = (600, 440);

/// A series. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    newest: u64,
    levels: [Level; 4],
}

impl Series {
    /// Adds what happened at a time, which may lie in the past: a late frame. What lies further ahead of `now` than
    /// clocks may differ is refused, because it would push out what is true; what is older than the longest window is
    /// forgotten. Says whether it was taken.
    pub fn add(&mut self, at: u64, counts: Counts, now: u64) -> bool {
        if at > now.saturating_add(FRAME_FUTURE_MAX.as_secs()) {
            return false;
        }
        self.move_on(at);
        for (level, (seconds, kept)) in self.levels.iter_mut().zip(LEVELS) {
            put(level, at / seconds, counts, oldest(self.newest, seconds, kept));
        }
        true
    }

    /// Adds another series.
    pub fn merge(&mut self, other: &Self) {
        self.move_on(other.newest);
        let pairs = self.levels.iter_mut().zip(&other.levels);
        for ((level, others), (seconds, kept)) in pairs.zip(LEVELS) {
            for (index, counts) in others.iter() {
                put(level, index, counts, oldest(self.newest, seconds, kept));
            }
        }
    }

    /// Forgets what has left a level's horizon, counted from the newest event. The horizon only ever moves on, so that
    /// what it keeps does not depend on the order of events.
    fn move_on(&mut self, at: u64) {
        if at > self.newest {
            self.newest = at;
            for (level, (seconds, kept)) in self.levels.iter_mut().zip(LEVELS) {
                level.forget(oldest(at, seconds, kept));
            }
        }
    }

    /// What happened in the last `window` before `now`, to within one bucket of the finest level that reaches so far.
    pub fn window(&self, window: Duration, now: u64) -> Counts {
        let reaches = |(seconds, kept): (u64, u64)| seconds * (kept - 2) >= window.as_secs();
        let index = LEVELS
            .iter()
            .position(|level| reaches(*level))
            .unwrap_or(LEVELS.len() - 1);
        sum(&self.levels[index], LEVELS[index].0, window, now)
    }

    /// Buckets in use.
    pub fn buckets(&self) -> usize {
        self.levels.iter().map(Level::len).sum()
    }

    /// Bytes in memory, beside the value itself.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(Level::bytes).sum()
    }
}

/// A series of the last three days at one resolution: a release's share in what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    newest: u64,
    level: Level,
}

impl Recent {
    /// Adds what happened at a time. Whether a series took it has been asked before.
    pub fn add(&mut self, at: u64, counts: Counts) {
        let (seconds, kept) = RECENT;
        self.move_on(at);
        put(
            &mut self.level,
            at / seconds,
            counts,
            oldest(self.newest, seconds, kept),
        );
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        let (seconds, kept) = RECENT;
        self.move_on(other.newest);
        for (index, counts) in other.level.iter() {
            put(&mut self.level, index, counts, oldest(self.newest, seconds, kept));
        }
    }

    fn move_on(&mut self, at: u64) {
        if at > self.newest {
            self.newest = at;
            self.level.forget(oldest(at, RECENT.0, RECENT.1));
        }
    }

    /// What happened in the last `window` before `now`, and in the rest of the ten minutes in which that begins.
    pub fn window(&self, window: Duration, now: u64) -> Counts {
        let window = window.as_secs() + now.saturating_sub(window.as_secs()) % RECENT.0;
        sum(&self.level, RECENT.0, Duration::from_secs(window), now)
    }

    /// When the newest event was.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Bytes in memory, beside the value itself.
    pub fn bytes(&self) -> usize {
        self.level.bytes()
    }
}

fn oldest(newest: u64, seconds: u64, kept: u64) -> u64 {
    (newest / seconds).saturating_sub(kept - 1)
}

fn put(level: &mut Level, index: u64, counts: Counts, oldest: u64) {
    if index >= oldest {
        level.add(index, counts);
    }
}

fn sum(level: &Level, seconds: u64, window: Duration, now: u64) -> Counts {
    let from = now.saturating_sub(window.as_secs()).div_ceil(seconds);
    let to = now.saturating_add(FRAME_FUTURE_MAX.as_secs()) / seconds;
    level.sum(from..=to.max(from))
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
