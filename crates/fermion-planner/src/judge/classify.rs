//! One metric: is the canary worse, by how much, and how surely.

use super::interval::{Shift, shift};
use super::rank::common_language_effect;
use super::samples::{mean, prepare};
use super::words::Words;
use super::{Classification, Compatibility, Direction, Effect, Finding, Measure, Metric, Missing, Rules};
use crate::limits::SAMPLES_MIN;

/// Compares the arms of a metric.
pub fn classify(metric: &Metric, rules: &Rules) -> Finding {
    let canary = prepare(&metric.canary, metric);
    let baseline = prepare(&metric.baseline, metric);
    let words = Words {
        metric,
        rules,
        canary: &canary,
        baseline: &baseline,
    };
    let compatible = rules.compatibility == Compatibility::Kayenta;
    if canary.is_empty() || baseline.is_empty() {
        match metric.nan {
            Missing::Remove => return without_data(metric, &words),
            Missing::Replace if compatible => {
                return settled(metric, Classification::Pass, None, words.nothing_is_zero());
            }
            Missing::Replace => {}
        }
    }
    if !compatible && canary.len().min(baseline.len()) < SAMPLES_MIN {
        return settled(metric, Classification::Inconclusive, None, words.too_few());
    }
    if same(&canary, &baseline) {
        let neutral = Some(metric.effect.measure.neutral());
        return settled(metric, Classification::Pass, neutral, words.identical());
    }
    let effect = effect(metric.effect.measure, &canary, &baseline);
    match shift(&canary, &baseline, rules.confidence) {
        Some(shift) => compared(metric, rules, shift, effect, &words),
        None if compatible => settled(
            metric,
            Classification::Error,
            finite(effect),
            words.incomparable(),
        ),
        None => settled(
            metric,
            Classification::Inconclusive,
            finite(effect),
            words.incomparable(),
        ),
    }
}

fn without_data(metric: &Metric, words: &Words<'_>) -> Finding {
    let classification = if metric.must_have_data && !metric.critical {
        Classification::NodataFail
    } else {
        Classification::Nodata
    };
    Finding {
        critical: metric.critical,
        ..settled(metric, classification, None, words.silent())
    }
}

/// A finding that needed no comparison.
fn settled(metric: &Metric, classification: Classification, effect: Option<f64>, reason: String) -> Finding {
    Finding {
        name: metric.name.clone(),
        classification,
        critical: false,
        effect,
        estimate: None,
        interval: None,
        reason,
    }
}

fn compared(metric: &Metric, rules: &Rules, shift: Shift, effect: f64, words: &Words<'_>) -> Finding {
    let band = rules.tolerance * shift.estimate.abs();
    let Effect {
        allowed_increase,
        allowed_decrease,
        critical_increase,
        critical_decrease,
        ..
    } = metric.effect;
    // A size that cannot be computed excuses nothing.
    let at_least = |threshold: f64| effect.is_nan() || effect >= threshold;
    let at_most = |threshold: f64| effect.is_nan() || effect <= threshold;
    let (classification, critical) =
        if metric.direction != Direction::Decrease && shift.low > band && at_least(allowed_increase) {
            (Classification::High, at_least(critical_increase))
        } else if metric.direction != Direction::Increase && shift.high < -band && at_most(allowed_decrease) {
            (Classification::Low, at_most(critical_decrease))
        } else {
            (Classification::Pass, false)
        };
    let critical = metric.critical && critical;
    Finding {
        name: metric.name.clone(),
        classification,
        critical,
        effect: finite(effect),
        estimate: Some(shift.estimate),
        interval: Some([shift.low, shift.high]),
        reason: words.compared(classification, critical, shift, effect, band),
    }
}

/// Whether the arms, which are sorted, hold the same values, or nothing but one value.
fn same(canary: &[f64], baseline: &[f64]) -> bool {
    let one_value = canary.iter().chain(baseline).all(|value| *value == canary[0]);
    one_value || canary == baseline
}

/// The size of the difference; NaN where it has none.
fn effect(measure: Measure, canary: &[f64], baseline: &[f64]) -> f64 {
    match measure {
        Measure::Cles => common_language_effect(canary, baseline),
        Measure::MeanRatio => {
            let (canary, baseline) = (mean(canary), mean(baseline));
            if canary == 0.0 || baseline == 0.0 {
                f64::NAN
            } else {
                canary / baseline
            }
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
