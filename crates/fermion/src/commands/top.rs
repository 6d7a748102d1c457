//! `fermion top`: how all apps are, drawn anew each second on a terminal; one table where there is none.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Result;
use fermion_api::{TopApp, TopView};

use crate::cli::TopArgs;
use crate::commands::admin::client;
use crate::output;

/// How often it is drawn: as often as nodes say something.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// Clears the terminal and moves the cursor to its first line.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Shows it once, or until it is ended.
pub(crate) async fn run(arguments: &TopArgs, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    if json {
        output::json(&client.top().await?);
        return Ok(());
    }
    if arguments.once || !std::io::stdout().is_terminal() {
        show(&client.top().await?);
        return Ok(());
    }
    // A signal ends it where it is: there is nothing to put back.
    loop {
        // Asked before anything is cleared, so that the picture does not flicker.
        let view = client.top().await?;
        output::line(CLEAR);
        show(&view);
        tokio::time::sleep(DRAW_EVERY).await;
    }
}

fn show(view: &TopView) {
    let (mut requests, mut failures) = (0, 0);
    for app in &view.apps {
        requests += app.requests;
        failures += app.failures;
    }
    let silent = if view.telemetry {
        ""
    } else {
        "; nodes have sent nothing for a while: nothing is known of now"
    };
    output::line(format!(
        "{} apps, {} requests/s, {failures} of {requests} failed in the last {} s{silent}",
        view.apps.len(),
        rate(requests, view.window_seconds),
        view.window_seconds
    ));
    let rows: Vec<_> = view
        .apps
        .iter()
        .map(|app| row(app, view.window_seconds))
        .collect();
    output::table(
        [
            "APP",
            "RELEASE",
            "REQ/S",
            "FAILED",
            "P50",
            "P99",
            "SLOW STARTS",
            "RUNNING",
            "KEPT",
            "BUDGET LEFT",
        ],
        &rows,
    );
}

#[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
fn rate(count: u64, seconds: u64) -> String {
    format!("{:.1}", count as f64 / seconds.max(1) as f64)
}

fn row(app: &TopApp, seconds: u64) -> [String; 10] {
    let none = || "-".to_owned();
    let millis = |value: Option<f64>| value.map_or_else(none, |millis| format!("{millis:.1} ms"));
    #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let failed = app.failures as f64 * 100.0 / app.requests.max(1) as f64;
    [
        format!("{}/{}", app.namespace, app.app),
        app.serving.map_or_else(none, |number| format!("r{number}")),
        rate(app.requests, seconds),
        format!("{failed:.1}%"),
        millis(app.p50_ms),
        millis(app.p99_ms),
        app.slow_starts.to_string(),
        app.running.to_string(),
        app.kept.to_string(),
        app.budget_left
            .map_or_else(none, |left| format!("{:.1}%", left * 100.0)),
    ]
}
