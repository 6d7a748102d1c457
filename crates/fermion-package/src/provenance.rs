//! How a component came to be, as the predicate of SLSA provenance v1: the command, the state of the sources, the lock
//! file, the tools. It never holds an absolute path, a user's or a machine's name, the address of a repository (which
//! may hold a token) or the value of a variable that the manifest asks for. The same build has the same predicate.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use fermion_model::manifest::Manifest;
use serde_json::{Value, json};

use crate::build::{self, Environment};
use crate::canonical;
use crate::limits::TOOL_ANSWER_BYTES_MAX;
use crate::prepare::lock_file;
use crate::sbom::LOCK_FILE;

/// What `externalParameters` mean: docs/builds.md.
pub const BUILD_TYPE: &str = "https://fermion.dev/build/command/v1";
/// Somebody's own machine: nothing is claimed about its isolation.
pub const BUILDER_ID: &str = "https://fermion.dev/builder/local/v1";

/// The predicate for the component that the manifest's build made in `folder`.
pub fn predicate(manifest: &Manifest, folder: &Path, environment: &Environment) -> Value {
    let variables = environment.for_build(manifest, folder, None);
    let ask = |program: &str, arguments: &[&str]| ask(program, arguments, folder, &variables);
    let mut external = json!({ "component": manifest.component });
    let mut internal = json!({ "strip": manifest.strips() });
    if let Some(build) = &manifest.build {
        external["command"] = build.command.as_str().into();
        external["environment"] = json!(build.environment);
        let fixed: BTreeMap<&str, &str> = build::FIXED.into_iter().collect();
        internal["environment"] = json!(fixed);
    }
    let mut dependencies = Vec::new();
    if let Some(source) = source(&ask) {
        dependencies.push(json!({ "digest": { "gitCommit": source["commit"] }, "name": "source" }));
        external["source"] = source;
    }
    if let Some(lock) = lock_file(folder).and_then(|lock| std::fs::read(lock).ok()) {
        dependencies
            .push(json!({ "digest": { "sha256": canonical::digest(&lock).hex() }, "name": LOCK_FILE }));
    }
    let mut versions = BTreeMap::from([("fermion", env!("CARGO_PKG_VERSION").to_owned())]);
    let is_cargo = manifest
        .build
        .as_ref()
        .is_some_and(|build| build.command.contains("cargo"));
    for tool in ["cargo", "rustc"].into_iter().filter(|_| is_cargo) {
        if let Some(version) = ask(tool, &["--version"]) {
            versions.insert(tool, version);
        }
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": internal,
            "resolvedDependencies": dependencies,
        },
        "runDetails": { "builder": { "id": BUILDER_ID, "version": versions } },
    })
}

/// The commit that is checked out, the project's place below it, and whether anything there differs from it.
fn source(ask: &dyn Fn(&str, &[&str]) -> Option<String>) -> Option<Value> {
    // A monitor that the repository's configuration names would be a program of somebody else's choice.
    let git = |arguments: &[&str]| ask("git", &[&["-c", "core.fsmonitor=false"], arguments].concat());
    let commit = git(&["rev-parse", "HEAD"])?;
    let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_commit {
        return None;
    }
    let path = git(&["rev-parse", "--show-prefix"]).unwrap_or_default();
    let status = git(&["status", "--porcelain", "--", "."]);
    Some(json!({
        "commit": commit,
        "dirty": status.is_none_or(|status| !status.is_empty()),
        "path": path.trim_end_matches('/'),
    }))
}

/// What a tool answers; none if it is not there, fails or says more than a person would read.
fn ask(
    program: &str,
    arguments: &[&str],
    folder: &Path,
    variables: &BTreeMap<std::ffi::OsString, std::ffi::OsString>,
) -> Option<String> {
    let program = build::find_program(variables.get(OsStr::new("PATH"))?, program)?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() || output.stdout.len() > TOOL_ANSWER_BYTES_MAX {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(home: &Path) -> Environment {
        let variables = [
            ("HOME", home.to_str().unwrap()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("API_TOKEN", "hunter2"),
        ];
        Environment::new(variables.map(|(name, value)| (name.into(), value.into())))
    }

    fn git(folder: &Path, arguments: &[&str]) {
        let options = [
            "-c",
            "user.name=somebody",
            "-c",
            "user.email=somebody@example.com",
        ];
        let output = Command::new("git")
            .args(options)
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn it_says_what_was_built_and_nothing_of_who_or_where() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("projects/shop");
        std::fs::create_dir_all(&folder).unwrap();
        let text = "[package]\nname = \"acme/shop\"\nversion = \"1.0.0\"\ncomponent = \"shop.wasm\"\n[build]\n\
                    command = \"make\"\nenvironment = [\"API_TOKEN\"]";
        let manifest = Manifest::parse(text, "fermion.toml").unwrap();
        std::fs::write(folder.join("Cargo.toml"), "[workspace]").unwrap();
        std::fs::write(folder.join("Cargo.lock"), "version = 4").unwrap();
        git(root.path(), &["init", "--quiet"]);
        git(
            root.path(),
            &["remote", "add", "origin", "https://user:token@git.example.com/x"],
        );
        git(root.path(), &["add", "."]);
        git(root.path(), &["commit", "--quiet", "--message", "first"]);
        let environment = environment(root.path());
        let clean = predicate(&manifest, &folder, &environment);
        let parameters = &clean["buildDefinition"]["externalParameters"];
        assert_eq!(parameters["command"], "make");
        assert_eq!(parameters["source"]["path"], "projects/shop");
        assert_eq!(parameters["source"]["dirty"], false);
        let dependencies = &clean["buildDefinition"]["resolvedDependencies"];
        assert_eq!(
            dependencies[0]["digest"]["gitCommit"],
            parameters["source"]["commit"]
        );
        assert_eq!(dependencies[1]["digest"]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(predicate(&manifest, &folder, &environment), clean);
        let text = clean.to_string();
        for word in ["hunter2", "token@", "somebody", root.path().to_str().unwrap()] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        std::fs::write(folder.join("new.rs"), "").unwrap();
        let dirty = predicate(&manifest, &folder, &environment);
        assert_eq!(
            dirty["buildDefinition"]["externalParameters"]["source"]["dirty"],
            true
        );
    }
}
