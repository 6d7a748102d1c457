//! The one binary. Parses the command line, runs one command, turns its outcome into an exit status: 0 done, 1 failed,
//! 2 used wrongly.

mod cli;
mod commands;
mod data;
mod diagnostics;
mod export;
mod frames;
mod health;
mod output;
mod process;
mod project;
#[cfg(test)]
mod reference;
mod serve;
mod signals;
mod sink;
mod templates;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The compiling child does one thing and must not start anything else.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("__compile") {
        let status = fermion_runtime::compile_child(arguments);
        return ExitCode::from(u8::try_from(status).unwrap_or(1));
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error, std::env::args().any(|argument| argument == "--json")),
    };
    let json = cli.json;
    if let Err(error) = diagnostics::install(json) {
        return output::fail(&error, json);
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if cli.command.serves() {
        // Its pool of threads for what blocks steps back with this one.
        runtime.on_thread_start(process::step_back);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::from(error).context("cannot start"), json),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error, json),
    }
}
