//! Which requests are worth a trace: decided when they are over, when it is known how they went. Every reason has a budget
//! a second of its own, so that a storm of one kind hides no other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fermion_model::Blame;
use fermion_model::frame::Arm;
use fermion_model::record::RequestRecord;

use crate::limits::{
    FAILED_LOGS_MAX, SHARDS_MAX, TRACES_CALLER_MAX, TRACES_CANARY_MAX, TRACES_ERROR_MAX, TRACES_SHARE_MAX,
    TRACES_SLOW_MAX,
};
use crate::release_metrics::thread_index;

/// Why a trace is kept. The first that fits is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It failed, and not by the client's fault.
    Error,
    /// It took longer than the threshold.
    Slow,
    /// A canary or its baseline served it.
    Canary,
    /// The caller's trace is sampled.
    Caller,
    /// Its id belongs to the share that is kept of all.
    Share,
}

impl Reason {
    /// Every reason, in the order in which they are asked.
    pub const ALL: [Self; 5] = [Self::Error, Self::Slow, Self::Canary, Self::Caller, Self::Share];

    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slow => "slow",
            Self::Canary => "canary",
            Self::Caller => "caller",
            Self::Share => "share",
        }
    }

    const fn a_second_max(self) -> u32 {
        match self {
            Self::Error => TRACES_ERROR_MAX,
            Self::Slow => TRACES_SLOW_MAX,
            Self::Canary => TRACES_CANARY_MAX,
            Self::Caller => TRACES_CALLER_MAX,
            Self::Share => TRACES_SHARE_MAX,
        }
    }
}

/// What counts as slow, and how much is kept of what is nothing special.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceConfig {
    /// A request that takes longer is slow.
    pub slow: Duration,
    /// Of all others, from 0 to 1.
    pub share: f64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            slow: Duration::from_millis(250),
            share: 0.01,
        }
    }
}

/// So many a second.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// The second in the upper half, what is spent of it in the lower.
    spent: AtomicU64,
}

impl Budget {
    pub(crate) fn take(&self, second: u32, a_second_max: u32) -> bool {
        let spend = |word: u64| {
            let (now, spent) = (word >> 32, word & u64::from(u32::MAX));
            if now != u64::from(second) {
                return (a_second_max > 0).then_some(u64::from(second) << 32 | 1);
            }
            (spent < u64::from(a_second_max)).then_some(word + 1)
        };
        self.spent.fetch_update(Relaxed, Relaxed, spend).is_ok()
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

/// Decides, and counts what it decided.
#[derive(Debug)]
pub(crate) struct Sampler {
    slow: Duration,
    /// Ids whose lower 56 bits are at least this belong to the share.
    threshold: u64,
    budgets: [Budget; Reason::ALL.len()],
    logs: Budget,
    kept: [AtomicU64; Reason::ALL.len()],
    over: [AtomicU64; Reason::ALL.len()],
    /// By thread: requests that no reason fits are the most.
    passed: Box<[Count]>,
}

/// Decisions so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceReading {
    /// Traces kept, by reason.
    pub kept: [u64; Reason::ALL.len()],
    /// Traces that had a reason, and were over its budget.
    pub over: [u64; Reason::ALL.len()],
    /// Requests that had none.
    pub passed: u64,
}

/// The randomness of an id by W3C trace context, level 2: its last seven bytes.
const RANDOM_BITS: u32 = 56;

fn threshold(share: f64) -> u64 {
    let all = (1_u64 << RANDOM_BITS) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 2^56"
    )]
    let threshold = (all * (1.0 - share.clamp(0.0, 1.0))) as u64;
    threshold
}

/// The second of a moment, as budgets count them.
pub(crate) fn second(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() & u64::from(u32::MAX)).unwrap_or(0)
}

/// Whether a request counts as failed: clients' own mistakes do not.
pub(crate) fn is_failed(record: &RequestRecord) -> bool {
    record.blame().is_some_and(|blame| blame != Blame::Client)
}

impl Sampler {
    pub(crate) fn new(config: &TraceConfig) -> Self {
        let shards = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            slow: config.slow,
            threshold: threshold(config.share),
            budgets: Default::default(),
            logs: Budget::default(),
            kept: Default::default(),
            over: Default::default(),
            passed: (0..shards.clamp(1, SHARDS_MAX))
                .map(|_| Count::default())
                .collect(),
        }
    }

    /// Why a request's trace would be kept, before anybody asks what that costs.
    pub(crate) fn reason(&self, record: &RequestRecord, arm: Arm) -> Option<Reason> {
        let mut id = [0; 8];
        id.copy_from_slice(&record.trace_id[8..]);
        let random = u64::from_be_bytes(id) & ((1 << RANDOM_BITS) - 1);
        let reason = if is_failed(record) {
            Reason::Error
        } else if record.total > self.slow {
            Reason::Slow
        } else if matches!(arm, Arm::Canary | Arm::Baseline) {
            Reason::Canary
        } else if record.is_sampled {
            Reason::Caller
        } else if random >= self.threshold {
            Reason::Share
        } else {
            self.passed[thread_index() % self.passed.len()]
                .0
                .fetch_add(1, Relaxed);
            return None;
        };
        Some(reason)
    }

    /// Whether the reason's budget has room for one more in this second.
    pub(crate) fn keep(&self, reason: Reason, second: u32) -> bool {
        let index = reason as usize;
        let is_kept = self.budgets[index].take(second, reason.a_second_max());
        let count = if is_kept { &self.kept } else { &self.over };
        count[index].fetch_add(1, Relaxed);
        is_kept
    }

    /// Whether one more failed request may be logged in this second.
    pub(crate) fn log(&self, second: u32) -> bool {
        self.logs.take(second, FAILED_LOGS_MAX)
    }

    pub(crate) fn reading(&self) -> TraceReading {
        let read =
            |counts: &[AtomicU64; Reason::ALL.len()]| counts.each_ref().map(|count| count.load(Relaxed));
        TraceReading {
            kept: read(&self.kept),
            over: read(&self.over),
            passed: self.passed.iter().map(|count| count.0.load(Relaxed)).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fermion_model::Fault;
    use fermion_model::record::Served;

    use super::*;

    /// A request that nothing is special about; its id lies in the middle of all.
    fn record() -> RequestRecord {
        RequestRecord {
            served: Some(Arc::new(Served {
                namespace: "shop".to_owned(),
                app: "tax".to_owned(),
                release: 7,
            })),
            trace_id: [0x7f; 16],
            span_id: [1; 8],
            parent_id: None,
            is_sampled: false,
            method: http::Method::GET,
            path: String::new(),
            status: 200,
            fault: None,
            detail: String::new(),
            client_gone: false,
            cold: false,
            queue: Duration::ZERO,
            instantiate: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::from_millis(250),
            cpu: Duration::ZERO,
            memory_bytes: 0,
            bytes_in: 0,
            bytes_out: 0,
            calls: Default::default(),
            arm: fermion_model::frame::Arm::Stable,
            caller: 0,
            copied: None,
            metric: None,
        }
    }

    #[test]
    fn the_first_reason_that_fits_counts() {
        let sampler = Sampler::new(&TraceConfig::default());
        let reason = |change: fn(&mut RequestRecord), arm| {
            let mut record = record();
            change(&mut record);
            sampler.reason(&record, arm)
        };
        let nothing: fn(&mut RequestRecord) = |_| {};
        assert_eq!(reason(nothing, Arm::Stable), None);
        assert_eq!(reason(nothing, Arm::Canary), Some(Reason::Canary));
        assert_eq!(reason(nothing, Arm::Baseline), Some(Reason::Canary));
        assert_eq!(reason(nothing, Arm::Mirror), None);
        assert_eq!(
            reason(|record| record.is_sampled = true, Arm::Stable),
            Some(Reason::Caller)
        );
        assert_eq!(
            reason(|record| record.trace_id = [0xff; 16], Arm::Stable),
            Some(Reason::Share)
        );
        let slow: fn(&mut RequestRecord) = |record| record.total = Duration::from_millis(251);
        assert_eq!(reason(slow, Arm::Canary), Some(Reason::Slow));
        let failed: fn(&mut RequestRecord) = |record| {
            record.fault = Some(Fault::GuestTrap);
            record.total = Duration::from_secs(1);
        };
        assert_eq!(reason(failed, Arm::Stable), Some(Reason::Error));
        // What the client did wrong is nobody's failure here.
        assert_eq!(reason(|record| record.status = 404, Arm::Stable), None);
        assert_eq!(sampler.reading().passed, 3);
    }

    #[test]
    fn the_share_is_what_it_says() {
        for (share, least, most) in [
            (0.0, 0, 0),
            (0.01, 60, 140),
            (0.5, 4_800, 5_200),
            (1.0, 10_000, 10_000),
        ] {
            let sampler = Sampler::new(&TraceConfig {
                share,
                ..TraceConfig::default()
            });
            let kept = (0..10_000_u64).filter(|n| {
                let mut record = record();
                // Spread evenly over all ids.
                let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                record.trace_id[8..].copy_from_slice(&id.to_be_bytes());
                sampler.reason(&record, Arm::Stable).is_some()
            });
            let kept = kept.count();
            assert!((least..=most).contains(&kept), "{share}: {kept}");
        }
    }

    #[test]
    fn every_reason_has_a_budget_a_second() {
        let sampler = Sampler::new(&TraceConfig::default());
        for second in [7, 8] {
            let kept = |reason| (0..1_000).filter(|_| sampler.keep(reason, second)).count();
            assert_eq!(kept(Reason::Error), TRACES_ERROR_MAX as usize);
            assert_eq!(
                kept(Reason::Slow),
                TRACES_SLOW_MAX as usize,
                "one storm hides no other"
            );
            assert_eq!(
                (0..1_000).filter(|_| sampler.log(second)).count(),
                FAILED_LOGS_MAX as usize
            );
        }
        let reading = sampler.reading();
        assert_eq!(
            reading.kept[Reason::Error as usize],
            2 * u64::from(TRACES_ERROR_MAX)
        );
        let of_error = reading.kept[Reason::Error as usize] + reading.over[Reason::Error as usize];
        assert_eq!(of_error, 2_000);
    }
}
