//! What is in a package, for people and scripts. Shows unsigned and refused packages too, and then says why they are
//! refused; it hands out no component.

use fermion_model::units::{format_bytes, format_duration};
use fermion_model::{Digest, PackageName};
use serde::Serialize;

use crate::contract::SnapshotOf;
use crate::facts::Section;
use crate::load::{self, Documents};
use crate::trust::Signer;
use crate::verify::{SignatureReport, decide};
use crate::{Error, Result, Store, Trust, When, signatures};

/// What is in a package.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The repository name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The package's identity.
    pub digest: Digest,
    /// The config blob.
    pub config: Digest,
    /// The component.
    pub wasm: Digest,
    /// The component's length.
    pub wasm_bytes: u64,
    /// The world it is made for.
    pub target: String,
    /// What its component was before its initialisation, if it is a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotOf>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// How its bytes are spent, largest first.
    pub sections: Vec<Section>,
    /// What it may use.
    pub capabilities: InspectedCapabilities,
    /// The ceilings it runs under.
    pub limits: InspectedLimits,
    /// The team that answers for it.
    pub owner: Option<String>,
    /// What to do when it fails.
    pub runbook: Option<String>,
    /// Everything attached that claims to be a signature.
    pub signatures: Vec<SignatureReport>,
    /// The trusted key that signed it, the first of several; none if it would be refused.
    pub signer: Option<Digest>,
    /// All trusted keys that signed it; none if it would be refused.
    pub signers: Vec<Signer>,
    /// Why it would be refused.
    pub refusal: Option<Refusal>,
}

/// What the package `digest` is called. Nothing but its documents is looked at.
pub fn name(store: &Store, digest: &Digest) -> Result<PackageName> {
    Ok(load::documents(store, digest)?.config.contract.name)
}

/// Capabilities as texts.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedCapabilities {
    /// Config keys.
    pub config: Vec<String>,
    /// Servers.
    pub http: Vec<String>,
    /// Key-value stores.
    pub keyvalue: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// Where sockets may lead.
    pub sockets: Vec<String>,
}

/// Limits with their units.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedLimits {
    /// Of one instance.
    pub memory: String,
    /// Of one request.
    pub cpu_time: String,
    /// Of one request.
    pub wall_time: String,
    /// Of one request.
    pub request_body: String,
    /// Of one request.
    pub response_body: String,
    /// Requests at once.
    pub concurrency: u32,
}

/// A refusal with its code.
#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    /// `SIG_UNTRUSTED`
    pub code: &'static str,
    /// In words.
    pub message: String,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

/// Looks into the package `digest`. What its documents say is shown as long as they can be read at all.
pub fn inspect(store: &Store, digest: &Digest, trust: &Trust, when: When) -> Result<Inspection> {
    let Documents {
        config_descriptor,
        wasm,
        config,
        terms,
    } = load::documents(store, digest)?;
    let name = &config.contract.name;
    let (reports, attached) = match signatures(store, name, digest, trust, when) {
        Ok(reports) => (reports, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let verified = attached.map_or_else(|| decide(&reports, name, digest, trust, when), Err);
    let component = load::component(store, &wasm, &config).map(|(_, facts)| facts);
    let refusal = verified
        .as_ref()
        .err()
        .or(component.as_ref().err())
        .map(Refusal::from);
    let signers = verified.ok().filter(|_| refusal.is_none());
    let signers = signers.map(|verified| verified.signers).unwrap_or_default();
    let (limits, granted) = (terms.limits, terms.capabilities);
    Ok(Inspection {
        name: config.contract.name.to_string(),
        version: config.contract.version.to_string(),
        digest: *digest,
        config: config_descriptor.digest,
        wasm: wasm.digest,
        wasm_bytes: wasm.size,
        target: config.component.target,
        snapshot: config.contract.snapshot,
        imports: config.component.imports,
        exports: config.component.exports,
        sections: component.map(|facts| facts.sections).unwrap_or_default(),
        capabilities: InspectedCapabilities {
            config: granted.config.into_iter().collect(),
            http: granted.http.iter().map(ToString::to_string).collect(),
            keyvalue: granted.keyvalue.into_iter().collect(),
            secrets: granted.secrets.into_iter().collect(),
            sockets: granted.sockets.iter().map(ToString::to_string).collect(),
        },
        limits: InspectedLimits {
            memory: format_bytes(limits.memory_bytes),
            cpu_time: format_duration(limits.cpu_time),
            wall_time: format_duration(limits.wall_time),
            request_body: format_bytes(limits.request_body_bytes),
            response_body: format_bytes(limits.response_body_bytes),
            concurrency: limits.concurrency,
        },
        owner: terms.telemetry.owner,
        runbook: terms.telemetry.runbook,
        signatures: reports,
        signer: signers.first().map(|signer| signer.id),
        signers,
        refusal,
    })
}
