//! What can be said about the policies that admit packages.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::DataArgs;

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Parse and validate policies as the platform would.
    Check {
        /// Files, or one folder; the data directory's `policy` folder unless said.
        paths: Vec<PathBuf>,
    },
    /// Run the tests that lie beside policies, in `tests/*.json`.
    Test {
        /// The folder of policies; the data directory's own unless said.
        folder: Option<PathBuf>,
    },
    /// Say which policies decide on a package, why, and what to change.
    Explain(PolicyExplain),
    /// List what looks like a secret in a package or a component, with the hashes to allow it by.
    Secrets {
        /// A package (acme/hello:1.2.3) or a .wasm file.
        what: String,
    },
    /// Print the default policy; a file default.cedar in the policy folder takes its place.
    Default,
    /// Print the Cedar schema of everything policies may speak of.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyExplain {
    /// A package of this place: acme/hello:1.2.3 or acme/hello@sha256:...
    pub(crate) package: Option<String>,
    /// Facts from a file, as `--json` prints them, instead of a package.
    #[arg(long, value_name = "FILE", conflicts_with = "package")]
    pub(crate) facts: Option<PathBuf>,
    /// The namespace it would run in.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: fermion_model::Namespace,
    /// The app it would run as; the package's own name unless said.
    #[arg(long)]
    pub(crate) app: Option<fermion_model::AppName>,
    /// A new release, or an earlier one again.
    #[arg(long, value_enum, default_value = "deploy")]
    pub(crate) action: GateAction,
    /// Who would ask.
    #[arg(long, default_value = "operator")]
    pub(crate) by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateAction {
    Deploy,
    Activate,
}

impl From<GateAction> for fermion_package::policy::Action {
    fn from(action: GateAction) -> Self {
        match action {
            GateAction::Deploy => Self::Deploy,
            GateAction::Activate => Self::Activate,
        }
    }
}
