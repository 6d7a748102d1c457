//! What can be said to look at apps: why one is not well, what its requests were made of, how all are.

use clap::Args;
use fermion_model::{AppName, Namespace};

use super::AdminArgs;

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The trace's id, or how it begins; the traces that are kept are listed without.
    pub(crate) id: Option<String>,
    /// List only this app's.
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<AppName>,
    /// The namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: Namespace,
    /// How many to list at most.
    #[arg(long, short = 'l', default_value_t = 20, value_name = "N")]
    pub(crate) lines: usize,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Show it once, also on a terminal.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}
