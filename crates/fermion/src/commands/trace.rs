//! `fermion trace`: which traces are kept, and one of them as a waterfall.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use fermion_api::{SpanView, TraceRequest, TraceSummary, TraceView};
use fermion_telemetry::rfc3339;

use crate::cli::TraceArgs;
use crate::commands::admin::client;
use crate::output;

/// Columns of the picture.
const PICTURE: usize = 40;

/// Lists traces, or shows one.
pub(crate) async fn run(arguments: &TraceArgs, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    if let Some(id) = &arguments.id {
        let view = client.trace(id).await?;
        if json {
            output::json(&view);
        } else {
            waterfall(&view);
        }
        return Ok(());
    }
    let list = client
        .traces(&arguments.namespace, arguments.app.as_ref(), arguments.lines)
        .await?;
    if json {
        output::json(&list);
    } else if list.traces.is_empty() {
        output::line("no trace is kept: what fails, is slow or is a canary's is, and a share of the rest");
    } else {
        let rows: Vec<_> = list.traces.iter().map(row).collect();
        output::table(
            [
                "TRACE", "TIME", "APP", "RELEASE", "REQUEST", "STATUS", "TOOK", "KEPT",
            ],
            &rows,
        );
    }
    Ok(())
}

fn row(trace: &TraceSummary) -> [String; 8] {
    [
        trace.id.clone(),
        time(trace.at_ms),
        format!("{}/{}", trace.namespace, trace.app),
        format!("r{}", trace.release),
        format!("{} {}", printable(&trace.method), printable(&trace.path)),
        status(trace),
        took(trace.micros),
        trace.kept.clone(),
    ]
}

fn status(trace: &TraceSummary) -> String {
    match &trace.fault {
        Some(fault) => format!("{} {fault}", trace.status),
        None if trace.status == 0 => "no answer".to_owned(),
        None => trace.status.to_string(),
    }
}

fn time(millis: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

/// What a caller sent must not move the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
fn took(micros: u64) -> String {
    match micros {
        1_000_000.. => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{:.1} ms", micros as f64 / 1e3),
    }
}

fn waterfall(view: &TraceView) {
    output::line(format!("trace {}", view.id));
    let spans = view.requests.iter().flat_map(|request| &request.spans);
    let whole = spans
        .map(|span| span.start_micros.saturating_add(span.micros))
        .max();
    for request in &view.requests {
        one(request, whole.unwrap_or(1).max(1));
    }
}

fn one(request: &TraceRequest, whole: u64) {
    let of = &request.request;
    output::line(format!(
        "\n{} {} -> {} in {} by {}/{} r{} at {}, kept: {}",
        printable(&of.method),
        printable(&of.path),
        status(of),
        took(of.micros),
        of.namespace,
        of.app,
        of.release,
        time(of.at_ms),
        of.kept
    ));
    if !request.detail.is_empty() {
        output::line(format!("  {}", printable(&request.detail)));
    }
    let names: Vec<_> = request.spans.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (span, name) in request.spans.iter().zip(&names) {
        let line = format!(
            "{name:width$}  {:>10} {:>10}  |{}| {}",
            format!("+{}", took(span.start_micros)),
            took(span.micros),
            bar(span.start_micros, span.micros, whole),
            notes(span)
        );
        output::line(line.trim_end());
    }
    if request.unlisted > 0 {
        output::line(format!("  and {} more calls", request.unlisted));
    }
}

fn name(span: &SpanView) -> String {
    let indent = "  ".repeat(usize::from(span.depth) + 1);
    format!("{indent}{}", printable(&span.name))
}

fn notes(span: &SpanView) -> String {
    let failed = if span.failed { "FAILED " } else { "" };
    let notes = span
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    format!("{failed}{}", notes.collect::<Vec<_>>().join(" "))
}

/// Where in the whole time a part lies: at least one mark, however short it is.
fn bar(start: u64, took: u64, whole: u64) -> String {
    let place = |micros: u64| {
        let place = u128::from(micros) * PICTURE as u128 / u128::from(whole);
        usize::try_from(place).unwrap_or(PICTURE).min(PICTURE)
    };
    let from = place(start).min(PICTURE - 1);
    let until = place(start.saturating_add(took)).max(from + 1);
    let marks = (0..PICTURE).map(|column| if (from..until).contains(&column) { '=' } else { ' ' });
    marks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_lies_where_its_part_does_and_is_always_there() {
        assert_eq!(bar(0, 1_000, 1_000), "=".repeat(PICTURE));
        assert_eq!(bar(0, 1, 1_000).trim_end(), "=");
        assert_eq!(bar(1_000, 0, 1_000).trim_start(), "=");
        assert_eq!(bar(500, 500, 1_000).trim_start().len(), PICTURE / 2);
        assert_eq!(bar(u64::MAX, u64::MAX, 1).len(), PICTURE);
    }

    #[test]
    fn what_callers_send_moves_no_cursor() {
        assert_eq!(printable("/a\u{1b}[2J\n"), "/a?[2J?");
        assert_eq!(took(1_234), "1.2 ms");
        assert_eq!(took(2_500_000), "2.50 s");
    }
}
