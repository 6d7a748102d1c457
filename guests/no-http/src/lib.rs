//! A command: it prints and exits, and exports nothing about HTTP. A server has to say so instead of serving it.

struct Command;

impl wasip2::exports::cli::run::Guest for Command {
    fn run() -> Result<(), ()> {
        println!("a command, not a handler");
        Ok(())
    }
}

wasip2::cli::command::export!(Command);
