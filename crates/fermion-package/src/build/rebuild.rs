//! Builds a second time where nothing is as it was: another folder, home, user, number of jobs and, where the system
//! allows it, another user id; later than the first time, from a copy in which every file is new. What comes out must
//! be the same, or something of the surroundings got into it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fermion_model::manifest::Manifest;
use serde::Serialize;

use super::compare::{Difference, Surroundings, compare};
use super::environment::Environment;
use super::{Cancel, artifact, process, recipe};
use crate::limits::{COPY_BYTES_MAX, COPY_FILES_MAX};
use crate::{Error, Result};

/// Folders that a build makes anew, or that are no part of the sources.
const NOT_COPIED: [&str; 8] = [
    ".fermion",
    ".git",
    ".venv",
    "__pycache__",
    "dist",
    "node_modules",
    "target",
    "venv",
];
/// What else lies in a home and is found there by default: the second build has another home and the same tools.
const BELOW_HOME: [(&str, &str); 5] = [
    ("CARGO_HOME", ".cargo"),
    ("GIT_CONFIG_GLOBAL", ".gitconfig"),
    ("NPM_CONFIG_USERCONFIG", ".npmrc"),
    ("RUSTUP_HOME", ".rustup"),
    ("XDG_CACHE_HOME", ".cache"),
];
/// The user that the second build believes to be.
const OTHER_USER: &str = "somebody-else";

/// What came out of the second build.
#[derive(Debug)]
pub struct Rebuilt {
    /// The component.
    pub wasm: Vec<u8>,
    /// What was different from the first build.
    pub varied: Vec<Varied>,
    /// The folder that it was built in; it is gone.
    pub folder: PathBuf,
    /// Its home; it is gone.
    pub home: PathBuf,
}

impl Rebuilt {
    /// Holds the outcome against `first`, built in `folder` with that environment.
    ///
    /// # Errors
    /// `COMPONENT_INVALID`
    pub fn compare(
        &self,
        manifest: &Manifest,
        folder: &Path,
        environment: &Environment,
        first: &[u8],
    ) -> Result<Vec<Difference>> {
        let here = Surroundings {
            folder: recipe::source_root(folder).unwrap_or_else(|| folder.to_owned()),
            home: environment.get("HOME").map(PathBuf::from).unwrap_or_default(),
        };
        let there = Surroundings {
            folder: self.folder.clone(),
            home: self.home.clone(),
        };
        compare(first, &self.wasm, [&here, &there], manifest.strips())
    }
}

/// Something that differs between the two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Varied {
    /// The folder of the sources, and the times of all its files.
    Folder,
    /// `HOME`.
    Home,
    /// `USER` and `LOGNAME`.
    UserName,
    /// The user id; only where the system has user namespaces.
    UserId,
    /// How many jobs run at once.
    Jobs,
}

impl Varied {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Home => "home",
            Self::UserName => "user name",
            Self::UserId => "user id",
            Self::Jobs => "number of jobs",
        }
    }
}

/// Builds the component of `folder` again, elsewhere.
///
/// # Errors
/// As `build`, and `STORE_IO` for sources that cannot be copied.
pub fn rebuild(
    manifest: &Manifest,
    folder: &Path,
    environment: &Environment,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(&str),
) -> Result<Rebuilt> {
    let place = tempfile::Builder::new()
        .prefix("fermion-rebuild-")
        .tempdir()
        .map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
    // A longer path than most, so that lengths differ too.
    let copy_root = place.path().join("the/same/sources/in/another/folder");
    let home = place.path().join("home");
    fs::create_dir_all(&home).map_err(Error::io("make", &home))?;
    let from = folder.canonicalize().map_err(Error::io("open", folder))?;
    let root = recipe::source_root(folder).unwrap_or_else(|| from.clone());
    Copy::default().folder(&root, &copy_root)?;
    let copy = copy_root.join(from.strip_prefix(&root).unwrap_or(Path::new("")));
    remove(&copy.join(&manifest.component))?;

    let mut varied = vec![Varied::Folder, Varied::Home, Varied::UserName, Varied::Jobs];
    if let Some(build) = &manifest.build {
        let mut variables = environment.for_build(manifest, &copy, Some(&home));
        let jobs = if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
            "3"
        } else {
            "1"
        };
        variables.insert("CARGO_BUILD_JOBS".into(), jobs.into());
        let unshare = unshare(&variables);
        if unshare.is_some() {
            varied.push(Varied::UserId);
        }
        let command = unshare.map_or_else(
            || build.command.clone(),
            |unshare| wrapped(&unshare, &build.command),
        );
        process::run(
            &command,
            &copy,
            &variables,
            &process::Bounds::default(),
            cancel,
            on_line,
        )
        .map_err(|error| match error {
            Error::BuildFailed { how, lines, .. } => Error::BuildFailed {
                command: build.command.clone(),
                how: format!(
                    "{how}, in a copy of {} and not in the folder itself",
                    root.display()
                ),
                lines,
            },
            other => other,
        })?;
    }
    Ok(Rebuilt {
        wasm: artifact::read(&copy, &manifest.component)?,
        varied,
        folder: copy_root,
        home,
    })
}

/// Makes the variables those of another user with the same tools.
pub(super) fn change_home(variables: &mut BTreeMap<OsString, OsString>, home: &Path) {
    let old = variables.get(OsStr::new("HOME")).map(PathBuf::from);
    for (name, place) in BELOW_HOME {
        let Some(found) = old
            .as_ref()
            .map(|old| old.join(place))
            .filter(|found| found.exists())
        else {
            continue;
        };
        variables
            .entry(name.into())
            .or_insert_with(|| found.into_os_string());
    }
    variables.insert("HOME".into(), home.into());
    variables.insert("USER".into(), OTHER_USER.into());
    variables.insert("LOGNAME".into(), OTHER_USER.into());
}

/// The program that gives a command another user id, if it is there and works.
fn unshare(variables: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let path = variables.get(OsStr::new("PATH"))?;
    let program = super::environment::find(path, "unshare")?;
    let tried = Command::new(&program)
        .args(["--user", "true"])
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success()).then_some(program)
}

fn wrapped(unshare: &Path, command: &str) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    format!(
        "exec {} --user /bin/sh -c {}",
        quote(&unshare.to_string_lossy()),
        quote(command)
    )
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", file)(error)),
        _ => Ok(()),
    }
}

/// A copy of a folder, within bounds.
#[derive(Default)]
struct Copy {
    files: usize,
    bytes: u64,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to).map_err(Error::io("make", to))?;
        for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
            let entry = entry.map_err(Error::io("list", from))?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(Error::io("look at", &source))?;
            if kind.is_dir() {
                let is_left_out = NOT_COPIED.iter().any(|name| entry.file_name() == *name);
                if !is_left_out && !source.join("CACHEDIR.TAG").exists() {
                    self.folder(&source, &target)?;
                }
            } else if kind.is_symlink() {
                let leads_to = fs::read_link(&source).map_err(Error::io("read", &source))?;
                std::os::unix::fs::symlink(leads_to, &target).map_err(Error::io("write", &target))?;
            } else if kind.is_file() {
                self.file(&source, &target)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.files += 1;
        self.bytes += fs::copy(from, to).map_err(Error::io("copy", from))?;
        if self.files > COPY_FILES_MAX || self.bytes > COPY_BYTES_MAX {
            return Err(Error::SizeExceeded {
                what: format!("the folder of the sources, with {} files so far,", self.files),
                bytes_max: COPY_BYTES_MAX,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_for_the_shell_and_runs_as_somebody_else() {
        let command = "echo 'it'\"'\"'s'";
        let text = wrapped(Path::new("/usr/bin/env -i"), command);
        assert_eq!(
            text,
            r#"exec '/usr/bin/env -i' --user /bin/sh -c 'echo '\''it'\''"'\''"'\''s'\'''"#
        );
    }

    #[test]
    fn sources_are_copied_and_what_a_build_made_is_not() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        for folder in ["src", "target/release", "out", "node_modules/a"] {
            fs::create_dir_all(from.join(folder)).unwrap();
        }
        for file in [
            "src/lib.rs",
            "target/release/a.wasm",
            "out/CACHEDIR.TAG",
            "node_modules/a/b",
            "app.wasm",
        ] {
            fs::write(from.join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink("src/lib.rs", from.join("link")).unwrap();
        let to = place.path().join("to");
        Copy::default().folder(&from, &to).unwrap();
        let mut names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["app.wasm", "link", "src"]);
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "x");
    }

    #[test]
    fn another_user_keeps_the_tools() {
        let place = tempfile::tempdir().unwrap();
        let old = place.path().join("old");
        fs::create_dir_all(old.join(".cargo")).unwrap();
        let mut variables = BTreeMap::from([("HOME".into(), old.clone().into_os_string())]);
        change_home(&mut variables, &place.path().join("new"));
        assert_eq!(variables[OsStr::new("CARGO_HOME")], old.join(".cargo"));
        assert_eq!(variables[OsStr::new("HOME")], place.path().join("new"));
        assert!(!variables.contains_key(OsStr::new("RUSTUP_HOME")));
    }
}
