//! `fermion inspect` and `fermion verify`: what a package or a component is, and whether it holds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fermion_model::{Digest, PackageName, PackageReference};
use fermion_package::facts::{self, Facts};
use fermion_package::inspect::Inspection;
use fermion_package::limits::WASM_BYTES_MAX;
use fermion_package::store::Store;
use fermion_package::verify::Verdict;
use fermion_package::{Sizes, Trust, Verified, When, attestations, inspect, load, signatures, sizes};
use fermion_telemetry::Clock as _;

use crate::cli::{DataArgs, InspectArgs, PackageArgs};
use crate::commands::package;
use crate::data::DataDirectory;
use crate::output;
use crate::sink::WallClock;

/// Shows what is in a package or in a bare component.
pub(crate) fn run(arguments: &InspectArgs, json: bool) -> Result<()> {
    let what = arguments.what.as_deref().context("say what to look into")?;
    if Path::new(what).is_file() {
        let wasm = std::fs::read(what).with_context(|| format!("cannot read {}", what))?;
        if arguments.sizes {
            return show_sizes(&sizes(&wasm)?, json);
        }
        let facts = facts::facts(&wasm)?;
        if json {
            output::json(&facts);
        } else {
            output::line(format!("{} ({} KiB)", what, wasm.len().div_ceil(1024)));
            show(&facts);
        }
        return Ok(());
    }
    let found = find(what, &arguments.admin.data)?;
    let inspection = inspect::inspect(&found.store, &found.digest, &found.trust, found.when)?;
    if arguments.sizes {
        let wasm = found.store.read(&inspection.wasm, WASM_BYTES_MAX)?;
        return show_sizes(&sizes(&wasm)?, json);
    }
    if json {
        output::json(&inspection);
    } else {
        show_package(&inspection);
    }
    Ok(())
}

fn show_sizes(sizes: &Sizes, json: bool) -> Result<()> {
    if json {
        output::json(sizes);
    } else {
        package::show_sizes(sizes);
    }
    Ok(())
}

/// Checks everything that a node would check, and shows who signed.
pub(crate) fn verify(arguments: &PackageArgs, json: bool) -> Result<()> {
    let found = find(&arguments.package, &arguments.data)?;
    let Found {
        store,
        trust,
        digest,
        when,
        ..
    } = &found;
    let package = load::load(store, digest, trust, *when)
        .with_context(|| format!("{} does not hold", arguments.package))?;
    let Verified {
        signers,
        threshold,
        epoch,
    } = &package.verified;
    let reports = signatures(store, &package.name, digest, trust, *when)?;
    let attested = attestations(store, &package.name, digest, trust, *when)?;
    if json {
        output::json(&serde_json::json!({
            "package": format!("{}:{}", package.name, package.version), "digest": digest, "verified": true,
            "signer": signers.first().map(|signer| signer.id), "signers": signers, "threshold": threshold,
            "trust_root": epoch, "signatures": reports,
            "provenance": attested.provenance.iter().map(|found| &found.signers).collect::<Vec<_>>(),
            "sbom": attested.sbom.as_ref().map(|sbom| sbom.digest), "ignored": attested.ignored,
        }));
        return Ok(());
    }
    output::line(format!(
        "{}:{} holds\n  digest {digest}\n  component, config, manifest and imports agree",
        package.name, package.version
    ));
    for signer in signers {
        output::line(format!("  signed by {} ({})", signer.name, signer.id));
    }
    output::line(format!("  {threshold} needed, by trust root {epoch}"));
    for report in &reports {
        if let Verdict::Refused { why, .. } = &report.verdict {
            output::line(format!("  does not count: {why}"));
        }
    }
    for signer in attested.provenance.iter().flat_map(|found| &found.signers) {
        output::line(format!("  provenance by {} ({})", signer.name, signer.id));
    }
    if let Some(sbom) = &attested.sbom {
        output::line(format!("  SBOM {}", sbom.digest));
    }
    for ignored in &attested.ignored {
        output::line(format!("  ignored {}: {}", ignored.digest.short(), ignored.why));
    }
    Ok(())
}

/// A package of this place, and what it is held against.
pub(crate) struct Found {
    pub(crate) store: Store,
    pub(crate) trust: Trust,
    pub(crate) digest: Digest,
    /// The folder of keys.
    pub(crate) keys: PathBuf,
    pub(crate) when: When,
}

/// Finds a package by what people call it.
pub(crate) fn find(text: &str, data: &DataArgs) -> Result<Found> {
    if !data.directory.is_dir() {
        bail!(
            "there is no data directory {}: pack or deploy something first, or say --data",
            data.directory.display()
        );
    }
    let data = DataDirectory::open(&data.directory)?;
    let store = Store::open(&data.store())?;
    let digest = match text.split_once('@') {
        Some((name, digest)) => {
            name.parse::<PackageName>()?;
            digest.parse()?
        }
        None => match text.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => store.resolve(&text.parse::<PackageReference>()?)?,
        },
    };
    let now = WallClock.now();
    Ok(Found {
        store,
        trust: Trust::load(&data.keys(), now)?,
        digest,
        keys: data.keys(),
        when: When::admission(now),
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
    if let Some(snapshot) = &package.snapshot {
        output::line(format!("  snapshot of {}", snapshot.component));
        for allowed in &snapshot.allowed {
            output::line(format!("           holds {allowed}"));
        }
    }
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
        ("sockets", &capabilities.sockets),
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
