//! The project's chores: `cargo xtask CHORE`. One module a chore; this file owns only the command line.

#![expect(clippy::print_stdout, reason = "a chore talks to the person who started it")]

mod guests;
mod tidy;

use clap::{Parser, Subcommand};

/// The command line of `cargo xtask`.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

/// The chores there are.
#[derive(Subcommand)]
enum Chore {
    /// Build the WebAssembly components that tests, demo and benchmark run
    Guests(guests::Options),
    /// Check the rules that no compiler checks
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Guests(options) => guests::run(&options),
        Chore::Tidy => tidy::run(),
    }
}
