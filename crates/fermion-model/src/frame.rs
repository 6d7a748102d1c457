//! What one node measured of its requests in one interval, on its way to the control plane: what objectives and the judge
//! of rollouts decide by. Frames may be lost, late, or come twice; their numbers tell.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::copies::CopyCounts;
use crate::health::{FrameInstances, FrameUpstream, NodeHealth};
use crate::sketch::Sketch;

/// The schema that this build writes and understands.
pub const FRAME_SCHEMA: u32 = 1;

/// A cold start that took longer was felt by whoever waited; a quicker one is lost in the network.
pub const SLOW_START: Duration = Duration::from_millis(5);

/// The name of what an experiment counts among [`FrameSeries::custom`].
pub const EXPERIMENT_METRIC: &str = "experiment";

/// The subject under which a node sends its frames.
pub fn frame_subject(node: &str) -> String {
    format!("frames/{node}")
}

/// One interval of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Format of this message.
    pub schema: u32,
    /// Which node.
    pub node: String,
    /// Its region; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Which of the node's processes: greater with every start.
    pub incarnation: u64,
    /// Counts up from 0 in each incarnation.
    pub sequence: u64,
    /// Milliseconds since the Unix epoch, by the node's clock.
    pub from: u64,
    /// The same, of the interval's end.
    pub until: u64,
    /// What had requests in the interval.
    pub series: Vec<FrameSeries>,
    /// Requests of series too many for one frame.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unlisted: u64,
    /// What apps called in the interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<FrameUpstream>,
    /// Instances of apps that have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<FrameInstances>,
    /// How the node itself is; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<NodeHealth>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Which share of an app's traffic a request belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The release that serves everybody else.
    #[default]
    Stable,
    /// The release that is being rolled out.
    Canary,
    /// The old release in fresh instances, which a canary is compared with.
    Baseline,
    /// A copy whose answer nobody gets. No objective counts it.
    Mirror,
}

/// One release's share in a frame.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSeries {
    /// The tenant.
    pub namespace: String,
    /// The app's name.
    pub app: String,
    /// The release number.
    pub release: u32,
    /// As which part of a rollout it served.
    pub arm: Arm,
    /// Requests that ended.
    pub requests: u64,
    /// Of them those that failed by the guest's fault.
    pub guest_failures: u64,
    /// By an upstream's.
    pub upstream_failures: u64,
    /// By the platform's.
    pub platform_failures: u64,
    /// By the client's own: no objective counts them as bad.
    pub client_failures: u64,
    /// Failures of guest, upstream and platform, each client counted at most once in ten seconds: what the sequential
    /// test of a rollout is fed with.
    pub distinct_failures: u64,
    /// Requests whose instance was made while they waited.
    pub cold: u64,
    /// Of them those that waited for longer than [`SLOW_START`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_starts: u64,
    /// Answers that the platform gave or cut in the guest's stead, by the fault's code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u64>,
    /// What all of them took together, in nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total_nanos: u64,
    /// How long they waited for their turn.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queue_nanos: u64,
    /// How long for an instance.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instantiate_nanos: u64,
    /// How long for answers of upstreams.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upstream_nanos: u64,
    /// Guest CPU time of all of them, in nanoseconds.
    pub cpu_nanos: u64,
    /// The greatest memory that one instance had, in bytes.
    pub memory_bytes_max: u64,
    /// From the request's head to the end of the answer, in seconds.
    pub duration: Sketch,
    /// Metrics that an app reads from its answers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Moments>,
    /// Of copies: how their answers compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopyCounts>,
}

impl FrameSeries {
    /// Adds another share of the same release.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.guest_failures += other.guest_failures;
        self.upstream_failures += other.upstream_failures;
        self.platform_failures += other.platform_failures;
        self.client_failures += other.client_failures;
        self.distinct_failures += other.distinct_failures;
        self.cold += other.cold;
        self.slow_starts += other.slow_starts;
        for (code, count) in &other.faults {
            *self.faults.entry(code.clone()).or_default() += count;
        }
        self.total_nanos = self.total_nanos.saturating_add(other.total_nanos);
        self.queue_nanos = self.queue_nanos.saturating_add(other.queue_nanos);
        self.instantiate_nanos = self.instantiate_nanos.saturating_add(other.instantiate_nanos);
        self.upstream_nanos = self.upstream_nanos.saturating_add(other.upstream_nanos);
        self.cpu_nanos = self.cpu_nanos.saturating_add(other.cpu_nanos);
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
        self.duration.merge(&other.duration);
        for (name, moments) in &other.custom {
            self.custom.entry(name.clone()).or_default().merge(moments);
        }
        if let Some(copies) = &other.copies {
            self.copies.get_or_insert_default().merge(copies);
        }
    }

    /// Requests that count as bad for success objectives.
    pub fn failures(&self) -> u64 {
        self.guest_failures + self.upstream_failures + self.platform_failures
    }
}

/// What is needed of values to compare their means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Moments {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }
}
