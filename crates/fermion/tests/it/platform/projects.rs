//! Project folders and a data directory that vanish with the test. A project's build copies a component that
//! `cargo xtask guests` left, and leaves a mark, so that a test can tell whether it ran.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process::guest_file;

/// A temporary place with a data directory and projects.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

/// What a project folder says.
#[derive(Clone, Copy)]
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// A component of `target/guests`.
    pub(crate) guest: &'a str,
    /// More of `fermion.toml`.
    pub(crate) more: &'a str,
}

impl<'a> Package<'a> {
    pub(crate) fn new(name: &'a str, version: &'a str, guest: &'a str) -> Self {
        Self {
            name,
            version,
            guest,
            more: "",
        }
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory; `up` makes it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a project, or writes it anew; gives its folder.
    pub(crate) fn project(&self, package: Package<'_>) -> PathBuf {
        let Package {
            name,
            version,
            guest,
            more,
        } = package;
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("source.txt"), guest_file(guest).to_str().unwrap()).unwrap();
        let manifest = format!(
            "[package]\nname = \"acme/{name}\"\nversion = \"{version}\"\ncomponent = \"app.wasm\"\n[build]\n\
             command = \"cp $(cat source.txt) app.wasm && echo built >> builds.txt\"\nwatch = [\"source.txt\"]\n{more}"
        );
        fs::write(folder.join("fermion.toml"), manifest).unwrap();
        folder
    }

    /// A project without more ado.
    pub(crate) fn simple(&self, name: &str, version: &str, guest: &str) -> PathBuf {
        self.project(Package::new(name, version, guest))
    }

    /// A project whose component lies there ready, in a folder of this name.
    pub(crate) fn ready(&self, folder: &str, package: Package<'_>) -> PathBuf {
        let folder = self.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(guest_file(package.guest), folder.join("app.wasm")).unwrap();
        let Package { name, version, .. } = package;
        let manifest =
            format!("[package]\nname = \"acme/{name}\"\nversion = \"{version}\"\ncomponent = \"app.wasm\"\n");
        fs::write(folder.join("fermion.toml"), manifest).unwrap();
        folder
    }

    /// How often a project's build has run.
    pub(crate) fn builds(&self, name: &str) -> usize {
        let marks = fs::read_to_string(self.path().join(name).join("builds.txt"));
        marks.map_or(0, |marks| marks.lines().count())
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
