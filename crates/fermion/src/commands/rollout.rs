//! Rollouts: what they would do, where they stand, and deciding them.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use fermion_api::{Client, CopiesView, RolloutCommand, RolloutOrder, RolloutView};
use fermion_model::gate::Before;
use fermion_model::rollout::{Keep, RolloutSpec, Sticky, Strategy, WEIGHT_ALL};
use fermion_model::units::format_duration;
use fermion_telemetry::rfc3339;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{AppArgs, PlanArgs, RolloutAction, RolloutArgs};
use crate::commands::admin::client;
use crate::output;
use crate::project;
use crate::sink::seconds_now;

/// How often a rollout that is watched is looked at: as often as the controller looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Characters of a bar that stands for all traffic.
const BAR_CHARACTERS: usize = 20;

/// Runs one of the subcommands.
pub(crate) async fn run(arguments: &RolloutArgs, json: bool) -> Result<()> {
    match &arguments.action {
        RolloutAction::Status(app) => {
            let view = client(&app.admin)?.rollout(&app.namespace, &app.app).await?;
            if json {
                output::json(&view);
            } else {
                show(&view);
            }
            Ok(())
        }
        RolloutAction::Watch(app) => watch(app, json).await,
        RolloutAction::History(app) => history(app, json).await,
    }
}

/// Decides a rollout, as it was seen a moment before.
pub(crate) async fn order(arguments: &AppArgs, command: RolloutCommand, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    let seen = client.rollout(&arguments.namespace, &arguments.app).await?;
    let is_for_this_step = command == RolloutCommand::Promote;
    let order = RolloutOrder {
        command,
        rollout: Some(seen.id),
        step: is_for_this_step.then_some(seen.step),
    };
    let taken = client
        .order_rollout(&arguments.namespace, &arguments.app, &order)
        .await?;
    let view = if taken.over {
        taken
    } else {
        until_taken(&client, arguments).await?
    };
    if json {
        output::json(&view);
    } else {
        output::line(format!("{} {}: {}", view.app, view.canary, view.why));
    }
    Ok(())
}

/// Waits until the controller has looked at an order: it writes down what came of it.
async fn until_taken(client: &Client, arguments: &AppArgs) -> Result<RolloutView> {
    const LOOKS: u32 = 10;
    let before = client.rollout(&arguments.namespace, &arguments.app).await?;
    let mut tick = interval(LOOK_EVERY / 4);
    let mut view = before.clone();
    for _ in 0..LOOKS * 4 {
        tick.tick().await;
        view = client.rollout(&arguments.namespace, &arguments.app).await?;
        if view.events.len() != before.events.len() || view.phase != before.phase {
            break;
        }
    }
    Ok(view)
}

fn show(view: &RolloutView) {
    output::line(head(view));
    output::line(format!("  {}: {}", view.phase, view.why));
    if let Some(until) = view.until.filter(|_| !view.over) {
        let left = Duration::from_secs(until.saturating_sub(seconds_now()));
        output::line(format!("  next in {}", format_duration(left)));
    }
    let arm = |name: &str, arm: &fermion_api::ArmView| {
        let milliseconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        [
            name.to_owned(),
            arm.release.to_string(),
            arm.requests.to_string(),
            arm.failures.to_string(),
            milliseconds(arm.p50_ms),
            milliseconds(arm.p99_ms),
        ]
    };
    output::table(
        ["ARM", "RELEASE", "REQUESTS", "FAILED", "P50 MS", "P99 MS"],
        &[arm("canary", &view.canary_arm), arm("stable", &view.stable_arm)],
    );
    if let Some(copies) = &view.copies {
        for line in copies_lines(copies) {
            output::line(line);
        }
    }
    if let Some(experiment) = &view.experiment {
        let mean = |mean: Option<f64>| mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.4}"));
        output::line(format!(
            "{}: {} callers of the new release (mean {}), {} of the old one (mean {}); p {:.1e}",
            experiment.header,
            experiment.canary_callers,
            mean(experiment.canary_mean),
            experiment.stable_callers,
            mean(experiment.stable_mean),
            experiment.p
        ));
    }
    for verdict in &view.verdicts {
        output::line(format!(
            "step {}: {} (score {:.0} of 100)",
            verdict.step + 1,
            verdict.verdict,
            verdict.score
        ));
        for finding in &verdict.findings {
            output::line(format!(
                "  {} {}: {}",
                finding.metric, finding.found, finding.reason
            ));
        }
    }
    for event in &view.events {
        output::line(event_line(event));
    }
}

/// What copies have shown, and the differences that were kept.
fn copies_lines(copies: &CopiesView) -> Vec<String> {
    let milliseconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
    let mut lines = vec![
        format!(
            "copies: {} alike, differing in status {}, headers {}, body {}, failed {}; dropped {}, not copied {}",
            copies.same,
            copies.status,
            copies.headers,
            copies.body,
            copies.failed,
            copies.dropped,
            copies.skipped
        ),
        format!(
            "  p50 {} ms, of the old release {} ms",
            milliseconds(copies.canary_p50_ms),
            milliseconds(copies.stable_p50_ms)
        ),
    ];
    lines.extend(copies.examples.iter().map(|example| {
        format!(
            "  {}: {} and {}, {}",
            example.path, example.stable_status, example.canary_status, example.differs
        )
    }));
    lines
}

fn head(view: &RolloutView) -> String {
    if view.steps.is_empty() {
        let RolloutView {
            namespace,
            app,
            canary,
            stable,
            strategy,
            ..
        } = view;
        return format!("{namespace}/{app} {canary} beside {stable}, {strategy}");
    }
    format!(
        "{}/{} {} beside {}, {} {} [{}] step {} of {}",
        view.namespace,
        view.app,
        view.canary,
        view.stable,
        view.strategy,
        percent(view.weight),
        bar(view.weight),
        view.step + 1,
        view.steps.len()
    )
}

fn bar(weight: u16) -> String {
    let filled = (usize::from(weight) * BAR_CHARACTERS).div_ceil(usize::from(WEIGHT_ALL));
    let filled = filled.min(BAR_CHARACTERS);
    format!("{}{}", "#".repeat(filled), ".".repeat(BAR_CHARACTERS - filled))
}

fn percent(weight: u16) -> String {
    format!("{} %", f64::from(weight) / 100.0)
}

fn event_line(event: &fermion_api::RolloutEventView) -> String {
    let at = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(event.at));
    format!(
        "{at} {} {}: {} ({})",
        percent(event.weight),
        event.phase,
        event.why,
        event.by
    )
}

/// Prints what happens as it happens; on a terminal, also where it stands, on a line that is written over.
async fn watch(arguments: &AppArgs, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    let is_live = !json && std::io::stderr().is_terminal();
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown: Option<RolloutView> = None;
    loop {
        tick.tick().await;
        let view = client.rollout(&arguments.namespace, &arguments.app).await?;
        let known = shown
            .as_ref()
            .filter(|shown| shown.id == view.id)
            .map_or(0, |shown| {
                // Old events may have been let go: what is new is what came after the last one shown.
                let last = shown.events.last();
                view.events
                    .iter()
                    .position(|event| Some(event) == last)
                    .map_or(0, |at| at + 1)
            });
        if json {
            if shown.as_ref() != Some(&view) {
                output::line(serde_json::to_string(&view)?);
            }
        } else {
            for event in &view.events[known..] {
                output::live("");
                output::line(event_line(event));
            }
        }
        if is_live {
            output::live(&live(&view));
        }
        if view.over {
            output::live("");
            let went_back = !view.phase.starts_with("succeeded");
            if went_back {
                bail!(
                    "the rollout of {} {} went back: {}",
                    view.app,
                    view.canary,
                    view.why
                );
            }
            return Ok(());
        }
        shown = Some(view);
    }
}

fn live(view: &RolloutView) -> String {
    let left = view.until.map_or(String::new(), |until| {
        let left = Duration::from_secs(until.saturating_sub(seconds_now()));
        format!(", next in {}", format_duration(left))
    });
    format!(
        "[{}] {} {}: canary {} requests, {} failed; stable {}, {}; p {:.1e}{left}",
        bar(view.weight),
        percent(view.weight),
        view.phase,
        view.canary_arm.requests,
        view.canary_arm.failures,
        view.stable_arm.requests,
        view.stable_arm.failures,
        view.failing_more_p
    )
}

async fn history(arguments: &AppArgs, json: bool) -> Result<()> {
    let rollouts = client(&arguments.admin)?
        .rollouts(&arguments.namespace, &arguments.app)
        .await?;
    if json {
        output::json(&rollouts);
        return Ok(());
    }
    let rows: Vec<[String; 6]> = rollouts
        .iter()
        .map(|view| {
            [
                view.canary.to_string(),
                view.strategy.clone(),
                view.phase.clone(),
                format!("{} of {}", view.canary_arm.failures, view.canary_arm.requests),
                rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(view.begun_at)),
                view.begun_by.clone(),
            ]
        })
        .collect();
    output::table(["RELEASE", "STRATEGY", "PHASE", "FAILED", "BEGUN", "BY"], &rows);
    for view in rollouts.iter().filter(|view| view.over) {
        output::line(format!("{}: {}", view.canary, view.why));
    }
    Ok(())
}

/// Says what a deploy of the folder would do to traffic.
pub(crate) fn plan(arguments: &PlanArgs, json: bool) -> Result<()> {
    let app = project::app_of(&arguments.folder)?;
    let spec = app.as_ref().and_then(|app| app.rollout.clone());
    if json {
        output::json(&spec);
        return Ok(());
    }
    let Some(spec) = spec else {
        output::line(
            "a deploy takes over at once, when the new release is ready; spec.rollout of app.yaml says otherwise",
        );
        return Ok(());
    };
    for line in plan_lines(&spec) {
        output::line(line);
    }
    Ok(())
}

fn plan_lines(spec: &RolloutSpec) -> Vec<String> {
    let seconds = |seconds: u64| format_duration(Duration::from_secs(seconds));
    let mut lines =
        vec!["1. the new release is verified, compiled and made ready beside the old one".to_owned()];
    if let Some(mirror) = &spec.mirror {
        lines.push(format!(
            "2. {} requests are copied to it for {}, its answers are compared with those of the old one and thrown away \
             (passes if at most {} differ)",
            mirror.copies.methods.join(", "),
            seconds(mirror.seconds),
            percent(mirror.different_max)
        ));
    }
    if spec.strategy == Strategy::Shadow {
        lines.push("3. the old release serves on; `fermion promote` has the new one take over".to_owned());
        return lines;
    }
    let judged = spec.strategy == Strategy::Canary;
    for step in &spec.steps {
        let then = if let Some(metric) = &spec.metric {
            let kept = match metric.keep {
                Keep::A => "the old one",
                Keep::B => "the new one",
            };
            let header = &metric.header;
            format!("or until {header} tells which one is better; {kept} is kept if it does not")
        } else if judged {
            let metrics: Vec<_> = spec.judge.metrics.iter().map(|metric| metric.name()).collect();
            format!(
                "then judged by {} (passes from {}, asks from {})",
                metrics.join(", "),
                spec.judge.pass,
                spec.judge.marginal
            )
        } else {
            "then on, if nothing was found".to_owned()
        };
        lines.push(format!(
            "{}. {} of traffic for {}, {then}",
            lines.len() + 1,
            percent(step.weight),
            seconds(step.bake)
        ));
    }
    let number = lines.len() + 1;
    lines.push(format!(
        "{number}. all traffic; the old release stays ready for {}",
        seconds(spec.post_bake)
    ));
    for gate in &spec.gates {
        let before = match gate.before {
            Before::Rollout => "the first share of traffic",
            Before::Step => "each step",
            Before::Promotion => "all traffic",
        };
        lines.push(format!("before {before} it waits for {}", gate.need.text()));
    }
    lines.push(match &spec.sticky {
        Sticky::Cookie => "callers are known again by a signed cookie".to_owned(),
        Sticky::Header(name) => {
            format!("callers are known again by the header {name}, or else by a signed cookie")
        }
    });
    lines.push(
        "back at once, at any step, if it fails more often or is slower than the old one, burns its error budget, or \
         does not stay ready"
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use fermion_model::gate::{Gate, Need};

    use super::*;

    #[test]
    fn a_plan_has_a_line_for_each_step() {
        let lines = plan_lines(&RolloutSpec::of(Strategy::Canary));
        assert_eq!(
            lines[1],
            "2. 5 % of traffic for 2m, then judged by errors, latency_p50, latency_p99, cold_starts, cpu (passes from 80, asks from 50)"
        );
        assert_eq!(lines[4], "5. all traffic; the old release stays ready for 10m");
        let mut gated = RolloutSpec::of(Strategy::Canary);
        gated.gates.push(Gate {
            before: Before::Promotion,
            need: Need::Approval,
        });
        assert_eq!(
            plan_lines(&gated)[5],
            "before all traffic it waits for an approval"
        );
        let lines = plan_lines(&RolloutSpec::of(Strategy::Rolling));
        assert_eq!(
            lines[4],
            "5. 100 % of traffic for 20s, then on, if nothing was found"
        );
    }

    #[test]
    fn a_plan_says_what_is_copied_before_or_instead_of_steps() {
        let lines = plan_lines(&RolloutSpec::of(Strategy::Shadow));
        assert_eq!(
            lines[1],
            "2. GET, HEAD requests are copied to it for 10m, its answers are compared with those of the old one and thrown away (passes if at most 1 % differ)"
        );
        assert_eq!(lines.len(), 3);
        let mirrored = RolloutSpec {
            mirror: RolloutSpec::of(Strategy::Shadow).mirror,
            ..RolloutSpec::of(Strategy::Rolling)
        };
        let lines = plan_lines(&mirrored);
        assert!(lines[2].starts_with("3. 25 % of traffic"), "{}", lines[2]);
    }

    #[test]
    fn bars_are_full_only_with_all_traffic() {
        assert_eq!(bar(0), ".".repeat(20));
        assert_eq!(bar(500), format!("#{}", ".".repeat(19)));
        assert_eq!(bar(WEIGHT_ALL), "#".repeat(20));
    }
}
