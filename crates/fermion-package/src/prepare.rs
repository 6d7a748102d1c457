//! From what a build left to what is packed: the bill of materials is taken out first, while the component still says
//! what it is made of; then everything that no engine needs is stripped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fermion_model::manifest::{Manifest, SnapshotAllow};
use serde_json::{Value, json};

use crate::contract::SnapshotOf;
use crate::limits::WORKSPACE_LEVELS_MAX;
use crate::sbom::{self, LOCK_FILE, Sbom};
use crate::{Environment, Result, Sizes, canonical, provenance, sizes, strip};

/// A component that is ready to be packed, and what is known of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The component as the build left it.
    pub built: Vec<u8>,
    /// The component as it is packed.
    pub wasm: Vec<u8>,
    /// How its bytes were spent when it still had its names.
    pub sizes: Sizes,
    /// What it is made of, where anything says so.
    pub sbom: Option<Sbom>,
    /// How it came to be: the predicate of a provenance statement.
    pub provenance: Value,
    /// What `wasm` was before, once it has become a snapshot.
    pub snapshot: Option<SnapshotOf>,
}

impl Prepared {
    /// Puts the component as its initialisation left it in the place of what it was, and says so.
    pub fn freeze(&mut self, frozen: Vec<u8>, allowed: &BTreeSet<SnapshotAllow>) {
        let of = SnapshotOf {
            allowed: allowed.iter().map(|allowed| allowed.word().to_owned()).collect(),
            component: canonical::digest(&self.wasm),
        };
        self.provenance["buildDefinition"]["internalParameters"]["snapshot"] = json!(of);
        self.wasm = frozen;
        self.snapshot = Some(of);
    }
}

/// Prepares the component that the build of `folder` left, in the environment that it was built in. `sbom` is a file
/// given in place of the manifest's own.
///
/// # Errors
/// `COMPONENT_INVALID`, `SBOM_INVALID`, `SIZE_EXCEEDED`.
pub fn prepare(
    manifest: &Manifest,
    folder: &Path,
    environment: &Environment,
    built: Vec<u8>,
    sbom: Option<&Path>,
) -> Result<Prepared> {
    let own = manifest.sbom().map(|file| folder.join(file));
    let given = sbom.or(own.as_deref());
    let sbom = sbom::find(manifest, &built, given, lock_file(folder).as_deref())?;
    let sizes = sizes(&built)?;
    let wasm = if manifest.strips() {
        strip(&built)?
    } else {
        built.clone()
    };
    Ok(Prepared {
        built,
        wasm,
        sizes,
        sbom,
        provenance: provenance::predicate(manifest, folder, environment),
        snapshot: None,
    })
}

/// The `Cargo.lock` that a build in `folder` uses: of the folder itself, or of the workspace that it is a member of.
pub(crate) fn lock_file(folder: &Path) -> Option<PathBuf> {
    let own = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let is_whole = own
        .lines()
        .any(|line| line.trim_start().starts_with("[workspace"));
    let folder = folder.canonicalize().ok()?;
    let roots = folder
        .ancestors()
        .take(if is_whole { 1 } else { WORKSPACE_LEVELS_MAX });
    roots
        .filter(|root| root.join("Cargo.toml").is_file())
        .map(|root| root.join(LOCK_FILE))
        .find(|file| file.is_file())
}
