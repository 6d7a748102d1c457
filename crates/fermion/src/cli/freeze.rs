//! What can be said about freezes.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use fermion_model::{AppName, Namespace, units};
use jiff::Timestamp;

use super::AdminArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct FreezeArgs {
    #[command(subcommand)]
    pub(crate) action: Option<FreezeAction>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FreezeAction {
    /// List freezes that are in force or to come; also without a word.
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Let no release go forward for a time: rollouts wait, deploys that would take over at once are refused.
    #[command(group = ArgGroup::new("end").required(true).args(["until", "time"]))]
    Add {
        /// Of which app; of all of the namespace unless said.
        #[arg(requires = "namespace")]
        app: Option<AppName>,
        /// In which namespace; in all of them unless said.
        #[arg(long, short)]
        namespace: Option<Namespace>,
        /// When it begins, such as 2026-12-24T00:00:00Z or 2026-12-24T00:00:00+01:00; now unless said.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// When it ends, in the same form.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// How long it lasts, such as 36h.
        #[arg(long = "for", value_name = "DURATION", value_parser = units::parse_duration)]
        time: Option<Duration>,
        /// Why: whoever is held up reads it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// End a freeze.
    Remove {
        /// The freeze, as `list` names it.
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}
