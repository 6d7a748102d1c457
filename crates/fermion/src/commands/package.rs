//! `fermion build` and `fermion pack`: from a folder to a component, from a folder to a signed package.

use std::sync::Arc;

use anyhow::Result;
use fermion_package::facts;
use fermion_package::keys::PrivateKey;
use fermion_package::store::Store;

use crate::cli::FolderArgs;
use crate::data::DataDirectory;
use crate::output;
use crate::project::Project;

/// Builds and checks the component.
pub(crate) async fn build(arguments: &FolderArgs, json: bool) -> Result<()> {
    let project = open(arguments)?;
    let wasm = project.build().await?;
    let facts = facts::facts(&wasm)?;
    facts.check_imports()?;
    let path = project.folder.join(&project.manifest.component);
    if json {
        output::json(&serde_json::json!({ "component": path, "bytes": wasm.len(), "facts": facts }));
    } else {
        output::line(format!(
            "built {} ({} KiB)",
            path.display(),
            wasm.len().div_ceil(1024)
        ));
    }
    Ok(())
}

/// Builds, packs and signs.
pub(crate) async fn pack(arguments: &FolderArgs, json: bool) -> Result<()> {
    let project = open(arguments)?;
    let data = DataDirectory::open(&arguments.data.directory)?;
    let (store, key) = (
        Store::open(&data.store())?,
        Arc::new(PrivateKey::load_or_create(&data.keys())?),
    );
    let wasm = project.build().await?;
    let packed = project.publish(wasm, &store, &key).await?;
    if json {
        output::json(&serde_json::json!({
            "package": packed.reference.to_string(), "digest": packed.digest, "config": packed.config,
            "component": packed.wasm, "component_bytes": packed.wasm_bytes, "signer": key.public().id(),
        }));
    } else {
        output::line(format!(
            "packed {} ({} KiB)\n  digest {}\n  signed by {}\n  in {}",
            packed.reference,
            packed.wasm_bytes.div_ceil(1024),
            packed.digest,
            key.public().id().short(),
            data.store().display(),
        ));
    }
    Ok(())
}

fn open(arguments: &FolderArgs) -> Result<Project> {
    let project = Project::open(&arguments.folder)?;
    project.say_notes();
    Ok(project)
}
