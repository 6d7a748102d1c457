//! Freezes as the API shows them: times in which no release goes forward.

use fermion_model::{AppName, Namespace};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A time in which no release goes forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FreezeView {
    /// Its name: `f3`.
    #[schema(example = "f3")]
    pub id: String,
    /// In which namespace; in all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Namespace>,
    /// Of which app; of all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppName>,
    /// Seconds since the Unix epoch.
    pub from: u64,
    /// Seconds since the Unix epoch.
    pub until: u64,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

/// Freezes that are in force or to come, by their beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FreezeList {
    /// The freezes.
    pub freezes: Vec<FreezeView>,
}

/// Orders a freeze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// In which namespace; in all of them unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Namespace>,
    /// Of which app of that namespace; of all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppName>,
    /// Seconds since the Unix epoch; now unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Seconds since the Unix epoch.
    pub until: u64,
    /// Why: whoever is held up reads it.
    pub reason: String,
}
