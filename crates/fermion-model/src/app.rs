//! `app.yaml`: what an operator wants of an app: which package, where it is routed, its config. Keys of later versions
//! are known by name and noted as not in effect; every other key is refused. Without the file, an app follows from the
//! package's manifest.

mod gates;
mod objectives;
mod parse;
mod rollout;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::manifest::{Capabilities, Manifest, Unsupported};
use crate::objective::ObjectiveSpec;
use crate::release::Route;
use crate::rollout::RolloutSpec;
use crate::{AppName, Digest, NameError, Namespace, PackageName, PackageReference, RemoteReference};

/// The file's name, beside `fermion.toml`.
pub const APP_FILE: &str = "app.yaml";

/// A validated app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Unique in its namespace.
    pub name: AppName,
    /// The tenant.
    pub namespace: Namespace,
    /// Which package; none: the one that is deployed with it.
    pub package: Option<PackageChoice>,
    /// Where requests come in.
    pub routes: Vec<Route>,
    /// Values for the config keys the package asks for.
    pub config: BTreeMap<String, String>,
    /// Key-value stores that the file binds to a provider. There is one provider, and what is not bound has it too.
    pub keyvalue: BTreeSet<String>,
    /// How a new release takes over; at once if nothing is said.
    pub rollout: Option<RolloutSpec>,
    /// What it promises; the defaults if nothing is said.
    pub objectives: Option<Vec<ObjectiveSpec>>,
    /// When it is applied of a commit that changes several apps: lower numbers first.
    pub wave: u32,
    /// Keys that are written and not in effect yet.
    pub notes: Vec<Unsupported>,
}

/// A package by version, pinned by digest, or where it lies in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageChoice {
    /// `acme/hello:1.2.3`
    Version(PackageReference),
    /// `acme/hello@sha256:...`
    Digest(PackageName, Digest),
    /// `registry.example.com/acme/hello:1.2.3`
    Remote(RemoteReference),
}

impl FromStr for PackageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |why: &dyn fmt::Display| format!("{why}");
        if RemoteReference::names_a_registry(text) {
            let reference: RemoteReference = text.parse().map_err(|why: NameError| refuse(&why))?;
            if reference.identifier().is_none() {
                return Err(format!("{text:?} has neither a tag nor a digest"));
            }
            return Ok(Self::Remote(reference));
        }
        if let Some((name, digest)) = text.split_once('@') {
            let name = name.parse().map_err(|why: NameError| refuse(&why))?;
            return Ok(Self::Digest(name, digest.parse().map_err(|why| refuse(&why))?));
        }
        let Some((name, version)) = text.split_once(':') else {
            return Err(format!("{text:?} has no version"));
        };
        let name = name.parse().map_err(|why: NameError| refuse(&why))?;
        let version = version
            .parse()
            .map_err(|why| format!("{version:?} is not a semantic version ({why})"))?;
        Ok(Self::Version(PackageReference { name, version }))
    }
}

impl fmt::Display for PackageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(reference) => reference.fmt(f),
            Self::Digest(name, digest) => write!(f, "{name}@{digest}"),
            Self::Remote(reference) => reference.fmt(f),
        }
    }
}

/// A config key or a store on which package and app disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigGap {
    /// The package asks for it and the app has no value.
    Unset(String),
    /// The app has a value and the package does not ask for it, so nothing can read it.
    Undeclared(String),
    /// The app binds a store and the package does not ask for it, so nothing can open it.
    Unasked(String),
}

impl fmt::Display for ConfigGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(key) => {
                write!(
                    f,
                    "config {key:?} is declared by the package and not set: give it a value under spec.config"
                )
            }
            Self::Unasked(name) => {
                write!(
                    f,
                    "store {name:?} is bound and not declared: add it to capabilities.keyvalue in fermion.toml"
                )
            }
            Self::Undeclared(key) => {
                write!(
                    f,
                    "config {key:?} is set and not declared: add it to capabilities.config in fermion.toml"
                )
            }
        }
    }
}

impl App {
    /// The app that a package without an `app.yaml` gets: named after the package, in the default namespace, at
    /// `http://NAME.localhost/` and under `/NAME/` of every host.
    pub fn derive(manifest: &Manifest) -> Result<Self, NameError> {
        Self::called(manifest.name.as_str())
    }

    /// The same for a package that is known by its repository's name only.
    pub fn called(repository: &str) -> Result<Self, NameError> {
        let base = repository.rsplit('/').next().unwrap_or(repository);
        let name: AppName = base.replace(['.', '_'], "-").parse()?;
        Ok(Self {
            routes: default_routes(&name),
            name,
            namespace: Namespace::default(),
            package: None,
            config: BTreeMap::new(),
            keyvalue: BTreeSet::new(),
            rollout: None,
            objectives: None,
            wave: 0,
            notes: Vec::new(),
        })
    }

    /// Where what the package asks for and what the app gives do not meet.
    pub fn config_gaps(&self, capabilities: &Capabilities) -> Vec<ConfigGap> {
        let unset = capabilities
            .config
            .iter()
            .filter(|key| !self.config.contains_key(*key));
        let undeclared = self
            .config
            .keys()
            .filter(|key| !capabilities.config.contains(*key));
        let unset = unset.map(|key| ConfigGap::Unset(key.clone()));
        let unasked = self.keyvalue.difference(&capabilities.keyvalue);
        unset
            .chain(undeclared.map(|key| ConfigGap::Undeclared(key.clone())))
            .chain(unasked.map(|name| ConfigGap::Unasked(name.clone())))
            .collect()
    }
}

fn default_routes(name: &AppName) -> Vec<Route> {
    let host = Route {
        host: Some(format!("{name}.localhost")),
        path: "/*".to_owned(),
        methods: Vec::new(),
        strip_prefix: false,
    };
    vec![
        host,
        Route {
            host: None,
            path: format!("/{name}/*"),
            methods: Vec::new(),
            strip_prefix: true,
        },
    ]
}
