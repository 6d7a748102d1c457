//! What can be said about Git sources, and about what a deploy would change.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fermion_model::{Namespace, SourceName};

use super::AdminArgs;

#[derive(Debug, Args)]
pub(crate) struct GitArgs {
    #[command(subcommand)]
    pub(crate) action: GitAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GitAction {
    /// Hand over a document of kind GitSource, or another version of one: from now on apps follow that repository.
    Add {
        /// The document.
        file: PathBuf,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take a source away. Its apps stay as they are.
    Remove(SourceArgs),
    /// List a namespace's sources with how they stand.
    List {
        /// The namespace.
        #[arg(long, short, default_value = "default")]
        namespace: Namespace,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Show one source: its commits, its apps, what differs, what happened.
    Status(SourceArgs),
    /// Look at a source now, and wait for what comes of it; fails if its newest commit is not taken.
    Sync {
        #[command(flatten)]
        source: SourceArgs,
        /// Also try again what was given up, and take a history that was rewritten.
        #[arg(long)]
        retry: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The source's name.
    pub(crate) source: SourceName,
    /// The source's namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: Namespace,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A project's folder, a document of kind App, or a folder of such documents.
    #[arg(default_value = ".")]
    pub(crate) what: PathBuf,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}
