//! `fermion build` and `fermion pack`: from a folder to a component, from a folder to a signed package.

use anyhow::Result;
use fermion_package::build::{Difference, Varied};
use fermion_package::store::Store;
use fermion_package::{Prepared, Sizes, canonical, facts};
use serde_json::{Value, json};
use std::path::Path;

use crate::cli::{BuildArgs, PackArgs};
use crate::data::DataDirectory;
use crate::output;
use crate::project::Project;

/// Builds and checks the component; on demand, builds it again elsewhere and compares.
pub(crate) async fn build(arguments: &BuildArgs, json: bool) -> Result<()> {
    let project = open(&arguments.folder)?;
    let prepared = project
        .build(arguments.sbom.as_deref(), &arguments.snapshot)
        .await?;
    let facts = facts::facts(&prepared.wasm)?;
    facts.check_imports()?;
    let path = project.folder.join(&project.manifest.component);
    let mut document = summary(&prepared);
    document["component"] = json!(path);
    document["facts"] = json!(facts);
    document["provenance"] = prepared.provenance.clone();
    if !json {
        output::line(format!("built {}", path.display()));
        show(&prepared);
        show_sizes(&prepared.sizes);
    }
    if arguments.verify {
        let digest = canonical::digest(&prepared.wasm);
        let (varied, stripped) = project.verify(prepared.built).await?;
        document["reproducible"] = json!({ "component": digest, "stripped": stripped, "varied": varied });
        if !json {
            show_repeated(&varied, &stripped);
        }
    }
    if json {
        output::json(&document);
    }
    Ok(())
}

/// Builds, packs and signs.
pub(crate) async fn pack(arguments: &PackArgs, json: bool) -> Result<()> {
    let project = open(&arguments.folder)?;
    let data = DataDirectory::open(&arguments.data.directory)?;
    let store = Store::open(&data.store())?;
    let prepared = project
        .build(arguments.sbom.as_deref(), &arguments.snapshot)
        .await?;
    project.scan(&prepared.wasm, &data.policy()).await?;
    let (packed, signer) = project.publish(&prepared, &store, &data.keys()).await?;
    if json {
        let mut document = summary(&prepared);
        document["package"] = packed.reference.to_string().into();
        document["digest"] = json!(packed.digest);
        document["config"] = json!(packed.config);
        document["component"] = json!(packed.wasm);
        document["component_bytes"] = packed.wasm_bytes.into();
        document["signer"] = json!(signer);
        output::json(&document);
    } else {
        output::line(format!(
            "packed {}\n  digest  {}\n  signer  {}\n  store   {}",
            packed.reference,
            packed.digest,
            signer.short(),
            data.store().display(),
        ));
        show(&prepared);
        show_sizes(&prepared.sizes);
    }
    Ok(())
}

/// What a build gave, for scripts.
fn summary(prepared: &Prepared) -> Value {
    let sbom = prepared.sbom.as_ref().map(|sbom| {
        json!({
            "source": sbom.source, "components": sbom.components, "digest": canonical::digest(&sbom.bytes),
        })
    });
    json!({
        "bytes": prepared.built.len(), "packed_bytes": prepared.wasm.len(), "sizes": prepared.sizes, "sbom": sbom,
        "snapshot": prepared.snapshot,
    })
}

/// The same for people.
fn show(prepared: &Prepared) {
    let (built, packed) = (prepared.built.len(), prepared.wasm.len());
    let stripped = if prepared.snapshot.is_some() {
        format!(", {} KiB once initialised", packed.div_ceil(1024))
    } else if packed < built {
        format!(", {} KiB once stripped", packed.div_ceil(1024))
    } else {
        String::new()
    };
    output::line(format!("  size    {} KiB{stripped}", built.div_ceil(1024)));
    if let Some(snapshot) = &prepared.snapshot {
        output::line(format!("  snapshot of {}", snapshot.component));
    }
    match &prepared.sbom {
        Some(sbom) => output::line(format!(
            "  sbom    {} components, from {}",
            sbom.components,
            sbom.source.words()
        )),
        None => output::line("  sbom    none: nothing says what the component is made of; see --sbom"),
    }
}

/// The largest sections, and the crates with the most code where functions have names.
pub(super) fn show_sizes(sizes: &Sizes) {
    output::line("largest sections:");
    for section in &sizes.sections {
        output::line(format!("  {:>10}  {}", section.bytes, section.name));
    }
    if sizes.crates.is_empty() {
        return;
    }
    output::line("crates with the most code:");
    for found in &sizes.crates {
        output::line(format!(
            "  {:>10}  {} ({} functions)",
            found.bytes, found.name, found.functions
        ));
    }
}

fn show_repeated(varied: &[Varied], stripped: &[Difference]) {
    let varied: Vec<_> = varied.iter().map(|varied| varied.words()).collect();
    output::line(format!(
        "the second build gave the same component, with another {}",
        varied.join(", ")
    ));
    for difference in stripped {
        output::note(format!("note: not in the package: {difference}"));
    }
}

fn open(folder: &Path) -> Result<Project> {
    let project = Project::open(folder)?;
    project.say_notes();
    Ok(project)
}
