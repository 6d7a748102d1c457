//! What one node must run and route, and what it says it does: the two documents through which control and node meet.

use std::collections::BTreeMap;

use crate::{Release, ReleaseNumber};

/// The schema that this build writes and understands, for both documents.
pub const ASSIGNMENT_SCHEMA: u32 = 1;

/// What one node must run. A node refuses a generation older than the one it has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Format of this document.
    pub schema: u32,
    /// Counts up with every change.
    pub generation: u64,
    /// By `namespace/app`.
    pub apps: BTreeMap<String, AssignedApp>,
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            schema: ASSIGNMENT_SCHEMA,
            generation: 0,
            apps: BTreeMap::new(),
        }
    }
}

/// One app's part of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignedApp {
    /// The release that should serve.
    pub release: Release,
    /// The last release that served well: what a node falls back to when `release` cannot be made ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Release>,
}

/// What one node does, written by the node alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// Format of this document.
    pub schema: u32,
    /// The assignment that is in force on the node. An app whose wanted release neither serves nor has a problem is
    /// still being made ready.
    pub generation: u64,
    /// The serial of the trust root by which everything that serves was judged last.
    #[serde(default)]
    pub trust_epoch: u64,
    /// By `namespace/app`.
    pub apps: BTreeMap<String, AppStatus>,
}

impl Default for NodeStatus {
    fn default() -> Self {
        Self {
            schema: ASSIGNMENT_SCHEMA,
            generation: 0,
            trust_epoch: 0,
            apps: BTreeMap::new(),
        }
    }
}

/// One app on one node.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppStatus {
    /// The release that serves now; none if nothing could be made ready.
    pub serving: Option<ReleaseNumber>,
    /// The release that was asked for last.
    pub wanted: ReleaseNumber,
    /// Why `wanted` does not serve; none when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What making `wanted` ready took, in order.
    pub steps: Vec<Step>,
}

impl AppStatus {
    /// True if the node is still making the wanted release ready.
    pub fn is_pending(&self) -> bool {
        self.serving != Some(self.wanted) && self.problem.is_none()
    }
}

/// A refusal with its stable code.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Stable, upper case: `DIGEST_MISMATCH`.
    pub code: String,
    /// What failed, where and why, and what to do next.
    pub message: String,
}

/// One step of a deploy with the time it took.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `verify`, `compile`, `seal`, `warm`, `route`, ...
    pub name: String,
    /// Microseconds.
    pub micros: u64,
}
