//! What a release calls: counters for each upstream that its package names. A rule's own text is the label, so there
//! are as many series as the manifest has rules, whatever a guest does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fermion_model::health::FrameUpstream;

use crate::histogram::{Histogram, Snapshot};

/// How a call to an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// An answer that is not of the 5xx class.
    Answered,
    /// An answer of the 5xx class.
    ServerError,
    /// No connection.
    Connect,
    /// The name could not be resolved.
    Dns,
    /// TLS failed.
    Tls,
    /// Too slow.
    Timeout,
    /// The connection broke.
    Reset,
    /// Not HTTP.
    Protocol,
    /// Not granted, or not an address to be called.
    Denied,
    /// Too many calls or connections.
    Limit,
    /// The breaker was open.
    Breaker,
    /// The guest's own request was at fault.
    Guest,
    /// The guest left before the answer.
    Abandoned,
}

impl CallResult {
    /// Every result, in the order of its declaration.
    pub(crate) const ALL: [Self; 13] = [
        Self::Answered,
        Self::ServerError,
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Denied,
        Self::Limit,
        Self::Breaker,
        Self::Guest,
        Self::Abandoned,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ServerError => "server_error",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Denied => "denied",
            Self::Limit => "limit",
            Self::Breaker => "breaker",
            Self::Guest => "guest",
            Self::Abandoned => "abandoned",
        }
    }
}

/// One upstream's counters.
#[derive(Debug, Default)]
pub(crate) struct UpstreamRow {
    pub(crate) name: String,
    calls: [AtomicU64; CallResult::ALL.len()],
    durations: Mutex<Histogram>,
    pub(crate) new: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) opens: AtomicU64,
    closes: AtomicU64,
    taken: Mutex<Taken>,
}

/// What frames have said of a row already.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    calls: [u64; CallResult::ALL.len()],
    nanos: u64,
    retries: u64,
}

impl UpstreamRow {
    /// What has come since this was asked last; none if nothing has, and no breaker is open.
    fn take(&self) -> Option<FrameUpstream> {
        let now = Taken {
            calls: self.calls.each_ref().map(|count| count.load(Relaxed)),
            nanos: self.durations().sum_nanos(),
            retries: self.retries.load(Relaxed),
        };
        let before = std::mem::replace(
            &mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
        let since = now.calls.into_iter().zip(before.calls);
        let calls: BTreeMap<String, u64> = CallResult::ALL
            .into_iter()
            .zip(since)
            .filter(|(_, (now, before))| now > before)
            .map(|(result, (now, before))| (result.as_str().to_owned(), now - before))
            .collect();
        let open = self.open();
        (!calls.is_empty() || open > 0).then(|| FrameUpstream {
            upstream: self.name.clone(),
            calls,
            retries: now.retries.saturating_sub(before.retries),
            nanos: now.nanos.saturating_sub(before.nanos),
            open,
            ..FrameUpstream::default()
        })
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = (CallResult, u64)> {
        let counts = self.calls.iter().map(|count| count.load(Relaxed));
        CallResult::ALL.into_iter().zip(counts)
    }

    fn durations(&self) -> MutexGuard<'_, Histogram> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn duration(&self) -> Snapshot {
        self.durations().clone().into()
    }

    pub(crate) fn open(&self) -> u64 {
        let closes = self.closes.load(Relaxed);
        self.opens.load(Relaxed).saturating_sub(closes)
    }
}

/// The counters of one release's upstreams.
#[derive(Debug)]
pub struct UpstreamMetrics {
    /// The last is for calls that no rule grants.
    rows: Vec<UpstreamRow>,
}

impl UpstreamMetrics {
    /// Counters at zero, for rules in this order.
    pub fn new(rules: impl IntoIterator<Item = String>) -> Self {
        let names = rules.into_iter().chain(["none".to_owned()]);
        let rows = names.map(|name| UpstreamRow {
            name,
            ..UpstreamRow::default()
        });
        Self { rows: rows.collect() }
    }

    fn row(&self, rule: Option<usize>) -> &UpstreamRow {
        let last = self.rows.len() - 1;
        &self.rows[rule.unwrap_or(last).min(last)]
    }

    /// A call ended, or its answer's head came.
    pub fn called(&self, rule: Option<usize>, result: CallResult, duration: Duration) {
        let row = self.row(rule);
        row.calls[result as usize].fetch_add(1, Relaxed);
        row.durations().observe(duration);
    }

    /// A call got a connection.
    pub fn connected(&self, rule: Option<usize>, is_reused: bool) {
        let row = self.row(rule);
        let count = if is_reused { &row.reused } else { &row.new };
        count.fetch_add(1, Relaxed);
    }

    /// A call was made a second time.
    pub fn retried(&self, rule: Option<usize>) {
        self.row(rule).retries.fetch_add(1, Relaxed);
    }

    /// A breaker opened or closed.
    pub fn breaker(&self, rule: Option<usize>, is_open: bool) {
        let row = self.row(rule);
        let count = if is_open { &row.opens } else { &row.closes };
        count.fetch_add(1, Relaxed);
    }

    /// What has come since this was asked last, for frames.
    pub(crate) fn take(&self) -> impl Iterator<Item = FrameUpstream> {
        self.rows.iter().filter_map(UpstreamRow::take)
    }

    /// The rows that have anything to say: every rule, and what was denied if anything was.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &UpstreamRow> {
        let last = self.rows.len() - 1;
        self.rows
            .iter()
            .enumerate()
            .filter(move |(place, row)| *place < last || row.calls().any(|(_, count)| count > 0))
            .map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_listed_in_their_order() {
        for (place, result) in CallResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
    }
}
