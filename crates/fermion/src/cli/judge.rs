//! `fermion judge`: the canary judge on somebody's own figures.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct JudgeArgs {
    /// Samples of a canary and of a baseline, as docs/rollouts.md says.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) test: Option<JudgeTest>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JudgeTest {
    /// Go through requests in order, and say after each whether the canary should be aborted.
    Sequential {
        /// Requests and failures, as docs/rollouts.md says.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Check that each arm got its share of requests.
    Ratio {
        /// Shares and counts, as docs/rollouts.md says.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
