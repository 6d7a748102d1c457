//! What is wrong with an app, as the API says it.

use fermion_model::{AppName, Namespace};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyFinding {
    /// Why, as a stable code: `BAD_RELEASE`, `UPSTREAM_SLOW`, ...
    pub cause: String,
    /// Whom it hurts: `failing` (callers get failures), `slow` (they wait), `risk` (nobody yet).
    pub grade: String,
    /// In one plain sentence, with figures.
    pub sentence: String,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
}

/// Everything that is wrong with an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// Seconds since the Unix epoch: when this was so.
    pub at: u64,
    /// Requests of the last so many seconds were looked at.
    pub window_seconds: u64,
    /// How the app is, in one sentence with figures.
    pub summary: String,
    /// What is wrong, the gravest first; empty if nothing is.
    pub findings: Vec<WhyFinding>,
}
