//! Samples made ready to be compared: what is missing, what is far off.

use super::{Metric, Missing, Outliers};

/// The quantile of sorted values at `q` between 0 and 1, interpolated as R's type 7; 0 for no values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let floor = position.floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the last index"
    )]
    let below = (floor as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (position - floor) * (sorted[above] - sorted[below])
}

/// What stays when outliers go: whatever lies between the lower of the first percentile and Q1 - `factor` IQR, and the
/// higher of the 99th percentile and Q3 + `factor` IQR.
pub fn without_outliers(values: &[f64], factor: f64) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (q1, q3) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let reach = factor * (q3 - q1);
    let low = quantile(&sorted, 0.01).min(q1 - reach);
    let high = quantile(&sorted, 0.99).max(q3 + reach);
    values
        .iter()
        .copied()
        .filter(|value| (low..=high).contains(value))
        .collect()
}

/// One arm's samples as the metric wants them, sorted: so that no sum depends on their order.
pub(super) fn prepare(values: &[f64], metric: &Metric) -> Vec<f64> {
    let mut present: Vec<f64> = values
        .iter()
        .filter_map(|&value| match metric.nan {
            _ if !value.is_nan() => Some(value),
            Missing::Remove => None,
            Missing::Replace => Some(0.0),
        })
        .collect();
    present.sort_unstable_by(f64::total_cmp);
    match metric.outliers {
        Outliers::Keep => present,
        Outliers::Remove => without_outliers(&present, metric.outlier_factor),
    }
}

/// The arithmetic mean; NaN for no values.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
