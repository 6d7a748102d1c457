//! What policies decide on: one versioned document of facts about a package, computed here from bytes that have been
//! verified. Nothing in it is taken from what a package says of itself where it can be measured instead.

use std::collections::BTreeSet;

use fermion_model::Digest;
use serde::{Deserialize, Serialize};

use super::egress;
use crate::limits::FACTS_BYTES_MAX;
use crate::secrets::Finding;
use crate::{Error, Result, VerifiedPackage};

/// The version of the document that this build writes and reads.
pub const FACTS_SCHEMA: u32 = 1;

/// Everything that is known of a package when it is to be admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFacts {
    /// The version of this document.
    pub schema: u32,
    /// The repository name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The package's identity.
    pub digest: Digest,
    /// The component's length.
    pub wasm_bytes: u64,
    /// An interpreter that the component carries with it.
    pub engine: Engine,
    /// The world it is made for.
    pub target: String,
    /// Its imports, read from the component.
    pub imports: BTreeSet<String>,
    /// Its exports, read from the component.
    pub exports: BTreeSet<String>,
    /// Imports that need a capability the package does not ask for.
    pub undeclared_imports: BTreeSet<String>,
    /// What it asks for.
    pub capabilities: CapabilityFacts,
    /// Where it wants to call, by what is special about the place.
    pub egress: EgressFacts,
    /// The ceilings it asks for.
    pub limits: LimitFacts,
    /// How its instances live.
    pub instances: InstanceFacts,
    /// Who answers for it.
    pub telemetry: TelemetryFacts,
    /// What looks like a secret in it.
    pub secrets: SecretFacts,
    /// What is known against the crates in it.
    pub advisories: AdvisoryFacts,
    /// Ids of the trusted keys that signed it.
    pub signers: BTreeSet<String>,
    /// Who built it from what.
    pub provenance: ProvenanceFacts,
    /// True if a bill of materials is attached, or is inside.
    pub sbom: bool,
    /// True if its initialisation ran when it was made, and its memory is what that left. Its signer says so.
    #[serde(default)]
    pub snapshot: bool,
    /// Whole days since it was built, if anybody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_age_days: Option<u64>,
}

/// An interpreter inside a component. A hint for size limits: whoever signs a package could plant its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// None that is known.
    None,
    /// StarlingMonkey or QuickJS.
    Javascript,
    /// CPython.
    Python,
}

/// Names by kind of capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityFacts {
    /// Config keys.
    pub config: BTreeSet<String>,
    /// Origins.
    pub http: BTreeSet<String>,
    /// Key-value stores.
    pub keyvalue: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// Where sockets may lead. Facts that were kept with a decision before there were any have none.
    #[serde(default)]
    pub sockets: BTreeSet<String>,
}

/// Origins by what is special about them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressFacts {
    /// Metadata services and link-local addresses.
    pub metadata: BTreeSet<String>,
    /// Loopback and private addresses.
    pub internal: BTreeSet<String>,
    /// Without TLS.
    pub plain: BTreeSet<String>,
}

/// The ceilings of one instance and one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitFacts {
    /// Requests at once.
    pub concurrency: u32,
    /// Guest CPU time.
    pub cpu_time_micros: u64,
    /// Linear memory.
    pub memory_bytes: u64,
    /// Bytes.
    pub request_body_bytes: u64,
    /// Bytes.
    pub response_body_bytes: u64,
    /// From head to end.
    pub wall_time_micros: u64,
}

/// How instances live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceFacts {
    /// Requests of one instance.
    pub reuse_requests: u32,
    /// Kept ready at most.
    pub warm_max: u32,
    /// Kept ready at least.
    pub warm_min: u32,
}

/// The telemetry contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryFacts {
    /// The team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// An URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

/// What the scan for secrets found; never the secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFacts {
    /// Findings that refuse a deploy.
    pub blocking: u64,
    /// Findings that may be nothing.
    pub warnings: u64,
    /// Findings on the list of those that are allowed.
    pub allowed: u64,
    /// The rules that found something, allowed findings aside.
    pub rules: BTreeSet<String>,
    /// Where, allowed findings aside; the first few.
    pub findings: BTreeSet<Finding>,
}

/// What is known against the crates of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvisoryFacts {
    /// Whether there is a database.
    pub database: DatabaseState,
    /// Days since its newest advisory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_age_days: Option<u64>,
    /// True if the package says what it is made of.
    pub crates_known: bool,
    /// Hits by severity.
    pub critical: u64,
    /// Hits by severity.
    pub high: u64,
    /// Hits by severity.
    pub medium: u64,
    /// Hits by severity.
    pub low: u64,
    /// Vulnerabilities that nobody has scored.
    pub unscored: u64,
    /// Unmaintained, unsound, and the like.
    pub informational: u64,
    /// The hits; the first few.
    pub hits: BTreeSet<AdvisoryHit>,
}

/// Whether there is an advisory database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseState {
    /// No folder.
    #[default]
    Missing,
    /// Read.
    Present,
    /// A folder that cannot be read.
    Unreadable,
}

/// One advisory that applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvisoryHit {
    /// `RUSTSEC-2024-0001`
    pub id: String,
    /// The crate.
    pub package: String,
    /// Its version.
    pub version: String,
    /// `critical`, `high`, `medium`, `low`, `unscored`, `informational`.
    pub severity: String,
}

/// Who built a package from what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceFacts {
    /// A statement about it is attached, and trusted keys signed it for this package. One that nobody trusted signed
    /// says nothing.
    pub verified: bool,
    /// Who built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// From what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl PolicyFacts {
    /// The facts of a verified package that its own bytes tell. Secrets, advisories and attachments are added by those
    /// who look for them.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED` if the document itself would be too large to keep.
    pub fn of(package: &VerifiedPackage) -> Result<Self> {
        let component = crate::facts(&package.wasm)?;
        let capabilities = CapabilityFacts {
            config: package.capabilities.config.clone(),
            http: package
                .capabilities
                .http
                .iter()
                .map(ToString::to_string)
                .collect(),
            keyvalue: package.capabilities.keyvalue.clone(),
            secrets: package.capabilities.secrets.clone(),
            sockets: package
                .capabilities
                .sockets
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut facts = Self {
            schema: FACTS_SCHEMA,
            name: package.name.to_string(),
            version: package.version.to_string(),
            digest: package.digest,
            wasm_bytes: package.wasm.len() as u64,
            engine: Engine::of(&package.wasm),
            target: component.target.to_string(),
            imports: component.imports.into_iter().collect(),
            exports: component.exports.into_iter().collect(),
            undeclared_imports: BTreeSet::new(),
            capabilities,
            egress: EgressFacts::default(),
            limits: LimitFacts {
                concurrency: package.limits.concurrency,
                cpu_time_micros: micros(package.limits.cpu_time),
                memory_bytes: package.limits.memory_bytes,
                request_body_bytes: package.limits.request_body_bytes,
                response_body_bytes: package.limits.response_body_bytes,
                wall_time_micros: micros(package.limits.wall_time),
            },
            instances: InstanceFacts {
                reuse_requests: package.instances.reuse_requests,
                warm_max: package.instances.warm_max,
                warm_min: package.instances.warm_min,
            },
            telemetry: TelemetryFacts {
                owner: package.telemetry.owner.clone(),
                runbook: package.telemetry.runbook.clone(),
            },
            secrets: SecretFacts::default(),
            advisories: AdvisoryFacts::default(),
            signers: package.verified.ids().iter().map(ToString::to_string).collect(),
            provenance: ProvenanceFacts::default(),
            sbom: false,
            snapshot: package.snapshot.is_some(),
            build_age_days: None,
        };
        facts.derive();
        facts.check_size()?;
        Ok(facts)
    }

    /// Reads a document of facts.
    ///
    /// # Errors
    /// `FACTS_INVALID` with the place of what is wrong, and `SIZE_EXCEEDED`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > FACTS_BYTES_MAX {
            return Err(too_large());
        }
        let facts: Self =
            serde_json::from_slice(bytes).map_err(|why| Error::FactsInvalid { why: why.to_string() })?;
        if facts.schema != FACTS_SCHEMA {
            let why = format!("schema {}, this version reads {FACTS_SCHEMA}", facts.schema);
            return Err(Error::FactsInvalid { why });
        }
        Ok(facts)
    }

    /// Computes what follows from other facts.
    pub(super) fn derive(&mut self) {
        self.egress = egress::of(&self.capabilities);
        self.undeclared_imports = undeclared(&self.imports, &self.capabilities);
    }

    /// Refuses facts that are too large to be kept with a decision.
    pub fn check_size(&self) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |text| text.len());
        if bytes > FACTS_BYTES_MAX {
            Err(too_large())
        } else {
            Ok(())
        }
    }
}

fn too_large() -> Error {
    Error::SizeExceeded {
        what: "the document of facts".to_owned(),
        bytes_max: FACTS_BYTES_MAX as u64,
    }
}

/// Imports that only a package which asks for something has a use for. What interpreters import whether their program
/// uses it or not (`wasi:http/outgoing-handler`) is not among them: without a grant it leads nowhere.
fn undeclared(imports: &BTreeSet<String>, asked: &CapabilityFacts) -> BTreeSet<String> {
    let needs = |import: &&String| {
        (import.starts_with("wasi:config/") && asked.config.is_empty())
            || (import.starts_with("wasi:keyvalue/") && asked.keyvalue.is_empty())
            || !import.starts_with("wasi:")
    };
    imports.iter().filter(needs).cloned().collect()
}

impl Engine {
    /// Looks for what toolchains leave in every component they make, stripped or not.
    fn of(wasm: &[u8]) -> Self {
        const MARKS: [(&str, Engine); 3] = [
            ("libcomponentize_py_runtime.so", Engine::Python),
            ("StarlingMonkey", Engine::Javascript),
            ("quickjs", Engine::Javascript),
        ];
        let has =
            |mark: &str| regex::bytes::Regex::new(&regex::escape(mark)).is_ok_and(|mark| mark.is_match(wasm));
        MARKS
            .iter()
            .find(|(mark, _)| has(mark))
            .map_or(Self::None, |(_, engine)| *engine)
    }
}
