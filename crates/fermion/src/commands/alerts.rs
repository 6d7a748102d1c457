//! `fermion alerts`: what burns, who has it in hand, what is silenced, and whom messages could not reach.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use fermion_api::{AcknowledgeRequest, AlertList, AlertView, SilenceRequest};
use fermion_telemetry::rfc3339;

use crate::cli::{AlertsAction, AlertsArgs};
use crate::commands::admin::client;
use crate::output;

/// Lists, or does what was asked for.
pub(crate) async fn run(arguments: AlertsArgs, json: bool) -> Result<()> {
    match arguments.action {
        None => show(&client(&arguments.admin)?.alerts().await?, json),
        Some(AlertsAction::List { admin }) => show(&client(&admin)?.alerts().await?, json),
        Some(AlertsAction::PostMortem { incident, admin }) => {
            let text = client(&admin)?.post_mortem(&incident).await?;
            if json {
                output::json(&serde_json::json!({ "incident": incident, "markdown": text }));
            } else {
                output::line(text.trim_end());
            }
        }
        Some(AlertsAction::Ack {
            incident,
            time,
            admin,
        }) => {
            let request = AcknowledgeRequest {
                id: incident,
                seconds: time.as_secs(),
            };
            let alert = client(&admin)?.acknowledge(&request).await?;
            if json {
                output::json(&alert);
            } else {
                let until = alert.acknowledged.as_ref().map_or(0, |by| by.until);
                output::line(format!("{} is in hand until {}", alert.id, at(until)));
            }
        }
        Some(AlertsAction::Silence {
            app,
            namespace,
            objective,
            time,
            reason,
            admin,
        }) => {
            let request = SilenceRequest {
                namespace,
                app,
                objective,
                seconds: time.as_secs(),
                reason: reason.unwrap_or_default(),
            };
            show(&client(&admin)?.silence(&request).await?, json);
        }
    }
    Ok(())
}

fn show(list: &AlertList, json: bool) {
    if json {
        return output::json(list);
    }
    if list.alerts.is_empty() {
        output::line("no incident is open, and none was of late");
    } else {
        let rows: Vec<_> = list.alerts.iter().map(row).collect();
        output::table(
            [
                "INCIDENT",
                "APP",
                "OBJECTIVE",
                "SEVERITY",
                "STATE",
                "SINCE",
                "BURN",
                "RELEASE",
                "OWNER",
            ],
            &rows,
        );
        for alert in list.alerts.iter().filter(|alert| alert.resolved_at.is_none()) {
            explain(alert);
        }
    }
    for silence in &list.silences {
        let app = silence.app.as_ref().map_or("*", |app| app.as_str());
        let objective = silence.objective.as_deref().unwrap_or("every objective");
        output::line(format!(
            "silence {}: {}/{app}, {objective}, until {} by {} {}",
            silence.id,
            silence.namespace,
            at(silence.until),
            silence.by,
            silence.reason
        ));
    }
    for receiver in list.receivers.iter().filter(|receiver| receiver.waiting > 0) {
        let since = receiver.oldest_at.map_or_else(|| "a while".to_owned(), at);
        output::line(format!(
            "receiver {}: {} messages wait, the oldest since {since}",
            receiver.name, receiver.waiting
        ));
    }
}

fn row(alert: &AlertView) -> [String; 9] {
    let state = match (&alert.acknowledged, alert.resolved_at, alert.held) {
        (_, Some(_), _) => "resolved".to_owned(),
        (Some(by), None, _) => format!("in hand ({})", by.by),
        (None, None, true) => "held".to_owned(),
        (None, None, false) => alert.state.clone(),
    };
    let burn = alert.burn.burn.unwrap_or_default();
    let worst = alert.releases.first();
    [
        alert.id.clone(),
        format!("{}/{}", alert.namespace, alert.app),
        alert.objective.clone(),
        alert.severity.clone(),
        state,
        at(alert.opened_at),
        format!("{burn:.1} (limit {:.1})", alert.threshold),
        worst.map_or_else(
            || "-".to_owned(),
            |worst| format!("{} {:.0}%", worst.release, worst.share * 100.0),
        ),
        alert.owner.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// What helps whoever looks at it.
fn explain(alert: &AlertView) {
    let changed = &alert.changed;
    let release = changed
        .release
        .map_or_else(String::new, |number| format!(" of {number}"));
    output::line(format!(
        "{}: {} of {} were not good in {}; last change before it: {}{release} by {} at {}",
        alert.id,
        alert.burn.total.saturating_sub(alert.burn.good),
        alert.burn.total,
        super::slo::time(alert.burn.window_seconds),
        changed.kind,
        changed.by,
        at(changed.at)
    ));
    for part in alert.releases.iter().filter(|part| part.bad > 0) {
        output::line(format!("  {}: {} of its {}", part.release, part.bad, part.total));
    }
    if let Some(runbook) = &alert.runbook {
        output::line(format!("  runbook: {runbook}"));
    }
}

fn at(seconds: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
