//! How all apps are at this moment, as the API shows it.

use fermion_model::{AppName, Namespace};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopApp {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The release that serves; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<u32>,
    /// Requests that ended in the window.
    pub requests: u64,
    /// Of them those that failed by another's fault than the client's.
    pub failures: u64,
    /// Of them those that waited for a new instance for longer than 5 ms.
    pub slow_starts: u64,
    /// The median time to the end of an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// The time within which 99 of 100 ended, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Requests that run now.
    pub running: u64,
    /// Instances that are kept for later requests.
    pub kept: u64,
    /// What is left of the error budget that has the least left; absent without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_left: Option<f64>,
}

/// Every app, the busiest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopView {
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// Requests of the last so many seconds.
    pub window_seconds: u64,
    /// False if nodes have sent nothing for a while: then nothing is known of now.
    pub telemetry: bool,
    /// The apps.
    pub apps: Vec<TopApp>,
}
