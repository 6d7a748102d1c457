//! What each kind of receiver reads. Pure: from a message to a document.

use fermion_api::{AlertView, BlameView};
use serde_json::{Value, json};

use super::message::{Message, RolloutNotice};
use crate::error::time_text as time;
use crate::limits::ALERTMANAGER_KEEPS;
use crate::slo::{Notice, Transition};

/// The format of our own document. It grows fields; it does not change them.
const VERSION: u32 = 1;

/// For webhooks and commands: everything that is known.
pub(super) fn own(message: &Message) -> Value {
    match message {
        Message::Alert(notice) => json!({
            "version": VERSION,
            "key": notice.key,
            "transition": notice.transition,
            "at": notice.at,
            "summary": summary(notice),
            "alert": notice.alert,
        }),
        Message::Rollout(notice) => json!({
            "version": VERSION,
            "key": notice.key,
            "transition": notice.phase,
            "at": notice.at,
            "summary": rollout_summary(notice),
            "rollout": {
                "id": notice.id,
                "namespace": notice.namespace,
                "app": notice.app,
                "stable": notice.stable,
                "canary": notice.canary,
                "phase": notice.phase,
                "weight": notice.weight,
                "by": notice.by,
                "why": notice.why,
            },
        }),
    }
}

/// One sentence for people: what moved where, and why.
pub(super) fn rollout_summary(notice: &RolloutNotice) -> String {
    let RolloutNotice {
        namespace,
        app,
        canary,
        phase,
        why,
        by,
        ..
    } = notice;
    format!("[rollout] {namespace}/{app} {canary} {phase}: {why} (by {by})")
}

/// One sentence for people: what, where, how badly, and who may have done it.
pub(super) fn summary(notice: &Notice) -> String {
    let alert = &notice.alert;
    let what = match notice.transition {
        Transition::Fired => "burns",
        Transition::Reopened => "burns again",
        Transition::Resolved => "is well again",
        Transition::NoData => "has no data any more, which is not the same as well",
        Transition::DataBack => "has data again",
        Transition::Acknowledged => "has been taken on",
    };
    let place = format!("{}/{}", alert.namespace, alert.app);
    let mut text = format!("[{}] {place} {} {what}", alert.severity, alert.objective);
    if matches!(notice.transition, Transition::Fired | Transition::Reopened) {
        text.push_str(&detail(alert));
    }
    text
}

fn detail(alert: &AlertView) -> String {
    let burn = &alert.burn;
    let times = burn.burn.unwrap_or_default();
    let mut text = format!(
        ": {} of {} not good in {}, {times:.1} times what the budget allows (limit {:.1})",
        burn.total.saturating_sub(burn.good),
        burn.total,
        span(burn.window_seconds),
        alert.threshold,
    );
    if let Some(worst) = alert.releases.first().filter(|worst| worst.bad > 0) {
        text.push_str(&format!("; {}", blame(worst)));
    }
    let changed = &alert.changed;
    let release = changed
        .release
        .map_or_else(String::new, |number| format!(" of {number}"));
    let ago = alert.opened_at.saturating_sub(changed.at);
    text.push_str(&format!(
        "; last change: {}{release} by {}, {} before",
        changed.kind,
        changed.by,
        span(ago)
    ));
    text
}

fn blame(worst: &BlameView) -> String {
    format!(
        "{} has {:.0} % of them ({} of its {})",
        worst.release,
        worst.share * 100.0,
        worst.bad,
        worst.total
    )
}

/// `15 min`, `6 h`, `3 d`: whole, of the largest unit that is not below one.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// One line: the subject of a mail.
pub(super) fn subject(message: &Message) -> String {
    match message {
        Message::Alert(notice) => summary(notice),
        Message::Rollout(notice) => rollout_summary(notice),
    }
}

/// A mail's text: the sentence, who is meant and where to read on.
pub(super) fn text(message: &Message) -> String {
    let mut lines = vec![subject(message), String::new()];
    match message {
        Message::Alert(notice) => {
            let alert = &notice.alert;
            let named = [("Owner", &alert.owner), ("Runbook", &alert.runbook)];
            lines.push(format!("Incident: {}", alert.id));
            for (title, value) in named {
                lines.extend(value.as_ref().map(|value| format!("{title}: {value}")));
            }
            for worst in alert.releases.iter().filter(|worst| worst.bad > 0) {
                lines.push(format!("Release: {}", blame(worst)));
            }
            lines.push(format!("At: {}", time(notice.at)));
            lines.push(format!("`fermion why {}` says more.", alert.app));
        }
        Message::Rollout(notice) => {
            lines.push(format!("At: {}", time(notice.at)));
            lines.push(format!("`fermion rollout status {}` says more.", notice.app));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn slack(message: &Message) -> Value {
    let notice = match message {
        Message::Alert(notice) => notice,
        Message::Rollout(notice) => return json!({"text": escape(&rollout_summary(notice))}),
    };
    let alert = &notice.alert;
    let color = match (notice.transition, alert.severity.as_str()) {
        (Transition::Resolved, _) => "good",
        (_, "page") => "danger",
        _ => "warning",
    };
    let mut fields = vec![json!({"title": "Incident", "value": alert.id, "short": true})];
    let named = [("Owner", &alert.owner), ("Runbook", &alert.runbook)];
    for (title, value) in named {
        if let Some(value) = value {
            fields.push(json!({"title": title, "value": escape(value), "short": true}));
        }
    }
    let text = escape(&summary(notice));
    json!({
        "text": text,
        "attachments": [{"color": color, "fallback": text, "fields": fields, "ts": notice.at}],
    })
}

/// Slack's three characters with a meaning.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// None for what the service has no event for.
pub(super) fn pagerduty(notice: &Notice, routing_key: &str) -> Option<Value> {
    let alert = &notice.alert;
    let action = match notice.transition {
        Transition::Fired | Transition::Reopened => "trigger",
        Transition::Resolved => "resolve",
        Transition::Acknowledged => "acknowledge",
        Transition::NoData | Transition::DataBack => return None,
    };
    let severity = match alert.severity.as_str() {
        "page" => "critical",
        "ticket" => "warning",
        _ => "info",
    };
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": alert.id,
        "client": "fermion",
    });
    if action == "trigger" {
        event["payload"] = json!({
            "summary": shortened(&summary(notice), 1_024),
            "source": format!("{}/{}", alert.namespace, alert.app),
            "severity": severity,
            "timestamp": time(notice.at),
            "component": alert.app,
            "group": alert.namespace,
            "class": alert.objective,
            "custom_details": alert,
        });
        if let Some(runbook) = &alert.runbook {
            event["links"] = json!([{"href": runbook, "text": "Runbook"}]);
        }
    }
    Some(event)
}

/// The alert as it stands, in the service's list of alerts. It keeps one for as long as is said: we say when it is over.
pub(super) fn alertmanager(notice: &Notice) -> Value {
    let alert = &notice.alert;
    let ends = match alert.resolved_at {
        Some(at) => at,
        None => notice.at.saturating_add(ALERTMANAGER_KEEPS.as_secs()),
    };
    let mut annotations = json!({
        "summary": summary(notice),
        "incident": alert.id,
        "changed": format!("{} by {} at {}", alert.changed.kind, alert.changed.by, time(alert.changed.at)),
    });
    if let Some(runbook) = &alert.runbook {
        annotations["runbook_url"] = json!(runbook);
    }
    if let Some(worst) = alert.releases.first() {
        annotations["release"] = json!(blame(worst));
    }
    let mut labels = json!({
        "alertname": "FermionErrorBudgetBurn",
        "namespace": alert.namespace,
        "app": alert.app,
        "objective": alert.objective,
        "severity": alert.severity,
    });
    if let Some(owner) = &alert.owner {
        labels["owner"] = json!(owner);
    }
    json!([{
        "labels": labels,
        "annotations": annotations,
        "startsAt": time(alert.opened_at),
        "endsAt": time(ends),
    }])
}

fn shortened(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}
