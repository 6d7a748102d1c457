//! What people and scripts read: lines and tables, or one JSON document. Times are milliseconds with one decimal, codes
//! stand before words.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;

use fermion_api::Step;
use fermion_runtime::Allocation;
use serde::Serialize;

/// The exit status of a command line that cannot be understood.
const EXIT_USAGE: u8 = 2;

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

/// Writes over the terminal's last line; nothing where there is no terminal.
pub(crate) fn live(text: &str) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        drop(write!(err, "\r\x1b[2K{text}"));
        drop(err.flush());
    }
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

/// `verify 1.7 ms, compile 109.1 ms`.
pub(crate) fn steps(steps: &[Step]) -> String {
    let shown = steps.iter().map(|step| {
        #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
        let millis = step.micros as f64 / 1000.0;
        format!("{} {millis:.1} ms", step.name)
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// How instances come into being here, in words.
pub(crate) fn allocation(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::PoolingWithScan => "pooled, reset by page scan",
        Allocation::Pooling => "pooled (this kernel has no page scan)",
        Allocation::OnDemand => "on demand (too little address space for a pool)",
    }
}

/// The same as a stable word.
pub(crate) fn allocation_word(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::PoolingWithScan => "pooling-scan",
        Allocation::Pooling => "pooling",
        Allocation::OnDemand => "on-demand",
    }
}

/// A failure as the parts that are shown: what failed, and the causes that say something new.
struct Shown {
    code: Option<String>,
    error: String,
    causes: Vec<String>,
}

impl Shown {
    fn of(error: &anyhow::Error) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for cause in error.chain() {
            let text = cause.to_string();
            // Many errors end with their source's words already.
            if !texts.iter().any(|said| said.contains(&text)) {
                texts.push(text);
            }
        }
        let code = error.chain().find_map(code);
        let error = texts.remove(0);
        Self {
            code,
            error,
            causes: texts,
        }
    }

    /// With the code in front, unless the words have it.
    fn sentence(&self) -> String {
        let words = [std::slice::from_ref(&self.error), &self.causes]
            .concat()
            .join(": ");
        match &self.code {
            Some(code) if !words.contains(code.as_str()) => format!("{code}: {words}"),
            _ => words,
        }
    }
}

/// The stable code of an error that has one.
fn code(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<fermion_api::Error>() {
        let unreachable = matches!(error, fermion_api::Error::Connect { .. });
        return error
            .code()
            .or(unreachable.then_some("ADMIN_UNREACHABLE"))
            .map(str::to_owned);
    }
    if let Some(error) = cause.downcast_ref::<fermion_package::Error>() {
        return Some(error.code().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<fermion_registry::Error>() {
        return Some(error.code().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<fermion_runtime::Error>() {
        return Some(error.code().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<fermion_control::Error>() {
        if matches!(
            error,
            fermion_control::Error::Listen { .. } | fermion_control::Error::NotLoopback { .. }
        ) {
            return Some("LISTEN_REFUSED".to_owned());
        }
        return Some(fermion_control::problem(error).code);
    }
    if cause.is::<fermion_model::NameError>() || cause.is::<fermion_model::DigestError>() {
        return Some("NAME_INVALID".to_owned());
    }
    if cause.is::<fermion_model::document::DocumentError>() {
        return Some("DOCUMENT_INVALID".to_owned());
    }
    if let Some(error) = cause.downcast_ref::<fermion_planner::Error>() {
        return Some(error.code().to_owned());
    }
    if let Some(fermion_bus::Error::InUse { .. }) = cause.downcast_ref() {
        return Some("DATA_IN_USE".to_owned());
    }
    if let Some(fermion_gateway::Error::Listen { .. }) = cause.downcast_ref() {
        return Some("LISTEN_REFUSED".to_owned());
    }
    None
}

/// Says what failed and why, and gives the exit status.
pub(crate) fn fail(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let shown = Shown::of(error);
    if as_json {
        let mut document = serde_json::json!({ "error": shown.error, "causes": shown.causes });
        if let Some(code) = shown.code {
            document["code"] = code.into();
        }
        note(document.to_string());
    } else {
        note(format!("error: {}", shown.sentence()));
    }
    ExitCode::FAILURE
}

/// Says how the command line is wrong, or what was asked about it, and gives the exit status.
pub(crate) fn usage(error: &clap::Error, as_json: bool) -> ExitCode {
    if !error.use_stderr() {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    if as_json {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        note(serde_json::json!({ "error": text, "causes": [], "code": "USAGE" }).to_string());
    } else {
        drop(error.print());
    }
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_and_a_code_stands_in_front() {
        let inner = fermion_api::Error::Connect {
            address: "http://127.0.0.1:1".into(),
            source: "refused".into(),
        };
        let shown = Shown::of(&anyhow::Error::from(inner).context("hello is not deployed"));
        assert_eq!(shown.code.as_deref(), Some("ADMIN_UNREACHABLE"));
        assert_eq!(
            shown.sentence(),
            "ADMIN_UNREACHABLE: hello is not deployed: cannot connect to the admin API at http://127.0.0.1:1: refused; \
             `fermion up` must be running (see --admin)"
        );
    }

    #[test]
    fn times_are_milliseconds() {
        let shown = steps(&[
            Step {
                name: "verify".into(),
                micros: 1668,
            },
            Step {
                name: "link".into(),
                micros: 20,
            },
        ]);
        assert_eq!(shown, "verify 1.7 ms, link 0.0 ms");
    }
}
