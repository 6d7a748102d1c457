//! `fermion build` and `fermion pack`: from a folder to a component, from a folder to a signed package.

use std::sync::Arc;

use anyhow::Result;
use fermion_package::keys::PrivateKey;
use fermion_package::store::Store;
use fermion_package::{Prepared, canonical, facts};

use crate::cli::BuildArgs;
use crate::data::DataDirectory;
use crate::output;
use crate::project::Project;

/// Builds and checks the component.
pub(crate) async fn build(arguments: &BuildArgs, json: bool) -> Result<()> {
    let project = open(arguments)?;
    let prepared = project.build(arguments.sbom.as_deref()).await?;
    let facts = facts::facts(&prepared.wasm)?;
    facts.check_imports()?;
    let path = project.folder.join(&project.manifest.component);
    if json {
        output::json(&serde_json::json!({
            "component": path, "bytes": prepared.built_bytes, "packed_bytes": prepared.wasm.len(), "facts": facts,
            "sbom": sbom(&prepared),
        }));
    } else {
        output::line(format!("built {}", path.display()));
        show(&prepared);
    }
    Ok(())
}

/// Builds, packs and signs.
pub(crate) async fn pack(arguments: &BuildArgs, json: bool) -> Result<()> {
    let project = open(arguments)?;
    let data = DataDirectory::open(&arguments.data.directory)?;
    let (store, key) = (
        Store::open(&data.store())?,
        Arc::new(PrivateKey::load_or_create(&data.keys())?),
    );
    let prepared = project.build(arguments.sbom.as_deref()).await?;
    let sbom = sbom(&prepared);
    let packed = project.publish(prepared, &store, &key).await?;
    if json {
        output::json(&serde_json::json!({
            "package": packed.reference.to_string(), "digest": packed.digest, "config": packed.config,
            "component": packed.wasm, "component_bytes": packed.wasm_bytes, "signer": key.public().id(),
            "sbom": sbom,
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

/// The bill of materials in a few words, for scripts.
fn sbom(prepared: &Prepared) -> Option<serde_json::Value> {
    prepared.sbom.as_ref().map(|sbom| {
        serde_json::json!({
            "source": sbom.source, "components": sbom.components, "digest": canonical::digest(&sbom.bytes),
        })
    })
}

fn show(prepared: &Prepared) {
    let (built, packed) = (prepared.built_bytes, prepared.wasm.len() as u64);
    let stripped = if packed < built {
        format!(", {} KiB once stripped", packed.div_ceil(1024))
    } else {
        String::new()
    };
    output::line(format!("  size    {} KiB{stripped}", built.div_ceil(1024)));
    match &prepared.sbom {
        Some(sbom) => output::line(format!(
            "  sbom    {} components, from {}",
            sbom.components,
            sbom.source.words()
        )),
        None => output::line("  sbom    none: nothing says what the component is made of; see --sbom"),
    }
}

fn open(arguments: &BuildArgs) -> Result<Project> {
    let project = Project::open(&arguments.folder)?;
    project.say_notes();
    Ok(project)
}
