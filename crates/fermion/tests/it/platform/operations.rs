//! An operations repository: a real one, made by the program `git`, which a platform follows as the source `ops`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Ran, Site, Up};
use crate::support::PATIENCE;

/// Where its documents lie.
pub(crate) const FOLDER: &str = "environments/production";

/// A bare repository and a clone of it in which commits are made.
pub(crate) struct Repository {
    pub(crate) bare: PathBuf,
    pub(crate) work: PathBuf,
}

/// Runs `git` with nobody's configuration; gives what it writes.
#[track_caller]
pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.com"),
        ])
        .output()
        .expect("git starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {words:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Repository {
    pub(crate) fn new(site: &Site) -> Self {
        let (bare, work) = (site.path().join("operations.git"), site.path().join("operations"));
        let (bare_text, work_text) = (bare.to_str().unwrap(), work.to_str().unwrap());
        git(
            site.path(),
            &["init", "--quiet", "--bare", "--initial-branch=main", bare_text],
        );
        git(site.path(), &["clone", "--quiet", bare_text, work_text]);
        git(&work, &["checkout", "--quiet", "-B", "main"]);
        fs::create_dir_all(work.join(FOLDER)).unwrap();
        Self { bare, work }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.work.join(FOLDER).join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.work.join(FOLDER).join(name)).unwrap();
    }

    /// Commits everything and pushes it; gives the commit's id.
    #[track_caller]
    pub(crate) fn commit(&self) -> String {
        git(&self.work, &["add", "--all"]);
        git(
            &self.work,
            &["commit", "--quiet", "--allow-empty", "-m", "A change"],
        );
        self.push()
    }

    #[track_caller]
    pub(crate) fn push(&self) -> String {
        git(&self.work, &["push", "--quiet", "--force", "origin", "main"]);
        git(&self.work, &["rev-parse", "HEAD"])
    }

    /// Hands it over as the source `ops`.
    #[track_caller]
    pub(crate) fn add(&self, site: &Site, up: &Up, more: &str) {
        let document = format!(
            "apiVersion: fermion.dev/v1\nkind: GitSource\nmetadata: {{name: ops}}\nspec:\n  repository: {}\n  \
             path: {FOLDER}\n{more}",
            self.bare.display()
        );
        let file = site.path().join("source.yaml");
        fs::write(&file, document).unwrap();
        up.run(&["git", "add", file.to_str().unwrap()]).done();
    }
}

/// A document for the app `shop`.
pub(crate) fn shop(version: &str, more: &str) -> String {
    app("shop", version, more)
}

pub(crate) fn app(name: &str, version: &str, more: &str) -> String {
    format!(
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  package: acme/{name}:{version}\n{more}"
    )
}

/// Puts a package into the platform's store, beside the running platform.
#[track_caller]
pub(crate) fn pack(site: &Site, name: &str, version: &str, guest: &str) {
    let folder = site.simple(name, version, guest);
    let data = site.data();
    let words = [
        "--json",
        "pack",
        folder.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    Ran::new(words).done();
}

/// Looks at the source until it is as wanted.
#[track_caller]
pub(crate) fn until(up: &Up, is_as_wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let view = up.run(&["git", "status", "ops"]).json();
        if is_as_wanted(&view) {
            return view;
        }
        assert!(begun.elapsed() < PATIENCE, "{view:#}");
    }
}

#[track_caller]
pub(crate) fn in_place(up: &Up, commit: &str) -> Value {
    until(up, |view| {
        view["state"] == "in-place" && view["applied"] == commit
    })
}

/// Waits until there is nothing at a path.
#[track_caller]
pub(crate) fn vanishes(path: &Path) {
    let begun = std::time::Instant::now();
    while path.exists() {
        assert!(begun.elapsed() < PATIENCE, "{} stays", path.display());
        std::thread::yield_now();
    }
}
