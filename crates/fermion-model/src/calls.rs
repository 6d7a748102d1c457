//! What the host did for one request beside running its component: calls to upstreams and to key-value stores. Names of
//! places and results only: no path, no query, no field, no key, no value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallKind {
    /// An outgoing HTTP request.
    Http(Method),
    /// An operation of a key-value store: `get`, `list`, `set`, `delete`, `increment`, `swap`.
    KeyValue(&'static str),
}

impl CallKind {
    /// The method, or the operation.
    pub fn operation(&self) -> &str {
        match self {
            Self::Http(method) => method.as_str(),
            Self::KeyValue(operation) => operation,
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// What was asked for.
    pub kind: CallKind,
    /// Where: `https://api.example.com:443`, or a store's name.
    pub target: Arc<str>,
    /// The answer's status; 0 if there was none.
    pub status: u16,
    /// How it ended, in a word: `answered`, `timeout`, `breaker`, ...
    pub outcome: &'static str,
    /// How often it was made again.
    pub retries: u32,
    /// When it began.
    pub begun: Instant,
    /// Until the answer's head, or the failure.
    pub took: Duration,
}

impl HostCall {
    /// Whether nothing came of it that a component can use.
    pub fn is_failure(&self) -> bool {
        !matches!(self.outcome, "answered" | "done")
    }
}

/// The calls of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// When the request's head had come; none where nobody said.
    pub since: Option<Instant>,
    /// The first of them, in the order in which they ended.
    pub listed: Vec<HostCall>,
    /// How many more there were.
    pub unlisted: u64,
    /// What all calls to upstreams took together, also those that went on at the same time.
    pub upstream: Duration,
}

impl Calls {
    /// True if nothing was called.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.unlisted == 0
    }

    /// How long after the request's head a call began.
    pub fn after(&self, call: &HostCall) -> Duration {
        let since = self.since.unwrap_or(call.begun);
        call.begun.saturating_duration_since(since)
    }

    /// Adds a call, up to so many.
    pub fn add(&mut self, call: HostCall, listed_max: usize) {
        if matches!(call.kind, CallKind::Http(_)) {
            self.upstream = self.upstream.saturating_add(call.took);
        }
        if self.listed.len() < listed_max {
            self.listed.push(call);
        } else {
            self.unlisted += 1;
        }
    }
}
