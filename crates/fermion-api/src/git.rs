//! What requests and answers hold about Git sources, and about what a deploy would change.

use std::collections::BTreeMap;

use fermion_model::rollout::RolloutSpec;
use fermion_model::{AppName, Namespace, ReleaseNumber, SourceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::objectives::ObjectiveSpec;
use crate::types::Route;

/// Hands a source over, or another version of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GitSourceRequest {
    /// The text of a document of kind `GitSource`.
    pub document: String,
    /// What refusals call it.
    pub file: String,
}

/// Asks for a look now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GitSyncRequest {
    /// Also try again what was given up, and take a history that was rewritten.
    #[serde(default)]
    pub retry: bool,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// `routes[0].path`.
    #[schema(example = "routes[0].path")]
    pub field: String,
    /// What is active; absent if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// What is wanted; absent if there is to be nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// One app of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitAppView {
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// `in-place`, `starting`, `rolling`, `busy`, `due`, `waiting`, `drifted`, `held`, `orphaned` or `pruned`.
    pub state: String,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The commit that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The release that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub release: Option<ReleaseNumber>,
    /// Why it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What is active and not as Git says.
    pub changes: Vec<FieldChange>,
}

/// Something that happened to a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitEventView {
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// `commit`, `refused`, `rewritten`, `applied`, `adopted`, `drift`, `healed`, `held`, `failed`, `in-place`, `gone`,
    /// `pruned`, `trouble` or `write-back`.
    pub kind: String,
    /// The commit it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The app it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// In words.
    pub what: String,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitSourceView {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The source.
    #[schema(value_type = String)]
    pub name: SourceName,
    /// Where the repository is.
    pub repository: String,
    /// `branch main`, `tag v1`, `commit 1a2b...`.
    pub reference: String,
    /// The folder or file in it; empty for all of it.
    pub path: String,
    /// Seconds between two looks, before jitter.
    pub interval_seconds: u64,
    /// Whether an app goes out of service when its document is gone.
    pub prune: bool,
    /// Whether what others changed is changed back.
    pub self_heal: bool,
    /// `new`, `in-place`, `progressing`, `drifted`, `held`, `failed`, `refused` or `trouble`.
    pub state: String,
    /// Why, where it is not well: for a document with file, line and column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The newest commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The last commit that was wholly in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// When that was, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<u64>,
    /// Its apps, by name.
    pub apps: Vec<GitAppView>,
    /// What happened, the newest last.
    pub events: Vec<GitEventView>,
}

/// The sources of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitSourceList {
    /// The sources, by name.
    pub sources: Vec<GitSourceView>,
}

/// What a deploy would ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// The package by version, by digest, or where it lies in a registry; what is active if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "acme/checkout-tax:1.4.0")]
    pub package: Option<String>,
    /// As in [`crate::DeployRequest`].
    pub routes: Vec<Route>,
    /// As in [`crate::DeployRequest`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// As in [`crate::DeployRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Vec<ObjectiveSpec>>,
    /// As in [`crate::DeployRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub rollout: Option<RolloutSpec>,
}

/// What a deploy would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffResult {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The release that it would take over from; absent if nothing is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub active: Option<ReleaseNumber>,
    /// Field by field; empty if a deploy would change nothing.
    pub changes: Vec<FieldChange>,
}
