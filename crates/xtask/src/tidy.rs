//! Rules of this repository that no compiler checks: layers, file headers, file lengths, lint inheritance, and that
//! `ARCHITECTURE.md` knows every crate, every guest has a test, and the tests that `docs/security.md` names exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Each crate's layer. Imports go strictly downward.
const LAYERS: [(&str, u8); 14] = [
    ("fermion-model", 0),
    ("fermion-planner", 1),
    ("fermion-package", 2),
    ("fermion-bus", 2),
    ("fermion-runtime", 2),
    ("fermion-gateway", 2),
    ("fermion-telemetry", 2),
    ("fermion-api", 2),
    ("fermion-node", 3),
    ("fermion-control", 3),
    ("fermion-registry", 3),
    ("fermion-providers", 3),
    ("fermion", 4),
    ("xtask", 5),
];

/// Foreign crates that only these of ours may know, directly.
const FENCES: [(&str, &[&str]); 17] = [
    ("wasmtime", &["fermion-runtime"]),
    ("wasmtime-wasi", &["fermion-runtime"]),
    ("wasmtime-wasi-http", &["fermion-runtime"]),
    ("redb", &["fermion-bus", "fermion-providers"]),
    ("p256", &["fermion-package"]),
    ("cedar-policy", &["fermion-package"]),
    ("rustsec", &["fermion-package"]),
    ("axum", &["fermion-control", "fermion-registry"]),
    ("socket2", &["fermion-gateway"]),
    ("reqwest", &["fermion-package", "fermion-control"]),
    ("landlock", &["fermion-runtime"]),
    ("seccompiler", &["fermion-runtime"]),
    ("wasmtime-wizer", &["fermion-runtime"]),
    ("hickory-resolver", &["fermion-runtime"]),
    ("statrs", &["fermion-planner"]),
    ("opentelemetry-proto", &["fermion-telemetry"]),
    ("tonic", &["fermion-telemetry"]),
];

/// Lines a source file may have: past this it holds more than one thing.
const FILE_LINES_MAX: usize = 500;

/// Checks everything and lists every finding before it fails.
pub(crate) fn run() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut findings = Vec::new();
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for (name, folder) in crates(&root)? {
        check_manifest(&name, &folder, &mut findings)?;
        if !architecture.contains(&format!("`{name}`")) {
            findings.push(format!("ARCHITECTURE.md does not name `{name}`"));
        }
        for file in rust_files(&folder)? {
            check_source(&root, &file, &mut findings)?;
        }
    }
    check_guests(&root, &mut findings)?;
    check_claims(&root, &mut findings)?;
    if findings.is_empty() {
        println!("tidy: layers, headers, lengths, lints, guests, claims and ARCHITECTURE.md agree");
        return Ok(());
    }
    for finding in &findings {
        println!("tidy: {finding}");
    }
    bail!("{} findings", findings.len())
}

fn crates(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() {
            let name = folder
                .file_name()
                .context("a crate's folder has a name")?
                .to_string_lossy()
                .into_owned();
            found.insert(name, folder);
        }
    }
    Ok(found)
}

fn layer(name: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, layer)| *layer)
}

fn check_manifest(name: &str, folder: &Path, findings: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("Cargo.toml"))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("{name}/Cargo.toml"))?;
    if manifest["package"].get("name").and_then(toml::Value::as_str) != Some(name) {
        findings.push(format!("crates/{name}: the folder is not named like the crate"));
    }
    let inherits = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .and_then(toml::Value::as_bool);
    if inherits != Some(true) {
        findings.push(format!("crates/{name}: [lints] workspace = true is missing"));
    }
    let Some(own) = layer(name) else {
        findings.push(format!("crates/{name}: not in the layer table of tidy.rs"));
        return Ok(());
    };
    let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else {
        return Ok(());
    };
    for dependency in dependencies.keys() {
        if layer(dependency).is_some_and(|theirs| theirs >= own) {
            findings.push(format!(
                "crates/{name}: imports {dependency}, which is not below it"
            ));
        }
        if let Some((_, owners)) = FENCES
            .iter()
            .find(|(foreign, owners)| foreign == dependency && !owners.contains(&name))
        {
            findings.push(format!(
                "crates/{name}: imports {dependency}, which only {} may know",
                owners.join(" and ")
            ));
        }
    }
    Ok(())
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join("src"), folder.join("tests")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn check_source(root: &Path, file: &Path, findings: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let shown = file.strip_prefix(root).unwrap_or(file).display();
    if !text.starts_with("//! ") {
        findings.push(format!(
            "{shown}: does not begin with a `//!` line that says what it owns"
        ));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{shown}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    // Spelled in two pieces, so that this file does not find itself.
    for (mark, why) in [
        (concat!("#[", "ignore"), "a test is run or it is deleted"),
        (concat!("todo", "!("), "not done"),
    ] {
        if text.contains(mark) {
            findings.push(format!("{shown}: {mark}: {why}"));
        }
    }
    Ok(())
}

/// A test that `docs/security.md` names, as `file::test`, must be there.
fn check_claims(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(root.join("docs/security.md"))?;
    let mut tests = Vec::new();
    for (_, folder) in crates(root)? {
        tests.extend(rust_files(&folder)?);
    }
    for claim in text.split('`').filter(|part| part.contains("::")) {
        let (file, test) = claim.split_once("::").context("it has two parts")?;
        let is_there = tests
            .iter()
            .filter(|path| path.file_stem().is_some_and(|stem| stem == file))
            .any(|path| {
                std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}(")))
            });
        if !is_there {
            findings.push(format!("docs/security.md: there is no test {claim}"));
        }
    }
    Ok(())
}

/// A guest that no test names is dead weight.
fn check_guests(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let mut tests = String::new();
    for (_, folder) in crates(root)? {
        for file in rust_files(&folder)?
            .iter()
            .filter(|file| file.components().any(|part| part.as_os_str() == "tests"))
        {
            tests.push_str(&std::fs::read_to_string(file)?);
        }
    }
    for entry in std::fs::read_dir(root.join("guests"))? {
        let folder = entry?.path();
        let has_component = std::fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.contains("cdylib") || folder.join("src/main.rs").is_file());
        let name = folder
            .file_name()
            .context("a guest's folder has a name")?
            .to_string_lossy()
            .into_owned();
        if has_component && !tests.contains(&format!("{name:?}")) && !tests.contains(&format!("{name}.wasm"))
        {
            findings.push(format!("guests/{name}: no test uses it"));
        }
    }
    Ok(())
}
