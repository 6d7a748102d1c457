//! Transitions in words, for people and events: what happened and by which figures.

use fermion_planner::judge::{Classification, Report};
use fermion_planner::rollout::{Pause, Phase, Reason};

use fermion_model::rollout::Strategy;

use super::arms::Pair;
use super::document::RolloutDocument;
use super::{copies, experiment};

/// A phase's name as it is stored and shown: `baking`, `paused: marginal`, `rolled-back: sequential`.
pub(super) fn phase(phase: Phase) -> String {
    let written = serde_json::to_value(phase).unwrap_or_default();
    match written {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(map) => {
            let (name, reason) = map.into_iter().next().unwrap_or_default();
            format!("{name}: {}", reason.as_str().unwrap_or("unknown"))
        }
        _ => String::new(),
    }
}

/// Why a phase was entered.
pub(super) fn why(document: &RolloutDocument) -> String {
    let weight = percent(document.state.weight);
    let step = document.state.step + 1;
    let steps = document.spec.steps.len();
    match document.state.phase {
        Phase::Pending => "recorded".to_owned(),
        Phase::Validating => "the package is checked".to_owned(),
        Phase::Prewarming => format!("{} is made ready beside {}", document.canary, document.stable),
        Phase::Mirroring => format!(
            "requests are copied to {}, whose answers are compared and thrown away",
            document.canary
        ),
        Phase::Shifting => format!(
            "step {step} of {steps}: {weight} of traffic to {}",
            document.canary
        ),
        Phase::Baking => format!("step {step} of {steps}: it has {weight} and is watched"),
        Phase::Judging => format!("step {step} of {steps}: the bake is over, the judge is asked"),
        Phase::Promoting => format!("{}, all traffic to {}", passed(document), document.canary),
        Phase::PostBake => format!(
            "{} serves everything; {} stays ready",
            document.canary, document.stable
        ),
        Phase::Succeeded if document.spec.strategy == Strategy::Shadow => format!(
            "{}; {} serves on, and `fermion promote` has {} take over",
            copies::words(&document.copies),
            document.stable,
            document.canary
        ),
        Phase::Succeeded => format!("{} is the release now", document.canary),
        Phase::Paused(pause) => paused(pause, document),
        Phase::Aborting(reason) => format!("back to {}: {}", document.stable, because(reason, document)),
        Phase::AbortBlocked(reason) => format!(
            "it should go back ({}), and {} is not ready to take over: its traffic stays where it is",
            because(reason, document),
            document.stable
        ),
        Phase::RolledBack(reason) => format!(
            "{} serves everything: {}",
            document.stable,
            because(reason, document)
        ),
        Phase::Superseded => "a newer release takes its place".to_owned(),
    }
}

/// Why all traffic goes to the new release.
fn passed(document: &RolloutDocument) -> String {
    match &document.spec.metric {
        Some(metric) => experiment::words(document, metric),
        None => "all steps passed".to_owned(),
    }
}

fn paused(pause: Pause, document: &RolloutDocument) -> String {
    let what = match pause {
        Pause::Person => "somebody said so; `fermion resume` goes on".to_owned(),
        Pause::Marginal => format!("the score is between good and bad: {}", judged(document)),
        Pause::Inconclusive if document.state.weight == 0 => {
            format!("nothing is known for sure: {}", copies::words(&document.copies))
        }
        Pause::Inconclusive => format!("nothing is known for sure: {}", judged(document)),
        Pause::BothFail => {
            "both releases fail, so what both depend on is broken; it goes on when that is over".to_owned()
        }
        Pause::Gate => {
            let held_by = document.held_by.join("; ");
            format!("it may go on, and waits: {held_by}; `fermion promote` lets it go on now")
        }
    };
    let decide = matches!(pause, Pause::Marginal | Pause::Inconclusive);
    let next = if decide {
        "; `fermion promote` or `fermion abort` decides, and after an hour it goes back"
    } else {
        ""
    };
    format!("{what}{next}")
}

fn because(reason: Reason, document: &RolloutDocument) -> String {
    let counts = counts(&document.evidence.total);
    match reason {
        Reason::Invalid => "the release is not admitted".to_owned(),
        Reason::Judge => judged(document),
        Reason::Sequential => {
            let evidence = document.state.watch.evidence();
            format!(
                "it fails more often than the old release (p {:.1e}): {counts}",
                evidence.p()
            )
        }
        Reason::Slow => {
            let limit = document.evidence.frozen.unwrap_or_default() * 1e3;
            let evidence = document.state.slowness.evidence();
            format!(
                "more of its requests than of the old release's take longer than the {limit:.1} ms within which 95 % of \
                 those ended when it began (p {:.1e})",
                evidence.p()
            )
        }
        Reason::Differs => copies::words(&document.copies),
        Reason::Loses => format!("the old release does better; {}", passed(document)),
        Reason::Undecided => format!("neither does better; {}", passed(document)),
        Reason::Burn => format!("it burns its error budget more than five times too fast: {counts}"),
        Reason::Unready => "it cannot be made ready, or did not stay so".to_owned(),
        Reason::NoProgress => "nothing moved for ten minutes".to_owned(),
        Reason::Deadline => "nobody decided in time".to_owned(),
        Reason::Person => "somebody said so".to_owned(),
        Reason::Superseded => "there is a newer release".to_owned(),
    }
}

/// Failures of both arms: `12 of 300 requests failed on r2, 1 of 5700 on r1`.
fn counts(total: &Pair) -> String {
    format!(
        "{} of {} requests failed on the new release, {} of {} on the old one",
        total.canary.failures, total.canary.requests, total.stable.failures, total.stable.requests
    )
}

/// The last verdict in a sentence: the score, and each metric that did not pass.
fn judged(document: &RolloutDocument) -> String {
    match document.verdicts.last() {
        Some(judged) => report(&judged.report),
        None => "no telemetry arrived".to_owned(),
    }
}

pub(super) fn report(report: &Report) -> String {
    let bad = report
        .metrics
        .iter()
        .filter(|finding| finding.classification != Classification::Pass);
    let bad: Vec<_> = bad
        .map(|finding| format!("{}: {}", finding.name, finding.reason))
        .collect();
    let score = format!("score {:.0} of 100", report.score);
    if bad.is_empty() {
        score
    } else {
        format!("{score}; {}", bad.join("; "))
    }
}

/// `5 %` or `0.5 %`.
pub(super) fn percent(weight: u16) -> String {
    let (whole, hundredths) = (weight / 100, weight % 100);
    if hundredths == 0 {
        format!("{whole} %")
    } else {
        format!("{whole}.{hundredths:02} %")
    }
}
