//! An incident as a draft of its post-mortem: what is known of it, in order of time, as Markdown. What nobody but people
//! can know has a heading and no text.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use fermion_api::{ReleaseView, RolloutView, TraceSummary};
use fermion_planner::slo::Counts;
use fermion_telemetry::rfc3339;

use super::desk::AppAlerts;
use super::evaluate::objective;
use super::facts::{AppFacts, facts};
use super::incident::{Incident, severity_word};
use super::run::named;
use crate::limits::{POST_MORTEM_BEFORE, POST_MORTEM_TRACES_MAX};
use crate::{Control, Error};

/// Everything that is known.
struct Known<'k> {
    incident: &'k Incident,
    facts: &'k AppFacts,
    now: u64,
    /// What happened from the window that fired to the end; none if the promise was withdrawn.
    impact: Option<Impact>,
    releases: Vec<ReleaseView>,
    rollouts: Vec<RolloutView>,
    traces: Vec<TraceSummary>,
}

/// What it cost.
struct Impact {
    counts: Counts,
    /// Of the whole budget.
    spent: Option<f64>,
}

impl Control {
    /// A draft of an incident's post-mortem, as Markdown.
    ///
    /// # Errors
    /// `NoSuchIncident`.
    pub async fn post_mortem(&self, id: &str) -> Result<String, Error> {
        let facts = {
            let state = self.read_state().await?;
            facts(&state)
        };
        let (name, incident) = {
            let desk = self.shared.slo.desk.lock().await;
            let of = |(name, (_, alerts)): (&String, &(Option<u64>, AppAlerts))| {
                let incident = alerts.incidents.iter().find(|one| one.id == id)?;
                Some((name.clone(), incident.clone()))
            };
            desk.apps.iter().find_map(of)
        }
        .ok_or_else(|| Error::NoSuchIncident { id: id.to_owned() })?;
        let (facts, now) = (named(&facts, &name)?, self.now());
        let from = incident.number.saturating_sub(incident.burn.window_seconds);
        let until = incident.resolved_at.unwrap_or(now);
        let is_near = |at: u64| (from.saturating_sub(POST_MORTEM_BEFORE.as_secs())..=until).contains(&at);
        let mut releases = self.releases(&facts.namespace, &facts.app).await?;
        releases.retain(|release| is_near(release.created_at));
        let mut rollouts = self.rollouts(&facts.namespace, &facts.app).await?;
        rollouts.retain(|rollout| is_near(rollout.begun_at) || rollout.ended_at.is_some_and(is_near));
        let mut traces = self
            .traces(Some(&facts.namespace), Some(&facts.app), usize::MAX)
            .traces;
        traces.retain(|trace| (from..=until).contains(&(trace.at_ms / 1_000)) && trace.kept != "share");
        traces.truncate(POST_MORTEM_TRACES_MAX);
        let known = Known {
            impact: self.impact(&name, facts, &incident, now),
            incident: &incident,
            facts,
            now,
            releases,
            rollouts,
            traces,
        };
        Ok(markdown(&known))
    }

    fn impact(&self, name: &str, facts: &AppFacts, incident: &Incident, now: u64) -> Option<Impact> {
        let spec = facts
            .objectives
            .iter()
            .find(|spec| spec.name == incident.key.slo)?;
        let observed = self.shared.slo.observed();
        let tally = observed.tally(name, spec)?;
        let since = |at: u64| tally.window(Duration::from_secs(now.saturating_sub(at)), now);
        let whole = since(incident.number.saturating_sub(incident.burn.window_seconds));
        let after = incident.resolved_at.map(since).unwrap_or_default();
        let counts = Counts {
            good: whole.good.saturating_sub(after.good),
            total: whole.total.saturating_sub(after.total),
        };
        let objective = objective(spec);
        let period = tally.window(objective.period, now);
        let allowed = (1.0 - objective.target) * period.total as f64;
        Some(Impact {
            counts,
            spent: (allowed > 0.0).then(|| counts.bad() as f64 / allowed),
        })
    }
}

fn at(seconds: u64) -> String {
    let text = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    // Parts of a second say nothing here.
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes everything");
}

fn markdown(known: &Known<'_>) -> String {
    let (incident, facts) = (known.incident, known.facts);
    let place = format!("{}/{}", facts.namespace, facts.app);
    let severity = severity_word(incident.key.severity);
    let mut text = format!(
        "# Post-mortem: {place} {} ({severity} {})\n\nStatus: draft\n\n## Summary\n\n",
        incident.key.slo, incident.id
    );
    let end = match incident.resolved_at {
        Some(end) => format!(
            "until {}, for {} minutes",
            at(end),
            end.saturating_sub(incident.number) / 60
        ),
        None => format!("and goes on at {}", at(known.now)),
    };
    put(
        &mut text,
        format_args!(
            "`{}` of {place} burned its error budget from {} {end}. It was opened when the budget burned {:.1} times as \
             fast as allowed, against a limit of {:.1}.\n",
            incident.key.slo,
            at(incident.number),
            incident.burn.burn.unwrap_or_default(),
            incident.threshold
        ),
    );
    let named = [("Owner", &incident.owner), ("Runbook", &incident.runbook)];
    for (name, value) in named {
        if let Some(value) = value {
            put(&mut text, format_args!("\n{name}: {value}\n"));
        }
    }
    impact(&mut text, known);
    timeline(&mut text, known);
    evidence(&mut text, known);
    for heading in ["Root cause", "What went well", "What went badly", "Actions"] {
        put(&mut text, format_args!("\n## {heading}\n\n"));
        if heading == "Actions" {
            text.push_str("| action | owner | until |\n|---|---|---|\n|  |  |  |\n");
        }
    }
    text
}

fn impact(text: &mut String, known: &Known<'_>) {
    text.push_str("\n## Impact\n\n");
    let Some(impact) = &known.impact else {
        text.push_str("The promise was withdrawn; nothing is kept of it.\n");
        return;
    };
    let Impact { counts, spent } = impact;
    put(
        text,
        format_args!("- {} of {} events were not good\n", counts.bad(), counts.total),
    );
    if let Some(spent) = spent {
        put(
            text,
            format_args!("- {:.0} % of the error budget went\n", spent * 100.0),
        );
    }
}

/// What happened, in order of time.
fn timeline(text: &mut String, known: &Known<'_>) {
    let incident = known.incident;
    let mut events: Vec<(u64, String)> = Vec::new();
    for release in &known.releases {
        let made = format!(
            "{} of {} {} was made by {}",
            release.number, release.package, release.version, release.created_by
        );
        events.push((release.created_at, made));
    }
    let changed = &incident.changed;
    let what = match changed.release {
        Some(number) => format!("{} to {number} by {}", changed.kind, changed.by),
        None => format!("{} by {}", changed.kind, changed.by),
    };
    events.push((changed.at, format!("last change before the incident: {what}")));
    for rollout in &known.rollouts {
        for event in &rollout.events {
            let said = format!(
                "rollout of {}: {} ({}), by {}",
                rollout.canary, event.phase, event.why, event.by
            );
            events.push((event.at, said));
        }
    }
    events.push((incident.number, "the alert fired".to_owned()));
    for (when, transition) in &incident.told {
        events.push((*when, format!("receivers were told: {}", transition.word())));
    }
    if let Some(by) = &incident.acknowledged {
        events.push((by.at, format!("{} took it on", by.by)));
    }
    if let Some(end) = incident.resolved_at {
        events.push((end, "the alert was over".to_owned()));
    }
    // Of the same second in the order in which they were put together: causes before what they led to.
    events.sort_by_key(|(when, _)| *when);
    text.push_str("\n## Timeline\n\n| when | what |\n|---|---|\n");
    for (when, what) in events {
        put(text, format_args!("| {} | {} |\n", at(when), cell(&what)));
    }
}

/// Text that ends no cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn evidence(text: &mut String, known: &Known<'_>) {
    text.push_str("\n## Most to blame\n\n");
    let mut blamed = known
        .incident
        .releases
        .iter()
        .filter(|part| part.bad > 0)
        .peekable();
    if blamed.peek().is_none() {
        text.push_str("No release stands out.\n");
    }
    for part in blamed {
        put(
            text,
            format_args!(
                "- {}: {} of its {} events in {} s before it was opened, {:.0} % of all that were not good\n",
                part.release,
                part.bad,
                part.total,
                part.window_seconds,
                part.share * 100.0
            ),
        );
    }
    text.push_str("\n## Traces\n\n");
    if known.traces.is_empty() {
        text.push_str("None is kept any more.\n");
    }
    for trace in &known.traces {
        let fault = trace.fault.as_deref().unwrap_or("-");
        put(
            text,
            format_args!(
                "- `{}` {} `{} {}` {} {fault}, kept: {}\n",
                trace.id,
                at(trace.at_ms / 1_000),
                trace.method,
                trace.path.replace(['`', '\n', '\r'], "?"),
                trace.status,
                trace.kept
            ),
        );
    }
}
