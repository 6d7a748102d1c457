//! Every interface that a component may import, with its versions: the one list that packing checks against, that the
//! runtime links, and that the documentation shows. Refuses to do: linking, or saying who may use what is linked.

use std::fmt;

use semver::Version;

/// One interface that is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// `wasi:cli`
    pub package: &'static str,
    /// `environment`
    pub name: &'static str,
    /// In the order in which they came about.
    pub versions: &'static [Linked],
}

/// One version in which an interface is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// Every released `0.MINOR.x`: they are compatible with each other.
    Minor(u64),
    /// This version and no other: drafts promise nothing.
    Exactly(&'static str),
    /// Without a version.
    Unversioned,
}

use Linked::{Exactly, Minor, Unversioned};

const P2: &[Linked] = &[Minor(2)];
const P3: &[Linked] = &[Minor(3)];
const BOTH: &[Linked] = &[Minor(2), Minor(3)];
const CONFIG_STORE: &[Linked] = &[
    Exactly("0.2.0-draft-2024-09-27"),
    Exactly("0.2.0-draft"),
    Exactly("0.2.0-rc.1"),
];
const CONFIG_RUNTIME: &[Linked] = &[Exactly("0.2.0-draft")];
const KEYVALUE: &[Linked] = &[Exactly("0.2.0-draft"), Exactly("0.2.0-draft2")];
const LOGGING: &[Linked] = &[Unversioned, Exactly("0.1.0-draft")];

const fn linked(package: &'static str, name: &'static str, versions: &'static [Linked]) -> Interface {
    Interface {
        package,
        name,
        versions,
    }
}

/// What is linked for every component, by name.
pub const INTERFACES: &[Interface] = &[
    linked("wasi:cli", "environment", BOTH),
    linked("wasi:cli", "exit", BOTH),
    linked("wasi:cli", "stderr", BOTH),
    linked("wasi:cli", "stdin", BOTH),
    linked("wasi:cli", "stdout", BOTH),
    linked("wasi:cli", "terminal-input", BOTH),
    linked("wasi:cli", "terminal-output", BOTH),
    linked("wasi:cli", "terminal-stderr", BOTH),
    linked("wasi:cli", "terminal-stdin", BOTH),
    linked("wasi:cli", "terminal-stdout", BOTH),
    linked("wasi:cli", "types", P3),
    linked("wasi:clocks", "monotonic-clock", BOTH),
    linked("wasi:clocks", "system-clock", P3),
    linked("wasi:clocks", "types", P3),
    linked("wasi:clocks", "wall-clock", P2),
    linked("wasi:config", "runtime", CONFIG_RUNTIME),
    linked("wasi:config", "store", CONFIG_STORE),
    linked("wasi:filesystem", "preopens", BOTH),
    linked("wasi:filesystem", "types", BOTH),
    linked("wasi:http", "client", P3),
    linked("wasi:http", "outgoing-handler", P2),
    linked("wasi:http", "types", BOTH),
    linked("wasi:io", "error", P2),
    linked("wasi:io", "poll", P2),
    linked("wasi:io", "streams", P2),
    linked("wasi:keyvalue", "atomics", KEYVALUE),
    linked("wasi:keyvalue", "batch", KEYVALUE),
    linked("wasi:keyvalue", "store", KEYVALUE),
    linked("wasi:logging", "logging", LOGGING),
    linked("wasi:random", "insecure", BOTH),
    linked("wasi:random", "insecure-seed", BOTH),
    linked("wasi:random", "random", BOTH),
    linked("wasi:sockets", "instance-network", P2),
    linked("wasi:sockets", "ip-name-lookup", BOTH),
    linked("wasi:sockets", "network", P2),
    linked("wasi:sockets", "tcp", P2),
    linked("wasi:sockets", "tcp-create-socket", P2),
    linked("wasi:sockets", "types", P3),
    linked("wasi:sockets", "udp", P2),
    linked("wasi:sockets", "udp-create-socket", P2),
];

/// An import that nothing here satisfies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{import}, which is not here; {instead}")]
pub struct ImportMissing {
    /// As the component names it: `wasi:keyvalue/store@0.3.0`.
    pub import: String,
    /// What there is instead: versions of the interface, interfaces of its package, or packages.
    pub instead: String,
}

impl Linked {
    fn accepts(self, version: Option<&str>) -> bool {
        match (self, version) {
            (Minor(minor), Some(text)) => text
                .parse::<Version>()
                .is_ok_and(|version| (version.major, version.minor) == (0, minor) && version.pre.is_empty()),
            (Exactly(own), Some(text)) => own == text,
            (Unversioned, None) => true,
            _ => false,
        }
    }

    /// The name of an import in this version.
    pub fn import(self, interface: &Interface) -> String {
        match self {
            Unversioned => interface.to_string(),
            Minor(minor) => format!("{interface}@0.{minor}.0"),
            Exactly(version) => format!("{interface}@{version}"),
        }
    }
}

impl fmt::Display for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Minor(minor) => write!(f, "0.{minor}.x"),
            Exactly(version) => f.write_str(version),
            Unversioned => f.write_str("the one without a version"),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.name)
    }
}

/// Whether an import is linked.
///
/// # Errors
/// With what there is instead: the nearest thing that exists.
pub fn check(import: &str) -> Result<(), ImportMissing> {
    let (path, version) = match import.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (import, None),
    };
    let (package, name) = path.split_once('/').unwrap_or((path, ""));
    let siblings: Vec<_> = INTERFACES.iter().filter(|own| own.package == package).collect();
    let instead = match siblings.iter().find(|own| own.name == name) {
        Some(own) if own.versions.iter().any(|linked| linked.accepts(version)) => return Ok(()),
        Some(own) => versions(own),
        None if siblings.is_empty() => format!("the packages that are linked are {}", packages()),
        None => {
            let names: Vec<_> = siblings.iter().map(|own| own.name).collect();
            format!("of {package} there are {}", names.join(", "))
        }
    };
    Err(ImportMissing {
        import: import.to_owned(),
        instead,
    })
}

fn versions(interface: &Interface) -> String {
    let versions: Vec<_> = interface.versions.iter().map(ToString::to_string).collect();
    let verb = if versions.len() == 1 { "is" } else { "are" };
    format!("there {verb} {}", versions.join(", "))
}

fn packages() -> String {
    let mut packages: Vec<_> = INTERFACES.iter().map(|own| own.package).collect();
    packages.dedup();
    packages.join(", ")
}

/// The list as a page of Markdown.
pub fn page() -> String {
    let mut text = String::from(
        "# Interfaces\n\nWhat a component may import; `UPDATE_REFERENCES=1 cargo test -p fermion-model` writes this \
         page again. `0.2.x` and `0.3.x` stand for every released version; drafts are linked in the very version that \
         is named. Who may use what is linked is said in [guests.md](../guests.md).\n\n\
         | interface | versions |\n|---|---|\n",
    );
    for interface in INTERFACES {
        let versions: Vec<_> = interface.versions.iter().map(ToString::to_string).collect();
        text.push_str(&format!("| `{interface}` | {} |\n", versions.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_passes() {
        for interface in INTERFACES {
            for linked in interface.versions {
                check(&linked.import(interface)).unwrap();
            }
        }
        for good in [
            "wasi:http/types@0.2.12",
            "wasi:http/types@0.3.4",
            "wasi:logging/logging",
        ] {
            check(good).unwrap();
        }
        let names: Vec<_> = INTERFACES.iter().map(ToString::to_string).collect();
        assert!(names.is_sorted(), "a reader finds it by name");
    }

    #[test]
    fn the_published_list_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/interfaces.md");
        if std::env::var_os("UPDATE_REFERENCES").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            published == page(),
            "docs/reference/interfaces.md is not what is linked: run \
             `UPDATE_REFERENCES=1 cargo test -p fermion-model` and look at the difference"
        );
    }

    #[test]
    fn what_is_not_names_the_nearest_that_is() {
        for (import, instead) in [
            (
                "wasi:keyvalue/store@0.2.0-draft3",
                "there are 0.2.0-draft, 0.2.0-draft2",
            ),
            (
                "wasi:keyvalue/watcher@0.2.0-draft2",
                "of wasi:keyvalue there are atomics, batch, store",
            ),
            ("wasi:io/streams@0.3.0", "there is 0.2.x"),
            ("wasi:http/types@0.2.0-rc-2023-12-05", "there are 0.2.x, 0.3.x"),
            ("wasi:http/types", "there are 0.2.x, 0.3.x"),
            (
                "wasi:logging/logging@0.2.0",
                "there are the one without a version, 0.1.0-draft",
            ),
            (
                "wasi:otel/tracing@0.2.0-rc.1",
                "the packages that are linked are wasi:cli, wasi:clocks, wasi:config",
            ),
            ("acme:foo/bar@1.0.0", "the packages that are linked are wasi:cli"),
            ("plain-name", "the packages that are linked are wasi:cli"),
        ] {
            let missing = check(import).unwrap_err();
            assert!(missing.instead.starts_with(instead), "{missing}");
            assert!(
                missing
                    .to_string()
                    .starts_with(&format!("{import}, which is not here; "))
            );
        }
    }
}
