//! What can be said to `fermion registry`: the server, its tokens, its garbage.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use fermion_model::units;

use super::DataArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RegistryServerArgs {
    #[command(subcommand)]
    pub(crate) action: Option<RegistryAction>,
    #[command(flatten)]
    pub(crate) serve: RegistryServe,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryServe {
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Listen beyond loopback although everything, passwords too, crosses the network unencrypted.
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// What everybody may do without a token.
    #[arg(long, value_enum, default_value = "nothing", value_name = "RIGHT")]
    pub(crate) anonymous: AnonymousRight,
    /// How often garbage is collected.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) collect_every: Duration,
    /// How long what nothing needs is left alone: longer than a push takes.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) quotas: QuotaArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Bytes of all repositories together.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) quota_total: Option<u64>,
    /// Bytes of one repository.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) quota_repository: Option<u64>,
    /// Bytes of everything whose name begins with a prefix, as acme/=2GiB. May be repeated.
    #[arg(long, value_name = "PREFIX=SIZE", value_parser = prefix)]
    pub(crate) quota_prefix: Vec<(String, u64)>,
    /// Repositories.
    #[arg(long, value_name = "N")]
    pub(crate) repositories_max: Option<usize>,
    /// Tags of one repository.
    #[arg(long, value_name = "N")]
    pub(crate) tags_max: Option<usize>,
    /// Unfinished uploads.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) uploads_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnonymousRight {
    Nothing,
    Pull,
    Push,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryAction {
    /// Make, list and revoke tokens; a running registry knows at once.
    #[command(subcommand)]
    Token(TokenAction),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token. It is shown once.
    New(TokenNew),
    /// List the tokens there are, without their secrets.
    List,
    /// Take a token's rights away.
    Revoke {
        /// The token's id, as `list` shows it.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenNew {
    /// A repository, 'acme/*' for all under acme, '*' for all. May be repeated.
    #[arg(long = "repo", value_name = "PATTERN", required = true)]
    pub(crate) repositories: Vec<String>,
    /// May read.
    #[arg(long)]
    pub(crate) pull: bool,
    /// May write and delete.
    #[arg(long)]
    pub(crate) push: bool,
}

fn prefix(text: &str) -> Result<(String, u64), String> {
    match text.split_once('=') {
        Some((prefix, size)) if !prefix.is_empty() => {
            let bytes = units::parse_bytes(size).map_err(|error| error.to_string())?;
            Ok((prefix.to_owned(), bytes))
        }
        _ => Err(format!("{text:?} is not PREFIX=SIZE")),
    }
}
