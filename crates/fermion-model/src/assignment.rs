//! What one node must run and route, and what it says it does: the documents through which control and node meet. Each
//! has one document for the whole and one for each app, so that a change of one app costs what one app is, however many
//! there are.

use crate::rollout::Split;
use crate::{Release, ReleaseNumber};

/// The schema that this build writes and understands, for all of these documents.
pub const ASSIGNMENT_SCHEMA: u32 = 2;

/// The key of a node's [`Assignment`].
pub fn assignment_key(node: &str) -> String {
    format!("assignments/{node}")
}

/// The key of the [`AssignedApp`] of `namespace/app`.
pub fn assigned_app_key(node: &str, app: &str) -> String {
    format!("assignments/{node}/{app}")
}

/// The key of a node's [`NodeStatus`].
pub fn status_key(node: &str) -> String {
    format!("status/{node}")
}

/// The key of the [`AppStatus`] of `namespace/app`.
pub fn app_status_key(node: &str, app: &str) -> String {
    format!("status/{node}/{app}")
}

/// What is assigned to one node, as a whole: written in one commit with every app's part that changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Format of this document.
    pub schema: u32,
    /// Counts up with every change.
    pub generation: u64,
}

/// One app that a node must run. A node refuses a generation older than the one it has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignedApp {
    /// Format of this document.
    pub schema: u32,
    /// The assignment's generation when this part of it changed last.
    pub generation: u64,
    /// The release that should serve.
    pub release: Release,
    /// The last release that served well: what a node falls back to when `release` cannot be made ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Release>,
    /// The release that is being rolled out beside `release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// A release on its way to take over, and its share of traffic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The release. It is made ready before it gets any weight.
    pub release: Release,
    /// How requests are shared.
    pub split: Split,
}

/// What one node does, as a whole, written by the node alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatus {
    /// Format of this document.
    pub schema: u32,
    /// The assignment that the node has seen.
    pub generation: u64,
    /// Which of the node's processes speaks: greater with every start. What an earlier one said of apps is void.
    pub incarnation: u64,
    /// The serial of the trust root by which everything that serves was judged last.
    pub trust_epoch: u64,
}

impl Default for NodeStatus {
    fn default() -> Self {
        Self {
            schema: ASSIGNMENT_SCHEMA,
            generation: 0,
            incarnation: 0,
            trust_epoch: 0,
        }
    }
}

/// One app on one node, said when there is something to say: it serves what is wanted, or why it does not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppStatus {
    /// Format of this document.
    pub schema: u32,
    /// Which of the node's processes says so.
    pub incarnation: u64,
    /// The generation of the [`AssignedApp`] that this is about.
    pub generation: u64,
    /// The release that serves now; none if nothing could be made ready.
    pub serving: Option<ReleaseNumber>,
    /// The release that was asked for last.
    pub wanted: ReleaseNumber,
    /// Why `wanted` does not serve; none when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What making `wanted` ready took, in order.
    pub steps: Vec<Step>,
    /// The release that is being rolled out, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
}

/// What a node says of a release that is being rolled out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryStatus {
    /// The release.
    pub release: ReleaseNumber,
    /// Whether it is ready.
    pub ready: bool,
    /// The weight that is in force, in hundredths of a percent.
    pub weight: u16,
    /// The epoch by whose word.
    pub epoch: u64,
    /// Why it is not ready; none while it is being made ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
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

/// The first schema: a node's whole assignment in one document. Read once, to be taken apart.
pub mod first {
    use std::collections::BTreeMap;

    use crate::Release;

    /// Its number.
    pub const SCHEMA: u32 = 1;

    /// What one node must run.
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

    /// One app's part of it.
    #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AssignedApp {
        /// The release that should serve.
        pub release: Release,
        /// The last release that served well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last_good: Option<Release>,
    }
}
