//! What requests and answers hold. Names, digests and release numbers are those of the model; everything else is
//! the API's own, so that neither a stored document nor the model can change the wire by accident.

use std::collections::BTreeMap;

use fermion_model::rollout::RolloutSpec;
use fermion_model::{AppName, Digest, Namespace, PackageName, ReleaseNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::objectives::ObjectiveSpec;
use crate::rollout::RolloutView;

/// Where requests for an app come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Exact host without port, lower case; any host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop.example.com")]
    pub host: Option<String>,
    /// `/*`, `/tax/*` (prefix) or `/tax` (exact).
    #[schema(example = "/tax/*")]
    pub path: String,
    /// Accepted methods, upper case; every method when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// True if the matched prefix is taken off the path before the component sees it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_prefix: bool,
}

impl From<Route> for fermion_model::release::Route {
    fn from(route: Route) -> Self {
        let Route {
            host,
            path,
            methods,
            strip_prefix,
        } = route;
        Self {
            host,
            path,
            methods,
            strip_prefix,
        }
    }
}

impl From<fermion_model::release::Route> for Route {
    fn from(route: fermion_model::release::Route) -> Self {
        let fermion_model::release::Route {
            host,
            path,
            methods,
            strip_prefix,
        } = route;
        Self {
            host,
            path,
            methods,
            strip_prefix,
        }
    }
}

/// The names that a package's blobs go by: its version, and the tags its signatures are found under. They are set
/// before the package is checked; a tag whose blob is missing is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refs {
    /// The package's repository name.
    #[schema(value_type = String, example = "acme/checkout-tax")]
    pub name: PackageName,
    /// Tags, the version's last.
    pub tags: Vec<RefTag>,
}

/// One tag and the blob it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefTag {
    /// The tag.
    #[schema(example = "1.4.0")]
    pub tag: String,
    /// What it names.
    #[schema(value_type = String, example = "sha256:1f0c...")]
    pub digest: Digest,
}

/// Makes a release of a package whose blobs have been uploaded, or that lies in a registry, and waits until it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The package's manifest digest; may be absent if there is a `source`, and must be its digest if both are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "sha256:1f0c...")]
    pub digest: Option<Digest>,
    /// Where to pull the package from, with the platform's own credentials; none if its blobs have been uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "registry.example.com/acme/checkout-tax:1.4.0")]
    pub source: Option<String>,
    /// Tags to set first; none if they are set already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refs: Option<Refs>,
    /// Where the app is routed.
    pub routes: Vec<Route>,
    /// Values for exactly the config keys that the package asks for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// What it promises; 99.9 % success, p95 below 100 ms, p99 below 250 ms and fewer than 1 % cold starts over 30 days
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Vec<ObjectiveSpec>>,
    /// Refuse with `RELEASE_CHANGED` unless this release is the active one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub expected: Option<ReleaseNumber>,
    /// Why this must run although policies deny it. Kept on record, shown with the release, and without effect on
    /// signatures, on secrets, and on policies that let nobody pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_policy: Option<String>,
    /// How it takes over, as `spec.rollout` of app.yaml says it; at once if absent, or if nothing good is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub rollout: Option<RolloutSpec>,
    /// Take the package although it was rolled out before and went back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// Take over although a freeze holds the app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub during_freeze: bool,
}

/// Routes an app to an earlier release, and waits until it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Which; the newest good one before the active release when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub to: Option<ReleaseNumber>,
    /// As in [`DeployRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_policy: Option<String>,
}

/// How a deploy or a rollback went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployResult {
    /// The release that was asked for.
    pub release: ReleaseView,
    /// False if the active release was already the same package, routes, config and objectives, and nothing was made.
    pub created: bool,
    /// The release that was active before.
    #[schema(value_type = Option<u32>)]
    pub previous: Option<ReleaseNumber>,
    /// The release that serves now.
    #[schema(value_type = Option<u32>)]
    pub serving: Option<ReleaseNumber>,
    /// What making it ready took, in order.
    pub steps: Vec<Step>,
    /// The rollout by which it takes over, or that this took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<RolloutView>>,
}

/// One step of a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// `verify`, `compile`, `seal`, `warm`, `route`, ...
    pub name: String,
    /// Microseconds.
    pub micros: u64,
}

/// A stable code with words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// Stable, upper case.
    pub code: String,
    /// What failed, where and why, and what to do next.
    pub message: String,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// The one the app is meant to run.
    Active,
    /// It is being rolled out beside the active one.
    Canary,
    /// It is rolled out when what is being rolled out has made way.
    Waiting,
    /// Another one took its place; it can be rolled back to.
    Superseded,
    /// It could not be made ready.
    Failed,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// Counts up per app.
    #[schema(value_type = u32)]
    pub number: ReleaseNumber,
    /// The package's name.
    #[schema(value_type = String)]
    pub package: PackageName,
    /// The package's version.
    #[schema(value_type = String)]
    pub version: semver::Version,
    /// The package's manifest digest.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Where it is routed when it serves.
    pub routes: Vec<Route>,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
    /// Who made it.
    pub created_by: String,
    /// What became of it.
    pub state: ReleaseState,
    /// True if it serves requests now.
    pub current: bool,
    /// Why a person passed by the policies that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_override: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Reason>,
}

/// Every release that is kept of one app, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseList {
    /// The releases.
    pub releases: Vec<ReleaseView>,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The release it is meant to run; none if no release was ever good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ReleaseView>,
    /// The release that serves now.
    #[schema(value_type = Option<u32>)]
    pub serving: Option<ReleaseNumber>,
    /// The newest release number given out.
    #[schema(value_type = u32)]
    pub latest: ReleaseNumber,
    /// What is wrong with it on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Reason>,
    /// What the last change took on the node.
    pub steps: Vec<Step>,
    /// Seconds since the Unix epoch of the last deploy, rollback or automatic return.
    pub changed_at: u64,
    /// Who made that change; `fermion` for an automatic return.
    pub changed_by: String,
    /// The release that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub canary: Option<ReleaseNumber>,
    /// Its share of traffic on the node, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_weight: Option<u16>,
}

/// The apps of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppList {
    /// The apps, by name.
    pub apps: Vec<AppView>,
}

/// The node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name; `local` in the one-process mode.
    pub name: String,
    /// The generation of its assignment.
    pub assigned: u64,
    /// The generation it has dealt with.
    pub generation: u64,
    /// The serial of the trust root by which everything that serves was judged last.
    #[serde(default)]
    pub trust_epoch: u64,
}

/// The whole platform at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of fermion that answers.
    pub version: String,
    /// The node.
    pub node: NodeView,
    /// Every app of every namespace.
    pub apps: Vec<AppView>,
}

/// What the gate decided, of one deploy or rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// Counts up per app.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// Who asked.
    pub by: String,
    /// `deploy` or `activate`.
    pub action: String,
    /// The tenant.
    #[schema(value_type = String)]
    pub namespace: Namespace,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppName,
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The package's manifest digest.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The release that was made or made active again; none if it was denied.
    #[schema(value_type = Option<u32>)]
    pub release: Option<ReleaseNumber>,
    /// `allow`, `deny`, or `override`: denied, and passed by with a reason.
    pub verdict: String,
    /// The code of the denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, and what to do.
    pub explanation: String,
    /// The reason of the override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
    /// The policies that decided, by name.
    pub policies: Vec<String>,
    /// The digest of the policies that were asked.
    #[schema(value_type = String)]
    pub policy_hash: Digest,
    /// What they were told of the package.
    #[schema(value_type = Object)]
    pub facts: serde_json::Value,
}

/// Decisions, newest first; as many as fit into one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionList {
    /// The decisions.
    pub decisions: Vec<DecisionView>,
}

/// One line that a component wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// RFC 3339, UTC.
    pub time: String,
    /// The tenant.
    pub namespace: String,
    /// The app.
    pub app: String,
    /// The release that wrote it.
    pub release: u32,
    /// The request it was written in: 32 hex digits, the trace id.
    pub request_id: String,
    /// `stdout`, `stderr` or `log`.
    pub stream: String,
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`; only of a `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What groups messages; only of a `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The text.
    pub line: String,
}

/// What is to be removed from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// True if it is only to be said, not done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed from the store, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectResult {
    /// True if nothing was done.
    pub dry_run: bool,
    /// Packages that stay because releases have them.
    pub pinned: u64,
    /// Manifests taken out of repositories.
    pub manifests: u64,
    /// Files of content.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads that nobody finished.
    pub uploads: u64,
}

/// Who is trusted with what on this platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustView {
    /// The serial of the trust root; 0 where there is no document and every public key in the folder of keys counts.
    pub epoch: u64,
    /// Differs whenever what is trusted differs.
    #[schema(value_type = String)]
    pub identity: Digest,
    /// True if the request changed anything.
    pub changed: bool,
    /// The document with its signatures, a DSSE envelope; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub document: Option<serde_json::Value>,
}
