//! What requests and answers hold about rollouts.

use fermion_model::{AppName, Namespace, ReleaseNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a person wants of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RolloutCommand {
    /// To the next step, though nothing says that this one is good: only of one that is paused. Of a shadow that has
    /// ended well: it takes over.
    Promote,
    /// Wait, with the share of traffic as it is.
    Pause,
    /// Go on with the step, from its beginning.
    Resume,
    /// Back to the old release.
    Abort,
}

/// Decides a rollout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutOrder {
    /// What to do.
    pub command: RolloutCommand,
    /// Refuse unless this rollout is the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<u64>,
    /// Refuse unless it is at this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
}

/// One step: how much traffic, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutStepView {
    /// The new release's share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// Seconds for which it is watched before it is judged.
    pub bake_seconds: u64,
}

/// What one of the two releases has done since the rollout began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmView {
    /// The release.
    #[schema(value_type = u32)]
    pub release: ReleaseNumber,
    /// Requests that ended.
    pub requests: u64,
    /// Of them those that failed by another's fault than the client's: users hit.
    pub failures: u64,
    /// The median time to the end of an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// The time within which 99 of 100 ended, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// Two answers to one request that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopyExample {
    /// The path without the query.
    pub path: String,
    /// `status`, `headers`, `body` or `failed`.
    pub differs: String,
    /// What the caller got.
    pub stable_status: u16,
    /// What the new release answered to the copy; 0 if nothing.
    pub canary_status: u16,
}

/// How the new release's answers to copies of requests compare with those that callers got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CopiesView {
    /// Alike in all that is compared.
    pub same: u64,
    /// With another status.
    pub status: u64,
    /// With the same status and other header fields.
    pub headers: u64,
    /// With the same head and another body.
    pub body: u64,
    /// Without a whole answer, by the new release's fault.
    pub failed: u64,
    /// Copies that there was no room for.
    pub dropped: u64,
    /// Requests whose bodies could not be copied.
    pub skipped: u64,
    /// The median time of callers' answers, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_p50_ms: Option<f64>,
    /// The same of copies, without the making of their instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_p50_ms: Option<f64>,
    /// The first few differences.
    pub examples: Vec<CopyExample>,
}

/// What an experiment has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentView {
    /// The field of answers that is read.
    pub header: String,
    /// Callers of the old release who were counted.
    pub stable_callers: u64,
    /// Callers of the new one.
    pub canary_callers: u64,
    /// The mean of their values; 1 where conversions are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_mean: Option<f64>,
    /// The same of the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_mean: Option<f64>,
    /// The chance of ever seeing so much of a difference if there is none.
    pub p: f64,
}

/// What the judge found of one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutFinding {
    /// Which metric.
    pub metric: String,
    /// `pass`, `high`, `low`, `nodata`, `nodata-fail`, `error` or `inconclusive`.
    pub found: String,
    /// In words, with figures.
    pub reason: String,
}

/// The verdict on one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutVerdict {
    /// Which step, from 0.
    pub step: usize,
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// `pass`, `marginal`, `fail` or `inconclusive`.
    pub verdict: String,
    /// 0 to 100.
    pub score: f64,
    /// Metric by metric.
    pub findings: Vec<RolloutFinding>,
}

/// One transition of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutEventView {
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// The phase that was entered.
    pub phase: String,
    /// The new release's share of traffic then, in hundredths of a percent.
    pub weight: u16,
    /// Who: `fermion` if nobody in particular.
    pub by: String,
    /// Why, in words with figures.
    pub why: String,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Counts up per app.
    pub id: u64,
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// `canary`, `blue-green`, `rolling`, `ab` or `shadow`.
    pub strategy: String,
    /// The release that serves everybody else.
    #[schema(value_type = u32)]
    pub stable: ReleaseNumber,
    /// The release that is rolled out.
    #[schema(value_type = u32)]
    pub canary: ReleaseNumber,
    /// Where it stands: `baking`, `paused: marginal`, `rolled-back: sequential`, ...
    pub phase: String,
    /// The same in words, with figures.
    pub why: String,
    /// True if nothing happens any more.
    pub over: bool,
    /// The step it is at, from 0.
    pub step: usize,
    /// Every step.
    pub steps: Vec<RolloutStepView>,
    /// The new release's share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// When the phase ends, in seconds since the Unix epoch; absent where nothing but an event ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Seconds since the Unix epoch.
    pub begun_at: u64,
    /// Who deployed.
    pub begun_by: String,
    /// Seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// The release that has its turn afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub next: Option<ReleaseNumber>,
    /// The old release.
    pub stable_arm: ArmView,
    /// The new one.
    pub canary_arm: ArmView,
    /// The chance of ever seeing so much evidence that the new release fails more often, if it does not.
    pub failing_more_p: f64,
    /// The same of its being slower; absent until enough is known of the old release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_p: Option<f64>,
    /// What copies of requests have shown, where they are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesView>,
    /// What an experiment has counted, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentView>,
    /// What the judge said, the newest last.
    pub verdicts: Vec<RolloutVerdict>,
    /// What happened, the newest last.
    pub events: Vec<RolloutEventView>,
}

/// Rollouts of one app, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutList {
    /// The rollouts.
    pub rollouts: Vec<RolloutView>,
}
