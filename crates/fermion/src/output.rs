//! What people and scripts read: lines and tables, or one JSON document.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

/// Prints a line to standard output. A reader that has left is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{}", text.as_ref()));
    drop(out.flush());
}

/// Prints a line to standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    drop(writeln!(std::io::stderr().lock(), "{}", text.as_ref()));
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) {
    line(serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// Prints rows under headings, columns as wide as their longest cell.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let put = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    put(headings);
    for row in rows {
        put(std::array::from_fn(|i| row[i].as_str()));
    }
}

/// Says what failed and why, and gives the exit status.
pub(crate) fn fail(error: &anyhow::Error, as_json: bool) -> ExitCode {
    if as_json {
        let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
        note(serde_json::json!({ "error": error.to_string(), "causes": causes }).to_string());
    } else {
        note(format!("error: {error:#}"));
    }
    ExitCode::FAILURE
}
