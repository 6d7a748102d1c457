//! What makes two builds of the same sources the same: fixed paths, one code generation unit, no incremental state, a
//! clock that stands still, and an environment of a few named variables. Set by environment alone, so that a project's
//! own files stay as they are; other tools than cargo pass by what is not for them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use fermion_model::manifest::Manifest;

use crate::prepare::lock_file;

/// What a build is told, and a record of it can repeat word for word.
pub const FIXED: [(&str, &str); 7] = [
    ("CARGO_INCREMENTAL", "0"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("PYTHONHASHSEED", "0"),
    ("TZ", "UTC"),
];
/// The time that builds are told, unless the caller says another: the start of 1980, the earliest that archives can hold.
const SOURCE_DATE_EPOCH: &str = "315532800";
/// Leaves function names for the size report; packing takes them out.
const KEEP_NAMES: (&str, &str) = ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
/// Read by cargo beside the flags of the project's own configuration, which `RUSTFLAGS` would put out of force; and
/// untouched by the guest toolchain, which takes `RUSTFLAGS` away because an outer build may have set it.
const FLAGS: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// Variables of the caller that a build sees: where tools and caches are, and how the network is reached. None of them
/// is meant to change what comes out.
const PASSED: [&str; 24] = [
    "ALL_PROXY",
    "CARGO_HOME",
    "CURL_CA_BUNDLE",
    "FERMION_GUEST_ROAD",
    "FERMION_GUEST_RUST",
    "GIT_SSL_CAINFO",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LOGNAME",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SOURCE_DATE_EPOCH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "USER",
    "XDG_CACHE_HOME",
    "all_proxy",
    "https_proxy",
    "http_proxy",
];
/// The same, by how they begin.
const PASSED_PREFIXES: [&str; 12] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "NPM_CONFIG_",
    "PIP_",
    "RUSTUP_DIST_",
    "RUSTUP_HOME",
    "RUSTUP_UPDATE_",
    "npm_config_",
    "no_proxy",
];

/// True for a variable of the caller that every build sees.
pub(super) fn passes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Sets what makes the build in `folder` repeatable.
pub(super) fn apply(manifest: &Manifest, folder: &Path, variables: &mut BTreeMap<OsString, OsString>) {
    for (name, value) in FIXED {
        variables.insert(name.into(), value.into());
    }
    if manifest.strips() {
        variables.insert(KEEP_NAMES.0.into(), KEEP_NAMES.1.into());
    }
    variables
        .entry("SOURCE_DATE_EPOCH".into())
        .or_insert_with(|| SOURCE_DATE_EPOCH.into());
    let flags: Vec<String> = remapped(folder, variables)
        .into_iter()
        .filter(|(from, _)| is_one_word(from))
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    variables.insert(FLAGS.into(), flags.join(" ").into());
}

/// The folders whose names would otherwise get into the component, and what stands there instead. The compiler takes
/// the last one that fits, so the narrower ones come later.
fn remapped(folder: &Path, variables: &BTreeMap<OsString, OsString>) -> Vec<(PathBuf, &'static str)> {
    let get = |name: &str| {
        let value = variables
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value))
    };
    let home = get("HOME");
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let cargo = get("CARGO_HOME").or_else(|| below_home(".cargo"));
    let rustup = get("RUSTUP_HOME").or_else(|| below_home(".rustup"));
    let guest = get("FERMION_GUEST_RUST").or_else(|| {
        let cache = get("XDG_CACHE_HOME").or_else(|| below_home(".cache"))?;
        Some(cache.join("fermion/guest-rust"))
    });
    let workspace = source_root(folder);
    [
        (rustup, "/rustup"),
        (guest, "/guest-rust"),
        (cargo, "/cargo"),
        (workspace, "/source"),
    ]
    .into_iter()
    .filter_map(|(from, to)| Some((from?.canonicalize().ok()?, to)))
    .collect()
}

/// The folder that the sources lie in: that of the workspace where there is one, else the project's own.
pub(super) fn source_root(folder: &Path) -> Option<PathBuf> {
    let lock = lock_file(folder);
    let root = lock.as_deref().and_then(Path::parent).unwrap_or(folder);
    root.canonicalize().ok()
}

fn is_one_word(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| !path.contains(char::is_whitespace))
}

/// What about the manifest's build may keep it from being repeatable.
pub fn doubts(manifest: &Manifest, folder: &Path) -> Vec<String> {
    let Some(build) = &manifest.build else {
        return Vec::new();
    };
    let mut doubts = Vec::new();
    let words: Vec<&str> = build.command.split_whitespace().collect();
    let is_cargo = words.contains(&"cargo");
    if is_cargo && !words.iter().any(|word| matches!(*word, "--locked" | "--frozen")) {
        doubts.push(
            "build.command runs cargo without --locked: dependencies may change between builds".to_owned(),
        );
    }
    if is_cargo && lock_file(folder).is_none() {
        doubts.push("there is no Cargo.lock yet: commit the one that the build makes".to_owned());
    }
    if is_cargo && source_root(folder).is_some_and(|root| !is_one_word(&root)) {
        doubts.push("the folder's path has a space, so it cannot be kept out of the component".to_owned());
    }
    if is_cargo && has_flags_for_all(folder) {
        let next = "move them to [target.wasm32-wasip2]";
        doubts.push(format!(
            "rustflags under [build] of .cargo/config.toml are not in force here: {next}"
        ));
    }
    doubts
}

/// True if cargo's configuration of the project has flags in the one place that ours put out of force.
fn has_flags_for_all(folder: &Path) -> bool {
    let root = source_root(folder);
    let folders = [Some(folder), root.as_deref()];
    folders.into_iter().flatten().any(|folder| {
        let text = std::fs::read_to_string(folder.join(".cargo/config.toml")).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        let in_build = lines.by_ref().skip_while(|line| *line != "[build]").skip(1);
        let mut in_build = in_build.take_while(|line| !line.starts_with('['));
        in_build.any(|line| line.starts_with("rustflags"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(command: &str) -> Manifest {
        let text = format!(
            "[package]\nname = \"a\"\nversion = \"1.0.0\"\ncomponent = \"a.wasm\"\n[build]\ncommand = \"{command}\""
        );
        Manifest::parse(&text, "fermion.toml").unwrap()
    }

    #[test]
    fn paths_of_this_machine_are_given_other_names() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let folder = root.join("work/member");
        for made in ["work/member", "home/.cargo", "home/.rustup"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        for file in ["work/Cargo.toml", "work/Cargo.lock", "work/member/Cargo.toml"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let mut variables = BTreeMap::from([("HOME".into(), root.join("home").into_os_string())]);
        apply(&manifest("cargo build"), &folder, &mut variables);
        let root = root.display();
        assert_eq!(
            variables[OsStr::new(FLAGS)],
            OsString::from(format!(
                "--remap-path-prefix={root}/home/.rustup=/rustup --remap-path-prefix={root}/home/.cargo=/cargo \
                 --remap-path-prefix={root}/work=/source"
            ))
        );
        assert_eq!(variables[OsStr::new("SOURCE_DATE_EPOCH")], SOURCE_DATE_EPOCH);
        assert_eq!(variables[OsStr::new("CARGO_PROFILE_RELEASE_CODEGEN_UNITS")], "1");
    }

    #[test]
    fn what_a_build_leaves_to_chance_is_said() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("with space");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(doubts(&manifest("cargo build"), &folder).len(), 3);
        std::fs::write(folder.join("Cargo.toml"), "[workspace]").unwrap();
        std::fs::write(folder.join("Cargo.lock"), "").unwrap();
        assert_eq!(doubts(&manifest("cargo build --locked"), &folder).len(), 1);
        std::fs::create_dir(folder.join(".cargo")).unwrap();
        let flags = |table: &str| {
            let text = format!("[{table}]\nrustflags = [\"-Ctarget-feature=+simd128\"]\n");
            std::fs::write(folder.join(".cargo/config.toml"), text).unwrap();
            doubts(&manifest("cargo build --locked"), &folder).len()
        };
        assert_eq!((flags("target.wasm32-wasip2"), flags("build")), (1, 2));
        assert!(doubts(&manifest("sh build.sh"), &folder).is_empty());
    }
}
