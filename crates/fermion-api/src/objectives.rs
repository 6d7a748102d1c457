//! Objectives and alerts as the API shows them.

use fermion_model::objective::{self, Target};
use fermion_model::{AppName, Namespace, ReleaseNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// A request that did not fail by the fault of guest, upstream or platform.
    Success,
    /// An answer that ended within so many microseconds.
    LatencyBelow(u64),
    /// A second of a node in which it had requests for the app, and not all of them failed.
    Availability,
    /// A request that did not wait long for a new instance.
    ColdStarts,
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveSpec {
    /// Its name: lower-case letters, digits and '-'; once in an app.
    #[schema(example = "success")]
    pub name: String,
    /// What is good.
    pub indicator: Indicator,
    /// How much of it, in millionths: 999000 is 99.9 %.
    #[schema(example = 999_000)]
    pub target_ppm: u32,
    /// Over which rolling time, in seconds: from a day to 30 days.
    #[schema(example = 2_592_000)]
    pub window_seconds: u64,
}

impl From<ObjectiveSpec> for objective::ObjectiveSpec {
    fn from(spec: ObjectiveSpec) -> Self {
        Self {
            name: spec.name,
            indicator: match spec.indicator {
                Indicator::Success => objective::Indicator::Success,
                Indicator::LatencyBelow(micros) => objective::Indicator::LatencyBelow(micros),
                Indicator::Availability => objective::Indicator::Availability,
                Indicator::ColdStarts => objective::Indicator::ColdStarts,
            },
            target: Target(spec.target_ppm),
            window: spec.window_seconds,
        }
    }
}

impl From<objective::ObjectiveSpec> for ObjectiveSpec {
    fn from(spec: objective::ObjectiveSpec) -> Self {
        Self {
            name: spec.name,
            indicator: match spec.indicator {
                objective::Indicator::Success => Indicator::Success,
                objective::Indicator::LatencyBelow(micros) => Indicator::LatencyBelow(micros),
                objective::Indicator::Availability => Indicator::Availability,
                objective::Indicator::ColdStarts => Indicator::ColdStarts,
            },
            target_ppm: spec.target.0,
            window_seconds: spec.window,
        }
    }
}

/// What happened in one window, and how fast that uses up the error budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BurnView {
    /// The last so many seconds.
    pub window_seconds: u64,
    /// What was good.
    pub good: u64,
    /// Of how much.
    pub total: u64,
    /// 1 uses the budget up exactly at the end of the objective's window; none without data.
    pub burn: Option<f64>,
}

/// One objective, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectiveView {
    /// What is promised.
    pub objective: ObjectiveSpec,
    /// The objective's whole window.
    pub whole: BurnView,
    /// The share of the error budget that is left; below 0 when it is overdrawn, none without data.
    pub budget_left: Option<f64>,
    /// Seconds until nothing is left if it goes on as in the last hour; none if it then never ends.
    pub exhausted_in_seconds: Option<u64>,
    /// The windows that alerts look at, the shortest first.
    pub burns: Vec<BurnView>,
    /// What the burn calls for now: `notify`, `ticket`, `mitigate`, `page`, `rollback`.
    pub actions: Vec<String>,
    /// The releases that requests of the last hour went to, the one most to blame first.
    pub releases: Vec<BlameView>,
}

/// A release's part in what went wrong in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlameView {
    /// The release.
    #[schema(value_type = u32)]
    pub release: ReleaseNumber,
    /// Its events in the window: requests, as a rule.
    pub total: u64,
    /// Of them those that were not good.
    pub bad: u64,
    /// Its share of everything that was not good.
    pub share: f64,
    /// The window.
    pub window_seconds: u64,
}

/// The objectives of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectiveList {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Seconds since the Unix epoch: when this was so.
    pub at: u64,
    /// False if nodes have sent nothing for a while: then nothing is known, rather than well.
    pub telemetry: bool,
    /// The objectives, in the order in which they were written.
    pub objectives: Vec<ObjectiveView>,
}

/// Who last changed what should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedView {
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// Who.
    pub by: String,
    /// `deploy`, `rollback`, `return`.
    pub kind: String,
    /// The release that was made active.
    #[schema(value_type = Option<u32>)]
    pub release: Option<ReleaseNumber>,
}

/// Somebody has taken an incident on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgementView {
    /// Who.
    pub by: String,
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// Until when it counts.
    pub until: u64,
}

/// One incident of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Names the incident, in commands and for receivers.
    pub id: String,
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Which objective.
    pub objective: String,
    /// `notify`, `ticket` or `page`.
    pub severity: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// True if it fires and is kept from people: by a silence, a graver alert or a rollout.
    pub held: bool,
    /// Seconds since the Unix epoch.
    pub opened_at: u64,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<u64>,
    /// What was measured when it was opened: the long window that decided.
    pub burn: BurnView,
    /// What it was held against.
    pub threshold: f64,
    /// Whom to tell, as the package says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What to do, as the package says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// What changed last before it was opened.
    pub changed: ChangedView,
    /// The releases in that window, the one most to blame first.
    pub releases: Vec<BlameView>,
    /// Who has taken it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<AcknowledgementView>,
}

/// A time in which alerts are kept from people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceView {
    /// Names it.
    pub id: String,
    /// Whose alerts.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// Of which app; of all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppName>,
    /// About which objective; about all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// From when on, in seconds since the Unix epoch.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What waits to be delivered to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiverView {
    /// Its name in `alerts.toml`.
    pub name: String,
    /// Messages that wait.
    pub waiting: u64,
    /// When the oldest of them was made, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<u64>,
}

/// Incidents that are open, and those that were over not long ago, newest first; silences; receivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertList {
    /// The incidents.
    pub alerts: Vec<AlertView>,
    /// Silences that are in force or to come.
    pub silences: Vec<SilenceView>,
    /// Where messages go.
    pub receivers: Vec<ReceiverView>,
}

/// Takes an incident on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// The incident.
    pub id: String,
    /// For how long it counts; up to a week.
    pub seconds: u64,
}

/// Keeps alerts from people for a time, or ends such a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// Whose alerts.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// Of which app; of all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppName>,
    /// About which objective; about all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// For how long; up to a week. 0 ends the silences of exactly these alerts.
    pub seconds: u64,
    /// Why.
    pub reason: String,
}
