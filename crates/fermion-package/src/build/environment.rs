//! What a build sees of the environment: a few named variables of the caller's, those that the manifest asks for, what
//! makes builds repeatable, and the guest toolchain first on `PATH` where the active compiler cannot make components.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fermion_model::manifest::Manifest;

use super::{rebuild, recipe};

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

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The variables of a build in `folder`; with another home, those of another user.
    pub(crate) fn for_build(
        &self,
        manifest: &Manifest,
        folder: &Path,
        home: Option<&Path>,
    ) -> BTreeMap<OsString, OsString> {
        let asked = manifest
            .build
            .as_ref()
            .map_or(&[][..], |build| &build.environment);
        let mut variables = self.variables.clone();
        variables.retain(|name, _| recipe::passes(name) || asked.iter().any(|asked| name == asked.as_str()));
        if let Some(home) = home {
            rebuild::change_home(&mut variables, home);
        }
        recipe::apply(manifest, folder, &mut variables);
        self.with_guest_toolchain(folder, variables)
    }

    fn with_guest_toolchain(
        &self,
        folder: &Path,
        mut variables: BTreeMap<OsString, OsString>,
    ) -> BTreeMap<OsString, OsString> {
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

pub(crate) fn find(path: &OsStr, program: &str) -> Option<PathBuf> {
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

    fn manifest(environment: &str) -> Manifest {
        let text = format!(
            "[package]\nname = \"a\"\nversion = \"1.0.0\"\ncomponent = \"a.wasm\"\n[build]\ncommand = \"true\"\n\
             environment = [{environment}]"
        );
        Manifest::parse(&text, "fermion.toml").unwrap()
    }

    #[test]
    fn a_build_sees_what_is_named_and_nothing_else() {
        let outer = environment(&[
            ("API_TOKEN", "x"),
            ("API_URL", "x"),
            ("CARGO", "/x"),
            ("CARGO_TARGET_DIR", "/x"),
            ("CARGO_ENCODED_RUSTFLAGS", "x"),
            ("CARGO_PROFILE_RELEASE_LTO", "x"),
            ("RUSTFLAGS", "x"),
            ("RUSTUP_TOOLCHAIN", "x"),
            ("CARGO_HOME", "/no/such/home"),
            ("CARGO_REGISTRIES_CRATES_IO_PROTOCOL", "sparse"),
            ("CARGO_NET_OFFLINE", "true"),
            ("LANG", "de_DE"),
            ("SOURCE_DATE_EPOCH", "7"),
        ]);
        let seen = outer.for_build(&manifest("\"API_URL\", \"UNSET\""), Path::new("/"), None);
        let named: Vec<_> = seen.keys().filter_map(|name| name.to_str()).collect();
        assert_eq!(
            named,
            [
                "API_URL",
                "CARGO_HOME",
                "CARGO_INCREMENTAL",
                "CARGO_NET_OFFLINE",
                "CARGO_PROFILE_RELEASE_CODEGEN_UNITS",
                "CARGO_PROFILE_RELEASE_INCREMENTAL",
                "CARGO_PROFILE_RELEASE_STRIP",
                "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
                "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
                "LANG",
                "LC_ALL",
                "PYTHONHASHSEED",
                "SOURCE_DATE_EPOCH",
                "TZ",
            ]
        );
        assert_eq!(
            (&seen[OsStr::new("LANG")], &seen[OsStr::new("SOURCE_DATE_EPOCH")]),
            (&"C.UTF-8".into(), &"7".into())
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
        let path = || environment.for_build(&manifest(""), root.path(), None)[OsStr::new("PATH")].clone();

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
