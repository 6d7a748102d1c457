//! One function a command. Commands talk to people; what they do belongs to the crates below.

mod admin;
mod alerts;
mod apps;
mod channel;
mod copy;
mod decisions;
mod diff;
mod freeze;
mod git;
mod inspect;
mod judge;
mod key;
mod new;
mod package;
mod policy;
mod prometheus;
mod pull;
mod push;
pub(crate) mod registry;
mod rollout;
mod sign;
mod slo;
mod top;
mod trace;
pub(crate) mod transfer;
mod trust;
mod up;
mod watch;
mod why;

use anyhow::Result;
use clap::CommandFactory;
use fermion_api::RolloutCommand;

use crate::cli::{Cli, Command};
use crate::signals::Signals;

/// Runs the command that the line names.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    let json = cli.json;
    match cli.command {
        Command::Serve(arguments) => crate::serve::run(*arguments, json).await,
        Command::Up(arguments) => up::run(*arguments, json).await,
        Command::New(arguments) => new::run(&arguments, json),
        Command::Build(arguments) => stoppable(package::build(&arguments, json)).await,
        Command::Pack(arguments) => stoppable(package::pack(&arguments, json)).await,
        Command::Inspect(arguments) if arguments.decisions => decisions::run(&arguments, json).await,
        Command::Inspect(arguments) => inspect::run(&arguments, json),
        Command::Verify(arguments) => inspect::verify(&arguments, json),
        Command::Sign(arguments) => sign::run(&arguments, json),
        Command::Key(arguments) => key::run(*arguments, json).await,
        Command::Trust(arguments) => trust::run(*arguments, json).await,
        Command::Channel(arguments) => channel::run(&arguments, json),
        Command::Registry(arguments) => registry::run(*arguments, json).await,
        Command::Push(arguments) => push::run(&arguments, json).await,
        Command::Pull(arguments) => pull::run(&arguments, json).await,
        Command::Copy(arguments) => copy::run(&arguments, json).await,
        Command::Policy(arguments) => policy::run(&arguments, json),
        Command::Deploy(arguments) => stoppable(admin::deploy(&arguments, json)).await,
        Command::Diff(arguments) => diff::run(&arguments, json).await,
        Command::Git(arguments) => git::run(&arguments, json).await,
        Command::Status(arguments) => admin::status(&arguments, json).await,
        Command::Gc(arguments) => admin::collect(&arguments, json).await,
        Command::Releases(arguments) => admin::releases(&arguments, json).await,
        Command::Rollback(arguments) => admin::rollback(&arguments, json).await,
        Command::Plan(arguments) => rollout::plan(&arguments, json),
        Command::Rollout(arguments) => rollout::run(&arguments, json).await,
        Command::Promote(app) => rollout::order(&app, RolloutCommand::Promote, json).await,
        Command::Pause(app) => rollout::order(&app, RolloutCommand::Pause, json).await,
        Command::Resume(app) => rollout::order(&app, RolloutCommand::Resume, json).await,
        Command::Abort(app) => rollout::order(&app, RolloutCommand::Abort, json).await,
        Command::Freeze(arguments) => freeze::run(arguments, json).await,
        Command::Logs(arguments) => admin::logs(&arguments, json).await,
        Command::Top(arguments) => top::run(&arguments, json).await,
        Command::Why(arguments) => why::run(&arguments, json).await,
        Command::Trace(arguments) => trace::run(&arguments, json).await,
        Command::Slo(arguments) => slo::run(&arguments, json).await,
        Command::Alerts(arguments) => alerts::run(arguments, json).await,
        Command::Rules => {
            prometheus::print_rules(json);
            Ok(())
        }
        Command::Dashboard(arguments) => {
            prometheus::print_dashboard(&arguments);
            Ok(())
        }
        Command::Judge(arguments) => judge::run(&arguments, json),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "fermion", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// For commands that run a build: without this, a signal would leave the build behind.
async fn stoppable(work: impl Future<Output = Result<()>>) -> Result<()> {
    Signals::install()?.or_stop(work).await
}
