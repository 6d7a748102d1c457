//! What can be said about rollouts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AppArgs;

#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    pub(crate) action: RolloutAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutAction {
    /// Show the newest rollout: where it stands, why, and by which figures.
    Status(AppArgs),
    /// Follow the newest rollout to its end; fails if it went back.
    Watch(AppArgs),
    /// List an app's rollouts with what became of them.
    History(AppArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The folder with app.yaml.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
}
