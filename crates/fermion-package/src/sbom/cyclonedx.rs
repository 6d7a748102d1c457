//! CycloneDX 1.5 in JSON: written canonically, and looked over when somebody else wrote it.

use fermion_model::manifest::Manifest;
use serde_json::{Value, json};

use super::{Crate, Origin, Sbom, SbomSource, check_count};
use crate::canonical;

/// The package itself in the document's list of dependencies.
const PACKAGE_REF: &str = "package";
/// Versions of the format that are taken when given.
const VERSIONS: [&str; 3] = ["1.4", "1.5", "1.6"];

pub(super) fn write(manifest: &Manifest, crates: &[Crate], source: SbomSource) -> Sbom {
    let refs: Vec<String> = crates
        .iter()
        .enumerate()
        .map(|(at, found)| reference(crates, at, found))
        .collect();
    let names = |places: &mut dyn Iterator<Item = usize>| {
        let mut names: Vec<&str> = places.filter_map(|at| refs.get(at)).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        json!(names)
    };
    let mut components: Vec<(&str, Value)> = Vec::new();
    let mut dependencies: Vec<(&str, Value)> = Vec::new();
    for (found, name) in crates.iter().zip(&refs) {
        components.push((name, component(found, name)));
        dependencies.push((name, names(&mut found.dependencies.iter().copied())));
    }
    let mut roots = (0..crates.len()).filter(|&at| crates[at].is_root);
    dependencies.push((PACKAGE_REF, names(&mut roots)));
    components.sort_by_key(|(name, _)| *name);
    dependencies.sort_by_key(|(name, _)| *name);
    let document = json!({
        "bomFormat": "CycloneDX",
        "components": components.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
        "dependencies": dependencies
            .into_iter()
            .map(|(name, on)| json!({ "dependsOn": on, "ref": name }))
            .collect::<Vec<_>>(),
        "metadata": {
            "component": {
                "bom-ref": PACKAGE_REF,
                "name": manifest.name.to_string(),
                "type": "application",
                "version": manifest.version.to_string(),
            },
            "properties": [{ "name": "fermion:sbom:source", "value": source.words() }],
        },
        "specVersion": "1.5",
        "version": 1,
    });
    Sbom {
        bytes: canonical::json(&document),
        source,
        components: crates.len(),
    }
}

/// A name that no other crate in the document has: the same version may come from two places.
fn reference(crates: &[Crate], at: usize, found: &Crate) -> String {
    let same = |other: &&Crate| other.name == found.name && other.version == found.version;
    match crates[..at].iter().filter(same).count() {
        0 => format!("cargo:{}@{}", found.name, found.version),
        earlier => format!("cargo:{}@{}#{earlier}", found.name, found.version),
    }
}

fn component(found: &Crate, reference: &str) -> Value {
    let mut component = json!({
        "bom-ref": reference,
        "name": found.name,
        "scope": if found.is_build_only { "excluded" } else { "required" },
        "type": "library",
        "version": found.version,
    });
    let origin = match &found.origin {
        Origin::CratesIo => "crates.io",
        Origin::Git { .. } => "git",
        Origin::Local => "local",
        Origin::Other => "another registry",
    };
    let mut properties = vec![json!({ "name": "fermion:source", "value": origin })];
    match &found.origin {
        Origin::CratesIo => {
            component["purl"] = format!("pkg:cargo/{}@{}", found.name, purl_version(&found.version)).into();
        }
        Origin::Git { commit: Some(commit) } => {
            properties.push(json!({ "name": "fermion:commit", "value": commit }));
        }
        _ => {}
    }
    if let Some(checksum) = &found.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component["properties"] = properties.into();
    component
}

/// `+` separates build metadata in a version, and means a space in a purl.
fn purl_version(version: &str) -> String {
    version.replace('+', "%2B")
}

/// Looks over a document of somebody else's; gives the number of its components.
pub(super) fn check(bytes: &[u8]) -> Result<usize, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    if document["bomFormat"] != "CycloneDX" {
        return Err("its bomFormat is not \"CycloneDX\"; other formats are not attached".to_owned());
    }
    let version = document["specVersion"].as_str().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        return Err(format!(
            "specVersion {version:?} is not one of {}",
            VERSIONS.join(", ")
        ));
    }
    let components = match document.get("components") {
        None => 0,
        Some(Value::Array(components)) => components.len(),
        Some(_) => return Err("its components are no list".to_owned()),
    };
    check_count(components)?;
    Ok(components)
}
