//! What can be said to the commands that speak to registries.

use std::path::PathBuf;

use clap::Args;
use fermion_model::remote::Registry;

use super::DataArgs;

/// How registries are spoken to.
#[derive(Debug, Args, Clone)]
pub(crate) struct RegistryArgs {
    /// Send a registry's credentials to this token service too, beside its own host. May be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) token_realm: Vec<Registry>,
    /// The folder with docker's config.json, where credentials are; ~/.docker unless set.
    #[arg(long, value_name = "DIR", env = "DOCKER_CONFIG")]
    pub(crate) docker_config: Option<PathBuf>,
}

#[derive(Debug, Args, Clone)]
pub(crate) struct RemoteArgs {
    /// Speak plain HTTP to registries that are not on this machine.
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) registries: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// A package of the local store: acme/hello:1.2.3 or acme/hello@sha256:..., or with its registry in front.
    pub(crate) package: String,
    /// Where to: a registry, a repository in it, or a whole reference. Unless set, PACKAGE must begin with the registry.
    #[arg(long, value_name = "REMOTE")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Where from: registry.example.com/acme/hello:1.2.3 or ...@sha256:...
    pub(crate) reference: String,
    /// Keep a package that no trusted key has signed. It gets no name in the store and cannot run.
    #[arg(long)]
    pub(crate) unverified: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Where from: registry.example.com/acme/hello:1.2.3 or ...@sha256:...
    pub(crate) from: String,
    /// Where to: a registry, a repository in it, or a whole reference.
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
