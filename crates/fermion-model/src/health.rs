//! How a node itself is, and what its apps call: what its frames carry beside requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The machine and the way out of telemetry, at the end of a frame's interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeHealth {
    /// Memory that the process may use at most, in bytes: the machine's, or its group's if that is less. 0 where the
    /// system does not say.
    pub memory_bytes: u64,
    /// How much of it is left.
    pub memory_available_bytes: u64,
    /// What waits for a collector; none where nothing is exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportHealth>,
}

/// What waits for a collector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportHealth {
    /// Bytes that wait on disk.
    pub waiting_bytes: u64,
    /// What the disk buffer holds at most.
    pub bytes_max: u64,
    /// Data points, spans and log records that wait.
    pub waiting_items: u64,
    /// Those that are lost, since the buffer was made.
    pub dropped_items: u64,
    /// Attempts to send that failed, since the process began.
    pub failures: u64,
    /// Seconds for which something has waited and nothing has arrived.
    pub stuck_seconds: u64,
}

/// One release's calls to one upstream in a frame's interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameUpstream {
    /// The tenant.
    pub namespace: String,
    /// The app's name.
    pub app: String,
    /// The release number.
    pub release: u32,
    /// The rule of the package that grants the call, as it is written there; `none` for calls that no rule grants.
    pub upstream: String,
    /// Calls that ended, by how: `answered`, `server_error`, `timeout`, ...
    pub calls: BTreeMap<String, u64>,
    /// Calls that were made again.
    pub retries: u64,
    /// What the calls took, in nanoseconds.
    pub nanos: u64,
    /// Breakers that are open at the end of the interval.
    pub open: u64,
}

impl FrameUpstream {
    /// Adds what came later.
    pub fn merge(&mut self, later: &Self) {
        for (result, count) in &later.calls {
            *self.calls.entry(result.clone()).or_default() += count;
        }
        self.retries += later.retries;
        self.nanos = self.nanos.saturating_add(later.nanos);
        self.open = later.open;
    }

    /// Calls that ended, however.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Those that ended in one of these ways.
    pub fn of(&self, results: &[&str]) -> u64 {
        results.iter().filter_map(|result| self.calls.get(*result)).sum()
    }
}

/// The instances of one app's release, at the end of a frame's interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameInstances {
    /// The tenant.
    pub namespace: String,
    /// The app's name.
    pub app: String,
    /// Requests that run.
    pub running: u64,
    /// Instances that outlive a request, or wait for their first.
    pub kept: u64,
}
