//! The config blob: the CNCF fields and, under `x-fermion`, the package's contract. Written at pack time from a
//! manifest, read at load time with the same ceilings, because a signature says who made a package and not that it is
//! reasonable. Unknown keys are refused by name.

use std::collections::BTreeSet;
use std::time::Duration;

use fermion_model::endpoint::Endpoint;
use fermion_model::limits::{self, Limits};
use fermion_model::manifest::{Capabilities, Instances, Manifest, Telemetry};
use fermion_model::origin::Origin;
use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::{Error, Result};

/// The version of `x-fermion` that this build writes and reads.
pub(crate) const CONTRACT_SCHEMA: u32 = 1;
/// The same for every package, so that time does not enter the digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) architecture: String,
    pub(crate) author: Option<String>,
    pub(crate) component: ComponentFacts,
    pub(crate) created: String,
    #[serde(rename = "layerDigests")]
    pub(crate) layer_digests: Vec<Digest>,
    pub(crate) os: String,
    #[serde(rename = "x-fermion")]
    pub(crate) contract: Contract,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComponentFacts {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
    pub(crate) target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contract {
    pub(crate) schema: u32,
    pub(crate) name: PackageName,
    pub(crate) version: semver::Version,
    /// Counts up with every package of this name that is published; absent where nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<u32>,
    /// The list of what is in the component, attached to the package.
    #[serde(default, rename = "sbomDigest", skip_serializing_if = "Option::is_none")]
    pub(crate) sbom_digest: Option<Digest>,
    /// Present where the component is a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<SnapshotOf>,
    limits: ContractLimits,
    instances: ContractInstances,
    capabilities: Vec<Capability>,
    telemetry: ContractTelemetry,
}

/// A component that was initialised when its package was made: which one it was before, and what of the world it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotOf {
    /// Words of `[build] snapshot_allow`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed: BTreeSet<String>,
    /// The component before.
    pub component: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ContractLimits {
    /// Absent unless asked for, so that packages without it keep their digests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adaptive_concurrency: bool,
    concurrency: u32,
    cpu_time_micros: u64,
    memory_bytes: u64,
    request_body_bytes: u64,
    response_body_bytes: u64,
    wall_time_micros: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ContractInstances {
    /// Absent where an instance serves one request, and where the package is older than this: nobody had said then
    /// that requests may overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reuse_concurrency: Option<u32>,
    /// Absent where it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reuse_idle_micros: Option<u64>,
    reuse_requests: u32,
    warm_max: u32,
    warm_min: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warmup: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    kind: CapabilityKind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CapabilityKind {
    Config,
    Http,
    Keyvalue,
    Secret,
    Socket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractTelemetry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runbook: Option<String>,
}

/// What a contract says, in the model's own types.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) instances: Instances,
    pub(crate) capabilities: Capabilities,
    pub(crate) telemetry: Telemetry,
}

impl Config {
    /// The config of a component packed under `manifest`.
    pub(crate) fn new(
        manifest: &Manifest,
        facts: &Facts,
        wasm: Digest,
        sbom: Option<Digest>,
        snapshot: Option<&SnapshotOf>,
    ) -> Self {
        Self {
            architecture: "wasm".to_owned(),
            author: None,
            component: ComponentFacts {
                exports: facts.exports.clone(),
                imports: facts.imports.clone(),
                target: facts.target.to_string(),
            },
            created: CREATED.to_owned(),
            layer_digests: vec![wasm],
            os: facts.target.os().to_owned(),
            contract: Contract {
                sbom_digest: sbom,
                snapshot: snapshot.cloned(),
                ..Contract::new(manifest)
            },
        }
    }

    /// Reads a config blob whose bytes have been verified.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let config: Self =
            serde_json::from_slice(bytes).map_err(|why| Error::layout("the config", why.to_string()))?;
        if config.contract.schema != CONTRACT_SCHEMA {
            let why = format!(
                "x-fermion has schema {}, this version reads {CONTRACT_SCHEMA}",
                config.contract.schema
            );
            return Err(Error::layout("the config", why));
        }
        Ok(config)
    }

    /// Compares what the config says of the component with the component itself.
    pub(crate) fn check_facts(&self, facts: &Facts, wasm: Digest) -> Result<()> {
        let target = vec![self.component.target.clone(), self.os.clone()];
        let found = vec![facts.target.to_string(), facts.target.os().to_owned()];
        for (kind, listed, found) in [
            ("imports", &self.component.imports, &facts.imports),
            ("exports", &self.component.exports, &facts.exports),
            ("target", &target, &found),
        ] {
            if listed != found {
                return Err(Error::ImportsMismatch {
                    kind,
                    listed: listed.clone(),
                    found: found.clone(),
                });
            }
        }
        if self.architecture != "wasm" || self.layer_digests != [wasm] {
            return Err(Error::layout(
                "the config",
                "architecture or layerDigests are not those of its component",
            ));
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Contract {
    fn new(manifest: &Manifest) -> Self {
        let limits = &manifest.limits;
        let granted = &manifest.capabilities;
        let mut capabilities = Vec::new();
        let mut grant = |kind, name: &str| {
            capabilities.push(Capability {
                kind,
                name: name.to_owned(),
            })
        };
        granted
            .config
            .iter()
            .for_each(|name| grant(CapabilityKind::Config, name));
        granted
            .http
            .iter()
            .for_each(|origin| grant(CapabilityKind::Http, &origin.to_string()));
        granted
            .keyvalue
            .iter()
            .for_each(|name| grant(CapabilityKind::Keyvalue, name));
        granted
            .secrets
            .iter()
            .for_each(|name| grant(CapabilityKind::Secret, name));
        granted
            .sockets
            .iter()
            .for_each(|endpoint| grant(CapabilityKind::Socket, &endpoint.to_string()));
        capabilities.sort();
        Self {
            schema: CONTRACT_SCHEMA,
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            serial: manifest.serial,
            sbom_digest: None,
            snapshot: None,
            limits: ContractLimits {
                adaptive_concurrency: limits.adaptive_concurrency,
                concurrency: limits.concurrency,
                cpu_time_micros: micros(limits.cpu_time),
                memory_bytes: limits.memory_bytes,
                request_body_bytes: limits.request_body_bytes,
                response_body_bytes: limits.response_body_bytes,
                wall_time_micros: micros(limits.wall_time),
            },
            instances: ContractInstances::new(&manifest.instances),
            capabilities,
            telemetry: ContractTelemetry {
                owner: manifest.telemetry.owner.clone(),
                runbook: manifest.telemetry.runbook.clone(),
            },
        }
    }

    /// The contract in the model's types; refuses what `fermion.toml` could not have said.
    pub(crate) fn terms(&self) -> Result<Terms> {
        let mut capabilities = Capabilities::default();
        for Capability { kind, name } in &self.capabilities {
            let new = match kind {
                CapabilityKind::Config => add_key(&mut capabilities.config, name)?,
                CapabilityKind::Keyvalue => add_key(&mut capabilities.keyvalue, name)?,
                CapabilityKind::Secret => add_key(&mut capabilities.secrets, name)?,
                CapabilityKind::Http => {
                    let origin: Origin = name.parse().map_err(|why| refuse(format!("{why}")))?;
                    capabilities.http.insert(origin)
                }
                CapabilityKind::Socket => {
                    let endpoint: Endpoint = name.parse().map_err(|why| refuse(format!("{why}")))?;
                    capabilities.sockets.insert(endpoint)
                }
            };
            if !new {
                return Err(refuse(format!("the capability {name:?} is listed twice")));
            }
        }
        let ContractTelemetry { owner, runbook } = self.telemetry.clone();
        Ok(Terms {
            limits: self.limits.read()?,
            instances: self.instances.read()?,
            capabilities,
            telemetry: Telemetry { owner, runbook },
        })
    }
}

fn refuse(why: String) -> Error {
    Error::layout("x-fermion", why)
}

fn add_key(keys: &mut BTreeSet<String>, name: &str) -> Result<bool> {
    if !fermion_model::manifest::is_key(name) {
        return Err(refuse(format!(
            "{:?} is not a name",
            name.chars().take(80).collect::<String>()
        )));
    }
    Ok(keys.insert(name.to_owned()))
}

impl ContractLimits {
    fn read(&self) -> Result<Limits> {
        let times = 1_000..=micros(limits::WALL_TIME_MAX);
        for (name, value, range) in [
            (
                "concurrency",
                u64::from(self.concurrency),
                1..=u64::from(limits::CONCURRENCY_MAX),
            ),
            ("cpuTimeMicros", self.cpu_time_micros, times.clone()),
            ("wallTimeMicros", self.wall_time_micros, times),
            (
                "memoryBytes",
                self.memory_bytes,
                limits::MEMORY_BYTES_MIN..=limits::MEMORY_BYTES_MAX,
            ),
            (
                "requestBodyBytes",
                self.request_body_bytes,
                0..=limits::BODY_BYTES_MAX,
            ),
            (
                "responseBodyBytes",
                self.response_body_bytes,
                0..=limits::BODY_BYTES_MAX,
            ),
        ] {
            if !range.contains(&value) {
                return Err(refuse(format!("{name} is {value}, outside {range:?}")));
            }
        }
        Ok(Limits {
            memory_bytes: self.memory_bytes,
            cpu_time: Duration::from_micros(self.cpu_time_micros),
            wall_time: Duration::from_micros(self.wall_time_micros),
            request_body_bytes: self.request_body_bytes,
            response_body_bytes: self.response_body_bytes,
            concurrency: self.concurrency,
            adaptive_concurrency: self.adaptive_concurrency,
        })
    }
}

impl ContractInstances {
    /// What differs from what every package before had is written, so that the digest of such a package stays.
    fn new(instances: &Instances) -> Self {
        let is_reused = instances.reuse_requests > 1;
        let idle = micros(instances.idle);
        Self {
            reuse_concurrency: is_reused.then_some(instances.reuse_concurrency),
            reuse_idle_micros: (idle != micros(limits::IDLE_DEFAULT)).then_some(idle),
            reuse_requests: instances.reuse_requests,
            warm_max: instances.warm_max,
            warm_min: instances.warm_min,
            warmup: instances.warmup.clone(),
        }
    }

    fn read(&self) -> Result<Instances> {
        let is_reuse = (1..=limits::REUSE_REQUESTS_MAX).contains(&self.reuse_requests);
        // A package of the time before this key meant one request after the other; without reuse it has no effect.
        let unwritten = if self.reuse_requests > 1 {
            1
        } else {
            limits::REUSE_CONCURRENCY_DEFAULT
        };
        let concurrency = self.reuse_concurrency.unwrap_or(unwritten);
        let is_concurrency = (1..=limits::REUSE_CONCURRENCY_MAX).contains(&concurrency);
        let idle = self.reuse_idle_micros.unwrap_or(micros(limits::IDLE_DEFAULT));
        let is_idle = (1_000..=micros(limits::IDLE_MAX)).contains(&idle);
        let is_warm = self.warm_min <= self.warm_max && self.warm_max <= limits::CONCURRENCY_MAX;
        if !(is_reuse && is_concurrency && is_idle && is_warm) {
            return Err(refuse(format!("instances are out of bounds: {self:?}")));
        }
        if let Some(warmup) = &self.warmup {
            fermion_model::manifest::read_warmup(warmup).map_err(|why| refuse(format!("warmup: {why}")))?;
        }
        Ok(Instances {
            reuse_requests: self.reuse_requests,
            reuse_concurrency: concurrency,
            idle: Duration::from_micros(idle),
            warm_min: self.warm_min,
            warm_max: self.warm_max,
            warmup: self.warmup.clone(),
        })
    }
}
