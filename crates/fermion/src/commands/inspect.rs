//! `fermion inspect` and `fermion verify`: what a package or a component is, and whether it holds.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fermion_model::{Digest, PackageName, PackageReference};
use fermion_package::facts::{self, Facts};
use fermion_package::inspect::Inspection;
use fermion_package::keys::Trust;
use fermion_package::store::Store;
use fermion_package::{inspect, load};

use crate::cli::{DataArgs, InspectArgs, PackageArgs};
use crate::data::DataDirectory;
use crate::output;

/// Shows what is in a package or in a bare component.
pub(crate) fn run(arguments: &InspectArgs, json: bool) -> Result<()> {
    if Path::new(&arguments.what).is_file() {
        let wasm =
            std::fs::read(&arguments.what).with_context(|| format!("cannot read {}", arguments.what))?;
        let facts = facts::facts(&wasm)?;
        if json {
            output::json(&facts);
        } else {
            output::line(format!("{} ({} KiB)", arguments.what, wasm.len().div_ceil(1024)));
            show(&facts);
        }
        return Ok(());
    }
    let (store, trust, digest) = find(&arguments.what, &arguments.data)?;
    let inspection = inspect::inspect(&store, &digest, &trust)?;
    if json {
        output::json(&inspection);
    } else {
        show_package(&inspection);
    }
    Ok(())
}

/// Checks everything that a node would check.
pub(crate) fn verify(arguments: &PackageArgs, json: bool) -> Result<()> {
    let (store, trust, digest) = find(&arguments.package, &arguments.data)?;
    let package = load::load(&store, &digest, &trust)
        .with_context(|| format!("{} does not hold", arguments.package))?;
    if json {
        output::json(&serde_json::json!({
            "package": format!("{}:{}", package.name, package.version), "digest": digest, "signer": package.signer,
            "verified": true,
        }));
    } else {
        output::line(format!(
            "{}:{} holds\n  digest {digest}\n  signed by {}\n  component, config, manifest and imports agree",
            package.name, package.version, package.signer,
        ));
    }
    Ok(())
}

fn find(text: &str, data: &DataArgs) -> Result<(Store, Arc<Trust>, Digest)> {
    if !data.directory.is_dir() {
        bail!(
            "there is no data directory {}: pack or deploy something first, or say --data",
            data.directory.display()
        );
    }
    let data = DataDirectory::open(&data.directory)?;
    let store = Store::open(&data.store())?;
    let digest = match text.split_once('@') {
        Some((_, digest)) => digest.parse()?,
        None => match text.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => store.resolve(&reference(text)?)?,
        },
    };
    Ok((store, Arc::new(Trust::load_dir(&data.keys())?), digest))
}

fn reference(text: &str) -> Result<PackageReference> {
    let (name, version) = text.rsplit_once(':').with_context(|| {
        format!("{text:?} is neither a file nor a package: write acme/hello:1.2.3 or acme/hello@sha256:...")
    })?;
    let version = version
        .parse()
        .with_context(|| format!("{version:?} is not a version such as 1.2.3"))?;
    Ok(PackageReference {
        name: name.parse::<PackageName>()?,
        version,
    })
}

fn show_package(package: &Inspection) {
    let Inspection {
        name,
        version,
        digest,
        target,
        wasm_bytes,
        limits,
        capabilities,
        ..
    } = package;
    output::line(format!(
        "{name}:{version}\n  digest   {digest}\n  target   {target}, {} KiB",
        wasm_bytes.div_ceil(1024)
    ));
    match (&package.signer, &package.refusal) {
        (Some(signer), None) => output::line(format!("  signer   {signer}")),
        (_, Some(refusal)) => output::line(format!("  refused  {}: {}", refusal.code, refusal.message)),
        (None, None) => output::line("  signer   none"),
    }
    output::line(format!(
        "  limits   memory {}, cpu {}, wall {}, request {}, response {}, {} at once",
        limits.memory,
        limits.cpu_time,
        limits.wall_time,
        limits.request_body,
        limits.response_body,
        limits.concurrency
    ));
    let asked = [
        ("config", &capabilities.config),
        ("http", &capabilities.http),
        ("keyvalue", &capabilities.keyvalue),
        ("secrets", &capabilities.secrets),
    ];
    for (kind, names) in asked.iter().filter(|(_, names)| !names.is_empty()) {
        output::line(format!("  may use  {kind}: {}", names.join(", ")));
    }
    list("exports", &package.exports);
    list("imports", &package.imports);
    sections(
        package
            .sections
            .iter()
            .map(|section| (section.bytes, section.name.as_str()))
            .collect(),
    );
}

fn list(heading: &str, names: &[String]) {
    output::line(format!("{heading}:"));
    for name in names {
        output::line(format!("  {name}"));
    }
}

fn sections(mut sections: Vec<(u64, &str)>) {
    sections.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    output::line("largest sections:");
    for (bytes, name) in sections.iter().take(10) {
        output::line(format!("  {bytes:>10}  {name}"));
    }
}

fn show(facts: &Facts) {
    list("exports", &facts.exports);
    list("imports", &facts.imports);
    sections(
        facts
            .sections
            .iter()
            .map(|section| (section.bytes, section.name.as_str()))
            .collect(),
    );
}
