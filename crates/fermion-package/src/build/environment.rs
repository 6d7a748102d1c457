//! What a build sees of the environment: the caller's, without what an outer cargo set for its own build, and with the
//! guest toolchain first on `PATH` where the active compiler cannot make components.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo reads as settings of the machine and the network; it stays. Every other `CARGO...` variable was set for
/// one build, and would make another one take its target folder, its flags or its version.
const CARGO_SETTINGS: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_INSTALL_ROOT",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];
/// Set by an outer cargo or rustup for its own build.
const OUTER: [&str; 8] = [
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];
/// Below a sysroot, the folder that is there when the compiler can make components.
const TARGET_FOLDER: &str = "lib/rustlib/wasm32-wasip2";

/// The environment that the caller read, once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Takes the process environment, as `std::env::vars_os` gives it.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The variables of a build in `folder`.
    pub(super) fn for_build(&self, folder: &Path) -> BTreeMap<OsString, OsString> {
        let mut variables = self.variables.clone();
        variables.retain(|name, _| !is_outer(name));
        let Some(bin) = self.guest_toolchain() else {
            return variables;
        };
        if !active_compiler_has_target(folder, &variables) {
            let old = variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
            let mut path = bin.into_os_string();
            if !old.is_empty() {
                path.push(":");
                path.push(old);
            }
            variables.insert("PATH".into(), path);
        }
        variables
    }

    /// The `bin` folder of the toolchain that `scripts/guest-toolchain.sh` makes; none if it is not there.
    fn guest_toolchain(&self) -> Option<PathBuf> {
        let root = match self.get("FERMION_GUEST_RUST") {
            Some(root) => PathBuf::from(root),
            None => {
                let cache = self.get("XDG_CACHE_HOME").map(PathBuf::from);
                cache
                    .or_else(|| Some(Path::new(self.get("HOME")?).join(".cache")))?
                    .join("fermion/guest-rust")
            }
        };
        let bin = root.join("bin");
        bin.join("cargo").is_file().then_some(bin)
    }
}

fn is_outer(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let setting = CARGO_SETTINGS.iter().any(|setting| name.starts_with(setting));
    (name.starts_with("CARGO") && !setting) || OUTER.contains(&name)
}

/// Asks the compiler that the build would find where its libraries are. No compiler is one without the target.
fn active_compiler_has_target(folder: &Path, variables: &BTreeMap<OsString, OsString>) -> bool {
    let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let Some(rustc) = find(&path, "rustc") else {
        return false;
    };
    let asked = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(answer) = asked else { return false };
    let sysroot = String::from_utf8_lossy(&answer.stdout);
    answer.status.success() && Path::new(sysroot.trim_end()).join(TARGET_FOLDER).is_dir()
}

fn find(path: &OsStr, program: &str) -> Option<PathBuf> {
    path.to_str()?
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(
            variables
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
    }

    #[test]
    fn an_outer_cargo_is_not_inherited_and_settings_are() {
        let outer = environment(&[
            ("CARGO", "/x"),
            ("CARGO_TARGET_DIR", "/x"),
            ("CARGO_MANIFEST_DIR", "/x"),
            ("CARGO_ENCODED_RUSTFLAGS", "x"),
            ("CARGO_BUILD_TARGET", "x"),
            ("RUSTFLAGS", "x"),
            ("RUSTUP_TOOLCHAIN", "x"),
            ("CARGO_HOME", "/home"),
            ("CARGO_REGISTRIES_CRATES_IO_PROTOCOL", "sparse"),
            ("CARGO_NET_OFFLINE", "true"),
            ("LANG", "C"),
        ]);
        let kept: Vec<_> = outer.for_build(Path::new("/")).into_keys().collect();
        assert_eq!(
            kept,
            [
                "CARGO_HOME",
                "CARGO_NET_OFFLINE",
                "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
                "LANG"
            ]
        );
    }

    fn script(path: &Path, body: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_guest_toolchain_comes_first_only_where_it_is_needed() {
        let root = tempfile::tempdir().unwrap();
        let (sysroot, active) = (root.path().join("sysroot"), root.path().join("active"));
        let guest = root.path().join("cache/fermion/guest-rust/bin");
        let active_text = active.to_str().unwrap();
        let cache = root.path().join("cache");
        let environment = environment(&[("PATH", active_text), ("XDG_CACHE_HOME", cache.to_str().unwrap())]);
        let path = || environment.for_build(root.path())[OsStr::new("PATH")].clone();

        script(&active.join("rustc"), &format!("echo {}", sysroot.display()));
        assert_eq!(path(), active_text, "there is no guest toolchain");
        script(&guest.join("cargo"), "");
        assert_eq!(
            path(),
            format!("{}:{active_text}", guest.display()).as_str(),
            "the active one lacks the target"
        );
        std::fs::create_dir_all(sysroot.join(TARGET_FOLDER)).unwrap();
        assert_eq!(path(), active_text, "the active one has the target");
        std::fs::remove_file(active.join("rustc")).unwrap();
        assert_eq!(
            path(),
            format!("{}:{active_text}", guest.display()).as_str(),
            "there is no active one"
        );
    }
}
