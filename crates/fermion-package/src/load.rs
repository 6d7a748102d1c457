//! The only way to a package's component. In this order: the manifest's digest, the layout, the config's digest and its
//! contract, the signature, the component's digest, and last the component against what the config says of it. The
//! first refusal ends it; nothing of the package is handed out before the end.

use fermion_model::limits::Limits;
use fermion_model::manifest::{Capabilities, Instances, Telemetry};
use fermion_model::{Digest, PackageName};

use crate::canonical::{CONFIG_TYPE, Descriptor, ImageManifest, MANIFEST_TYPE, WASM_TYPE};
use crate::contract::{Config, SnapshotOf, Terms};
use crate::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX, WASM_BYTES_MAX};
use crate::{Error, Facts, Result, Store, Target, Trust, Verified, When, facts, verify};

/// A package of which every byte has been verified.
#[derive(Debug, Clone)]
pub struct VerifiedPackage {
    /// The package's identity.
    pub digest: Digest,
    /// The repository name.
    pub name: PackageName,
    /// The version.
    pub version: semver::Version,
    /// Its place in the order of packages of this name; none if nobody counted.
    pub serial: Option<u32>,
    /// The ceilings it runs under.
    pub limits: Limits,
    /// How long instances live and how many wait.
    pub instances: Instances,
    /// What it may use.
    pub capabilities: Capabilities,
    /// Who to ask when it fails.
    pub telemetry: Telemetry,
    /// What its component was before, if it is a snapshot.
    pub snapshot: Option<SnapshotOf>,
    /// What it serves.
    pub target: Target,
    /// The component's address.
    pub wasm_digest: Digest,
    /// The component.
    pub wasm: Vec<u8>,
    /// The trusted keys that signed it.
    pub verified: Verified,
}

/// A package's documents, each of the digest by which it was named; signature and component are not looked at.
pub(crate) struct Documents {
    pub(crate) config_descriptor: Descriptor,
    pub(crate) wasm: Descriptor,
    pub(crate) config: Config,
    pub(crate) terms: Terms,
}

/// Verifies the package `digest` and reads its component. `when` says whether it is new here or was let in before.
///
/// # Errors
/// Each by its code: see [`Error::code`].
pub fn load(store: &Store, digest: &Digest, trust: &Trust, when: When) -> Result<VerifiedPackage> {
    let Documents {
        wasm: layer,
        config,
        terms,
        ..
    } = documents(store, digest)?;
    let verified = verify(store, &config.contract.name, digest, trust, when)?;
    let (wasm, facts) = component(store, &layer, &config)?;
    let Terms {
        limits,
        instances,
        capabilities,
        telemetry,
    } = terms;
    Ok(VerifiedPackage {
        digest: *digest,
        name: config.contract.name,
        version: config.contract.version,
        serial: config.contract.serial,
        limits,
        instances,
        capabilities,
        telemetry,
        snapshot: config.contract.snapshot,
        target: facts.target,
        wasm_digest: layer.digest,
        wasm,
        verified,
    })
}

/// The name and version that a package's own config says; signature and component are not looked at.
///
/// # Errors
/// As [`load`], as far as manifest and config go.
pub fn identity(store: &Store, digest: &Digest) -> Result<(PackageName, semver::Version)> {
    let contract = documents(store, digest)?.config.contract;
    Ok((contract.name, contract.version))
}

/// The component of a package, by its manifest: for whoever keeps what was made of it. Nothing else is verified.
///
/// # Errors
/// As for the manifest in [`load`].
pub fn component_digest(store: &Store, digest: &Digest) -> Result<Digest> {
    let bytes = store.read_part("the manifest", digest, MANIFEST_BYTES_MAX)?;
    Ok(layout(&bytes)?.1.digest)
}

/// Reads manifest and config.
pub(crate) fn documents(store: &Store, digest: &Digest) -> Result<Documents> {
    let bytes = store.read_part("the manifest", digest, MANIFEST_BYTES_MAX)?;
    let (config_descriptor, wasm) = layout(&bytes)?;
    let bytes = store.read_described("the config", &config_descriptor, CONFIG_BYTES_MAX)?;
    let config = Config::read(&bytes)?;
    let terms = config.contract.terms()?;
    Ok(Documents {
        config_descriptor,
        wasm,
        config,
        terms,
    })
}

/// Reads the component and holds it against the config.
pub(crate) fn component(store: &Store, layer: &Descriptor, config: &Config) -> Result<(Vec<u8>, Facts)> {
    let wasm = store.read_described("the component", layer, WASM_BYTES_MAX)?;
    let facts = facts(&wasm)?;
    config.check_facts(&facts, layer.digest)?;
    facts.check_imports()?;
    Ok((wasm, facts))
}

/// The config and the one layer of a package's manifest.
pub(crate) fn layout(bytes: &[u8]) -> Result<(Descriptor, Descriptor)> {
    let refuse = |why: String| Error::layout("the manifest", why);
    let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(|why| refuse(why.to_string()))?;
    if manifest.media_type != MANIFEST_TYPE || manifest.schema_version != 2 {
        return Err(refuse(format!(
            "media type {:?}, schema {}",
            manifest.media_type, manifest.schema_version
        )));
    }
    if manifest.subject.is_some() || manifest.artifact_type.is_some() {
        return Err(refuse("it is an attachment to something else".to_owned()));
    }
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(refuse(format!(
            "the config is {:?}, not {CONFIG_TYPE:?}",
            manifest.config.media_type
        )));
    }
    match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type == WASM_TYPE => Ok((manifest.config, layer)),
        Ok([layer]) => Err(refuse(format!(
            "the layer is {:?}, not {WASM_TYPE:?}",
            layer.media_type
        ))),
        Err(layers) => Err(refuse(format!("{} layers, not one", layers.len()))),
    }
}
