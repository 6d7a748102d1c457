//! What the judge gets of a step: for each metric the samples of both arms, one a window of time, or one a request.

use std::collections::BTreeMap;

use fermion_model::rollout::{JudgeSpec, JudgedMetric};
use fermion_model::sketch::Sketch;
use fermion_planner::judge::{Direction, Metric, Missing, Request, Rules};

use super::arms::{Evidence, Window};
use crate::limits::ROLLOUT_SAMPLES_MAX;

/// How much more of a metric is let pass, as a ratio of means. Failures have no allowance: where there are enough of
/// them to be sure, they are too many.
fn allowed(metric: JudgedMetric) -> f64 {
    match metric {
        JudgedMetric::Errors | JudgedMetric::ColdStarts => 1.0,
        JudgedMetric::LatencyP50 => 1.05,
        JudgedMetric::LatencyP99 | JudgedMetric::Cpu | JudgedMetric::Memory => 1.1,
    }
}

fn group(metric: JudgedMetric) -> &'static str {
    match metric {
        JudgedMetric::Errors => "errors",
        JudgedMetric::LatencyP50 | JudgedMetric::LatencyP99 => "latency",
        JudgedMetric::ColdStarts | JudgedMetric::Cpu | JudgedMetric::Memory => "resources",
    }
}

/// The judge's input for the step whose windows these are.
pub(super) fn request(spec: &JudgeSpec, evidence: &Evidence) -> Request {
    let metrics = spec.metrics.iter().map(|metric| samples(*metric, evidence));
    Request {
        rules: Rules::default(),
        pass: f64::from(spec.pass),
        marginal: f64::from(spec.marginal),
        groups: BTreeMap::new(),
        metrics: metrics.collect(),
    }
}

fn samples(metric: JudgedMetric, evidence: &Evidence) -> Metric {
    let (canary, baseline) = match metric {
        JudgedMetric::LatencyP50 => {
            let whole = |arm: fn(&super::arms::Pair) -> &Window| {
                let mut whole = Sketch::default();
                for pair in &evidence.windows {
                    whole.merge(&arm(pair).duration);
                }
                spread(&whole)
            };
            (whole(|pair| &pair.canary), whole(|pair| &pair.stable))
        }
        _ => {
            let of = |arm: fn(&super::arms::Pair) -> &Window| {
                evidence
                    .windows
                    .iter()
                    .map(|pair| value(metric, arm(pair)))
                    .collect()
            };
            (of(|pair| &pair.canary), of(|pair| &pair.stable))
        }
    };
    let mut judged = Metric {
        group: group(metric).to_owned(),
        canary,
        baseline,
        direction: Direction::Increase,
        nan: Missing::Remove,
        critical: metric == JudgedMetric::Errors,
        ..Metric::named(metric.name())
    };
    judged.effect.allowed_increase = allowed(metric);
    judged
}

/// One window's value; NaN where it had no requests.
fn value(metric: JudgedMetric, window: &Window) -> f64 {
    if window.requests == 0 {
        return f64::NAN;
    }
    let requests = window.requests as f64;
    match metric {
        JudgedMetric::Errors => window.failures as f64 / requests,
        JudgedMetric::ColdStarts => window.slow_starts as f64 / requests,
        JudgedMetric::Cpu => window.cpu_nanos as f64 / 1e9 / requests,
        // An instance without memory is none: it was not measured.
        JudgedMetric::Memory if window.memory == 0 => f64::NAN,
        JudgedMetric::Memory => window.memory as f64,
        JudgedMetric::LatencyP50 => window.duration.quantile(0.5).unwrap_or(f64::NAN),
        JudgedMetric::LatencyP99 => window.duration.quantile(0.99).unwrap_or(f64::NAN),
    }
}

/// A distribution as samples: one a request, or so many evenly spread over it.
fn spread(sketch: &Sketch) -> Vec<f64> {
    let count = sketch.count().min(ROLLOUT_SAMPLES_MAX);
    let at = |index: u64| (index as f64 + 0.5) / count as f64;
    (0..count)
        .filter_map(|index| sketch.quantile(at(index)))
        .collect()
}
