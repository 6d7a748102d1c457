//! `fermion.toml`: what a package is, how it is built, and what it may use. Parsed once into values that need no
//! further checks. Deny by default: what is not written is not granted, and what is not known is refused.

mod parse;
mod schema;
#[cfg(test)]
mod tests;

pub use parse::{is_key, read_warmup};
pub use schema::{SCHEMA_ID, schema};

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::limits::{IDLE_DEFAULT, Limits, REUSE_CONCURRENCY_DEFAULT, WARM_MAX_DEFAULT};
use crate::origin::Origin;
use crate::{PackageName, PackageReference};

/// The file's name, beside the code.
pub const MANIFEST_FILE: &str = "fermion.toml";

/// A validated `fermion.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The repository name.
    pub name: PackageName,
    /// A semantic version without build metadata, because it becomes an OCI tag.
    pub version: semver::Version,
    /// Counts up with every package of this name that is to be deployed; none if nobody counts.
    pub serial: Option<u32>,
    /// Where the build leaves the component, relative to the folder of the file.
    pub component: String,
    /// How the component is made; none if it lies there ready.
    pub build: Option<Build>,
    /// The ceilings the package runs under.
    pub limits: Limits,
    /// How long instances live and how many wait.
    pub instances: Instances,
    /// What the package may use.
    pub capabilities: Capabilities,
    /// Who to ask when it fails.
    pub telemetry: Telemetry,
}

/// The `[build]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// One line for `sh -c`, run in the folder of the file.
    pub command: String,
    /// Globs, relative to the folder, of the files whose change means a new build; empty: `src/**`.
    pub watch: Vec<String>,
    /// Variables of the caller's environment that the command sees besides the fixed few.
    pub environment: Vec<String>,
    /// Whether function names, debug information and other custom sections are taken out before the package is made.
    pub strip: bool,
    /// A CycloneDX file to attach, relative to the folder; none: what the component or `Cargo.lock` says.
    pub sbom: Option<String>,
    /// Whether initialisation runs when the package is made, and its memory is packed.
    pub snapshot: bool,
    /// What may be frozen all the same.
    pub snapshot_allow: BTreeSet<SnapshotAllow>,
}

/// Something of the world that a snapshot may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotAllow {
    /// What `wasi:random/insecure-seed` answers: hash tables then have the same seed in every instance.
    InsecureSeed,
}

impl SnapshotAllow {
    /// All there are.
    pub const ALL: [Self; 1] = [Self::InsecureSeed];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::InsecureSeed => "insecure-seed",
        }
    }
}

impl std::str::FromStr for SnapshotAllow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.word() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            format!("{text:?} cannot be frozen; what can is {known}")
        })
    }
}

/// The `[instances]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// Requests that one instance may serve; 1 is a fresh instance per request.
    pub reuse_requests: u32,
    /// Of these, how many at once: WASI 0.3 only, where requests can overlap in one instance.
    pub reuse_concurrency: u32,
    /// How long an instance that is kept waits for its next request.
    pub idle: Duration,
    /// Instances kept ready.
    pub warm_min: u32,
    /// The most that wait ready.
    pub warm_max: u32,
    /// What a new instance is asked with GET, by nobody's request, before it waits for one.
    pub warmup: Option<String>,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            reuse_requests: 1,
            reuse_concurrency: REUSE_CONCURRENCY_DEFAULT,
            idle: IDLE_DEFAULT,
            warm_min: 0,
            warm_max: WARM_MAX_DEFAULT,
            warmup: None,
        }
    }
}

/// The `[capabilities]` table. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Keys that `wasi:config` may read.
    pub config: BTreeSet<String>,
    /// Names of secrets.
    pub secrets: BTreeSet<String>,
    /// Servers that may be called.
    pub http: BTreeSet<Origin>,
    /// Names of key-value stores.
    pub keyvalue: BTreeSet<String>,
    /// Where sockets may lead.
    pub sockets: BTreeSet<Endpoint>,
}

/// The `[telemetry]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The team that answers for the package.
    pub owner: Option<String>,
    /// An http or https URL.
    pub runbook: Option<String>,
}

/// Something that is written correctly, is stored, and has no effect in this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// `capabilities.secrets`
    pub key: String,
    /// What does not happen, and what happens instead.
    pub note: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.note)
    }
}

impl Manifest {
    /// The package as people cite it.
    pub fn reference(&self) -> PackageReference {
        PackageReference {
            name: self.name.clone(),
            version: self.version.clone(),
        }
    }

    /// Whether the package's component is stripped.
    pub fn strips(&self) -> bool {
        self.build.as_ref().is_none_or(|build| build.strip)
    }

    /// The bill of materials that the manifest names, relative to its folder.
    pub fn sbom(&self) -> Option<&str> {
        self.build.as_ref()?.sbom.as_deref()
    }

    /// What this version cannot honour yet. A deploy shows each line.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let mut notes = Vec::new();
        let mut note = |key: &str, note: &str| {
            notes.push(Unsupported {
                key: key.to_owned(),
                note: note.to_owned(),
            });
        };
        if !self.capabilities.secrets.is_empty() {
            note(
                "capabilities.secrets",
                "this version has no secret store: the component gets none of them",
            );
        }
        notes
    }
}
