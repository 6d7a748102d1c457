//! Releases: immutable, numbered snapshots of what an app ran. A rollback routes to an earlier one.

use std::collections::BTreeMap;
use std::fmt;

use crate::objective::ObjectiveSpec;
use crate::rollout::RolloutSpec;
use crate::{AppName, Digest, Namespace, PackageName};

/// `r1`, `r2`, ...: counts up per app and never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ReleaseNumber(pub u32);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl std::str::FromStr for ReleaseNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('r').unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!("{text:?} is not a release: expected r1, r2, ...")),
        }
    }
}

/// Where requests for an app come in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Exact host without port, lower case; any host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `/*`, `/tax/*` (prefix) or `/tax` (exact).
    pub path: String,
    /// Accepted methods; every method when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// True if the matched prefix is taken off the path before the guest sees it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_prefix: bool,
}

/// One release as it is stored on the bus and shown by `fermion releases`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Format of this document; readers refuse what they do not know.
    pub schema: u32,
    /// The tenant.
    pub namespace: Namespace,
    /// The app.
    pub app: AppName,
    /// The number.
    pub number: ReleaseNumber,
    /// The package's repository name.
    pub package: PackageName,
    /// The package's version.
    pub version: semver::Version,
    /// The package's OCI manifest digest: what is verified and run.
    pub digest: Digest,
    /// Where it is routed.
    pub routes: Vec<Route>,
    /// Values for the config keys the package asks for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
    /// Who made it, as the control plane knows them.
    pub created_by: String,
    /// Why a person passed by the policies that denied it; none if they allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_override: Option<String>,
    /// How it takes over; at once if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// What it promises; [`ObjectiveSpec::defaults`] if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Vec<ObjectiveSpec>>,
    /// Whom to tell when it does not keep it, as its package says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What they should do then: an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

/// The schema that this build writes and understands.
pub const RELEASE_SCHEMA: u32 = 1;
