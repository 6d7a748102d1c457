//! Registries that packages are moved to and from, each a process of its own on a free port: Debian's docker-registry,
//! which knows no referrers, and the one of this binary.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ran, Site};
use crate::support::Process;

/// A line of an htpasswd file: `ann` with the password `s3cret`.
const USER: &str = "ann:$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n";

/// Which registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `docker-registry` 2.8.2.
    Debian,
    /// `fermion registry`.
    Own,
}

/// All of them: what moves packages is tried with each.
pub(crate) const KINDS: [Kind; 2] = [Kind::Debian, Kind::Own];

/// A running registry. Killed when dropped.
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    process: Process,
}

impl Remote {
    /// Starts one in a folder of the site.
    pub(crate) fn start(kind: Kind, site: &Site) -> Self {
        match kind {
            Kind::Debian => Self::debian(site, ""),
            Kind::Own => Self::own(site),
        }
    }

    fn own(site: &Site) -> Self {
        let folder = site.path().join("fermion-registry");
        let data = folder.to_str().expect("paths are text");
        let listen = ["--listen", "127.0.0.1:0", "--anonymous", "push", "--data", data];
        let process = Process::start(["--json", "registry"].iter().chain(&listen));
        let line = process
            .stdout
            .wait_for(|line| line.contains(r#""event":"registry""#));
        let line = line.unwrap_or_else(|| panic!("not ready: {}", process.stderr.text()));
        let ready: serde_json::Value = serde_json::from_str(&line).expect("the ready line is JSON");
        let address = ready["address"].as_str().and_then(|text| text.parse().ok());
        Self {
            address: address.expect("an address"),
            folder,
            process,
        }
    }

    /// docker-registry that wants a password.
    pub(crate) fn guarded(site: &Site) -> Self {
        let users = site.path().join("htpasswd");
        fs::write(&users, USER).unwrap();
        Self::debian(
            site,
            &format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", users.display()),
        )
    }

    fn debian(site: &Site, more: &str) -> Self {
        let folder = site.path().join("docker-registry");
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{more}",
            folder.join("data").display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        let process = Process::of(command);
        let line = process.stderr.wait_for(|line| line.contains("listening on "));
        let line = line.unwrap_or_else(|| panic!("not ready: {}", process.stderr.text()));
        let address = line.split("listening on ").nth(1).unwrap();
        let address = address.split(['"', ' ']).next().unwrap().parse().unwrap();
        Self {
            address,
            folder,
            process,
        }
    }

    /// `127.0.0.1:PORT/rest`
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The file in which docker-registry keeps a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let place = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        self.folder.join(place)
    }

    /// A file of docker-registry's repositories.
    pub(crate) fn folder(&self, rest: &str) -> PathBuf {
        self.folder
            .join("data/docker/registry/v2/repositories")
            .join(rest)
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.process.signal(rustix::process::Signal::KILL);
        self.process.wait();
    }
}

/// A place with its own store and keys.
pub(crate) struct Place {
    pub(crate) site: Site,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { site: Site::new() };
        place.run(&["key", "new"]).done();
        place
    }

    /// A place that trusts what another signs.
    pub(crate) fn trusting(other: &Self) -> Self {
        let place = Self::new();
        let key = other.site.data().join("keys/dev.pub");
        fs::copy(key, place.site.data().join("keys/friend.pub")).unwrap();
        place
    }

    /// A command on its data directory, with `--json`.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let data = self.site.data();
        let data = ["--data", data.to_str().unwrap()];
        Ran::new(["--json"].iter().chain(words).chain(&data))
    }

    /// Packs a project; gives the package's digest.
    pub(crate) fn pack(&self, name: &str, version: &str, guest: &str) -> String {
        let project = self.site.simple(name, version, guest);
        let packed = self.run(&["pack", project.to_str().unwrap()]).json();
        packed["digest"].as_str().unwrap().to_owned()
    }

    /// Packs a project and pushes it; gives the digest.
    pub(crate) fn push(&self, remote: &Remote, name: &str, version: &str, guest: &str) -> String {
        let digest = self.pack(name, version, guest);
        let package = format!("acme/{name}:{version}");
        let pushed = self
            .run(&["push", &package, "--to", &remote.address.to_string()])
            .json();
        assert_eq!(pushed["digest"], digest.as_str(), "{pushed}");
        assert_eq!(pushed["at"], remote.at(&package), "{pushed}");
        digest
    }
}

/// Runs a foreign program to its end; expects success and gives its output.
#[track_caller]
pub(crate) fn foreign(program: &Path, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|why| {
        panic!(
            "{} does not start ({why}): run `scripts/setup.sh test`",
            program.display()
        )
    });
    Ran::of(output).done().to_owned()
}
