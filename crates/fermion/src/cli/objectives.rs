//! What can be said about objectives and alerts.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use fermion_model::{AppName, Namespace, units};

use super::AdminArgs;

#[derive(Debug, Args)]
pub(crate) struct SloArgs {
    /// The app; every app of the namespace unless said.
    pub(crate) app: Option<AppName>,
    /// The namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: Namespace,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// executive: whether promises are kept; on-call: what is wrong now; debug: what the platform itself does.
    pub(crate) name: DashboardName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DashboardName {
    Executive,
    OnCall,
    Debug,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<AlertsAction>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsAction {
    /// List incidents, silences, and what waits for receivers; also without a word.
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take an incident on.
    Ack {
        /// The incident, as `list` names it.
        incident: String,
        /// For how long it counts; up to a week.
        #[arg(long = "for", default_value = "4h", value_name = "TIME", value_parser = units::parse_duration)]
        time: Duration,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Print a draft of an incident's post-mortem, as Markdown.
    PostMortem {
        /// The incident, as `list` names it.
        incident: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Keep alerts from people for a time, or, with --for 0s, end that.
    Silence {
        /// Of which app; of all of the namespace unless said.
        app: Option<AppName>,
        /// The namespace.
        #[arg(long, short, default_value = "default")]
        namespace: Namespace,
        /// About which objective; about all unless said.
        #[arg(long, value_name = "NAME")]
        objective: Option<String>,
        /// For how long; up to a week.
        #[arg(long = "for", default_value = "1h", value_name = "TIME", value_parser = units::parse_duration)]
        time: Duration,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}
