//! `docs/reference/cli.md`, written from the command line's own definition and checked against it. Only tests need it.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;

/// The reference as Markdown: one section a command, one table of arguments and options each.
fn render(root: &mut Command) -> String {
    root.build();
    let mut page = String::from(
        "# Command line\n\nGenerated from the definition of the commands; `UPDATE_REFERENCES=1 cargo test -p fermion reference` \
         writes it again.\n\nExit status: 0 done, 1 failed, 2 used wrongly. With `--json` results go to standard output as \
         JSON, and a failure to standard error as one line `{\"error\":…,\"causes\":[…],\"code\":…}`; `code` is there where \
         the failure has a stable one. `FERMION_LOG` sets what the platform says of itself on standard error \
         (`warn` unless set).\n\nEvery command takes `--json` and `--help`.\n",
    );
    section(&mut page, root, "fermion");
    page
}

fn section(page: &mut String, command: &Command, path: &str) {
    let children: Vec<&Command> = command
        .get_subcommands()
        .filter(|child| child.get_name() != "help" && !child.is_hide_set())
        .collect();
    if path != "fermion" {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim();
        put(
            page,
            format_args!("\n## {path}\n\n{about}.\n\n```text\n{usage}\n```\n"),
        );
        arguments(page, command);
    }
    for child in children {
        section(page, child, &format!("{path} {}", child.get_name()));
    }
}

fn arguments(page: &mut String, command: &Command) {
    let shown: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version" | "json"))
        .collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("\n| | | default |\n|---|---|---|\n");
    for argument in shown {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        put(
            page,
            format_args!(
                "| `{}` | {} | {} |\n",
                spelling(argument).replace('|', "\\|"),
                help.replace('|', "\\|"),
                default(argument)
            ),
        );
    }
}

fn spelling(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let values: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
    let takes_value = argument.get_action().takes_values();
    let mut spelled = Vec::new();
    if let Some(short) = argument.get_short() {
        spelled.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        spelled.push(format!("--{long}"));
    }
    let mut text = spelled.join(", ");
    if takes_value {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&values.join(" "));
    }
    text
}

fn default(argument: &Arg) -> String {
    let mut parts: Vec<String> = Vec::new();
    if argument.get_action().takes_values() {
        let values = argument.get_default_values();
        parts.extend(
            values
                .iter()
                .map(|value| format!("`{}`", value.to_string_lossy())),
        );
    }
    if let Some(variable) = argument.get_env() {
        parts.push(format!("or `${}`", variable.to_string_lossy()));
    }
    parts.join(" ")
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}

#[test]
fn the_published_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let generated = render(&mut Cli::command());
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == generated,
        "docs/reference/cli.md is not what the command line says: run \
         `UPDATE_REFERENCES=1 cargo test -p fermion reference` and look at the difference"
    );
}
