//! What an experiment has counted, and which release it is for.

use fermion_model::frame::{EXPERIMENT_METRIC, FrameSeries, Moments};
use fermion_model::rollout::{Goal, MetricKind, MetricSpec, WEIGHT_ALL};
use fermion_planner::judge::experiment::{EXPERIMENT_ALPHA, Values};
use fermion_planner::rollout::{Observed, Phase};

use super::arms::Heard;
use super::document::RolloutDocument;
use super::words::percent;

/// What a node says of one arm.
fn values(series: &FrameSeries) -> Values {
    let moments = series.custom.get(EXPERIMENT_METRIC).copied();
    let Moments { count, sum, squares } = moments.unwrap_or_default();
    Values { count, sum, squares }
}

/// Adds what was heard, and tells the planner which release does better, once that is sure.
pub(super) fn look(document: &mut RolloutDocument, heard: Option<&Heard>, observed: &mut Observed) {
    let Some(metric) = &document.spec.metric else {
        return;
    };
    let experiment = document.experiment.get_or_insert_default();
    // Callers are counted while they are shared out, and not when everybody gets the new one.
    let counts = matches!(document.state.phase, Phase::Baking | Phase::Judging);
    if let Some(heard) = heard.filter(|_| counts) {
        let (new, old) = (values(&heard.canary), values(&heard.stable));
        match metric.kind {
            MetricKind::Conversion => {
                let share = f64::from(document.state.weight) / f64::from(WEIGHT_ALL);
                experiment.convert(&new, &old, share);
            }
            MetricKind::Value => experiment.value(&new, &old),
        }
    }
    if let Some(telemetry) = &mut observed.telemetry {
        telemetry.choice = experiment.choice(metric.goal == Goal::Increase);
    }
}

/// In words, with figures: `x-conversion: 131 callers converted on r2, 92 on r1, with 50 % of callers on r2 (p 1.2e-2)`.
pub(super) fn words(document: &RolloutDocument, metric: &MetricSpec) -> String {
    let experiment = document.experiment.clone().unwrap_or_default();
    let (new, old) = (document.canary, document.stable);
    let counted = match metric.kind {
        MetricKind::Conversion => format!(
            "{} callers converted on {new}, {} on {old}, with {} of callers on {new}",
            experiment.new.count,
            experiment.old.count,
            percent(document.spec.steps.first().map_or(0, |step| step.weight))
        ),
        MetricKind::Value => {
            let mean = |values: &Values| {
                values
                    .mean()
                    .map_or_else(|| "-".to_owned(), |mean| format!("{mean:.4}"))
            };
            format!(
                "the mean of {} callers is {} on {new}, of {} it is {} on {old}",
                experiment.new.count,
                mean(&experiment.new),
                experiment.old.count,
                mean(&experiment.old)
            )
        }
    };
    let p = experiment.p();
    let sure = if p <= EXPERIMENT_ALPHA {
        ""
    } else {
        ", which may be luck"
    };
    format!("{}: {counted} (p {p:.1e}{sure})", metric.header)
}
